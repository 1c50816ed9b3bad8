-- Push (R11): what vendors are asked to tell of an owner's changes, and through which channels.

-- One row a topic that the owner's streams name.
create table topics (
  owner_id bigint not null references owners (id),
  push text not null,
  key text not null,
  wanted boolean not null default true,                -- false: it leaves as soon as its columns are cleared
  due_at bigint,                                       -- when a channel is asked for (again)
  attempts bigint not null default 0,                  -- askings in a row without a channel
  unsupported boolean not null default false,          -- the vendor offers no push for it
  unshown boolean not null default false,              -- the table's columns don't show its channel yet
  last_error text,
  primary key (owner_id, push, key)
);

-- Stays until it expires, so that a late notification finds whose it is.
create table channels (
  id text primary key,                                 -- the vendor hears it
  owner_id bigint not null references owners (id),
  root_id text not null,
  generation bigint not null,                          -- of the owner; a link takes its channels along
  grant_id bigint not null,                            -- whose secrets can stop it; 0: it needs none
  push text not null,
  key text not null,
  token blob not null,                                 -- sealed
  address text not null,
  vendor_id text,
  state text not null,                                 -- pending | active | stopping | gone
  expires_at bigint not null,
  retired_until bigint,                                -- unlinked: so long its grant's secrets stay, for stopping it
  due_at bigint,                                       -- next attempt to stop it
  attempts bigint not null default 0,
  notifications bigint not null default 0              -- those that found nothing due, or no vendor id
);
create index channels_owner on channels (owner_id);
create index channels_vendor on channels (root_id, vendor_id) where vendor_id is not null;

-- Channels that only their notifications tell of.
create table orphans (
  root_id text not null references integrations (id),
  id text not null,
  vendor_id text not null,
  owner_id bigint,                                     -- has a channel with that vendor id, so may be able to stop it
  seen_at bigint not null,
  due_at bigint,
  attempts bigint not null default 0,
  primary key (root_id, id)
);
create index orphans_owner on orphans (owner_id) where owner_id is not null;

-- Trees whose address the vendor refuses: their streams go on, their topics wait.
create table push_pauses (
  root_id text primary key references integrations (id),
  base_url text not null,
  not_before bigint not null,
  reason text not null
);
