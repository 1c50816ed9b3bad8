create table if not exists "google_calendar_event_v1" (
  "pk" bigint primary key default nextval('rowgate_pk'),
  "compound_identity" text collate "C" not null unique,
  "external_owner_id" text collate "C" not null,
  "google_id" text collate "C",
  "google_calendar_id" text collate "C",
  "status" text collate "C",
  "created" timestamp with time zone,
  "updated" timestamp with time zone,
  "start_date" date,
  "end_date" date,
  "original_start_date" date,
  "start_at" timestamp with time zone,
  "end_at" timestamp with time zone,
  "original_start_at" timestamp with time zone,
  "recurring_event_id" text collate "C",
  "row_created_at" timestamp with time zone not null,
  "row_updated_at" timestamp with time zone not null,
  "data" jsonb not null default '{}'
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
