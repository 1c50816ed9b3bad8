//! Series that end where the expanded feed is silent, since none of their instances is near.
//!
//! Once a day the expanded feed's stream asks the source feed of its calendar, which tells of each
//! series, what has changed. That has a sync token of its own and takes no more than a series' end
//! to tell, so it is an empty page on most days. The first reading, a day after the full listing,
//! goes through all events, deleted ones too: what ended since the listing is among them.

use rowgate_plugin::{Context, Result, time};
use serde::{Deserialize, Serialize};

use crate::api;
use crate::events::{CLOCKS_APART_MICROS, DAY_MICROS, Feed};
use crate::listing::{Got, Listing};
use crate::series;
use crate::wire::{Event, Page, Text, last_of_each};

/// Google's answers are masked for it to what tells of an end.
const FIELDS: &str =
    "nextPageToken,nextSyncToken,items(id,status,updated,recurringEventId,recurrence,start)";

/// How far a calendar's series were gone through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Masters {
    listing: Listing,
    /// When a full listing of the expanded feed began, or the last reading of this ended:
    /// microseconds since the epoch.
    read_at: i64,
}

impl Masters {
    /// For a full listing of the expanded feed that begins now.
    pub(crate) fn new(size: u32, now: i64) -> Self {
        Self { listing: Listing::new(size), read_at: now }
    }

    /// Has a day passed, or is a reading under way?
    pub(crate) fn are_due(&self, now: i64) -> bool {
        !self.listing.is_at_first_page() || now >= self.read_at + DAY_MICROS
    }

    /// Reads a page. Some: it can't be read, and why.
    pub(crate) fn read(&mut self, cx: &Context, feed: Feed<'_>) -> Result<Option<String>> {
        let request = api::get(cx, &["calendars", feed.calendar, "events"])?
            .query("showDeleted", true)
            .query("showHiddenInvitations", true)
            .query("fields", FIELDS);
        let full = self.listing.is_full();
        let answer = match self.listing.get(cx, request)? {
            Got::Page(answer) => answer,
            Got::Again => return Ok(None),
            Got::Unreadable(text) => return Ok(Some(text)),
        };
        let page: Page<'_> = answer.json()?;
        let items = last_of_each::<Event<'_>>(&page.items);
        let events = items.iter().map(|item| &item.parsed);
        series::cascade(feed, events.filter(|event| !full || self.may_be_news(event)))?;
        if self.listing.turn(page.next_page_token, page.next_sync_token)? {
            self.read_at = cx.now;
        }
        Ok(None)
    }

    /// Can it have changed since the rows were read?
    fn may_be_news(&self, event: &Event<'_>) -> bool {
        let updated = event.updated.as_ref().map(Text::as_str);
        let updated_at = updated.and_then(time::micros_from_rfc3339);
        updated_at.is_none_or(|at| at >= self.read_at - CLOCKS_APART_MICROS)
    }
}
