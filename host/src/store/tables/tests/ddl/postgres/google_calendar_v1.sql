create table if not exists "google_calendar_v1" (
  "pk" bigint primary key default nextval('rowgate_pk'),
  "compound_identity" text collate "C" not null unique,
  "external_owner_id" text collate "C" not null,
  "google_id" text collate "C",
  "time_zone" text collate "C",
  "deleted" boolean,
  "sync_tokens" jsonb,
  "events_page_size" bigint,
  "events_watch_channel_id" text collate "C",
  "events_watch_resource_id" text collate "C",
  "events_watch_channel_expiration" timestamp with time zone,
  "row_created_at" timestamp with time zone not null,
  "row_updated_at" timestamp with time zone not null,
  "data" jsonb not null default '{}'
);
create index if not exists "google_calendar_v1_row_created_at_idx" on "google_calendar_v1" ("row_created_at");
create index if not exists "google_calendar_v1_row_updated_at_idx" on "google_calendar_v1" ("row_updated_at");
create index if not exists "google_calendar_v1_google_id_idx" on "google_calendar_v1" ("google_id");
create index if not exists "google_calendar_v1_external_owner_id_idx" on "google_calendar_v1" ("external_owner_id");
create index if not exists "google_calendar_v1_events_watch_channel_id_idx" on "google_calendar_v1" ("events_watch_channel_id");
create index if not exists "google_calendar_v1_events_watch_channel_expiration_idx" on "google_calendar_v1" ("events_watch_channel_expiration");
