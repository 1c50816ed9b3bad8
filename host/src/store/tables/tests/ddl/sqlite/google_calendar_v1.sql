create table if not exists "google_calendar_v1" (
  "pk" integer primary key autoincrement,
  "compound_identity" text not null unique,
  "external_owner_id" text,
  "google_id" text,
  "time_zone" text,
  "deleted" boolean,
  "sync_tokens" json text,
  "events_page_size" bigint,
  "events_watch_channel_id" text,
  "events_watch_resource_id" text,
  "events_watch_channel_expiration" timestamptz text,
  "row_created_at" timestamptz text not null,
  "row_updated_at" timestamptz text,
  "data" json text default '{}'
);
create index if not exists "google_calendar_v1_row_created_at_idx" on "google_calendar_v1" ("row_created_at");
create index if not exists "google_calendar_v1_row_updated_at_idx" on "google_calendar_v1" ("row_updated_at");
create index if not exists "google_calendar_v1_google_id_idx" on "google_calendar_v1" ("google_id");
create index if not exists "google_calendar_v1_external_owner_id_idx" on "google_calendar_v1" ("external_owner_id");
create index if not exists "google_calendar_v1_events_watch_channel_id_idx" on "google_calendar_v1" ("events_watch_channel_id");
create index if not exists "google_calendar_v1_events_watch_channel_expiration_idx" on "google_calendar_v1" ("events_watch_channel_expiration");
