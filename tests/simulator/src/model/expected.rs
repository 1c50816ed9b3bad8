//! What a complete and current copy of the service would hold, for comparing tables with.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Model;
use super::calendar::{Calendar, Role};
use super::event::Event;
use super::time::{EventTime, timestamp};

/// 0001-01-01T00:00:00Z.
const YEAR_1_US: i64 = -62_135_596_800_000_000;

/// Calendar lists and live events of every user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// By email, then by calendar id.
    pub users: BTreeMap<String, BTreeMap<String, ExpectedCalendar>>,
}

/// One entry of a user's calendar list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedCalendar {
    /// Title; None if the entry is gone.
    pub summary: Option<String>,
    /// Zone; None if the entry is gone.
    pub time_zone: Option<String>,
    /// What the user may do.
    pub access_role: String,
    /// No longer in the list; its events don't count then, and both maps are empty.
    pub deleted: bool,
    /// Hidden from plain listings.
    pub hidden: bool,
    /// Live instances and single events, by id: `singleEvents=true`.
    pub expanded: BTreeMap<String, ExpectedEvent>,
    /// Live masters, exceptions and single events, by id.
    pub source: BTreeMap<String, ExpectedEvent>,
}

/// One live event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedEvent {
    /// `confirmed` or `tentative`.
    pub status: String,
    /// `2026-11-02` or `2026-11-02T10:00:00Z`.
    pub start: String,
    /// The same; exclusive for days.
    pub end: String,
    /// On instances and exceptions: where the rule puts it.
    pub original_start: Option<String>,
    /// `2026-11-02T10:00:00.001Z`; None if it is no time, or the viewer doesn't see it.
    pub created: Option<String>,
    /// The same.
    pub updated: String,
    /// On instances and exceptions.
    pub recurring_event_id: Option<String>,
    /// Title, for messages; None where the viewer doesn't see it.
    pub summary: Option<String>,
}

impl Model {
    /// What tables in sync with the service hold; cancelled rows aside.
    pub fn expected(&self) -> Expected {
        let list = |email: &String| -> BTreeMap<String, ExpectedCalendar> {
            let entries = self.users.get(email).into_iter().flat_map(|user| &user.list);
            entries
                .map(|(id, entry)| {
                    let calendar = self.calendars.get(id).filter(|_| !entry.deleted);
                    (id.clone(), expected_calendar(calendar, email, entry.hidden))
                })
                .collect()
        };
        Expected { users: self.users.keys().map(|email| (email.clone(), list(email))).collect() }
    }
}

fn expected_calendar(calendar: Option<&Calendar>, email: &str, hidden: bool) -> ExpectedCalendar {
    let role = calendar.map_or(Role::None, |calendar| calendar.role(email));
    let times_only = role == Role::FreeBusyReader;
    let expanded = calendar.map(|calendar| expanded(calendar, times_only)).unwrap_or_default();
    let source = match calendar {
        Some(_) if times_only => expanded.clone(),
        Some(calendar) => source(calendar),
        None => BTreeMap::new(),
    };
    ExpectedCalendar {
        summary: calendar.map(|calendar| calendar.summary.clone()),
        time_zone: calendar.map(|calendar| calendar.time_zone.clone()),
        access_role: role.name().to_owned(),
        deleted: calendar.is_none(),
        hidden,
        expanded,
        source,
    }
}

fn source(calendar: &Calendar) -> BTreeMap<String, ExpectedEvent> {
    let live = calendar.events().filter(|event| event.is_live());
    live.map(|event| (event.id.clone(), row(event, &event.start, &event.end, false))).collect()
}

fn expanded(calendar: &Calendar, times_only: bool) -> BTreeMap<String, ExpectedEvent> {
    let mut rows = BTreeMap::new();
    for event in calendar.events().filter(|event| event.is_live()) {
        if !event.is_master() {
            let found = row(event, &event.start, &event.end, times_only);
            rows.insert(event.id.clone(), found);
            continue;
        }
        let length_us = event.end.micros() - event.start.micros();
        for original in calendar.instances(event) {
            let end = event.instance_end(&original, length_us);
            let mut found = row(event, &original, &end, times_only);
            found.recurring_event_id = Some(event.id.clone());
            found.original_start = Some(original.to_utc_text());
            rows.insert(event.instance_id(&original), found);
        }
    }
    rows
}

fn row(event: &Event, start: &EventTime, end: &EventTime, times_only: bool) -> ExpectedEvent {
    let summary = event.fields.get("summary").filter(|_| !times_only);
    let exception = event.exception.as_ref();
    // Imported events may be older than any calendar.
    let created = event.created.parse::<Timestamp>().ok();
    let created = created.filter(|created| !times_only && created.as_microsecond() >= YEAR_1_US);
    ExpectedEvent {
        status: event.status.name().to_owned(),
        start: start.to_utc_text(),
        end: end.to_utc_text(),
        original_start: exception.map(|exception| exception.original.to_utc_text()),
        created: created.map(|created| created.to_string()),
        updated: timestamp(event.updated_us).to_string(),
        recurring_event_id: exception.map(|exception| exception.master.clone()),
        summary: summary.and_then(|summary| summary.as_str()).map(str::to_owned),
    }
}
