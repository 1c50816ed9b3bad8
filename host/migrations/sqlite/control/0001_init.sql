-- Control database: who is configured, what is due, what arrived. Times are microseconds, UTC.

create table organizations (
  id integer primary key,
  key text not null unique,
  name text not null,
  created_at bigint not null
);

-- One row a component that was ever installed; the bytes lie in plugins/<digest>.wasm.
create table plugin_versions (
  digest text primary key,
  name text not null,
  version text not null,
  manifest text not null,
  installed_at bigint not null
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
  -- Scheduling state of the tree, on the root's row.
  misconfigured text,                                  -- the reason; null: all well
  not_before bigint not null default 0,
  unique (organization_id, table_name)
);
create unique index integrations_tree on integrations (root_id, service);

-- Secret configuration values, sealed; associated data = integration id and name.
create table integration_secrets (
  integration_id text not null references integrations (id),
  name text not null,
  sealed blob not null,
  primary key (integration_id, name)
);

-- Origins that the operator granted to a tree beyond what the manifest's defaults name.
create table grants (
  root_id text not null references integrations (id),
  origin text not null,                                -- scheme://host:port
  private_addresses boolean not null default false,    -- loopback and private ranges too
  primary key (root_id, origin)
);

-- The lease unit (R1).
create table owners (
  id integer primary key,
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
  linked_at bigint,
  unique (root_id, external_owner_id)
);
create index owners_due on owners (due_at) where due_at is not null;
create index owners_leased on owners (lease_host) where lease_host is not null;
create index owners_state on owners (state);

-- The schedule of a stream; its cursor is in the replication database (R3).
create table streams (
  id integer primary key,
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
  unique (owner_id, service, kind, key)
);

-- Stored authenticated webhook bodies, in the order of acceptance.
create table inbox (
  id integer primary key autoincrement,
  owner_id bigint not null references owners (id),
  integration_id text not null,
  received_at bigint not null,
  method text not null,
  path text not null,
  query text not null,
  headers text not null,                               -- JSON, only what the manifest lists
  body blob not null,                                  -- sealed fields are null
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

-- Secrets of owners, sealed. `grant_id` is the inbox item that brought the grant (R9).
create table owner_secrets (
  owner_id bigint not null references owners (id),
  grant_id bigint not null,
  name text not null,
  version bigint not null,
  sealed blob,                                         -- null: forgotten; the version stays
  expires_at bigint,
  primary key (owner_id, grant_id, name)
);

-- Moves with every change of what runs how, by whatever process: caches ask for it.
create table configuration (epoch bigint not null);
insert into configuration (epoch) values (1);
create trigger configuration_plugins after update on plugins
begin update configuration set epoch = epoch + 1; end;
create trigger configuration_plugins_new after insert on plugins
begin update configuration set epoch = epoch + 1; end;
create trigger configuration_integrations_new after insert on integrations
begin update configuration set epoch = epoch + 1; end;
create trigger configuration_integrations after update of config, config_version, table_name on integrations
begin update configuration set epoch = epoch + 1; end;
create trigger configuration_secrets_new after insert on integration_secrets
begin update configuration set epoch = epoch + 1; end;
create trigger configuration_secrets after update on integration_secrets
begin update configuration set epoch = epoch + 1; end;
create trigger configuration_grants_new after insert on grants
begin update configuration set epoch = epoch + 1; end;
create trigger configuration_grants after update on grants
begin update configuration set epoch = epoch + 1; end;
create trigger configuration_grants_gone after delete on grants
begin update configuration set epoch = epoch + 1; end;
