//! Series that end where the expanded feed is silent, since none of their instances is near.
//!
//! Once a day the expanded feed's stream asks the source feed of its calendar, which tells of each
//! series, what has changed. That has a sync token of its own and takes no more than a series' end
//! to tell, so it is an empty page on most days. The first reading, a day after the full listing,
//! goes through all events, deleted ones too: what ended since the listing is among them.
//!
//! None of this is worth a delta that doesn't come: a reading that fails begins again hours later.

use rowgate_plugin::{Context, Failure, Result, log, time};
use serde::{Deserialize, Serialize};

use crate::api;
use crate::events::{CLOCKS_APART_MICROS, DAY_MICROS, Feed};
use crate::listing::{Got, Listing};
use crate::series::{self, REACH_MICROS};
use crate::wire::{self, Event, Text};

/// Google's answers are masked for it to what tells of an end.
const FIELDS: &str =
    "nextPageToken,nextSyncToken,items(id,status,updated,recurringEventId,recurrence,start)";

/// After a reading that failed.
const RETRY_MICROS: i64 = 6 * 3_600_000_000;

/// Smaller pages help nobody.
const SIZE_MIN: u32 = 50;

/// How far a calendar's series were gone through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Masters {
    listing: Listing,
    /// When a full listing of the expanded feed began, or the last whole reading of this:
    /// microseconds since the epoch.
    read_at: i64,
    /// When the reading that is under way began.
    begun_at: i64,
    /// Nothing is read before.
    retry_at: i64,
}

impl Masters {
    /// For a full listing of the expanded feed that begins now.
    pub(crate) fn new(size: u32, now: i64) -> Self {
        Self { listing: Listing::new(size), read_at: now, begun_at: now, retry_at: now }
    }

    /// Has a day passed, or is a reading under way?
    pub(crate) fn are_due(&self, now: i64) -> bool {
        let under_way = !self.listing.is_at_first_page();
        now >= self.retry_at && (under_way || now >= self.read_at + DAY_MICROS)
    }

    /// Reads a page. What fails with it alone puts the reading off.
    pub(crate) fn read(&mut self, cx: &Context, feed: Feed<'_>) -> Result<()> {
        match self.read_page(cx, feed) {
            Err(failure) if is_of_reading(&failure) => {
                self.put_off(&failure, cx.now);
                Ok(())
            }
            done => done,
        }
    }

    fn read_page(&mut self, cx: &Context, feed: Feed<'_>) -> Result<()> {
        if self.listing.is_at_first_page() {
            self.begun_at = cx.now;
        }
        let request = api::get(cx, &["calendars", feed.calendar, "events"])?
            .query("showDeleted", true)
            .query("showHiddenInvitations", true)
            .query("fields", FIELDS);
        let full = self.listing.is_full();
        let answer = match self.listing.get(cx, request)? {
            Got::Page(answer) => answer,
            Got::Again => return Ok(()),
            // The calendar's own list decides whether it can be read.
            Got::Unreadable(text) => return Err(Failure::retry(text)),
        };
        let (page, items) = wire::page::<Event<'_>>(&answer)?;
        let events = items.iter().map(|item| &item.parsed);
        let news = events.filter(|event| !full || self.may_be_news(event));
        // Deltas told of what was near when it ended, which was after the last reading. Exceptions may
        // outlive their series, and only deltas know.
        series::cascade(feed, news, Some(self.read_at + REACH_MICROS))?;
        if self.listing.turn(page.next_page_token, page.next_sync_token)? {
            self.read_at = self.begun_at;
        }
        Ok(())
    }

    /// Begins anew, later. With smaller pages, where a page was too much.
    fn put_off(&mut self, failure: &Failure, now: i64) {
        log::warn("ends of far series can't be read", &[]);
        let mut size = self.listing.size();
        if matches!(failure, Failure::TooSlow(_) | Failure::TooLarge(_)) {
            size = size.min(SIZE_MIN.max(size / 2));
        }
        self.listing = Listing::new(size);
        self.retry_at = now + RETRY_MICROS;
    }

    /// Can it have changed since the rows were read?
    fn may_be_news(&self, event: &Event<'_>) -> bool {
        let updated = event.updated.as_ref().map(Text::as_str);
        let updated_at = updated.and_then(time::micros_from_rfc3339);
        updated_at.is_none_or(|at| at >= self.read_at - CLOCKS_APART_MICROS)
    }
}

/// Does the failure say nothing of the expanded feed, of the owner or of its grant?
fn is_of_reading(failure: &Failure) -> bool {
    let of_pages = matches!(failure, Failure::CursorExpired(_) | Failure::TooSlow(_));
    of_pages || series::is_of_one(failure)
}
