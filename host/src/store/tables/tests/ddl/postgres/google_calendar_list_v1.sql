create table if not exists "google_calendar_list_v1" (
  "pk" bigint primary key default nextval('rowgate_pk'),
  "external_owner_id" text collate "C" not null unique,
  "encrypted_refresh_token" text collate "C",
  "sync_token" text collate "C",
  "watch_channel_id" text collate "C",
  "watch_resource_id" text collate "C",
  "watch_channel_expiration" timestamp with time zone,
  "row_created_at" timestamp with time zone not null,
  "row_updated_at" timestamp with time zone not null,
  "data" jsonb not null default '{}'
);
create index if not exists "google_calendar_list_v1_row_created_at_idx" on "google_calendar_list_v1" ("row_created_at");
create index if not exists "google_calendar_list_v1_row_updated_at_idx" on "google_calendar_list_v1" ("row_updated_at");
create index if not exists "google_calendar_list_v1_watch_channel_expiration_idx" on "google_calendar_list_v1" ("watch_channel_expiration");
