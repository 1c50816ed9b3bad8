//! One event of a calendar: a single one, the master of a series, or an exception of a series.

use std::sync::{Arc, OnceLock};

use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Map, Value};

use super::recurrence::Recurrence;
use super::time::{EventTime, millis_text};

/// An event as it is stored: what matters to a listing parsed, the rest as it came.
#[derive(Clone, Debug)]
pub struct Event {
    /// Unique in its calendar; on an exception `<master>_<original start>`.
    pub id: String,
    /// Confirmed, tentative or cancelled.
    pub status: Status,
    /// Start.
    pub start: EventTime,
    /// End, exclusive for days.
    pub end: EventTime,
    /// Only on the master of a series.
    pub recurrence: Option<Recurrence>,
    /// Only on an exception of a series.
    pub exception: Option<Exception>,
    /// Every other field as on the wire.
    pub fields: Map<String, Value>,
    /// As on the wire, since imported events may carry nonsense such as year 0.
    pub created: String,
    /// Last change that Google counts as one (not reminders), microseconds since 1970.
    pub updated_us: i64,
    /// Sequence number of iCalendar.
    pub sequence: u32,
    /// Position of the last change in the model's history.
    pub changed: u64,
    /// How a cancelled event shows.
    pub grave: Grave,
    pub(super) cache: OnceLock<Arc<str>>,
}

/// Status of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Google's")]
pub enum Status {
    Confirmed,
    Tentative,
    Cancelled,
}

/// What makes an event an exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Id of the master.
    pub master: String,
    /// Where the rule would have put it.
    pub original: EventTime,
}

/// How a cancelled event shows in listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grave {
    /// Cancelled by itself: details stay readable with `showDeleted=true`.
    Own,
    /// Moved away: nothing but the id is left.
    IdOnly,
    /// An exception that died with its series.
    WithSeries {
        /// Near enough to now that an expanded delta reports it.
        reported: bool,
    },
}

/// Fields that don't go to [`Event::fields`].
const OWN_FIELDS: &[&str] = &[
    "kind",
    "etag",
    "id",
    "status",
    "created",
    "updated",
    "start",
    "end",
    "recurrence",
    "recurringEventId",
    "originalStartTime",
    "sequence",
];

impl Status {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Tentative => "tentative",
            Self::Cancelled => "cancelled",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Confirmed, Self::Tentative, Self::Cancelled].into_iter().find(|s| s.name() == text)
    }
}

impl Event {
    /// A new event from a body on the wire; `id` wins over the body's.
    pub fn new(id: &str, body: &Map<String, Value>, zone: &TimeZone) -> Result<Self, String> {
        let time = |name| match body.get(name) {
            Some(value) => EventTime::parse(value, zone),
            None => Err(format!("Missing {name} time.")),
        };
        let mut event = Self {
            id: id.to_owned(),
            status: Status::Confirmed,
            start: time("start")?,
            end: time("end")?,
            recurrence: None,
            exception: None,
            fields: Map::new(),
            created: String::new(),
            updated_us: 0,
            sequence: 0,
            changed: 0,
            grave: Grave::Own,
            cache: OnceLock::new(),
        };
        event.merge(body, zone)?;
        Ok(event)
    }

    /// Applies a body as a merge patch: null removes, objects merge, all else replaces.
    pub fn merge(&mut self, patch: &Map<String, Value>, zone: &TimeZone) -> Result<(), String> {
        for (name, value) in patch {
            match name.as_str() {
                "status" => {
                    let text = value.as_str().unwrap_or("confirmed");
                    self.status =
                        Status::parse(text).ok_or_else(|| format!("Invalid status: {text}"))?;
                }
                "start" => self.start = merged_time(&self.start, value, zone)?,
                "end" => self.end = merged_time(&self.end, value, zone)?,
                "created" => self.created = value.as_str().unwrap_or_default().to_owned(),
                "sequence" => {
                    let number = value.as_u64().and_then(|n| u32::try_from(n).ok());
                    self.sequence = number.unwrap_or(self.sequence);
                }
                "recurrence" => {
                    let lines: Vec<String> =
                        serde_json::from_value(value.clone()).unwrap_or_default();
                    let parsed = (!lines.is_empty()).then(|| Recurrence::parse(&lines));
                    self.recurrence = parsed.transpose()?;
                }
                name if OWN_FIELDS.contains(&name) => {}
                name => merge_value(&mut self.fields, name, value),
            }
        }
        if self.end.micros() < self.start.micros() {
            return Err("The specified time range is empty.".to_owned());
        }
        Ok(())
    }

    /// Not cancelled.
    pub fn is_live(&self) -> bool {
        self.status != Status::Cancelled
    }

    /// Master of a series.
    pub fn is_master(&self) -> bool {
        self.recurrence.is_some()
    }

    /// `"3546600818292318"`: twice the microseconds of `updated`.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.updated_us * 2)
    }

    /// The whole event.
    pub fn to_json(&self, view: &View<'_>) -> Arc<str> {
        if !view.is_default() {
            return self.render(view).into();
        }
        self.cache.get_or_init(|| self.render(view).into()).clone()
    }

    fn render(&self, view: &View<'_>) -> String {
        let mut out = self.head(&self.id);
        self.details(&mut out, view);
        out.field("start", &self.start.to_json(view.zone));
        out.field("end", &self.end.to_json(view.zone));
        if let Some(recurrence) = self.recurrence.as_ref().filter(|_| !view.times_only) {
            out.field("recurrence", &recurrence.lines);
        }
        if let Some(exception) = &self.exception {
            out.field("recurringEventId", &exception.master);
            out.field("originalStartTime", &exception.original.to_json(view.zone));
        }
        out.finish()
    }

    /// The instance of this master that stands at `original`.
    pub fn instance_to_json(&self, original: &EventTime, view: &View<'_>) -> Arc<str> {
        let mut out = self.head(&self.instance_id(original));
        self.details(&mut out, view);
        let length_us = self.end.micros() - self.start.micros();
        out.field("start", &original.to_json(view.zone));
        out.field("end", &self.instance_end(original, length_us).to_json(view.zone));
        out.field("recurringEventId", &self.id);
        out.field("originalStartTime", &original.to_json(view.zone));
        out.finish().into()
    }

    /// End of the instance that starts at `original`; keeps the zone of the master's end.
    pub fn instance_end(&self, original: &EventTime, length_us: i64) -> EventTime {
        match (original.shifted(length_us), &self.end) {
            (EventTime::At { instant, .. }, EventTime::At { zone, .. }) => {
                EventTime::At { instant, zone: zone.clone() }
            }
            (end, _) => end,
        }
    }

    /// Id of the instance that stands at `original`.
    pub fn instance_id(&self, original: &EventTime) -> String {
        format!("{}_{}", self.id, original.instance_suffix())
    }

    /// What is left of a cancelled event when its details are withheld.
    pub fn stub_to_json(&self, view: &View<'_>) -> Arc<str> {
        let mut out = self.head(&self.id);
        if let Some(exception) = &self.exception {
            out.field("recurringEventId", &exception.master);
            out.field("originalStartTime", &exception.original.to_json(view.zone));
        }
        out.finish().into()
    }

    fn head(&self, id: &str) -> Object {
        let mut out = Object::new();
        out.field("kind", "calendar#event");
        out.field("etag", &self.etag());
        out.field("id", id);
        out.field("status", self.status.name());
        out
    }

    fn details(&self, out: &mut Object, view: &View<'_>) {
        out.field("updated", &millis_text(self.updated_us));
        if view.times_only {
            return;
        }
        out.field("created", &self.created);
        out.field("sequence", &self.sequence);
        for (name, value) in &self.fields {
            let attendees = value.as_array().filter(|_| name == "attendees");
            match (attendees, view.max_attendees) {
                (Some(list), Some(max)) if list.len() > max => {
                    out.field(name, &list[..max]);
                    out.field("attendeesOmitted", &true);
                }
                _ => out.field(name, value),
            }
        }
    }
}

fn merged_time(old: &EventTime, patch: &Value, zone: &TimeZone) -> Result<EventTime, String> {
    let mut merged = old.to_json(zone);
    if let (Some(target), Some(patch)) = (merged.as_object_mut(), patch.as_object()) {
        if patch.get("date").is_some_and(|date| !date.is_null()) {
            target.clear();
        } else if patch.get("dateTime").is_some_and(|time| !time.is_null()) {
            target.remove("date");
        }
        for (name, value) in patch {
            merge_value(target, name, value);
        }
    }
    EventTime::parse(&merged, zone)
}

fn merge_value(target: &mut Map<String, Value>, name: &str, patch: &Value) {
    match (patch, target.get_mut(name)) {
        (Value::Null, _) => {
            target.remove(name);
        }
        (Value::Object(patch), Some(Value::Object(inner))) => {
            for (name, value) in patch {
                merge_value(inner, name, value);
            }
        }
        _ => {
            target.insert(name.to_owned(), patch.clone());
        }
    }
}

/// How a viewer sees events.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Offsets of dateTimes.
    pub zone: &'a TimeZone,
    /// The zone is the one that the request asked for, not the calendar's.
    pub foreign_zone: bool,
    /// Longer attendee lists are cut.
    pub max_attendees: Option<usize>,
    /// A freeBusyReader sees no details.
    pub times_only: bool,
}

impl View<'_> {
    fn is_default(&self) -> bool {
        !self.foreign_zone && self.max_attendees.is_none() && !self.times_only
    }
}

/// Writes one JSON object, field by field, without building a tree first.
pub(crate) struct Object {
    out: Vec<u8>,
}

impl Object {
    pub(crate) fn new() -> Self {
        let mut out = Vec::with_capacity(2_048);
        out.push(b'{');
        Self { out }
    }

    pub(crate) fn field(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        self.name(name);
        self.write(value);
    }

    /// A value that is JSON already.
    pub(crate) fn raw(&mut self, name: &str, value: &str) {
        self.name(name);
        self.out.extend_from_slice(value.as_bytes());
    }

    /// The same, for many: a page of thousands isn't copied as it grows.
    pub(crate) fn list(&mut self, name: &str, items: &[Arc<str>]) {
        self.name(name);
        self.out.reserve_exact(items.iter().map(|item| item.len() + 1).sum::<usize>() + 3);
        self.out.push(b'[');
        for (number, item) in items.iter().enumerate() {
            if number > 0 {
                self.out.push(b',');
            }
            self.out.extend_from_slice(item.as_bytes());
        }
        self.out.push(b']');
    }

    pub(crate) fn finish(mut self) -> String {
        self.out.push(b'}');
        String::from_utf8(self.out).unwrap_or_default()
    }

    fn name(&mut self, name: &str) {
        if self.out.len() > 1 {
            self.out.push(b',');
        }
        self.write(name);
        self.out.push(b':');
    }

    /// Values come from JSON or are plain data, so writing them to memory can't fail.
    fn write(&mut self, value: &(impl Serialize + ?Sized)) {
        let _ = serde_json::to_writer(&mut self.out, value);
    }
}
