//! Series that ended without a word about each of their instances.
//!
//! When a series is deleted or shortened, the expanded feed cancels the instances of about half a
//! year and is silent about the rest. So each series of which a delta cancelled an instance is
//! looked at. Instances are found by `recurring_event_id`: ids don't tell, since `abc_R2026...` is a
//! series of its own beside `abc`.

use rowgate_plugin::db::Op;
use rowgate_plugin::{Context, Result, Step, db, time};

use crate::events::{CANCELLED, Feed, Position, rest};
use crate::manifest::tables::Event as EventTable;
use crate::refusal::Refusal;
use crate::wire::{Event, Text};
use crate::{Cursor, api, row};

/// Series looked at in one call.
const CHECKS_PER_CALL: usize = 8;

/// How far a series goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Extent {
    /// No recurrence: a single event.
    Single,
    /// Without end.
    Open,
    /// The last start is not after this instant.
    Until(i64),
    /// The last day is not after this one.
    UntilDay(i32),
    /// Only listing it tells.
    Unknown,
}

/// What becomes of a series' instances.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Keep,
    Cancel,
    CancelAfter(Extent),
    /// Only a full listing tells.
    Relist,
}

/// Looks at some of the doubtful series.
pub(crate) fn check(cx: &Context, feed: Feed<'_>, mut at: Position) -> Result<Step<Cursor>> {
    for _ in 0..CHECKS_PER_CALL {
        let Some(series) = at.suspects.pop_first() else { break };
        let moved = at.moved.contains(&series);
        match verdict(cx, feed, &series, moved)? {
            Verdict::Keep => {}
            Verdict::Cancel => cancel(feed, &series, None)?,
            Verdict::CancelAfter(extent) => cancel(feed, &series, Some(extent))?,
            Verdict::Relist => return Ok(Step::restart()),
        }
    }
    Ok(rest(at))
}

fn verdict(cx: &Context, feed: Feed<'_>, series: &str, moved: bool) -> Result<Verdict> {
    let request = api::get(cx, &["calendars", feed.calendar, "events", series])?;
    let answer = api::call(cx, &request)?;
    if answer.status == 200 {
        let master: Event<'_> = answer.json()?;
        return Ok(judge(&master, moved));
    }
    let refusal = Refusal::of(&answer);
    match answer.status {
        410 => Ok(Verdict::Cancel),
        // Purged, or never to be had alone.
        404 => Ok(Verdict::Relist),
        // The list that follows finds out what has become of the calendar.
        403 if refusal.is_unreadable() => Ok(Verdict::Keep),
        _ => Err(refusal.failure(cx.now)),
    }
}

fn judge(master: &Event<'_>, moved: bool) -> Verdict {
    if master.is_cancelled() {
        return Verdict::Cancel;
    }
    match extent(master) {
        Extent::Single => Verdict::Cancel,
        // Some instances gone and some new: the rule itself may be another.
        _ if moved => Verdict::Relist,
        Extent::Unknown => Verdict::Relist,
        Extent::Open => Verdict::Keep,
        until => Verdict::CancelAfter(until),
    }
}

/// What a delta says of whole series: a cancelled event may be one, and takes its instances or
/// exceptions with it; one that now ends earlier loses those beyond.
pub(crate) fn cascade<'a, 'b: 'a>(
    feed: Feed<'_>,
    events: impl Iterator<Item = &'a Event<'b>>,
) -> Result<()> {
    for event in events.filter(|event| event.recurring_event_id.is_none()) {
        let Some(id) = event.id.as_ref().map(Text::as_str) else { continue };
        if event.is_cancelled() {
            cancel(feed, id, None)?;
        } else if let until @ (Extent::Until(_) | Extent::UntilDay(_)) = extent(event) {
            cancel(feed, id, Some(until))?;
        }
    }
    Ok(())
}

/// Cancels the instances of a series, all or those that start beyond its extent.
fn cancel(feed: Feed<'_>, series: &str, beyond: Option<Extent>) -> Result<()> {
    let mut conditions = vec![
        db::is(EventTable::GOOGLE_CALENDAR_ID, feed.calendar),
        db::is(EventTable::RECURRING_EVENT_ID, series),
    ];
    match beyond {
        Some(Extent::Until(instant)) => {
            let start = EventTable::ORIGINAL_START_AT;
            conditions.push(db::condition(start, Op::Greater, db::Scalar::Timestamp(instant)));
        }
        Some(Extent::UntilDay(day)) => {
            let start = EventTable::ORIGINAL_START_DATE;
            conditions.push(db::condition(start, Op::Greater, db::Scalar::Date(day)));
        }
        _ => {}
    }
    db::update(feed.service, &[(EventTable::STATUS, CANCELLED.into())], &conditions)
}

/// How far the recurrence of an event goes (RFC 5545). Anything but one rule with a plain `UNTIL`
/// that fits the start is left to a listing.
pub(crate) fn extent(event: &Event<'_>) -> Extent {
    let rules = values(event, "RRULE");
    let endless = rules.iter().any(|rule| part(rule, "UNTIL").or(part(rule, "COUNT")).is_none());
    match (rules.as_slice(), values(event, "RDATE").is_empty()) {
        ([], true) => Extent::Single,
        ([rule], true) => rule_extent(rule, event),
        _ if endless => Extent::Open,
        _ => Extent::Unknown,
    }
}

/// Values of the recurrence lines of a name; the name may have parameters (`RDATE;VALUE=DATE:`).
fn values<'a>(event: &'a Event<'_>, name: &str) -> Vec<&'a str> {
    let lines = event.recurrence.as_deref().unwrap_or_default().iter().map(Text::as_str);
    lines
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| key.split(';').next().unwrap_or_default().eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

fn rule_extent(rule: &str, event: &Event<'_>) -> Extent {
    if part(rule, "COUNT").is_some() {
        return Extent::Unknown;
    }
    let Some(until) = part(rule, "UNTIL") else { return Extent::Open };
    let day = || {
        let (year, rest) = until.split_at_checked(4)?;
        let (month, rest) = rest.split_at_checked(2)?;
        time::days_from_date(&format!("{year}-{month}-{}", rest.get(..2)?))
    };
    if row::day(&event.start).is_some() {
        return day().map_or(Extent::Unknown, Extent::UntilDay);
    }
    let instant = || {
        let (_, clock) = until.split_once('T')?;
        let clock = clock.strip_suffix('Z').filter(|clock| clock.len() == 6)?;
        let (hour, rest) = clock.split_at_checked(2)?;
        let (minute, second) = rest.split_at_checked(2)?;
        let midnight = i64::from(day()?) * 86_400_000_000;
        let since = time::micros_from_rfc3339(&format!("1970-01-01T{hour}:{minute}:{second}Z"))?;
        Some(midnight + since)
    };
    instant().map_or(Extent::Unknown, Extent::Until)
}

fn part<'a>(rule: &'a str, name: &str) -> Option<&'a str> {
    rule.split(';').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}
