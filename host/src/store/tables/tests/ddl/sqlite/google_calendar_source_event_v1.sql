create table if not exists "google_calendar_source_event_v1" (
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
create index if not exists "google_calendar_source_event_v1_external_owner_id_idx" on "google_calendar_source_event_v1" ("external_owner_id");
create index if not exists "google_calendar_source_event_v1_google_id_idx" on "google_calendar_source_event_v1" ("google_id");
create index if not exists "google_calendar_source_event_v1_google_calendar_id_idx" on "google_calendar_source_event_v1" ("google_calendar_id");
create index if not exists "google_calendar_source_event_v1_row_updated_at_idx" on "google_calendar_source_event_v1" ("row_updated_at");
create index if not exists "google_calendar_source_event_v1_recurring_event_id_idx" on "google_calendar_source_event_v1" ("recurring_event_id")
  where "recurring_event_id" is not null;
create index if not exists "google_calendar_source_event_v1_a78a9dba17587ebd_idx" on "google_calendar_source_event_v1" ("external_owner_id", "google_calendar_id", "start_at", "end_at")
  where "status" is distinct from 'cancelled'
  and "start_at" is not null;
create index if not exists "google_calendar_source_event_v1_6b1712b596b53f47_idx" on "google_calendar_source_event_v1" ("external_owner_id", "google_calendar_id", "start_date", "end_date")
  where "status" is distinct from 'cancelled'
  and "start_date" is not null;
create index if not exists "google_calendar_source_event_v1_stale_e349c14a_idx" on "google_calendar_source_event_v1" ("external_owner_id", "row_updated_at")
  where "status" = 'cancelled'
  and "recurring_event_id" is null;
