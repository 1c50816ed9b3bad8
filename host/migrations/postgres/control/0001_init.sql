-- Control database: who is configured, what is due, what arrived. Times are microseconds, UTC.

create table organizations (
  id bigint generated always as identity primary key,
  key text not null unique,
  name text not null,
  created_at bigint not null,
  feed_epoch text,                                     -- begun since its tables were put back; null: they never were
  founded_by text,                                     -- address of the customer who made it; null: the operator
  invited bigint not null default 0,                   -- invitations that were sent since `invited_since`
  invited_since bigint not null default 0,
  reader_sealed bytea,                                 -- password of the role that reads its tables
  reader_prepared bigint not null default 0,           -- with what the server was made ready for that role, password and all; 0: it may not be
  closing_at bigint,                                   -- since then it is being deleted; null: it isn't
  dropping boolean not null default false,             -- its tables' database goes: nobody opens it any more
  database_id text,                                    -- the move that brought its tables to a database of its own; null: they lie in ours
  database_no bigint not null default 0,               -- moves with each change of where they lie, or how that is reached
  rests_until bigint not null default 0,               -- none of its owners is claimed before that
  put_back_from bigint                                 -- its own database wasn't reached when ours were put back from copies that were begun then (0: not known); null: all is right
);
create index organizations_put_back on organizations (id) where put_back_from is not null;
create index organizations_founder on organizations (founded_by) where founded_by is not null;

-- One row a component that was ever installed.
create table plugin_versions (
  digest text primary key,
  name text not null,
  version text not null,
  manifest text not null,
  installed_at bigint not null,
  number bigint not null,                              -- ascending in the order of installation
  wasm bytea not null                                   -- kept beside, under its digest, by each host
);

-- Which version of a plugin runs. `epoch` moves with each change, so that a claim sees it (R14).
create table plugins (
  name text primary key,
  active_digest text not null references plugin_versions (digest),
  previous_digest text references plugin_versions (digest),
  epoch bigint not null,
  activated_at bigint not null
);

create table integrations (
  id text primary key,                                 -- svi_...
  organization_id bigint not null references organizations (id),
  plugin text not null,
  service text not null,
  table_name text not null,
  depends_on text references integrations (id),
  root_id text not null,                               -- the top of the tree; its own id for a root
  config text not null default '{}',                   -- JSON, no secrets; only on a root
  config_version bigint not null default 1,
  created_at bigint not null,
  number bigint not null,                              -- ascending in the order of creation
  ended_at bigint,                                     -- since then it is being deleted; null: it isn't
  -- Scheduling state of the tree, on the root's row.
  misconfigured text,                                  -- the reason; null: all well
  not_before bigint not null default 0,
  untold_after text,                                   -- owners behind this one aren't told yet that the tree has
                                                       -- changed; empty: none is; null: all are
  unique (organization_id, table_name)
);
create unique index integrations_tree on integrations (root_id, service);
create index integrations_untold on integrations (id) where untold_after is not null;

-- What is being deleted: of a tree what has ended, or an organization. Whoever has claimed one goes on with it.
create table endings (
  organization_id bigint not null references organizations (id),
  root_id text not null,                               -- empty: the organization itself
  begun_at bigint not null,
  fence bigint not null default 0,                     -- raised by each claim, and when more of the tree ends
  due_at bigint not null,                              -- of a claimed one: when the claim runs out
  primary key (organization_id, root_id)
);
create index endings_due on endings (due_at);

-- Secret configuration values, sealed; associated data = integration id and name.
create table integration_secrets (
  integration_id text not null references integrations (id),
  name text not null,
  sealed bytea not null,
  primary key (integration_id, name)
);

-- What hosts may ask of a vendor together (R16), by the manifest's `[[egress]]` and its limit.
create table buckets (
  root_id text not null references integrations (id) on delete cascade,
  entry bigint not null,
  nth bigint not null,
  tokens double precision not null,                    -- at `at`; below 0: handed out before they are there
  at bigint not null,
  primary key (root_id, entry, nth)
);
alter table buckets set (fillfactor = 50);

-- Origins that the operator granted to a tree beyond what the manifest's defaults name.
create table grants (
  root_id text not null references integrations (id),
  origin text not null,                                -- scheme://host:port
  private_addresses boolean not null default false,    -- loopback and private ranges too
  primary key (root_id, origin)
);

-- The lease unit (R1).
create table owners (
  id bigint generated always as identity primary key,
  organization_id bigint not null,
  root_id text not null references integrations (id),
  external_owner_id text not null,
  state text not null default 'unlinked',              -- unlinked | linked | grant_dead
  reason text,
  fence bigint not null default 0,
  lease_host text,
  lease_until bigint not null default 0,
  unreleased boolean not null default false,           -- the lease before this one ended in trouble
  due_at bigint,                                       -- least of what is due; null: nothing
  not_before bigint not null default 0,
  attempts bigint not null default 0,
  relayed_no bigint not null default 0,                -- R4
  relayed_epoch text,                                  -- the feed's when the last of it was relayed
  buckets text,                                        -- JSON: requests that may be sent; null: all (R16)
  linked_at bigint,
  unsynced boolean not null default false,             -- linked, and not all of its streams came to an end since
  unique (root_id, external_owner_id)
);
-- Claims go organization by organization, so that a large one doesn't hold up the others.
create index owners_due on owners (organization_id, due_at) where due_at is not null;
create index owners_leased on owners (organization_id) where lease_host is not null;
-- A host renews what it holds.
create index owners_held on owners (lease_host) where lease_host is not null;
create index owners_state on owners (state);

-- The schedule of a stream; its cursor is in the replication database (R3).
create table streams (
  id bigint generated always as identity primary key,
  owner_id bigint not null references owners (id),
  service text not null,
  kind text not null,
  key text not null,
  due_at bigint,
  taken bigint,                                        -- the fence that runs it (R6)
  not_before bigint not null default 0,
  page_limit bigint not null,
  slow_count bigint not null default 0,
  attempts bigint not null default 0,
  unreadable text,
  last_error text,
  last_error_at bigint,
  last_success_at bigint,
  last_full_at bigint,
  unsynced boolean not null default true,              -- it didn't come to an end since its owner was linked
  failing_since bigint,                                -- it didn't come to an end since it first failed then
  failing_told boolean not null default false,         -- error handlers were told of that
  unique (owner_id, service, kind, key)
);
create index streams_failing on streams (failing_since)
  where failing_since is not null and not failing_told;

-- Stored authenticated webhook bodies, in the order of acceptance.
create table inbox (
  id bigint generated always as identity primary key,
  owner_id bigint not null references owners (id),
  integration_id text not null,
  received_at bigint not null,
  method text not null,
  path text not null,
  query text not null,
  headers text not null,                               -- JSON, only what the manifest lists
  body bytea not null,                                  -- sealed fields are null
  sealed text not null default '{}',                   -- JSON: secret name to base64 of the sealed value
  attempts bigint not null default 0,
  not_before bigint not null default 0,
  parked boolean not null default false,               -- R15
  last_error text,
  done_at bigint
);
-- `done_at` is null in all of it; with it, counting needs no row.
create index inbox_open on inbox (owner_id, id, done_at) where done_at is null;
create index inbox_parked on inbox (parked, done_at) where parked and done_at is null;
create index inbox_done on inbox (done_at) where done_at is not null;
-- Also of done ones: an owner can't go without a look at all that refers to it.
create index inbox_owner on inbox (owner_id, done_at);
-- What came when, to be replayed.
create index inbox_received on inbox (integration_id, received_at, id);

-- Secrets of owners, sealed. `grant_id` is the inbox item that brought the grant (R9).
create table owner_secrets (
  owner_id bigint not null references owners (id),
  grant_id bigint not null,
  name text not null,
  version bigint not null,
  sealed bytea,                                         -- null: forgotten; the version stays
  expires_at bigint,
  primary key (owner_id, grant_id, name)
);

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
  token bytea not null,                                 -- sealed
  address text not null,
  vendor_id text,
  state text not null,                                 -- pending | active | stopping | gone
  expires_at bigint not null,
  renew_at bigint,                                     -- when another one is to be there; null: it never was active
  retired_until bigint,                                -- unlinked: so long its grant's secrets stay, for stopping it
  due_at bigint,                                       -- next attempt to stop it
  attempts bigint not null default 0,
  notifications bigint not null default 0              -- those that found nothing due, or no vendor id
);
create index channels_owner on channels (owner_id);
create index channels_to_stop on channels (root_id, due_at) where state = 'stopping';
-- With its state and its end, counting needs no row.
create index channels_live on channels (renew_at, expires_at, state) where state = 'active';
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

-- Who is notified of changes, one post a row. Each of its integrations is a target of its own.
create table subscriptions (
  id text primary key,                                 -- wsb_...
  organization_id bigint not null references organizations (id),
  integration_id text references integrations (id),    -- null: all, those to come too
  url bytea not null,                                   -- sealed
  shown_url text not null,                             -- without user, password and query
  secret bytea not null,                                -- sealed
  tells_rows boolean not null,
  tells_synced boolean not null,                       -- of owners whose first sync is complete
  deletions boolean not null,
  created_at bigint not null,
  number bigint not null                               -- ascending in the order of creation
);
create index subscriptions_organization on subscriptions (organization_id, number);
create index subscriptions_integration on subscriptions (integration_id)
  where integration_id is not null;

-- Where a table's changes are delivered to: schedule, lease and bookmark of each.
create table targets (
  id text primary key,                                 -- syt_...
  organization_id bigint not null references organizations (id),
  integration_id text not null references integrations (id),
  root_id text not null,
  kind text not null check (kind in ('http', 'db', 'notification')), -- a receiver, a database, a subscriber
  to_place text not null,                              -- of a database: host:port/name, without user and password
  to_schema text not null,                             -- of a database: where the mirror stands
  to_table text not null,
  subscription_id text references subscriptions (id) on delete cascade, -- of a subscriber
  url bytea,                                        -- sealed: it holds a password; null: the subscription's
  shown_url text not null,                             -- without it
  signing_secret bytea,                                 -- sealed; null: the subscription's
  period_s bigint not null,                            -- at most so long without a look at the feed
  page_size bigint not null,
  deletions boolean not null,                          -- deliveries tell of deleted rows too
  created_at bigint not null,
  number bigint not null,                              -- of an organization's ascending in the order of creation
  bookmark text not null,                              -- JSON; moves only when a page was taken
  taken text,                                          -- the bookmark behind what was taken last; a mirror has the same
  rewinds bigint not null default 0,                   -- what comes again after one is no repetition
  restarts bigint not null default 0,                  -- in a row: it hadn't what it had before
  restarted_at bigint,                                 -- the last one
  rows_max bigint,                                     -- less than page_size where that was too large
  fence bigint not null default 0,                     -- raised by each claim; deliveries carry it
  lease_host text,
  lease_until bigint not null default 0,               -- later than the timeout of the last delivery
  due_at bigint not null,                              -- of a leased one: lease_until, unless it was marked
  not_before bigint not null default 0,                -- back-off; no mark moves it
  attempts bigint not null default 0,                  -- failures in a row
  failing_since bigint,
  failing_told bigint,                                 -- error handlers were told of the failures since then
  last_error text,
  last_error_at bigint,
  last_synced_at bigint,                               -- it had everything
  behind_since bigint,                                 -- a change since then is still to be delivered; null: none is
  last_delivery_ms bigint,
  paused text,                                         -- the reason; null: it is delivered to
  pause_asked_at bigint                                -- when somebody asked for the pause; null: nobody did, it failed
);
-- The latest of three times: from then on it can be claimed. Those that fail come after all others.
create index targets_ready on targets (
  (case when due_at >= not_before and due_at >= lease_until then due_at
        when not_before >= lease_until then not_before else lease_until end)
) where paused is null and attempts = 0;
create index targets_failing on targets (
  (case when due_at >= not_before and due_at >= lease_until then due_at
        when not_before >= lease_until then not_before else lease_until end)
) where paused is null and attempts > 0;
create index targets_root on targets (root_id);
create index targets_integration on targets (integration_id);
create index targets_organization on targets (organization_id, number);
-- Two in one place would remove each other's rows.
create unique index targets_place on targets (organization_id, to_place, to_schema, to_table) where kind = 'db';
create index targets_subscription on targets (subscription_id) where subscription_id is not null;

-- Owners whose first sync is complete, for targets that are still to be told of it.
create table synced_owners (
  target_id text not null references targets (id) on delete cascade,
  owner_id bigint not null,
  synced_at bigint not null,
  primary key (target_id, owner_id)
);
create index synced_owners_order on synced_owners (target_id, synced_at, owner_id);
create index synced_owners_owner on synced_owners (owner_id);

-- Who is told when somebody must act.
create table error_handlers (
  id text primary key,                                 -- oeh_...
  organization_id bigint not null references organizations (id),
  url bytea not null,                                   -- sealed
  shown_url text not null,                             -- without user, password and query
  created_at bigint not null
);
create index error_handlers_organization on error_handlers (organization_id);

-- What they are told of; kept for a day, so that the same isn't told again.
create table alerts (
  id bigint generated always as identity primary key,
  organization_id bigint not null references organizations (id),
  error_type text not null,                            -- each type has its number a day
  signature text not null,
  body text not null,                                  -- JSON
  raised_at bigint not null,
  unique (organization_id, signature)
);
create index alerts_raised on alerts (raised_at);
create index alerts_organization on alerts (organization_id, error_type, raised_at);
create table alert_posts (
  alert_id bigint not null references alerts (id) on delete cascade,
  handler_id text not null references error_handlers (id) on delete cascade,
  organization_id bigint not null references organizations (id), -- they are told in turn
  attempts bigint not null default 0,
  due_at bigint not null,
  rests boolean not null default false,                -- until due_at: it is made just now, or was in vain
  primary key (alert_id, handler_id)
);
create index alert_posts_due on alert_posts (due_at);
create index alert_posts_turn on alert_posts (organization_id, due_at) where not rests;
create index alert_posts_resting on alert_posts (due_at) where rests;
create index alert_posts_organization on alert_posts (organization_id);
create index alert_posts_handler on alert_posts (handler_id);

-- Answers to webhooks, counted: of an integration the last week by the hour, and the last few.
create table webhook_hours (
  integration_id text not null references integrations (id) on delete cascade,
  hour bigint not null,                                -- since 1970
  accepted bigint not null,
  rejected bigint not null,
  primary key (integration_id, hour)
);
create table webhook_lasts (
  integration_id text primary key references integrations (id) on delete cascade,
  answers text not null                                -- a letter each, the last one last: a accepted, r rejected
);

-- Who uses the API. A row is made by the first login that succeeds.
create table customers (
  id bigint generated always as identity primary key,
  opaque_id text not null unique,                      -- cus_...
  email text not null unique,                          -- lower case
  name text not null default '',
  operator boolean not null default false,             -- of the whole host; the first to log in
  created_at bigint not null
);

-- One-time codes, the last one of each address.
create table login_codes (
  email text primary key,
  digest bytea not null,                                -- keyed, of address and code
  expires_at bigint not null,
  attempts bigint not null default 0,                  -- wrong answers to this code
  window_at bigint not null,                           -- since when `issued` counts
  issued bigint not null,
  known boolean not null,                              -- a customer's, invited, or named by the configuration
  client text                                          -- where a stranger asked from, if that is known
);
create index login_codes_window on login_codes (window_at);
create index login_codes_strangers on login_codes (client) where not known;

-- What one network did of logging in within an hour.
create table login_counts (
  who bytea primary key,                               -- keyed digest: of what, network and address
  window_at bigint not null,                           -- since when it is counted
  counted bigint not null
);
create index login_counts_window on login_counts (window_at);

create table sessions (
  digest bytea primary key,                             -- SHA-256 of the token
  customer_id bigint not null references customers (id),
  created_at bigint not null,
  expires_at bigint not null
);
create index sessions_customer on sessions (customer_id);
create index sessions_expiring on sessions (expires_at);

-- Who belongs to which organization. People are invited by address, before they log in.
create table memberships (
  organization_id bigint not null references organizations (id),
  email text not null,
  role text not null,                                  -- admin | member
  invitation bytea,                                    -- SHA-256 of the code join-...; null: accepted
  created_at bigint not null,
  primary key (organization_id, email)
);
create index memberships_email on memberships (email);
create index memberships_invited on memberships (organization_id) where invitation is not null;

-- Statements that organizations keep.
create table saved_queries (
  id text primary key,                                 -- svq_...
  organization_id bigint not null references organizations (id),
  created_by bigint references customers (id),         -- null: whoever had the data directory
  description text not null,
  sql text not null,
  public boolean not null default false,               -- whoever knows the id may run it
  created_at bigint not null
);
create index saved_queries_organization on saved_queries (organization_id, created_at, id);

-- Integrations of which something is still to be asked.
create table integration_drafts (
  id text primary key,                                 -- svi_..., which the integration will have
  organization_id bigint not null references organizations (id),
  service text not null,
  depends_on text,
  sealed bytea not null,                                -- JSON: what was answered so far
  expires_at bigint not null
);
create index integration_drafts_expiring on integration_drafts (expires_at);

-- Moves of an organization's tables to a database of its own.
create table moves (
  id text primary key,                                 -- dbm_...
  organization_id bigint not null references organizations (id),
  state text not null check (state in ('copying', 'done', 'failed')),
  admin_url bytea,                                     -- sealed; null: the tables don't lie there
  readonly_url bytea,                                  -- the same; of the role that reads them
  own_reader boolean not null,                         -- we made that role
  reader_told boolean not null default true,           -- its server knows the password in the URL
  shown_url text not null,                             -- without user and password
  created_at bigint not null,
  ended_at bigint,
  rested_at bigint,                                    -- since then no owner is claimed; null: it is still to begin
  progressed_at bigint not null,
  table_name text,                                     -- that is copied
  rows_copied bigint not null default 0,
  error text,                                          -- the last one
  fence bigint not null default 0,                     -- raised by each claim
  lease_until bigint not null default 0,
  not_before bigint not null default 0,
  left_behind boolean not null default false           -- the tables as they were still lie in our storage
);
create unique index moves_copying on moves (organization_id) where state = 'copying';
create index moves_organization on moves (organization_id, created_at);
create index moves_left on moves (ended_at) where left_behind;

-- What is deleted for its age: one host at a time goes through it.
create table sweeps (
  what text not null,                                  -- inbox | feed | restore
  organization_id bigint not null,                     -- 0: of all
  due_at bigint not null,
  primary key (what, organization_id)
);

-- How far a change of the key has come; no row: none is under way.
create table key_rotation (
  key_id text primary key,                             -- of the new key
  step bigint not null,                                -- which column of sealed values
  after text not null                                  -- JSON: primary key of the last row that was looked at
);

-- Hosts that work on these databases; on files a lock says so.
create table hosts (
  name text primary key,                               -- as in leases
  alive_until bigint not null,                         -- it says again before then that it is there
  key_id text not null                                 -- with which it seals
);

-- One row while databases that were put back are put right: no host begins meanwhile.
create table restoring (begun_at bigint not null);

-- Moves with every change of what runs how, by whatever process: caches ask for it, and hosts are told.
create table configuration (epoch bigint not null);
insert into configuration (epoch) values (1);
create function configuration_moves() returns trigger language plpgsql as $$
begin
  update configuration set epoch = epoch + 1;
  perform pg_notify('rowgate', '');
  return null;
end
$$;
create trigger configuration_plugins after insert or update on plugins
for each statement execute function configuration_moves();
create trigger configuration_integrations
after insert or delete or update of config, config_version, table_name, ended_at on integrations
for each statement execute function configuration_moves();
create trigger configuration_secrets after insert or update or delete on integration_secrets
for each statement execute function configuration_moves();
create trigger configuration_grants after insert or update or delete on grants
for each statement execute function configuration_moves();
create trigger configuration_organizations after update of dropping, database_no on organizations
for each statement execute function configuration_moves();

-- Rows that are updated all the time: room for the new version beside the old one, and dead ones are
-- taken away before the indexes swell.
alter table owners set (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
alter table streams set (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
alter table inbox set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
