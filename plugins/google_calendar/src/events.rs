//! A stream of a calendar's events: with recurrences expanded, or as they stand at the source.
//!
//! A run reads what changed (or everything), then settles what that left open: the calendar's own
//! row (`told`), doubtful series (`series`), series that ended far away (`masters`).

use std::collections::BTreeSet;

use rowgate_plugin::{BATCH_ROWS, Batch, Context, Failure, Result, Step, StreamId, db, streams};
use serde::{Deserialize, Serialize};

use crate::listing::{Got, Listing};
use crate::manifest::config;
use crate::manifest::lists::DELTAS_WITHOUT_DELETIONS;
use crate::manifest::services::GOOGLE_CALENDAR_EVENT_V1;
use crate::manifest::tables::{Event as EventTable, EventRow};
use crate::masters::Masters;
use crate::receive::calendar_list;
use crate::series::{self, Checked, Doubts, Known};
use crate::told::Told;
use crate::wire::{self, Event, Item, Text};
use crate::{Cursor, api, row};

const DAY_MS: u64 = 24 * 3_600_000;
pub(crate) const DAY_MICROS: i64 = 24 * 3_600_000_000;
/// What a listing left open is settled within this time, or after the next one. No call lasts so
/// long, so something is settled between two listings.
const FRESH_MICROS: i64 = 300_000_000;
/// Longer than this a feed isn't left alone while it waits for a full listing.
const WAIT_MAX_MS: u64 = 900_000;
/// Google's clock and ours may be so far apart.
pub(crate) const CLOCKS_APART_MICROS: i64 = 3_600_000_000;
pub(crate) const CANCELLED: &str = "cancelled";

/// Where a feed of events stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    listing: Listing,
    /// When its full listing began, microseconds since the epoch.
    full_at: i64,
    /// When the last page of a listing was read, microseconds since the epoch.
    #[serde(default)]
    listed_at: i64,
    /// The listing is complete; before the next one what it left open is settled.
    #[serde(default)]
    settling: bool,
    /// The calendar, as the last page told it.
    #[serde(default)]
    told: Told,
    /// That may not be what the calendar's row says.
    #[serde(default)]
    told_anew: bool,
    #[serde(default, skip_serializing_if = "Doubts::are_none")]
    doubts: Doubts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    masters: Option<Masters>,
}

/// Which feed of which calendar.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feed<'a> {
    pub service: &'a str,
    pub calendar: &'a str,
}

impl Feed<'_> {
    fn is_expanded(&self) -> bool {
        self.service == GOOGLE_CALENDAR_EVENT_V1
    }

    fn omits_deletions(&self) -> bool {
        DELTAS_WITHOUT_DELETIONS.iter().any(|suffix| self.calendar.ends_with(suffix))
    }

    fn scope(&self) -> [db::Condition; 1] {
        [db::is(EventTable::GOOGLE_CALENDAR_ID, self.calendar)]
    }

    fn batch(&self) -> Batch<EventTable> {
        Batch::new(self.service).constant(EventTable::GOOGLE_CALENDAR_ID, self.calendar)
    }
}

impl Position {
    /// A full listing that begins now.
    fn new(feed: Feed<'_>, size: u32, now: i64) -> Self {
        let tells_no_end = feed.is_expanded() && !feed.omits_deletions();
        Self {
            listing: Listing::new(size),
            full_at: now,
            listed_at: now,
            settling: false,
            told: Told::default(),
            told_anew: false,
            doubts: Doubts::default(),
            masters: tells_no_end.then(|| Masters::new(size, now)),
        }
    }

    /// A call begins. Nothing that is open, and can't be settled, keeps a run from listing.
    fn begun(mut self, now: i64) -> Self {
        let stale = now >= self.listed_at + FRESH_MICROS;
        self.settling &= self.listing.is_full() || !stale;
        self
    }

    /// Where rules aren't shown, nothing tells of a series that ended far away but a day's full list.
    fn is_out_of_date(&self, now: i64) -> bool {
        let rests = self.listing.is_at_first_page() && !self.settling;
        rests && self.told.hides_rules() && now >= self.full_at + DAY_MICROS
    }

    /// Begins with a full listing what only that can tell.
    fn listed_anew(self, feed: Feed<'_>, now: i64) -> Self {
        let doubts = self.doubts.before_full_listing();
        Self { doubts, ..Self::new(feed, self.listing.size(), now) }
    }

    /// When doubts may have all listed, microseconds since the epoch.
    fn relist_at(&self, cx: &Context) -> Result<i64> {
        let seconds = cx.config(config::RELIST_AFTER_S)?.parse::<u32>();
        let seconds =
            seconds.map_err(|e| Failure::misconfigured(format!("relist_after_s: {e}")))?;
        Ok(self.full_at + i64::from(seconds) * 1_000_000)
    }

    fn must_read_masters(&self, now: i64) -> bool {
        let of_use = !self.told.hides_rules() && !self.listing.is_full();
        of_use && self.masters.as_ref().is_some_and(|masters| masters.are_due(now))
    }
}

pub(crate) fn sync(
    cx: &Context,
    stream: &StreamId,
    cursor: Option<Position>,
    page_limit: u32,
) -> Result<Step<Cursor>> {
    let feed = Feed { service: &stream.service, calendar: &stream.key };
    let usable = |at: &Position| at.listing.fits(page_limit) && !at.is_out_of_date(cx.now);
    let fresh = || Position::new(feed, page_limit, cx.now);
    let mut at = cursor.map(|at| at.begun(cx.now)).filter(usable).unwrap_or_else(fresh);
    if at.doubts.await_listing() && cx.now >= at.relist_at(cx)? {
        at = at.listed_anew(feed, cx.now);
    }
    if at.settling { settle(cx, feed, at) } else { list(cx, feed, at) }
}

/// Reads a page.
fn list(cx: &Context, feed: Feed<'_>, mut at: Position) -> Result<Step<Cursor>> {
    let full = at.listing.is_full();
    if full && at.listing.is_at_first_page() {
        db::begin_full(feed.service, &feed.scope())?;
    }
    let answer = match at.listing.get(cx, request(cx, feed)?)? {
        Got::Page(answer) => answer,
        Got::Again => return Ok(Step::more(at.into())),
        Got::Unreadable(text) => return Ok(unreadable(text)),
    };
    let (page, items) = wire::page(&answer)?;
    at.told_anew |= at.told.hear(&page);
    write(feed, &items, full, &mut at)?;
    let last = at.listing.turn(page.next_page_token, page.next_sync_token)?;
    if at.doubts.are_too_many() {
        return Ok(Step::more(at.listed_anew(feed, cx.now).into()));
    }
    if !last {
        return Ok(Step::more(at.into()));
    }
    if full {
        let cancelled = [(EventTable::STATUS, CANCELLED.into())];
        db::end_full_set(feed.service, &feed.scope(), &cancelled)?;
    }
    at.listed_at = cx.now;
    go_on(cx, feed, at)
}

/// The listing is complete. What it left open is settled in calls of its own: what those read must
/// still hold at their commits, and a page need not be asked for again then.
fn go_on(cx: &Context, feed: Feed<'_>, mut at: Position) -> Result<Step<Cursor>> {
    at.settling = at.told_anew || at.doubts.next().is_some() || at.must_read_masters(cx.now);
    if at.settling { Ok(Step::more(at.into())) } else { rest(cx, feed, at) }
}

fn settle(cx: &Context, feed: Feed<'_>, mut at: Position) -> Result<Step<Cursor>> {
    if at.told_anew {
        at.told.settle(feed)?;
        at.told_anew = false;
    } else if at.doubts.next().is_some() {
        let known = Known { full_at: at.full_at, hides_rules: at.told.hides_rules() };
        if series::check(cx, feed, &mut at.doubts, &known)? == Checked::Relist {
            at.doubts.wait_for_listing();
            if cx.now >= at.relist_at(cx)? {
                return Ok(Step::more(at.listed_anew(feed, cx.now).into()));
            }
        }
    } else if at.must_read_masters(cx.now)
        && let Some(masters) = &mut at.masters
    {
        masters.read(cx, feed)?;
    }
    go_on(cx, feed, at)
}

/// Everything is settled, or put off.
fn rest(cx: &Context, feed: Feed<'_>, mut at: Position) -> Result<Step<Cursor>> {
    if at.listing.is_full() || feed.omits_deletions() {
        // No token to go on with, or one whose deltas would hide deletions.
        return Ok(Step::relist_after(DAY_MS));
    }
    if at.doubts.await_listing() {
        let ms = ms_until(at.relist_at(cx)?, cx.now).min(WAIT_MAX_MS);
        return Ok(Step::done_for(at.into(), ms));
    }
    Ok(match at.doubts.end_run(cx.now) {
        Some(ms) => Step::done_for(at.into(), ms),
        None => Step::done(at.into()),
    })
}

/// Whole milliseconds between two times in microseconds; 0 if it has come.
pub(crate) fn ms_until(at: i64, now: i64) -> u64 {
    u64::try_from(at - now).unwrap_or_default().div_ceil(1_000)
}

/// The list of calendars decides what has become of it.
fn unreadable(text: String) -> Step<Cursor> {
    streams::activate(&calendar_list(), None);
    Step::unreadable(text)
}

/// All of a listing's calls send the same: a sync token is bound to it. No mask, since `data` is the
/// whole item; no order and no times, which would cost the token.
fn request(cx: &Context, feed: Feed<'_>) -> Result<rowgate_plugin::Request> {
    let request = api::get(cx, &["calendars", feed.calendar, "events"])?
        .query("showDeleted", true)
        .query("showHiddenInvitations", true);
    Ok(if feed.is_expanded() { request.query("singleEvents", true) } else { request })
}

fn write(
    feed: Feed<'_>,
    items: &[Item<'_, Event<'_>>],
    full: bool,
    at: &mut Position,
) -> Result<()> {
    for items in items.chunks(BATCH_ROWS) {
        let json_bytes = items.iter().map(|item| item.raw.len()).sum();
        let mut live = feed.batch().room(items.len(), json_bytes);
        // Stubs say less than the row knows: what they don't say stays, and so does `data`.
        let mut stubs = feed.batch().merge().keep(EventTable::DATA);
        for item in items {
            let target = if row::is_stub(&item.parsed) { &mut stubs } else { &mut live };
            target.push(&row::row(item));
        }
        live.upsert()?;
        stubs.upsert()?;
    }
    if !full {
        series::cascade(feed, items.iter().map(|item| &item.parsed), None)?;
    }
    if feed.is_expanded() || at.told.hides_rules() {
        bases(feed, items)?;
        if !full {
            series::note(items, &mut at.doubts);
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
