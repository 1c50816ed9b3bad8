//! The stream of an owner's calendars.

use rowgate_plugin::{Batch, Context, Failure, Result, RetryScope, Step, db, log};
use serde::{Deserialize, Serialize};

use crate::listing::{Got, Listing};
use crate::manifest::services::GOOGLE_CALENDAR_V1;
use crate::manifest::tables::{Calendar, CalendarRow};
use crate::wire::{self, Entry, Item, Text};
use crate::{Cursor, api};

/// Deltas never tell of a lost role or another time zone, so a day's list is a full one.
const FULL_EVERY_MICROS: i64 = 24 * 3_600_000_000;

/// Where the list of calendars stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    listing: Listing,
    /// When the last full listing began, microseconds since the epoch.
    full_at: i64,
}

pub(crate) fn sync(
    cx: &Context,
    cursor: Option<Position>,
    page_limit: u32,
) -> Result<Step<Cursor>> {
    let usable = |at: &Position| {
        let under_way = !at.listing.is_at_first_page();
        at.listing.fits(page_limit) && (under_way || cx.now < at.full_at + FULL_EVERY_MICROS)
    };
    let fresh = || Position { listing: Listing::new(page_limit), full_at: cx.now };
    let mut at = cursor.filter(usable).unwrap_or_else(fresh);
    let full = at.listing.is_full();
    if full && at.listing.is_at_first_page() {
        db::begin_full(GOOGLE_CALENDAR_V1, &[])?;
    }
    let request = api::get(cx, &["users", "me", "calendarList"])?
        .query("showDeleted", true)
        .query("showHidden", true);
    let answer = match at.listing.get(cx, request)? {
        Got::Page(answer) => answer,
        Got::Again => return Ok(Step::more(Cursor::Calendars(at))),
        // A grant that is just being revoked looks like this too.
        Got::Unreadable(text) => {
            return Err(Failure::retry_in(RetryScope::Owner, text, None));
        }
    };
    let (page, entries) = wire::page(&answer)?;
    write(&entries)?;
    let last = at.listing.turn(page.next_page_token, page.next_sync_token)?;
    if last && full {
        // The host ends the streams of calendars that are deleted, and cancels their events.
        db::end_full_set(GOOGLE_CALENDAR_V1, &[], &[(Calendar::DELETED, true.into())])?;
    }
    let cursor = Cursor::Calendars(at);
    Ok(if last { Step::done(cursor) } else { Step::more(cursor) })
}

/// Rows are keyed by the id of the entry, never by the word `primary`.
fn write(entries: &[Item<'_, Entry<'_>>]) -> Result<()> {
    let mut live = Batch::<Calendar>::new(GOOGLE_CALENDAR_V1);
    let mut gone = Batch::<Calendar>::new(GOOGLE_CALENDAR_V1);
    let mut doubtful = Batch::<Calendar>::new(GOOGLE_CALENDAR_V1);
    for entry in entries {
        let (raw, entry) = (entry.raw, &entry.parsed);
        let row = CalendarRow::default().google_id(entry.id.as_ref().map(Text::as_str));
        match (entry.deleted, entry.primary) {
            (true, true) => {
                log::warn("the primary calendar as deleted is no true answer", &[]);
                doubtful.push(&row);
            }
            (true, false) => gone.push(&row.deleted(true)),
            (false, _) => live.push(
                &row.time_zone(entry.time_zone.as_ref().map(Text::as_str)).deleted(false).data(raw),
            ),
        }
    }
    live.upsert()?;
    // Nothing changes, but a full listing must not sweep it as unseen either.
    doubtful.patch()?;
    // A stub, for rows that exist: what they know stays.
    gone.patch()
}
