create table if not exists "google_calendar_event_v1" (
  "pk" integer primary key autoincrement,
  "compound_identity" text not null unique,
  "external_owner_id" text,
  "google_id" text,
  "google_calendar_id" text,
  "status" text,
  "created" timestamptz text,
  "updated" timestamptz text,
  "start_date" date text,
  "end_date" date text,
  "original_start_date" date text,
  "start_at" timestamptz text,
  "end_at" timestamptz text,
  "original_start_at" timestamptz text,
  "recurring_event_id" text,
  "row_created_at" timestamptz text not null,
  "row_updated_at" timestamptz text,
  "data" json text default '{}'
);
create index if not exists "google_calendar_event_v1_external_owner_id_idx" on "google_calendar_event_v1" ("external_owner_id");
create index if not exists "google_calendar_event_v1_google_id_idx" on "google_calendar_event_v1" ("google_id");
create index if not exists "google_calendar_event_v1_google_calendar_id_idx" on "google_calendar_event_v1" ("google_calendar_id");
create index if not exists "google_calendar_event_v1_row_updated_at_idx" on "google_calendar_event_v1" ("row_updated_at");
create index if not exists "google_calendar_event_v1_recurring_event_id_idx" on "google_calendar_event_v1" ("recurring_event_id")
  where "recurring_event_id" is not null;
create index if not exists "google_calendar_event_v1_8dcc0d502750b0a9_idx" on "google_calendar_event_v1" ("external_owner_id", "google_calendar_id", "start_at", "end_at")
  where "status" is distinct from 'cancelled'
  and "start_at" is not null;
create index if not exists "google_calendar_event_v1_3ae3fe4efaa1a463_idx" on "google_calendar_event_v1" ("external_owner_id", "google_calendar_id", "start_date", "end_date")
  where "status" is distinct from 'cancelled'
  and "start_date" is not null;
create index if not exists "google_calendar_event_v1_stale_f9aa014e_idx" on "google_calendar_event_v1" ("external_owner_id", "row_updated_at")
  where "status" = 'cancelled';
