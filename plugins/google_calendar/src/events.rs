//! A stream of a calendar's events: with recurrences expanded, or as they stand at the source.

use std::collections::{BTreeMap, BTreeSet};

use rowgate_plugin::{Batch, Context, Result, Step, StreamId, db, streams};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::listing::{Got, Listing};
use crate::manifest::lists::DELTAS_WITHOUT_DELETIONS;
use crate::manifest::services::{GOOGLE_CALENDAR_EVENT_V1, GOOGLE_CALENDAR_V1};
use crate::manifest::tables::{Calendar, Event as EventTable, EventRow};
use crate::receive::calendar_list;
use crate::series::{self, Live};
use crate::wire::{Event, Item, Page, Text, last_of_each};
use crate::{Cursor, api, row};

const DAY_MS: u64 = 24 * 3_600_000;
pub(crate) const CANCELLED: &str = "cancelled";

/// Where a feed of events stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    pub(crate) listing: Listing,
    /// The owner's role on the calendar and its time zone, as the last page told them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access_role: Option<String>,
    /// A position that began anew knew no role: the list of calendars may have told another one.
    #[serde(default)]
    role_unchecked: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    /// Series of which the delta cancelled an instance; to be checked when it is complete.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) suspects: BTreeSet<String>,
    /// Series of which the delta brought live instances: they may have lost others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) live: BTreeMap<String, Live>,
}

/// Which feed of which calendar.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feed<'a> {
    pub service: &'a str,
    pub calendar: &'a str,
}

impl Feed<'_> {
    pub(crate) fn is_expanded(&self) -> bool {
        self.service == GOOGLE_CALENDAR_EVENT_V1
    }

    fn scope(&self) -> [db::Condition; 1] {
        [db::is(EventTable::GOOGLE_CALENDAR_ID, self.calendar)]
    }

    fn batch(&self) -> Batch<EventTable> {
        Batch::new(self.service).constant(EventTable::GOOGLE_CALENDAR_ID, self.calendar)
    }
}

impl Position {
    fn new(size: u32) -> Self {
        Self {
            listing: Listing::new(size),
            access_role: None,
            role_unchecked: false,
            time_zone: None,
            suspects: BTreeSet::new(),
            live: BTreeMap::new(),
        }
    }

    /// Are there series to be looked at when the delta is complete?
    fn has_doubts(&self) -> bool {
        !self.suspects.is_empty() || !self.live.is_empty()
    }

    /// May the owner see no more than times? Then series come without their rules.
    pub(crate) fn hides_rules(&self) -> bool {
        self.access_role.as_deref() == Some("freeBusyReader")
    }
}

pub(crate) fn sync(
    cx: &Context,
    stream: &StreamId,
    cursor: Option<Position>,
    page_limit: u32,
) -> Result<Step<Cursor>> {
    let feed = Feed { service: &stream.service, calendar: &stream.key };
    let usable = |at: &Position| at.listing.fits(page_limit);
    let mut at = cursor.filter(usable).unwrap_or_else(|| Position::new(page_limit));
    if at.listing.is_at_first_page() && at.has_doubts() {
        return series::check(cx, feed, at);
    }
    if at.listing.is_at_first_page() && at.role_unchecked {
        return check_role(feed, at);
    }
    let full = at.listing.is_full();
    if full && at.listing.is_at_first_page() {
        db::begin_full(feed.service, &feed.scope())?;
    }
    let answer = match at.listing.get(cx, request(cx, feed)?)? {
        Got::Page(answer) => answer,
        Got::Again => {
            // They come again with the pages.
            at.suspects.clear();
            at.live.clear();
            if std::mem::take(&mut at.role_unchecked) {
                at.access_role = None;
            }
            return Ok(Step::more(Cursor::Events(at)));
        }
        Got::Unreadable(text) => {
            // The list of calendars decides what has become of it.
            streams::activate(&calendar_list(), None);
            return Ok(Step::unreadable(text));
        }
    };
    let page: Page<'_> = answer.json()?;
    write(feed, &page, full, &mut at)?;
    note_calendar(feed, &page, &mut at)?;
    let last = at.listing.turn(page.next_page_token, page.next_sync_token)?;
    if !last {
        return Ok(Step::more(Cursor::Events(at)));
    }
    if full {
        let cancelled = [(EventTable::STATUS, CANCELLED.into())];
        db::end_full_set(feed.service, &feed.scope(), &cancelled)?;
    }
    if at.role_unchecked {
        // In a call of its own: what was read must still hold at the commit, and streams of an owner
        // commit beside each other; a page need not be asked for again then.
        return Ok(Step::more(Cursor::Events(at)));
    }
    Ok(end(feed, at))
}

/// A listing is complete.
fn end(feed: Feed<'_>, at: Position) -> Step<Cursor> {
    if at.listing.is_full() || omits_deletions(feed.calendar) {
        // No token to go on with, or one whose deltas would hide deletions.
        return Step::relist_after(DAY_MS);
    }
    rest(at)
}

/// All of a listing's calls send the same: a sync token is bound to it. No mask, since `data` is the
/// whole item; no order and no times, which would cost the token.
fn request(cx: &Context, feed: Feed<'_>) -> Result<rowgate_plugin::Request> {
    let request = api::get(cx, &["calendars", feed.calendar, "events"])?
        .query("showDeleted", true)
        .query("showHiddenInvitations", true);
    Ok(if feed.is_expanded() { request.query("singleEvents", true) } else { request })
}

fn omits_deletions(calendar: &str) -> bool {
    DELTAS_WITHOUT_DELETIONS.iter().any(|suffix| calendar.ends_with(suffix))
}

/// The delta is complete: rest, or check the series that it casts doubt on.
pub(crate) fn rest(at: Position) -> Step<Cursor> {
    let doubts = at.has_doubts();
    let cursor = Cursor::Events(at);
    if doubts { Step::more(cursor) } else { Step::done(cursor) }
}

fn write(feed: Feed<'_>, page: &Page<'_>, full: bool, at: &mut Position) -> Result<()> {
    let items = last_of_each::<Event<'_>>(&page.items);
    let mut live = feed.batch();
    // Stubs say less than the row knows: what they don't say stays, and so does `data`.
    let mut stubs = feed.batch().merge().keep(EventTable::DATA);
    for item in &items {
        let target = if row::is_stub(&item.parsed) { &mut stubs } else { &mut live };
        target.push(&row::row(item));
    }
    live.upsert()?;
    stubs.upsert()?;
    if !full {
        series::cascade(feed, items.iter().map(|item| &item.parsed))?;
    }
    if feed.is_expanded() {
        bases(feed, &items)?;
        if !full {
            series::note(&items, at);
        }
    }
    Ok(())
}

/// A single event that became a series keeps its id for the series, and the expanded feed never says
/// that the single one is gone. In the source feed the row of that id is the series itself.
fn bases(feed: Feed<'_>, items: &[Item<'_, Event<'_>>]) -> Result<()> {
    let masters: BTreeSet<_> = items
        .iter()
        .filter(|item| !item.parsed.is_cancelled())
        .filter_map(|item| item.parsed.recurring_event_id.as_ref().map(Text::as_str))
        .collect();
    let mut bases = feed.batch().constant(EventTable::STATUS, CANCELLED);
    for master in masters {
        bases.push(&EventRow::default().google_id(master));
    }
    bases.patch()
}

/// A list of events tells the calendar's time zone and the owner's role, which deltas of the list of
/// calendars don't.
fn note_calendar(feed: Feed<'_>, page: &Page<'_>, at: &mut Position) -> Result<()> {
    if let Some(zone) = &page.time_zone
        && at.time_zone.as_ref() != Some(zone)
    {
        let calendar = [db::is(Calendar::GOOGLE_ID, feed.calendar)];
        let set = [(Calendar::TIME_ZONE, zone.as_str().into())];
        db::update(GOOGLE_CALENDAR_V1, &set, &calendar)?;
        at.time_zone = Some(zone.clone());
    }
    if let Some(role) = &page.access_role
        && at.access_role.as_ref() != Some(role)
    {
        match at.access_role {
            Some(_) => streams::reset(&calendar_list()),
            None => at.role_unchecked = true,
        }
        at.access_role = Some(role.clone());
    }
    Ok(())
}

/// A role that changes ends the sync token, and with it goes what the position knew.
fn check_role(feed: Feed<'_>, mut at: Position) -> Result<Step<Cursor>> {
    let listed = listed_role(feed)?;
    if listed.is_some() && listed != at.access_role {
        streams::reset(&calendar_list());
    }
    at.role_unchecked = false;
    Ok(end(feed, at))
}

/// The owner's role on the calendar as the list of calendars told it.
fn listed_role(feed: Feed<'_>) -> Result<Option<String>> {
    let key = [feed.calendar.into()];
    let row = db::lookup(GOOGLE_CALENDAR_V1, &key, &[Calendar::DATA])?;
    let Some([db::Scalar::Json(data)]) = row.as_deref() else { return Ok(None) };
    let entry: Value = serde_json::from_str(data).unwrap_or_default();
    Ok(entry["accessRole"].as_str().map(str::to_owned))
}
