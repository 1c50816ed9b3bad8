//! events.list: full listings and deltas of both feeds, source events and expanded ones.

use std::ops::Bound;
use std::sync::Arc;

use super::Model;
use super::calendar::{Calendar, EventKey, Role};
use super::error::{ApiError, preset};
use super::event::{Event, Grave, Object, View};
use super::query::{EventQuery, OrderBy};
use super::time::{DAY_US, EventTime, millis_text, zone};
use super::token::{Kind, Position, Token};

/// One page of a listing.
#[derive(Clone, Debug)]
pub struct Page {
    /// Items as JSON.
    pub items: Vec<Arc<str>>,
    /// More pages follow.
    pub next_page_token: Option<String>,
    /// The listing is complete and a delta may follow.
    pub next_sync_token: Option<String>,
    /// Token of this very page.
    pub own_page_token: String,
    /// Token of a page that begins with the last item of this one.
    pub overlap_token: Option<String>,
    /// The same while nothing changes.
    pub etag: String,
}

/// One item of a feed before it is rendered.
enum Item<'a> {
    Whole(&'a Event),
    Stub(&'a Event),
    Instance(&'a Event, EventTime),
}

/// The items of one page, where the next one starts, and where the last item stood.
struct Slice<'a> {
    items: Vec<Item<'a>>,
    next: Option<Position>,
    last: Option<Position>,
}

/// One listing in progress.
struct Listing<'a> {
    model: &'a Model,
    calendar: &'a Calendar,
    query: &'a EventQuery,
    expanded: bool,
    since: Option<u64>,
}

impl Model {
    /// One page of events.list. `page_items_max` makes a page shorter than was asked for.
    pub fn list_events(
        &self,
        user: &str,
        calendar_id: &str,
        query: &EventQuery,
        page_items_max: Option<usize>,
    ) -> Result<Page, ApiError> {
        let calendar = self.calendar(calendar_id)?;
        let role = calendar.role(user);
        if role == Role::None {
            return Err(ApiError::not_found());
        }
        let view = self.view(user, calendar, query)?;
        if query.updated_min_us.is_some_and(|min| min < self.now_us - 30 * DAY_US) {
            return Err(preset("updatedMinTooLongAgo").unwrap_or_else(ApiError::not_found));
        }
        let token = self.events_token(user, calendar, query)?;
        let listing = Listing {
            model: self,
            calendar,
            query,
            // Who may see only times gets no rules to compute them from.
            expanded: query.single_events || role == Role::FreeBusyReader,
            since: token.since,
        };
        let size = page_items_max.unwrap_or(usize::MAX).min(query.max_results);
        let slice = match query.order_by {
            Some(order) => listing.sorted(order, &token.position, size),
            None => listing.plain(&token.position, size),
        };
        Ok(slice.page(token, &view, query, calendar.changed))
    }

    /// One page of events.instances: what the expanded feed has of one series.
    pub fn list_instances(
        &self,
        user: &str,
        calendar_id: &str,
        master: &str,
        query: &EventQuery,
    ) -> Result<Page, ApiError> {
        let calendar = self.calendar(calendar_id)?;
        if !calendar.event(master).is_some_and(Event::is_master) {
            return Err(ApiError::not_found());
        }
        let view = self.view(user, calendar, query)?;
        let token = self.events_token(user, calendar, query)?;
        let listing = Listing { model: self, calendar, query, expanded: true, since: None };
        let mut items = listing.plain(&Position::Start, usize::MAX).items;
        items.retain(|item| item.series() == Some(master));
        items.sort_by_key(|item| item.start().micros());
        let slice = Slice::counted(items, &token.position, query.max_results);
        let mut page = slice.page(token, &view, query, calendar.changed);
        page.next_sync_token = None;
        Ok(page)
    }

    /// How a user sees the events of a calendar.
    pub fn view<'a>(
        &'a self,
        user: &str,
        calendar: &'a Calendar,
        query: &EventQuery,
    ) -> Result<View<'a>, ApiError> {
        let asked = match query.params.get("timeZone") {
            None => None,
            Some(name) => Some(zone(name).ok_or_else(|| {
                ApiError::invalid("timeZone", &format!("Unknown time zone: {name}"))
            })?),
        };
        Ok(View {
            zone: asked.unwrap_or(calendar.zone()),
            foreign_zone: asked.is_some(),
            max_attendees: query.max_attendees,
            times_only: calendar.role(user) == Role::FreeBusyReader,
        })
    }

    /// The token of the page that is asked for, checked.
    fn events_token(
        &self,
        user: &str,
        calendar: &Calendar,
        query: &EventQuery,
    ) -> Result<Token, ApiError> {
        let mut token = Token {
            kind: Kind::Page,
            user: user.to_owned(),
            calendar: calendar.id.clone(),
            fingerprint: query.sync_fingerprint(),
            anchor: self.seq,
            since: None,
            position: Position::Start,
        };
        let valid_from = self.tokens_valid_from.max(calendar.tokens_valid_from);
        if let Some(text) = query.params.get("syncToken") {
            token.since = Some(Token::sync(text, &token, valid_from)?.anchor);
        }
        token.fingerprint = query.params.page_fingerprint();
        match query.params.get("pageToken") {
            Some(text) => Token::page(text, &token),
            None => Ok(token),
        }
    }

    /// The body of events.list.
    pub fn events_body(
        &self,
        user: &str,
        calendar_id: &str,
        query: &EventQuery,
        page: &Page,
    ) -> Result<String, ApiError> {
        let calendar = self.calendar(calendar_id)?;
        let zone = query.params.get("timeZone").unwrap_or(&calendar.time_zone);
        let mut out = Object::new();
        out.field("kind", "calendar#events");
        out.field("etag", &page.etag);
        out.field("summary", &calendar.summary);
        out.field("description", &calendar.description);
        out.field("updated", &millis_text(calendar.updated_us));
        out.field("timeZone", zone);
        out.field("accessRole", calendar.role(user).name());
        out.field("defaultReminders", &calendar.default_reminders(user));
        Ok(list_end(out, page))
    }
}

/// Writes what both kinds of list end with.
pub(super) fn list_end(mut out: Object, page: &Page) -> String {
    if let Some(token) = &page.next_page_token {
        out.field("nextPageToken", token);
    }
    if let Some(token) = &page.next_sync_token {
        out.field("nextSyncToken", token);
    }
    out.raw("items", &format!("[{}]", page.items.join(",")));
    out.finish()
}

impl Slice<'_> {
    fn page(self, token: Token, view: &View<'_>, query: &EventQuery, changed: u64) -> Page {
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
    fn plain(&self, from: &Position, size: usize) -> Slice<'a> {
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

    fn sorted(&self, order: OrderBy, from: &Position, size: usize) -> Slice<'a> {
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
    fn counted(items: Vec<Item<'a>>, from: &Position, size: usize) -> Self {
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

    fn series(&self) -> Option<&str> {
        match self {
            Self::Whole(event) | Self::Stub(event) => {
                event.exception.as_ref().map(|exception| exception.master.as_str())
            }
            Self::Instance(master, _) => Some(&master.id),
        }
    }

    fn start(&self) -> &EventTime {
        match self {
            Self::Whole(event) | Self::Stub(event) => &event.start,
            Self::Instance(_, original) => original,
        }
    }
}

impl EventQuery {
    fn has_window(&self) -> bool {
        self.time_min_us.is_some() || self.time_max_us.is_some()
    }

    /// Whether an event passes the filters, if it stands at one of `starts`.
    fn matches(&self, event: &Event, starts: &[EventTime]) -> bool {
        let length_us = event.end.micros() - event.start.micros();
        let in_window = |start: &EventTime| {
            let start_us = start.micros();
            self.time_min_us.is_none_or(|min| start_us + length_us > min)
                && self.time_max_us.is_none_or(|max| start_us < max)
        };
        if self.has_window() && !starts.iter().any(in_window) {
            return false;
        }
        if self.updated_min_us.is_some_and(|min| event.updated_us < min) {
            return false;
        }
        let text = |name: &str| event.fields.get(name).and_then(|value| value.as_str());
        let mut types = self.params.all("eventTypes").peekable();
        let type_fits = types.peek().is_none() || {
            let own = text("eventType").unwrap_or("default");
            types.any(|wanted| wanted == own)
        };
        let uid_fits = self.params.get("iCalUID").is_none_or(|uid| text("iCalUID") == Some(uid));
        let words_fit = self.params.get("q").is_none_or(|words| {
            let words = words.to_lowercase();
            let places = ["summary", "description", "location"];
            places.iter().filter_map(|name| text(name)).any(|t| t.to_lowercase().contains(&words))
        });
        type_fits && uid_fits && words_fit && self.properties_fit(event)
    }

    fn properties_fit(&self, event: &Event) -> bool {
        let kinds = [("privateExtendedProperty", "private"), ("sharedExtendedProperty", "shared")];
        kinds.iter().all(|(parameter, kind)| {
            self.params.all(parameter).all(|constraint| {
                let (name, value) = constraint.split_once('=').unwrap_or((constraint, ""));
                let properties = event.fields.get("extendedProperties");
                let own = properties.and_then(|all| all.get(kind)?.get(name)?.as_str());
                own == Some(value)
            })
        })
    }
}
