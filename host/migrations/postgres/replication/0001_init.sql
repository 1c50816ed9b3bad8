-- Beside the replicated tables of one organization: cursors, fences, the change feed, an outbox.

-- One row an owner, never deleted (R2).
create table rowgate_owners (
  owner_id bigint primary key,
  generation bigint not null default 0,                -- +1 by link and by unlink
  grant_id bigint,                                     -- the inbox item that brought the grant; null: none
  fence bigint not null default 0,
  commit_no bigint not null default 0,
  services text not null default '[]',                 -- JSON: for which of the tree streams were derived
  stale_swept_at bigint not null default 0             -- when stale rows were last gone through; 0: never
);

-- The owner's stream list (R3). `version` moves with every change: commits compare and swap it.
create table rowgate_cursors (
  owner_id bigint not null,
  service text not null,
  kind text not null,
  key text not null,
  version bigint not null,
  cursor bytea,
  cursor_version bigint,                               -- the manifest's `cursor.writes` when it was stored
  mapping_version bigint,
  half_read boolean not null default false,            -- the cursor stands between two pages
  primary key (owner_id, service, kind, key)
);

-- Inbox items whose effect is committed (R4: a set, never a watermark).
create table rowgate_applied (
  owner_id bigint not null,
  inbox_id bigint not null,
  primary key (owner_id, inbox_id)
);

-- What the control database must still hear (R4).
create table rowgate_outbox (
  owner_id bigint not null,
  commit_no bigint not null,
  message text not null,                               -- JSON
  primary key (owner_id, commit_no)
);

-- Full listings in progress (R8).
create table rowgate_brackets (
  owner_id bigint not null,
  table_name text not null,
  scope text not null,                                 -- canonical JSON of the conditions
  id bigint not null,
  mapping_version bigint not null,
  primary key (owner_id, table_name, scope)
);
create table rowgate_bracket_keys (
  bracket_id bigint not null,
  commit_no bigint not null,
  keys text not null,                                  -- JSON array of unique keys presented in that commit
  primary key (bracket_id, commit_no)
);

-- Change feed (R12): the latest change of each row. A commit is numbered after it is visible, by
-- whoever reads the feed, in the order of transaction ids.
create table rowgate_feed (
  table_name text not null,
  pk bigint not null,
  unique_key text collate "C",                         -- of a deleted row; a live one has its own
  deleted boolean not null,
  commit_id bigint not null,
  primary key (table_name, pk)
);
create index rowgate_feed_order on rowgate_feed (commit_id, table_name);
create unique index rowgate_feed_deleted on rowgate_feed (table_name, unique_key) where deleted;
create index rowgate_feed_tombstones on rowgate_feed (commit_id) where deleted;
create table rowgate_commits (
  id bigint generated always as identity primary key,
  owner_id bigint not null,
  committed_at bigint not null,
  xid xid8 not null default pg_current_xact_id(),
  number bigint                                        -- null: not numbered yet
);
create unique index rowgate_commits_number on rowgate_commits (number) where number is not null;
create index rowgate_commits_unnumbered on rowgate_commits (xid) where number is null;

-- Held by whoever numbers commits. Bookmarks of another epoch, or below the floor, are good for nothing:
-- the numbers are others, or tombstones are gone.
create table rowgate_feed_head (
  epoch text not null,
  number bigint not null,                              -- the last that was given
  floor bigint not null default 0,                     -- tombstones up to this number may be gone
  swept bigint not null default 0,                     -- up to there all commits were gone through for their age
  swept_again bigint not null default 0                -- and once more up to there: rows have left them since
);
insert into rowgate_feed_head (epoch, number) values (gen_random_uuid()::text, 0);

-- Numbers of rows, in all replicated tables.
create sequence rowgate_pk;

-- An upsert met a row of another owner: the call ends, and says which.
create function rowgate_another_owner(unique_key text) returns text language plpgsql as $$
begin
  raise exception using errcode = 'RG001', message = unique_key;
end
$$;

alter table rowgate_owners set (fillfactor = 70);
alter table rowgate_cursors set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
alter table rowgate_outbox set (autovacuum_vacuum_scale_factor = 0.02);

-- Moves when a table is renamed or dropped: who read names before that must read them again.
create table rowgate_layout (version bigint not null);
insert into rowgate_layout (version) values (0);

-- Tables that got another name, until the control database knows it. Who reads the old one there meanwhile
-- must not make it again.
create table rowgate_renames (
  old_name text primary key,
  new_name text not null
);
