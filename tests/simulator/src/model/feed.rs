//! events.list: full listings and deltas of both feeds, source events and expanded ones.

use std::sync::Arc;

use super::Model;
use super::calendar::{Calendar, Role};
use super::error::{ApiError, preset};
use super::event::{Event, Object, View};
use super::listing::{Listing, Slice};
use super::query::EventQuery;
use super::time::{DAY_US, millis_text, zone};
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
    out.list("items", &page.items);
    out.finish()
}
