//! Changes of single events: the writes of the API, which the control calls use as well.

use std::sync::Arc;

use rand::Rng;
use serde_json::{Map, Value, json};

use super::Model;
use super::calendar::{Calendar, EventKey, Stamp};
use super::error::{ApiError, preset};
use super::event::{Event, Grave, Status, View};
use super::push::State;
use super::time::{EventTime, millis_text};

impl Model {
    /// Adds an event from a body on the wire and returns its id. A body with `recurringEventId` and
    /// `originalStartTime` makes an exception of that series.
    pub fn add_event(&mut self, calendar_id: &str, body: &Value) -> Result<String, ApiError> {
        let body = object(body)?;
        let calendar = self.calendar(calendar_id)?;
        let (master, original) = (body.get("recurringEventId"), body.get("originalStartTime"));
        if let (Some(Value::String(master)), Some(original)) = (master, original) {
            let original = EventTime::parse(original, calendar.zone());
            let original = original.map_err(|why| ApiError::bad_body(&why))?;
            let id = format!("{master}_{}", original.instance_suffix());
            self.patch_event(calendar_id, &id, &Value::Object(body.clone()))?;
            return Ok(id);
        }
        let id = match body.get("id").and_then(Value::as_str) {
            Some(id) if calendar.event(id).is_some() => return Err(known("duplicate")),
            Some(id) => id.to_owned(),
            None => self.event_id(),
        };
        let calendar = self.calendar(calendar_id)?;
        let mut event =
            Event::new(&id, body, calendar.zone()).map_err(|why| ApiError::bad_body(&why))?;
        let stamp = self.stamp();
        let calendar = self.calendar(calendar_id)?;
        fill_defaults(&mut event, calendar, stamp);
        self.put_event(calendar_id, event, stamp)?;
        Ok(id)
    }

    /// Merges a patch into an event; an instance becomes an exception.
    pub fn patch_event(
        &mut self,
        calendar_id: &str,
        id: &str,
        patch: &Value,
    ) -> Result<(), ApiError> {
        let patch = object(patch)?;
        let silent = !patch.is_empty() && patch.keys().all(|name| name == "reminders");
        self.edit(calendar_id, id, |event, calendar| {
            let before = event.start.clone();
            event.merge(patch, calendar.zone()).map_err(|why| ApiError::bad_body(&why))?;
            event.sequence += u32::from(before != event.start);
            if event.is_live() {
                event.grave = Grave::Own;
            }
            Ok(if silent { Touch::Silent } else { Touch::Updated })
        })
    }

    /// Puts a whole body in place of an event.
    pub fn replace_event(
        &mut self,
        calendar_id: &str,
        id: &str,
        body: &Value,
    ) -> Result<(), ApiError> {
        let body = object(body)?;
        self.edit(calendar_id, id, |event, calendar| {
            let mut new =
                Event::new(id, body, calendar.zone()).map_err(|why| ApiError::bad_body(&why))?;
            for name in ["creator", "organizer", "iCalUID", "htmlLink", "eventType", "reminders"] {
                if let (None, Some(old)) = (new.fields.get(name), event.fields.get(name)) {
                    new.fields.insert(name.to_owned(), old.clone());
                }
            }
            new.created = event.created.clone();
            new.exception = event.exception.clone();
            new.sequence = new.sequence.max(event.sequence);
            *event = new;
            Ok(Touch::Updated)
        })
    }

    /// Cancels a single event, a whole series, or one instance.
    pub fn cancel_event(&mut self, calendar_id: &str, id: &str) -> Result<(), ApiError> {
        self.edit(calendar_id, id, |event, _| {
            if !event.is_live() {
                return Err(known("deleted"));
            }
            event.status = Status::Cancelled;
            event.grave = Grave::Own;
            Ok(Touch::Updated)
        })
    }

    /// Brings a cancelled event back under its id. An exception needs its series alive.
    pub fn undelete_event(&mut self, calendar_id: &str, id: &str) -> Result<(), ApiError> {
        self.edit(calendar_id, id, |event, calendar| {
            if event.exception.is_some() && calendar.materialize(&event.id).is_none() {
                return Err(ApiError::bad_body("The series has no such instance any more."));
            }
            event.status = Status::Confirmed;
            event.grave = Grave::Own;
            Ok(Touch::Updated)
        })
    }

    /// Moves a single event or a whole series; nothing but the id stays behind.
    pub fn move_event(&mut self, from: &str, to: &str, id: &str) -> Result<(), ApiError> {
        self.calendar(to)?;
        let source = self.calendar(from)?;
        let event = source.event(id).filter(|event| event.is_live()).cloned();
        let mut event = event.ok_or_else(ApiError::not_found)?;
        if event.exception.is_some() || from == to {
            return Err(ApiError::bad_body("Only whole events move, and to another calendar."));
        }
        let exceptions: Vec<Event> = source.exceptions(id).cloned().collect();
        let stamp = self.stamp();
        let left = Event {
            status: Status::Cancelled,
            grave: Grave::IdOnly,
            updated_us: stamp.at_us,
            ..event.clone()
        };
        self.put_event(from, left, stamp)?;
        event.updated_us = stamp.at_us;
        event.fields.insert("organizer".to_owned(), json!({ "email": to, "self": true }));
        for event in std::iter::once(event).chain(exceptions) {
            self.put_event(to, event, stamp)?;
        }
        Ok(())
    }

    /// An event, an instance, or what is left of either, as events.get answers.
    pub fn get_event(
        &self,
        calendar_id: &str,
        id: &str,
        view: &View<'_>,
    ) -> Result<Arc<str>, ApiError> {
        let calendar = self.calendar(calendar_id)?;
        let remains = |event: &Event| match event.grave {
            Grave::IdOnly => event.stub_to_json(view),
            _ => event.to_json(view),
        };
        if let Some(event) = calendar.event(id) {
            return Ok(if event.is_live() { event.to_json(view) } else { remains(event) });
        }
        let instance = calendar.materialize(id).map(|event| event.to_json(view));
        let lost = || calendar.lost(id).map(remains);
        instance.or_else(lost).ok_or_else(ApiError::not_found)
    }

    /// The etag that `If-Match` compares with.
    pub fn event_etag(&self, calendar_id: &str, id: &str) -> Option<String> {
        let calendar = self.calendar(calendar_id).ok()?;
        let stored = calendar.event(id).map(Event::etag);
        stored.or_else(|| calendar.materialize(id).map(|event| event.etag()))
    }

    fn edit(
        &mut self,
        calendar_id: &str,
        id: &str,
        change: impl FnOnce(&mut Event, &Calendar) -> Result<Touch, ApiError>,
    ) -> Result<(), ApiError> {
        let calendar = self.calendar(calendar_id)?;
        let stored = calendar.event(id).cloned();
        let event = stored.or_else(|| calendar.materialize(id));
        let mut event = event.ok_or_else(ApiError::not_found)?;
        let touch = change(&mut event, calendar)?;
        let stamp = self.stamp();
        if touch == Touch::Updated {
            event.updated_us = stamp.at_us;
        }
        self.put_event(calendar_id, event, stamp)
    }

    /// Stores an event and tells whoever watches its calendar.
    pub(super) fn put_event(
        &mut self,
        calendar_id: &str,
        event: Event,
        stamp: Stamp,
    ) -> Result<(), ApiError> {
        self.calendar_mut(calendar_id)?.put(event, stamp);
        self.notify_events(calendar_id, State::Exists, stamp.seq);
        Ok(())
    }

    /// Like Google's: base32hex, 26 characters.
    pub(super) fn event_id(&mut self) -> String {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
        (0..26).map(|_| char::from(DIGITS[self.rng.random_range(0..32)])).collect()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Touch {
    Updated,
    /// A delta shows it, but `updated` and the etag stay.
    Silent,
}

impl Calendar {
    /// Whether an id was ever used here.
    pub fn knows(&self, id: &str) -> bool {
        self.events.contains_key(&EventKey::new(id))
    }
}

pub(super) fn fill_defaults(event: &mut Event, calendar: &Calendar, stamp: Stamp) {
    event.updated_us = stamp.at_us;
    if event.created.is_empty() {
        event.created = millis_text(stamp.at_us - stamp.at_us % 1_000_000);
    }
    let person = json!({ "email": calendar.owner, "self": true });
    let link = format!("https://www.google.com/calendar/event?eid={}", event.id);
    let defaults = [
        ("htmlLink", json!(link)),
        ("creator", person.clone()),
        ("organizer", if calendar.primary { person } else { json!({ "email": calendar.id }) }),
        ("iCalUID", json!(format!("{}@google.com", event.id))),
        ("reminders", json!({ "useDefault": true })),
        ("eventType", json!("default")),
    ];
    for (name, value) in defaults {
        event.fields.entry(name).or_insert(value);
    }
}

pub(super) fn object(body: &Value) -> Result<&Map<String, Value>, ApiError> {
    body.as_object().ok_or_else(|| known("parseError"))
}

fn known(name: &str) -> ApiError {
    preset(name).unwrap_or_else(ApiError::not_found)
}
