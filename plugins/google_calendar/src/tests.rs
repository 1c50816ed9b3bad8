//! The plugin against a scripted host: what it asks for, and what its writes come to.

mod calendars;
mod doubts;
mod events;
mod masters;
mod paging;
mod push;
mod receive;
mod relists;
mod requests;
mod series;
mod told;
mod unseen;

use rowgate_plugin::db::Scalar;
use rowgate_plugin::testing::{self, Did, Host, NOW, Record, Tables};
use rowgate_plugin::{Context, Plugin, Progress, Result, Step, StreamId};
use serde_json::{Value, json};

use crate::manifest::services::{
    GOOGLE_CALENDAR_EVENT_V1, GOOGLE_CALENDAR_LIST_V1, GOOGLE_CALENDAR_SOURCE_EVENT_V1,
    GOOGLE_CALENDAR_V1,
};
use crate::manifest::tables::{Calendar, Event, List};
use crate::{Cursor, GoogleCalendar};

const API: &str = "https://api.test/v3";
const TOKEN: &str = "https://token.test/token";
const EXPANDED: &str = GOOGLE_CALENDAR_EVENT_V1;
const SOURCE: &str = GOOGLE_CALENDAR_SOURCE_EVENT_V1;
const CAL: &str = "work@example.org";

/// One owner: host, tables, and time.
struct World {
    host: Host,
    tables: Tables,
    now: i64,
    relist_after_s: u32,
}

impl World {
    /// With an access token, so that no test but those of tokens sees the token endpoint.
    fn new() -> Self {
        let host = Host::new();
        host.capture("access_token", TOKEN, "access_token");
        host.secret("access_token").secret("refresh_token");
        let tables = Tables::new()
            .with::<List>(GOOGLE_CALENDAR_LIST_V1)
            .with::<Calendar>(GOOGLE_CALENDAR_V1)
            .with::<Event>(EXPANDED)
            .with::<Event>(SOURCE);
        Self { host, tables, now: NOW, relist_after_s: 0 }
    }

    fn cx(&self, service: &str) -> Context {
        let relist_after_s = self.relist_after_s.to_string();
        let config =
            [("api_url", API), ("token_url", TOKEN), ("relist_after_s", relist_after_s.as_str())];
        let config = config.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Context { config, now: self.now, ..testing::context(service) }
    }

    /// One call; commits what it wrote if it returns ok.
    fn step(&mut self, stream: &StreamId, cursor: Option<Cursor>) -> (Result<Step<Cursor>>, Did) {
        self.step_at(stream, cursor, 100)
    }

    fn step_at(
        &mut self,
        stream: &StreamId,
        cursor: Option<Cursor>,
        limit: u32,
    ) -> (Result<Step<Cursor>>, Did) {
        self.host.show(&self.tables);
        let result = GoogleCalendar::sync(&self.cx(&stream.service), stream, cursor, limit);
        let did = self.host.take();
        if result.is_ok() {
            self.tables.commit(&did.writes);
        }
        (result, did)
    }

    /// Calls until the stream rests; cursors pass through their stored form.
    fn run(&mut self, stream: &StreamId, cursor: Option<Cursor>) -> Step<Cursor> {
        let mut cursor = cursor;
        loop {
            let step = self.step(stream, cursor).0.unwrap();
            if step.progress != Progress::More {
                assert_eq!(self.host.answers_left(), 0, "answers that nobody asked for");
                return step;
            }
            let stored = serde_json::to_vec(&step.cursor).unwrap();
            cursor = serde_json::from_slice(&stored).unwrap();
        }
    }

    fn status_of(&self, service: &str, id: &str) -> Option<String> {
        text(self.row(service, id)?, "status")
    }

    fn row(&self, service: &str, id: &str) -> Option<&Record> {
        self.tables
            .rows(service)
            .into_iter()
            .find(|row| text(row, "google_id").as_deref() == Some(id))
    }

    /// Ids of rows that aren't cancelled.
    fn live(&self, service: &str) -> Vec<String> {
        let rows = self.tables.rows(service).into_iter();
        let live = rows.filter(|row| text(row, "status").as_deref() != Some("cancelled"));
        live.filter_map(|row| text(row, "google_id")).collect()
    }
}

/// Does the next call begin with a full listing?
fn lists_anew(step: &Step<Cursor>) -> bool {
    let cursor = serde_json::to_value(&step.cursor).unwrap();
    let listing = &cursor["events"]["listing"];
    assert!(listing.is_object());
    step.progress == Progress::More && listing["token"].is_null()
}

fn events(service: &str) -> StreamId {
    StreamId::new(service, "events", CAL)
}

fn calendars() -> StreamId {
    StreamId::new(GOOGLE_CALENDAR_V1, "calendars", "")
}

fn text(row: &Record, column: &str) -> Option<String> {
    match row.get(column)? {
        Scalar::Text(text) | Scalar::Json(text) => Some(text.clone()),
        other => Some(format!("{other:?}")),
    }
}

fn last_page(items: Vec<Value>, sync_token: &str) -> Value {
    json!({"items": items, "nextSyncToken": sync_token})
}

fn page(items: Vec<Value>, next: &str) -> Value {
    json!({"items": items, "nextPageToken": next})
}

fn single(id: &str) -> Value {
    json!({"id": id, "status": "confirmed", "created": "2026-01-01T00:00:00Z",
        "updated": "2026-01-01T00:00:00Z", "summary": id,
        "start": {"dateTime": "2026-02-01T10:00:00+01:00"},
        "end": {"dateTime": "2026-02-01T11:00:00+01:00"}})
}

/// The instance of a daily series on its `day`th day, from 2026-02-01 on.
fn instance(series: &str, day: u32) -> Value {
    let mut event = single(&instance_id(series, day));
    event["recurringEventId"] = series.into();
    event["originalStartTime"] = json!({"dateTime": start(day)});
    event["start"] = json!({"dateTime": start(day)});
    event
}

fn cancelled_instance(series: &str, day: u32) -> Value {
    json!({"id": instance_id(series, day), "status": "cancelled", "recurringEventId": series,
        "originalStartTime": {"dateTime": start(day)}})
}

fn instance_id(series: &str, day: u32) -> String {
    format!("{series}_{}T090000Z", date(day).replace('-', ""))
}

fn start(day: u32) -> String {
    format!("{}T09:00:00Z", date(day))
}

/// Months of 28 days, so that a test needs no calendar.
fn date(day: u32) -> String {
    format!("{}-{:02}-{:02}", 2026 + day / 336, day / 28 % 12 + 1, day % 28 + 1)
}

fn error(status: u16, reason: &str) -> Value {
    json!({"error": {"errors": [{"domain": "global", "reason": reason, "message": reason}],
        "code": status, "message": reason}})
}
