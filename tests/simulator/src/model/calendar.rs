//! A calendar with its events, and the rules by which a series loses and regains instances.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::event::{Event, Exception, Grave, Status};
use super::fnv1a;
use super::time::{DAY_US, EventTime, zone};

/// How far from now the vanished instances of a deleted or trimmed series are reported.
pub const TOMBSTONE_REACH_US: i64 = 180 * DAY_US;

/// What a user may do with a calendar, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are Google's")]
pub enum Role {
    None,
    FreeBusyReader,
    Reader,
    WriterWithoutPrivateAccess,
    Writer,
    Owner,
}

impl Role {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::FreeBusyReader => "freeBusyReader",
            Self::Reader => "reader",
            Self::WriterWithoutPrivateAccess => "writerWithoutPrivateAccess",
            Self::Writer => "writer",
            Self::Owner => "owner",
        }
    }
}

/// A calendar, shared by everyone with a role on it.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// `user1@example.com`, `c_...@group.calendar.google.com`, `...#contacts@group.v...`.
    pub id: String,
    /// Title as the owner wrote it.
    pub summary: String,
    /// Description, may be empty.
    pub description: String,
    /// Zone that event times are rendered in; one of [`super::time::zone_names`].
    pub time_zone: String,
    /// Email of the user who made it.
    pub owner: String,
    /// The owner's primary calendar.
    pub primary: bool,
    /// Deleted by the owner, for everyone.
    pub deleted: bool,
    /// Who may do what; the owner included.
    pub roles: BTreeMap<String, Role>,
    /// Last change of any event, microseconds since 1970.
    pub updated_us: i64,
    pub(super) changed: u64,
    pub(super) tokens_valid_from: u64,
    pub(super) events: BTreeMap<EventKey, Event>,
    pub(super) exceptions: BTreeMap<String, BTreeSet<String>>,
    pub(super) lost: BTreeMap<EventKey, Lost>,
}

/// Order of a listing: stable, but it says nothing, so an exception may precede its master.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EventKey {
    scatter: u64,
    pub(super) id: String,
}

impl EventKey {
    pub(super) fn new(id: &str) -> Self {
        Self { scatter: fnv1a(id), id: id.to_owned() }
    }
}

/// An instance that a rule used to give and gives no more.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    pub(super) event: Event,
}

/// One change: its place in the history and its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub(super) seq: u64,
    pub(super) at_us: i64,
    pub(super) now_us: i64,
}

impl Calendar {
    /// Rules of the calendar's zone.
    pub fn zone(&self) -> &'static TimeZone {
        static UTC: TimeZone = TimeZone::UTC;
        zone(&self.time_zone).unwrap_or(&UTC)
    }

    /// The role of a user.
    pub fn role(&self, user: &str) -> Role {
        self.roles.get(user).copied().unwrap_or(Role::None)
    }

    /// An event by id; an instance without exception of its own has none.
    pub fn event(&self, id: &str) -> Option<&Event> {
        self.events.get(&EventKey::new(id))
    }

    /// Every stored event, cancelled ones too, in listing order.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.values()
    }

    /// Original starts of the instances of a live master that are no exceptions.
    pub fn instances(&self, master: &Event) -> Vec<EventTime> {
        let mut times = self.occurrences(master);
        if let Some(exceptions) = self.exceptions.get(&master.id) {
            times.retain(|time| !exceptions.contains(&master.instance_id(time)));
        }
        times
    }

    /// Ids of the exceptions of a series, cancelled ones too.
    pub fn exceptions(&self, master: &str) -> impl Iterator<Item = &Event> {
        let ids = self.exceptions.get(master).into_iter().flatten();
        ids.filter_map(|id| self.event(id))
    }

    fn occurrences(&self, master: &Event) -> Vec<EventTime> {
        match &master.recurrence {
            Some(recurrence) if master.is_live() => {
                recurrence.occurrences(&master.start, self.zone())
            }
            _ => Vec::new(),
        }
    }

    /// The exception that an edit of instance `id` would start from.
    pub fn materialize(&self, id: &str) -> Option<Event> {
        let (master, suffix) = id.rsplit_once('_')?;
        let master = self.event(master)?;
        let times = self.occurrences(master);
        let original = times.into_iter().find(|time| time.instance_suffix() == suffix)?;
        Some(exception_of(master, &original))
    }

    /// The remains of a vanished instance.
    pub fn lost(&self, id: &str) -> Option<&Event> {
        self.lost.get(&EventKey::new(id)).map(|lost| &lost.event)
    }

    pub(super) fn forget_rendered(&mut self) {
        for event in self.events.values_mut() {
            event.cache = OnceLock::new();
        }
    }

    /// Stores an event in place of what has its id, and keeps the books of its series.
    pub(super) fn put(&mut self, mut event: Event, stamp: Stamp) {
        let key = EventKey::new(&event.id);
        event.changed = stamp.seq;
        event.cache = OnceLock::new();
        self.changed = stamp.seq;
        self.updated_us = stamp.at_us;
        if let Some(exception) = &event.exception {
            self.exceptions.entry(exception.master.clone()).or_default().insert(event.id.clone());
            self.lost.remove(&key);
        }
        let old = self.events.insert(key.clone(), event);
        let was_master = old.as_ref().is_some_and(Event::is_master);
        let Some(new) = self.events.get(&key) else { return };
        if was_master || new.is_master() {
            let new = new.clone();
            self.keep_series_books(old, &new, stamp);
        }
    }

    fn keep_series_books(&mut self, old: Option<Event>, new: &Event, stamp: Stamp) {
        let present = self.occurrences(new);
        let present: BTreeSet<String> = present.iter().map(|t| new.instance_id(t)).collect();
        // Google reports all instances of a series that moves; not of one deleted or trimmed.
        let moved = new.is_live() && new.is_master();
        let moved = moved && old.as_ref().is_some_and(|old| old.start != new.start);
        let near =
            |time: &EventTime| moved || (time.micros() - stamp.now_us).abs() <= TOMBSTONE_REACH_US;
        if let Some(old) = &old {
            for original in self.instances(old) {
                let id = old.instance_id(&original);
                if !present.contains(&id) && near(&original) {
                    let event = changed(exception_of(old, &original), Status::Cancelled, stamp);
                    self.lost.insert(EventKey::new(&id), Lost { event });
                }
            }
        }
        for id in &present {
            self.lost.remove(&EventKey::new(id));
        }
        self.follow_master(new, &present, near, stamp);
    }

    /// Exceptions die with what they are exceptions of, and come back with it.
    fn follow_master(
        &mut self,
        master: &Event,
        present: &BTreeSet<String>,
        near: impl Fn(&EventTime) -> bool,
        stamp: Stamp,
    ) {
        for id in self.exceptions.get(&master.id).into_iter().flatten() {
            let Some(event) = self.events.get_mut(&EventKey::new(id)) else { continue };
            let died_with_series = matches!(event.grave, Grave::WithSeries { .. });
            match (present.contains(id), event.is_live()) {
                (false, true) => {
                    let reported = near(&event.start);
                    *event = changed(event.clone(), Status::Cancelled, stamp);
                    event.grave = Grave::WithSeries { reported };
                }
                (true, false) if died_with_series => {
                    *event = changed(event.clone(), Status::Confirmed, stamp);
                    event.grave = Grave::Own;
                }
                _ => {}
            }
        }
    }
}

fn exception_of(master: &Event, original: &EventTime) -> Event {
    let length_us = master.end.micros() - master.start.micros();
    Event {
        id: master.instance_id(original),
        start: original.clone(),
        end: master.instance_end(original, length_us),
        recurrence: None,
        exception: Some(Exception { master: master.id.clone(), original: original.clone() }),
        grave: Grave::Own,
        cache: OnceLock::new(),
        ..master.clone()
    }
}

fn changed(event: Event, status: Status, stamp: Stamp) -> Event {
    Event { status, changed: stamp.seq, updated_us: stamp.at_us, cache: OnceLock::new(), ..event }
}
