create table if not exists "google_calendar_list_v1" (
  "pk" integer primary key autoincrement,
  "external_owner_id" text not null unique,
  "encrypted_refresh_token" text,
  "sync_token" text,
  "watch_channel_id" text,
  "watch_resource_id" text,
  "watch_channel_expiration" timestamptz text,
  "row_created_at" timestamptz text not null,
  "row_updated_at" timestamptz text,
  "data" json text default '{}'
);
create index if not exists "google_calendar_list_v1_row_created_at_idx" on "google_calendar_list_v1" ("row_created_at");
create index if not exists "google_calendar_list_v1_row_updated_at_idx" on "google_calendar_list_v1" ("row_updated_at");
create index if not exists "google_calendar_list_v1_watch_channel_expiration_idx" on "google_calendar_list_v1" ("watch_channel_expiration");
