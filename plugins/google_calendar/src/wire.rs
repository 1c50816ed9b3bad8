//! Google's JSON, as far as it is looked at. Whole items are kept as they came, unknown fields too.

use std::borrow::Cow;
use std::collections::HashSet;

use rowgate_plugin::{Answer, List, Result, log};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// What a page of a list says beside its items, of which there may be none though more pages follow.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page {
    #[serde(default)]
    pub next_page_token: Option<String>,
    #[serde(default)]
    pub next_sync_token: Option<String>,
    /// The calendar's title, on a list of events.
    #[serde(default)]
    pub summary: Option<Box<RawValue>>,
    /// The calendar's, on a list of events; may be empty.
    #[serde(default)]
    pub description: Option<Box<RawValue>>,
    /// The calendar's, on a list of events.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// The owner's on the calendar, on a list of events.
    #[serde(default)]
    pub access_role: Option<String>,
}

/// Text that is borrowed where it has no escapes (serde borrows inside a newtype, not in an Option).
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// An entry of the list of calendars. A deleted one is a stub.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Entry<'a> {
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    #[serde(borrow)]
    pub time_zone: Option<Text<'a>>,
    pub deleted: bool,
    pub primary: bool,
}

/// An event: single, series, instance or exception; of a cancelled one perhaps the id alone.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Event<'a> {
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    #[serde(borrow)]
    pub status: Option<Text<'a>>,
    #[serde(borrow)]
    pub created: Option<Text<'a>>,
    #[serde(borrow)]
    pub updated: Option<Text<'a>>,
    #[serde(borrow)]
    pub start: Option<Moment<'a>>,
    #[serde(borrow)]
    pub end: Option<Moment<'a>>,
    #[serde(borrow)]
    pub original_start_time: Option<Moment<'a>>,
    #[serde(borrow)]
    pub recurring_event_id: Option<Text<'a>>,
    /// RFC 5545 lines; only a series has them.
    #[serde(borrow)]
    pub recurrence: Option<Vec<Text<'a>>>,
}

/// A day, or an instant: with its offset, or else as the clocks of the zone show it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Moment<'a> {
    #[serde(borrow)]
    pub date: Option<Text<'a>>,
    #[serde(borrow)]
    pub date_time: Option<Text<'a>>,
    #[serde(borrow)]
    pub time_zone: Option<Text<'a>>,
}

impl Event<'_> {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.as_str() == "cancelled")
    }
}

/// An item of a page: as it came, and what is looked at.
#[derive(Debug)]
pub(crate) struct Item<'a, T> {
    pub raw: &'a str,
    pub parsed: T,
}

/// What has an id.
pub(crate) trait Identified<'a>: Default + Deserialize<'a> {
    fn id(&self) -> Option<&str>;
    /// Out of an item in which some field has a type that nobody expected.
    fn lenient(value: &Value) -> Self;
}

impl<'a> Identified<'a> for Entry<'a> {
    fn id(&self) -> Option<&str> {
        self.id.as_ref().map(Text::as_str)
    }

    fn lenient(value: &Value) -> Self {
        Self {
            id: text(&value["id"]),
            time_zone: text(&value["timeZone"]),
            deleted: value["deleted"].as_bool().unwrap_or_default(),
            primary: value["primary"].as_bool().unwrap_or_default(),
        }
    }
}

impl<'a> Identified<'a> for Event<'a> {
    fn id(&self) -> Option<&str> {
        self.id.as_ref().map(Text::as_str)
    }

    fn lenient(value: &Value) -> Self {
        let moment = |value: &Value| {
            let (date, date_time) = (text(&value["date"]), text(&value["dateTime"]));
            let time_zone = text(&value["timeZone"]);
            value.is_object().then_some(Moment { date, date_time, time_zone })
        };
        let lines = match &value["recurrence"] {
            Value::Null => None,
            Value::Array(lines) => Some(lines.iter().filter_map(text).collect()),
            // A rule that can't be read is no reason to take a series for a single event.
            _ => Some(vec![Text(Cow::Borrowed("RRULE:"))]),
        };
        Self {
            id: text(&value["id"]),
            status: text(&value["status"]),
            created: text(&value["created"]),
            updated: text(&value["updated"]),
            start: moment(&value["start"]),
            end: moment(&value["end"]),
            original_start_time: moment(&value["originalStartTime"]),
            recurring_event_id: text(&value["recurringEventId"]),
            recurrence: lines,
        }
    }
}

/// The text that a JSON string holds. None: it is another value, or no text (a lone surrogate).
pub(crate) fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn text(value: &Value) -> Option<Text<'static>> {
    value.as_str().map(|text| Text(Cow::Owned(text.to_owned())))
}

/// A page, and its items that have an id, each id once: Google repeats events in a page, and the last
/// one counts.
pub(crate) fn page<'a, T: Identified<'a>>(answer: &'a Answer) -> Result<(Page, Vec<Item<'a, T>>)> {
    let List { head, items } = answer.list("items")?;
    let mut found: Vec<Item<'a, T>> = items.into_iter().filter_map(identified).collect();
    let mut seen = HashSet::with_capacity(found.len());
    let is_last: Vec<_> = found.iter().rev().map(|item| seen.insert(item.parsed.id())).collect();
    let mut is_last = is_last.into_iter().rev();
    found.retain(|_| is_last.next().unwrap_or_default());
    Ok((head, found))
}

fn identified<'a, T: Identified<'a>>(item: rowgate_plugin::Item<'a, T>) -> Option<Item<'a, T>> {
    let raw = item.raw;
    let lenient = || serde_json::from_str(raw).ok().map(|value: Value| T::lenient(&value));
    let parsed = item.parsed.or_else(lenient);
    let parsed = parsed.filter(|parsed| parsed.id().is_some_and(|id| !id.is_empty()));
    if parsed.is_none() {
        log::warn("an item without an id is left out", &[]);
    }
    Some(Item { raw, parsed: parsed? })
}
