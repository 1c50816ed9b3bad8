//! What a listing holds: which events, instances and remains belong to it, in which order.

use std::ops::Bound;
use std::sync::Arc;

use super::Model;
use super::calendar::{Calendar, EventKey};
use super::event::{Event, Grave, View};
use super::feed::Page;
use super::query::{EventQuery, OrderBy};
use super::time::EventTime;
use super::token::{Kind, Position, Token};

/// One item of a feed before it is rendered.
pub(super) enum Item<'a> {
    Whole(&'a Event),
    Stub(&'a Event),
    Instance(&'a Event, EventTime),
}

/// The items of one page, where the next one starts, and where the last item stood.
pub(super) struct Slice<'a> {
    pub(super) items: Vec<Item<'a>>,
    next: Option<Position>,
    last: Option<Position>,
}

/// One listing in progress.
pub(super) struct Listing<'a> {
    pub(super) model: &'a Model,
    pub(super) calendar: &'a Calendar,
    pub(super) query: &'a EventQuery,
    pub(super) expanded: bool,
    pub(super) since: Option<u64>,
}

impl Slice<'_> {
    pub(super) fn page(
        self,
        token: Token,
        view: &View<'_>,
        query: &EventQuery,
        changed: u64,
    ) -> Page {
        let at = |position: Position| Token { position, ..token.clone() }.encode();
        let next_page_token = self.next.map(at);
        let ends = next_page_token.is_none() && query.yields_sync_token();
        let sync = Token {
            kind: Kind::Sync,
            fingerprint: query.sync_fingerprint(),
            since: None,
            position: Position::Start,
            ..token.clone()
        };
        Page {
            items: self.items.iter().map(|item| item.render(view)).collect(),
            next_page_token,
            next_sync_token: ends.then(|| sync.encode()),
            own_page_token: token.encode(),
            overlap_token: self.last.map(at),
            etag: format!("\"p3{:x}0o\"", token.fingerprint ^ changed.rotate_left(17)),
        }
    }
}

impl<'a> Listing<'a> {
    pub(super) fn plain(&self, from: &Position, size: usize) -> Slice<'a> {
        let mut slice = Slice { items: Vec::new(), next: None, last: None };
        for (position, item) in self.events_from(from).chain(self.lost_from(from)) {
            if slice.items.len() == size {
                slice.next = Some(position);
                return slice;
            }
            slice.items.push(item);
            slice.last = Some(position);
        }
        slice
    }

    pub(super) fn sorted(&self, order: OrderBy, from: &Position, size: usize) -> Slice<'a> {
        let mut items = self.plain(&Position::Start, usize::MAX).items;
        items.sort_by_key(|item| match order {
            OrderBy::StartTime => item.start().micros(),
            OrderBy::Updated => item.event().updated_us,
        });
        Slice::counted(items, from, size)
    }

    /// Items of stored events with their positions.
    fn events_from(&self, from: &Position) -> impl Iterator<Item = (Position, Item<'a>)> {
        let (start, delivered) = match from {
            Position::Item { id, instance } => (Some(EventKey::new(id)), instance.clone()),
            _ => (None, String::new()),
        };
        let lower = match (from, &start) {
            (Position::Lost { .. }, _) => None,
            (_, Some(start)) => Some(Bound::Included(start.clone())),
            (_, None) => Some(Bound::Unbounded),
        };
        let ranges = lower.map(|lower| self.calendar.events.range((lower, Bound::Unbounded)));
        ranges.into_iter().flatten().flat_map(move |(key, event)| {
            // By time, not by number: an instance may vanish between two pages.
            let first = if start.as_ref() == Some(key) { delivered.clone() } else { String::new() };
            let items = self.items_of(event).into_iter();
            let items = items.map(|item| (item.instance(), item));
            items
                .skip_while(move |(instance, _)| *instance < first)
                .map(|(instance, item)| (Position::Item { id: event.id.clone(), instance }, item))
        })
    }

    /// Remains of vanished instances with their positions.
    fn lost_from(&self, from: &Position) -> impl Iterator<Item = (Position, Item<'a>)> {
        let start = match from {
            Position::Lost { id } => Some(EventKey::new(id)),
            _ => None,
        };
        let wanted = self.expanded && self.shows_cancelled();
        let since = self.since.unwrap_or(0);
        let all = self.calendar.lost.iter();
        all.filter(move |(key, _)| wanted && start.as_ref().is_none_or(|start| *key >= start))
            .map(|(_, lost)| &lost.event)
            .filter(move |event| event.changed > since)
            .filter(|event| self.query.matches(event, std::slice::from_ref(&event.start)))
            .map(|event| (Position::Lost { id: event.id.clone() }, self.remains(event)))
    }

    fn shows_cancelled(&self) -> bool {
        match self.since {
            None => self.query.show_deleted || self.query.updated_min_us.is_some(),
            Some(_) => {
                let silent = &self.model.quirks.deltas_without_deletions;
                !silent.iter().any(|suffix| self.calendar.id.ends_with(suffix.as_str()))
            }
        }
    }

    /// What one stored event contributes to the feed.
    fn items_of(&self, event: &'a Event) -> Vec<Item<'a>> {
        if self.since.is_some_and(|since| event.changed <= since) {
            return Vec::new();
        }
        if self.expanded && event.is_master() {
            let times = self.calendar.instances(event);
            let fits = |time: &EventTime| self.query.matches(event, std::slice::from_ref(time));
            return times
                .into_iter()
                .filter(fits)
                .map(|time| Item::Instance(event, time))
                .collect();
        }
        let times = match self.query.has_window() && event.is_master() {
            true => self.calendar.instances(event),
            false => vec![event.start.clone()],
        };
        if !self.query.matches(event, &times) || !(event.is_live() || self.shows_grave(event)) {
            return Vec::new();
        }
        vec![if event.is_live() { Item::Whole(event) } else { self.remains(event) }]
    }

    fn shows_grave(&self, event: &Event) -> bool {
        match (event.grave, self.expanded) {
            (Grave::WithSeries { reported }, true) => reported && self.shows_cancelled(),
            (Grave::WithSeries { .. }, false) => {
                self.model.quirks.cancel_exceptions_with_series && self.shows_cancelled()
            }
            (_, false) if self.since.is_none() => {
                self.shows_cancelled() || self.marks_live_series(event)
            }
            _ => self.shows_cancelled(),
        }
    }

    /// A cancelled exception of a live series is part of every source listing.
    fn marks_live_series(&self, event: &Event) -> bool {
        let Some(exception) = &event.exception else { return false };
        self.calendar.event(&exception.master).is_some_and(|m| m.is_live() && m.is_master())
    }

    fn remains(&self, event: &'a Event) -> Item<'a> {
        match self.query.show_deleted && event.grave != Grave::IdOnly {
            true => Item::Whole(event),
            false => Item::Stub(event),
        }
    }
}

impl<'a> Slice<'a> {
    /// A page of a listing whose positions are plain numbers.
    pub(super) fn counted(items: Vec<Item<'a>>, from: &Position, size: usize) -> Self {
        let start = match from {
            Position::Offset(offset) => *offset,
            _ => 0,
        };
        let end = start.saturating_add(size);
        let next = (items.len() > end).then_some(Position::Offset(end));
        let items: Vec<Item<'a>> = items.into_iter().skip(start).take(size).collect();
        let last = items.len().checked_sub(1).map(|last| Position::Offset(start + last));
        Self { items, next, last }
    }
}

impl Item<'_> {
    fn render(&self, view: &View<'_>) -> Arc<str> {
        match self {
            Self::Whole(event) => event.to_json(view),
            Self::Stub(event) => event.stub_to_json(view),
            Self::Instance(master, original) => master.instance_to_json(original, view),
        }
    }

    fn event(&self) -> &Event {
        match self {
            Self::Whole(event) | Self::Stub(event) | Self::Instance(event, _) => event,
        }
    }

    /// Where the instance of a master stands; nothing for other items.
    fn instance(&self) -> String {
        match self {
            Self::Instance(_, original) => original.instance_suffix(),
            _ => String::new(),
        }
    }

    pub(super) fn series(&self) -> Option<&str> {
        match self {
            Self::Whole(event) | Self::Stub(event) => {
                event.exception.as_ref().map(|exception| exception.master.as_str())
            }
            Self::Instance(master, _) => Some(&master.id),
        }
    }

    pub(super) fn start(&self) -> &EventTime {
        match self {
            Self::Whole(event) | Self::Stub(event) => &event.start,
            Self::Instance(_, original) => original,
        }
    }
}
