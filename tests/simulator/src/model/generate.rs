//! Seeded events of realistic size and variety, many at once.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Model;
use super::change::fill_defaults;
use super::error::ApiError;
use super::event::{Event, View};
use super::time::{DAY_US, EventTime, timestamp};

/// Which events to generate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mix {
    /// Everything: series with exceptions, whole days, untitled, foreign zones, year 0, NUL...
    #[default]
    Mixed,
    /// Plain single events: as many rows as events, in both feeds.
    Singles,
}

const WORDS: &[&str] = &[
    "budget",
    "review",
    "planning",
    "standup",
    "dentist",
    "quarterly",
    "hiring",
    "sync",
    "design",
    "lunch",
    "roadmap",
    "interview",
    "retro",
    "demo",
    "launch",
    "training",
    "board",
    "travel",
    "school",
    "concert",
    "invoice",
    "renewal",
    "workshop",
    "audit",
    "garden",
    "call",
];

const PEOPLE: &[&str] = &["ana", "bo", "chen", "dara", "eli", "fatou", "grace", "hiro", "ines"];

impl Model {
    /// Adds `count` stored events (a master or an exception counts as one); returns their ids.
    pub fn generate_events(
        &mut self,
        calendar_id: &str,
        count: usize,
        mix: Mix,
    ) -> Result<Vec<String>, ApiError> {
        self.calendar(calendar_id)?;
        let mut ids = Vec::with_capacity(count);
        while ids.len() < count {
            let id = self.event_id();
            let body = body(&mut self.rng, self.now_us, mix);
            let is_series = body.contains_key("recurrence");
            self.put_generated(calendar_id, &id, &body)?;
            ids.push(id.clone());
            if is_series && ids.len() < count {
                ids.extend(self.generate_exception(calendar_id, &id)?);
            }
        }
        self.render_ahead(calendar_id, &ids)?;
        Ok(ids)
    }

    /// Otherwise the first listing would measure the simulator instead of its client.
    fn render_ahead(&self, calendar_id: &str, ids: &[String]) -> Result<(), ApiError> {
        let calendar = self.calendar(calendar_id)?;
        let view = View {
            zone: calendar.zone(),
            foreign_zone: false,
            max_attendees: None,
            times_only: false,
        };
        for event in ids.iter().filter_map(|id| calendar.event(id)) {
            event.to_json(&view);
        }
        Ok(())
    }

    fn put_generated(
        &mut self,
        calendar_id: &str,
        id: &str,
        body: &Map<String, Value>,
    ) -> Result<(), ApiError> {
        let stamp = self.stamp();
        let calendar = self.calendar(calendar_id)?;
        let event = Event::new(id, body, calendar.zone());
        let mut event = event.map_err(|why| ApiError::bad_body(&why))?;
        fill_defaults(&mut event, calendar, stamp);
        self.put_event(calendar_id, event, stamp)
    }

    /// Every second series has an exception: moved by an hour, or cancelled.
    fn generate_exception(
        &mut self,
        calendar_id: &str,
        master: &str,
    ) -> Result<Option<String>, ApiError> {
        let (roll, index) = (self.rng.random_range(0..4), self.rng.random_range(0..usize::MAX));
        let calendar = self.calendar(calendar_id)?;
        let Some(event) = calendar.event(master).filter(|_| roll < 2) else { return Ok(None) };
        let times = calendar.instances(event);
        let Some(original) = times.get(index % times.len().max(1)) else {
            return Ok(None);
        };
        let id = event.instance_id(original);
        let hour_later = |time: &EventTime| time.shifted(DAY_US / 24).to_json(calendar.zone());
        let end = event.instance_end(original, event.end.micros() - event.start.micros());
        let moved = json!({ "start": hour_later(original), "end": hour_later(&end) });
        match roll {
            0 => self.patch_event(calendar_id, &id, &moved)?,
            _ => self.cancel_event(calendar_id, &id)?,
        }
        Ok(Some(id))
    }
}

/// The body of a new event. It starts within four months of now, so that a delta reports
/// something of a series that is deleted.
pub(super) fn body(rng: &mut ChaCha8Rng, now_us: i64, mix: Mix) -> Map<String, Value> {
    let start_us =
        now_us - now_us % (DAY_US / 96) + rng.random_range(-30 * 96..120 * 96) * DAY_US / 96;
    let minutes = i64::from(rng.random_range(1..9) * 15);
    let mut body = plain(rng, timestamp(start_us), timestamp(start_us + minutes * 60_000_000));
    if mix == Mix::Mixed {
        vary(rng, now_us, &mut body);
    }
    body
}

fn plain(rng: &mut ChaCha8Rng, start: Timestamp, end: Timestamp) -> Map<String, Value> {
    let attendees: Vec<Value> = (0..rng.random_range(1..4))
        .map(|_| {
            let name = PEOPLE[rng.random_range(0..PEOPLE.len())];
            json!({
                "email": format!("{name}@example.com"),
                "displayName": name,
                "responseStatus": if rng.random_bool(0.5) { "accepted" } else { "needsAction" },
            })
        })
        .collect();
    let body = json!({
        "summary": words(rng, 3),
        "description": words(rng, 55),
        "location": format!("Room {}", rng.random_range(1..40)),
        "start": { "dateTime": start.to_string(), "timeZone": "UTC" },
        "end": { "dateTime": end.to_string(), "timeZone": "UTC" },
        "attendees": attendees,
        "guestsCanModify": false,
    });
    match body {
        Value::Object(body) => body,
        _ => Map::new(),
    }
}

fn vary(rng: &mut ChaCha8Rng, now_us: i64, body: &mut Map<String, Value>) {
    let mut set = |name: &str, value: Value| {
        body.insert(name.to_owned(), value);
    };
    match rng.random_range(0..1_000) {
        0..20 => {
            let count = rng.random_range(3..13);
            set("recurrence", json!([format!("RRULE:FREQ=WEEKLY;COUNT={count}")]));
        }
        20..120 => {
            let first = timestamp(now_us + rng.random_range(-30..120) * DAY_US);
            let first = EventTime::Date(TimeZone::UTC.to_datetime(first).date());
            let last = first.shifted(rng.random_range(1..4) * DAY_US);
            set("start", first.to_json(&TimeZone::UTC));
            set("end", last.to_json(&TimeZone::UTC));
        }
        120..160 => set("status", json!("tentative")),
        160..180 => {
            body.remove("summary");
        }
        180..185 => set("created", json!("0000-12-31T00:00:00Z")),
        185..188 => set("description", json!("before\u{0}after")),
        188..196 => set("description", json!(words(rng, 1_200))),
        196..240 => set("summary", json!("Обед с Zoë 🥐 — 会議 \u{202e}rtl\u{202c} \"quoted\"")),
        240..280 => {
            for name in ["start", "end"] {
                if let Some(time) = body.get_mut(name) {
                    time["timeZone"] = json!("America/Los_Angeles");
                }
            }
        }
        280..300 => {
            set("eventLabelId", json!("label-7"));
            set("somethingNew", json!({ "nested": [1, 2.5, null, true] }));
        }
        300..310 => set("status", json!("cancelled")),
        310..330 => set("visibility", json!("private")),
        330..350 => set("transparency", json!("transparent")),
        _ => {}
    }
}

pub(super) fn words(rng: &mut ChaCha8Rng, count: usize) -> String {
    let mut text = String::with_capacity(count * 8);
    for _ in 0..count {
        text.push_str(WORDS[rng.random_range(0..WORDS.len())]);
        text.push(' ');
    }
    text.pop();
    text
}
