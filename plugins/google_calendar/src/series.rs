//! Series that ended without a word about each of their instances.
//!
//! When a series is deleted or shortened, the expanded feed cancels the instances of about half a
//! year and is silent about the rest; of one shortened beyond that it brings what remains, no more.
//! So each series of which a delta brought an instance, cancelled or live, is looked at. Instances
//! are found by `recurring_event_id`: ids don't tell, since `abc_R2026...` is a series of its own.

use rowgate_plugin::db::Op;
use rowgate_plugin::{Context, Result, Step, db, time};
use serde::{Deserialize, Serialize};

use crate::events::{CANCELLED, Feed, Position, rest};
use crate::manifest::tables::Event as EventTable;
use crate::refusal::Refusal;
use crate::wire::{Event, Item, Text};
use crate::{Cursor, api, row};

/// Series looked at in one call.
const CHECKS_PER_CALL: usize = 8;

/// What starts later than this may vanish without a word: a cautious half year.
const REACH_MICROS: i64 = 150 * 86_400_000_000;

/// What a delta told of the live instances of a series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Live {
    /// The earliest `updated`, microseconds since the epoch; 0 if one has none.
    updated_at: i64,
    /// The earliest and the latest original start, microseconds since the epoch.
    first_at: i64,
    last_at: i64,
}

impl Live {
    fn of(event: &Event<'_>) -> Self {
        let start = &event.original_start_time;
        let day = || row::day(start).map(|day| i64::from(day) * 86_400_000_000);
        let at = row::at(start).or_else(day);
        Self {
            updated_at: updated_at(event).unwrap_or_default(),
            first_at: at.unwrap_or(i64::MIN),
            last_at: at.unwrap_or(i64::MAX),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            updated_at: self.updated_at.min(other.updated_at),
            first_at: self.first_at.min(other.first_at),
            last_at: self.last_at.max(other.last_at),
        }
    }

    /// May instances have gone though none was cancelled? Plain ones take `updated` from their
    /// series, so where all are newer, only exceptions have changed.
    fn may_hide_loss(&self, master: &Event<'_>, now: i64) -> bool {
        let series_changed = updated_at(master).is_none_or(|at| self.updated_at <= at);
        series_changed && (self.last_at > now + REACH_MICROS || !is_dense(master))
    }
}

fn updated_at(event: &Event<'_>) -> Option<i64> {
    time::micros_from_rfc3339(event.updated.as_ref()?.as_str())
}

/// Is there an instance at least every four weeks, so that a series can't end earlier without a
/// cancelled one near its end?
fn is_dense(master: &Event<'_>) -> bool {
    let rules = values(master, "RRULE");
    let [rule] = rules.as_slice() else { return false };
    let days = match part(rule, "FREQ").map(str::to_ascii_uppercase).as_deref() {
        Some("DAILY") => 1,
        Some("WEEKLY") => 7,
        _ => return false,
    };
    let interval = part(rule, "INTERVAL").map_or(Some(1), |text| text.parse::<u32>().ok());
    let narrowed = rule.to_ascii_uppercase().contains("BYMONTH");
    let plain = values(master, "RDATE").is_empty() && values(master, "EXDATE").is_empty();
    plain && !narrowed && interval.is_some_and(|interval| interval <= 28 / days)
}

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
    /// It is gone, with the single event of its id that it may have been at the last delta.
    Gone,
    Cancel,
    CancelAfter(Extent),
    /// Only a full listing tells.
    Relist,
}

/// What is known of a series before it is looked at.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    now: i64,
    /// Did the delta cancel instances?
    cancelled: bool,
    live: Option<Live>,
    hides_rules: bool,
}

/// Looks at some of the doubtful series.
pub(crate) fn check(cx: &Context, feed: Feed<'_>, mut at: Position) -> Result<Step<Cursor>> {
    for _ in 0..CHECKS_PER_CALL {
        let suspect = at.suspects.pop_first();
        let cancelled = suspect.is_some();
        let Some(series) = suspect.or_else(|| at.live.keys().next().cloned()) else { break };
        let live = at.live.remove(&series);
        let doubt = Doubt { now: cx.now, cancelled, live, hides_rules: at.hides_rules() };
        match verdict(cx, feed, &series, &doubt)? {
            Verdict::Keep => {}
            Verdict::Gone => {
                cancel(feed, &series, None)?;
                cancel_base(feed, &series)?;
            }
            Verdict::Cancel => cancel(feed, &series, None)?,
            Verdict::CancelAfter(extent) => cancel(feed, &series, Some(extent))?,
            Verdict::Relist => return Ok(Step::restart()),
        }
    }
    Ok(rest(at))
}

fn verdict(cx: &Context, feed: Feed<'_>, series: &str, doubt: &Doubt) -> Result<Verdict> {
    let request = api::get(cx, &["calendars", feed.calendar, "events", series])?;
    let answer = api::call(cx, &request)?;
    if answer.status == 200 {
        let master: Event<'_> = answer.json()?;
        return Ok(judge(&master, doubt));
    }
    let refusal = Refusal::of(&answer);
    match answer.status {
        410 => Ok(gone(doubt)),
        // Who is invited to some instances alone has no series.
        404 if !doubt.cancelled => Ok(Verdict::Keep),
        // Purged, or never to be had alone.
        404 => Ok(Verdict::Relist),
        // The list that follows finds out what has become of the calendar.
        403 if refusal.is_unreadable() => Ok(Verdict::Keep),
        _ => Err(refusal.failure(cx.now)),
    }
}

/// Live instances contradict: they have just gone too, or outlive their series.
fn gone(doubt: &Doubt) -> Verdict {
    if doubt.live.is_some() { Verdict::Relist } else { Verdict::Gone }
}

fn judge(master: &Event<'_>, doubt: &Doubt) -> Verdict {
    if master.is_cancelled() {
        return gone(doubt);
    }
    let extent = match extent(master) {
        Extent::Single if doubt.live.is_none() && !doubt.hides_rules => return Verdict::Cancel,
        // The rule isn't shown.
        Extent::Single => Extent::Unknown,
        extent => extent,
    };
    match (doubt.cancelled, doubt.live) {
        // Some instances gone and some new: the rule itself may be another.
        (true, Some(_)) => return Verdict::Relist,
        // So may it be where nothing is near enough to be told as gone.
        (false, Some(live)) => {
            let unseen = live.may_hide_loss(master, doubt.now);
            let far = live.first_at > doubt.now + REACH_MICROS;
            if unseen && far {
                return Verdict::Relist;
            }
            if !unseen && extent == Extent::Unknown {
                return Verdict::Keep;
            }
        }
        _ => {}
    }
    match extent {
        Extent::Single | Extent::Unknown => Verdict::Relist,
        Extent::Open => Verdict::Keep,
        until => Verdict::CancelAfter(until),
    }
}

/// Notes the series that a page of a delta of the expanded feed is about.
pub(crate) fn note(items: &[Item<'_, Event<'_>>], at: &mut Position) {
    for Item { parsed: event, .. } in items {
        let Some(series) = event.recurring_event_id.as_ref().map(Text::as_str) else { continue };
        if !event.is_cancelled() {
            let live = Live::of(event);
            match at.live.get_mut(series) {
                Some(noted) => *noted = noted.and(live),
                None => drop(at.live.insert(series.to_owned(), live)),
            }
        } else if !at.suspects.contains(series) {
            at.suspects.insert(series.to_owned());
        }
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

/// Cancels the single event that became a series.
fn cancel_base(feed: Feed<'_>, series: &str) -> Result<()> {
    let base = [
        db::is(EventTable::GOOGLE_CALENDAR_ID, feed.calendar),
        db::is(EventTable::GOOGLE_ID, series),
    ];
    db::update(feed.service, &[(EventTable::STATUS, CANCELLED.into())], &base)
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
