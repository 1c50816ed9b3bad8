//! Changes of a whole series: from single to recurring and back, deleting, trimming, splitting.

use serde_json::json;

use super::Model;
use super::error::{ApiError, preset};
use super::event::Event;
use super::time::{DAY_US, EventTime};

impl Model {
    /// Makes a series of a single event. The expanded feed never says that the single one is gone.
    pub fn make_recurring(
        &mut self,
        calendar_id: &str,
        id: &str,
        rules: &[String],
    ) -> Result<(), ApiError> {
        self.patch_event(calendar_id, id, &json!({ "recurrence": rules }))
    }

    /// Makes a single event of a series: its first instance stays.
    pub fn make_single(&mut self, calendar_id: &str, id: &str) -> Result<(), ApiError> {
        self.series(calendar_id, id)?;
        self.patch_event(calendar_id, id, &json!({ "recurrence": [] }))
    }

    /// Deletes a whole series; the expanded feed reports only instances near to now.
    pub fn delete_series(&mut self, calendar_id: &str, id: &str) -> Result<(), ApiError> {
        self.series(calendar_id, id)?;
        self.cancel_event(calendar_id, id)
    }

    /// Ends a series at `until` (inclusive), in the form of an instance id: `20261201T090000Z` or
    /// `20261201`.
    pub fn trim_series(
        &mut self,
        calendar_id: &str,
        id: &str,
        until: &str,
    ) -> Result<(), ApiError> {
        let master = self.series(calendar_id, id)?;
        let trimmed = master.recurrence.as_ref().map(|rule| rule.trimmed(until));
        let lines = trimmed.map(|rule| rule.lines).unwrap_or_default();
        self.patch_event(calendar_id, id, &json!({ "recurrence": lines }))
    }

    /// "This and all following": the old series ends before instance `at`, a new one with id
    /// `<id>_R<local start>` begins there. Returns the new id.
    pub fn split_series(
        &mut self,
        calendar_id: &str,
        id: &str,
        at: &str,
        changes: &serde_json::Value,
    ) -> Result<String, ApiError> {
        let master = self.series(calendar_id, id)?.clone();
        let calendar = self.calendar(calendar_id)?;
        let instance = calendar
            .materialize(at)
            .filter(|instance| instance.exception.as_ref().is_some_and(|e| e.master == id));
        let instance = instance.ok_or_else(ApiError::not_found)?;
        let before = instance.start.shifted(match instance.start {
            EventTime::Date(_) => -DAY_US,
            EventTime::At { .. } => -1_000_000,
        });
        let Some(rule) = &master.recurrence else { return Err(ApiError::not_found()) };
        let done = rule.occurrences(&master.start, calendar.zone());
        let done = done.iter().filter(|time| time.micros() < instance.start.micros()).count();
        let following = lines_after(&rule.lines, done);
        let zone = calendar.zone();
        let suffix = instance.start.instance_suffix();
        let new_id = format!("{id}_R{}", suffix.trim_end_matches('Z'));
        if calendar.knows(&new_id) {
            return Err(preset("duplicate").unwrap_or_else(ApiError::not_found));
        }
        let mut body = master.fields.clone();
        body.remove("htmlLink");
        body.remove("iCalUID");
        body.insert("id".into(), new_id.as_str().into());
        body.insert("start".into(), instance.start.to_json(zone));
        body.insert("end".into(), instance.end.to_json(zone));
        body.insert("recurrence".into(), json!(following));
        for (name, value) in super::change::object(changes)? {
            body.insert(name.clone(), value.clone());
        }
        self.trim_series(calendar_id, id, &before.instance_suffix())?;
        self.add_event(calendar_id, &body.into())
    }

    fn series(&self, calendar_id: &str, id: &str) -> Result<&Event, ApiError> {
        let event = self.calendar(calendar_id)?.event(id).filter(|event| event.is_live());
        let event = event.ok_or_else(ApiError::not_found)?;
        if event.is_master() {
            return Ok(event);
        }
        Err(ApiError::bad_body(&format!("{id:?} is not a recurring event.")))
    }
}

/// The rule of what follows after `done` instances.
fn lines_after(lines: &[String], done: usize) -> Vec<String> {
    let part = |part: &str| match part.strip_prefix("COUNT=").and_then(|n| n.parse().ok()) {
        Some(count) => format!("COUNT={}", usize::saturating_sub(count, done)),
        None => part.to_owned(),
    };
    let line = |line: &String| match line.strip_prefix("RRULE:") {
        Some(rule) => format!("RRULE:{}", rule.split(';').map(part).collect::<Vec<_>>().join(";")),
        None => line.clone(),
    };
    lines.iter().map(line).collect()
}
