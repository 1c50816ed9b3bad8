//! An event as a row.

use rowgate_plugin::time;

use crate::manifest::tables::EventRow;
use crate::wire::{Event, Item, Moment, Text};

/// The row of an event, without the calendar. A day stays a day. What is no time is null: Google has
/// events created in the year 0.
pub(crate) fn row<'a>(item: &'a Item<'_, Event<'_>>) -> EventRow<'a> {
    let event = &item.parsed;
    let instant = |text: &Option<Text<'_>>| {
        text.as_ref().and_then(|text| time::micros_from_rfc3339(text.as_str()))
    };
    EventRow::default()
        .google_id(event.id.as_ref().map(Text::as_str))
        .status(event.status.as_ref().map(Text::as_str))
        .created(instant(&event.created))
        .updated(instant(&event.updated))
        .start_at(at(&event.start))
        .start_date(day(&event.start))
        .end_at(at(&event.end))
        .end_date(day(&event.end))
        .original_start_at(at(&event.original_start_time))
        .original_start_date(day(&event.original_start_time))
        .recurring_event_id(event.recurring_event_id.as_ref().map(Text::as_str))
        .data(item.raw)
}

/// Has a cancelled event all that it had? Google says of some no more than their id, and keeps the
/// rest of others.
pub(crate) fn is_stub(event: &Event<'_>) -> bool {
    event.is_cancelled() && (event.start.is_none() || event.updated.is_none())
}

/// An instant is `dateTime` with its own offset, whatever zone stands beside it: that is the event's,
/// for recurrences. Only where there is no offset the zone says what the time means.
pub(crate) fn at(moment: &Option<Moment<'_>>) -> Option<i64> {
    let moment = moment.as_ref()?;
    let text = moment.date_time.as_ref()?.as_str();
    let in_zone = || time::micros_in_zone(text, moment.time_zone.as_ref()?.as_str());
    time::micros_from_rfc3339(text).or_else(in_zone)
}

pub(crate) fn day(moment: &Option<Moment<'_>>) -> Option<i32> {
    time::days_from_date(moment.as_ref()?.date.as_ref()?.as_str())
}
