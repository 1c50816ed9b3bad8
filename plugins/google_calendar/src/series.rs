//! Series that ended without a word about each of their instances.
//!
//! When a series is deleted or shortened, the expanded feed cancels the instances of about half a
//! year and is silent about the rest; of one shortened beyond that it brings what remains, no more.
//! So each series of which a delta brought an instance, cancelled or live, is looked at. Instances
//! are found by `recurring_event_id`: ids don't tell, since `abc_R2026...` is a series of its own.

mod doubts;

use rowgate_plugin::db::Op;
use rowgate_plugin::{Context, Failure, Result, RetryScope, db, log};

use crate::api;
use crate::events::{CANCELLED, DAY_MICROS, Feed};
use crate::manifest::tables::Event as EventTable;
use crate::recurrence::{Extent, extent};
use crate::refusal::Refusal;
use crate::wire::{Event, Item, Text};

use doubts::{Doubt, Origin};
pub(crate) use doubts::{Doubts, REACH_MICROS};

/// Series looked at in one call.
const CHECKS_PER_CALL: usize = 8;

/// What is known of a feed when its series are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// When its full listing began, microseconds since the epoch.
    pub full_at: i64,
    /// Series come without their rules.
    pub hides_rules: bool,
}

/// What looking at doubtful series came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Checked {
    /// Some are settled, or put off.
    Some,
    /// Only a full listing tells what became of one.
    Relist,
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

/// Looks at some of the doubtful series. One that can't be had is put off, so that it stands in
/// nobody's way; in the end a full listing takes its place.
pub(crate) fn check(
    cx: &Context,
    feed: Feed<'_>,
    doubts: &mut Doubts,
    known: &Known,
) -> Result<Checked> {
    for _ in 0..CHECKS_PER_CALL {
        let Some((series, doubt)) = doubts.next() else { break };
        let verdict = match verdict(cx, feed, &series, &doubt, doubts, known) {
            Err(failure) if is_of_one(&failure) => {
                log::warn("a series can't be looked at", &[]);
                if doubts.are_hopeless(cx.now) {
                    return Ok(Checked::Relist);
                }
                doubts.postpone(&series, cx.now);
                // It may have taken long: a call has its time.
                break;
            }
            verdict => verdict?,
        };
        doubts.settle(&series);
        match verdict {
            Verdict::Keep => {}
            Verdict::Gone => {
                doubts.forget_rule(&series);
                cancel(feed, &series, None)?;
                cancel_base(feed, &series)?;
            }
            Verdict::Cancel => cancel(feed, &series, None)?,
            Verdict::CancelAfter(extent) => cancel(feed, &series, Some(extent))?,
            Verdict::Relist => return Ok(Checked::Relist),
        }
    }
    Ok(Checked::Some)
}

/// Does the failure say nothing of other series, of the owner or of its grant?
pub(crate) fn is_of_one(failure: &Failure) -> bool {
    match failure {
        Failure::Retry(retry) => retry.scope == RetryScope::ThisStream,
        Failure::TooLarge(_) | Failure::Bug(_) => true,
        _ => false,
    }
}

fn verdict(
    cx: &Context,
    feed: Feed<'_>,
    series: &str,
    doubt: &Doubt,
    doubts: &mut Doubts,
    known: &Known,
) -> Result<Verdict> {
    let request = api::get(cx, &["calendars", feed.calendar, "events", series])?;
    let answer = api::call(cx, &request)?;
    if answer.status == 200 {
        return match answer.json::<Event<'_>>() {
            Ok(master) if master.id.as_ref().map(Text::as_str) == Some(series) => {
                let (live, full_at) = (doubt.live, known.full_at);
                let origin = doubts.rows_come_from(series, &master, live, full_at, cx.now);
                Ok(judge(&master, doubt, origin, known.hides_rules, cx.now))
            }
            // Odd; a list takes events as they are.
            Ok(_) | Err(Failure::Bug(_)) => Ok(Verdict::Relist),
            Err(failure) => Err(failure),
        };
    }
    let refusal = Refusal::of(&answer);
    match answer.status {
        410 => Ok(gone(doubt)),
        // Who is invited to some instances alone has no series.
        404 if !doubt.cancelled => Ok(Verdict::Keep),
        // Purged, or never to be had alone.
        404 => Ok(Verdict::Relist),
        // The listing finds out whether all of the calendar is forbidden.
        403 if refusal.is_unreadable() => Ok(Verdict::Relist),
        _ => Err(refusal.failure(cx.now)),
    }
}

/// Live instances contradict: they have just gone too, or outlive their series.
fn gone(doubt: &Doubt) -> Verdict {
    if doubt.live.is_some() { Verdict::Relist } else { Verdict::Gone }
}

fn judge(
    master: &Event<'_>,
    doubt: &Doubt,
    origin: Origin,
    hides_rules: bool,
    now: i64,
) -> Verdict {
    if master.is_cancelled() {
        return gone(doubt);
    }
    let extent = match extent(master) {
        // The rule isn't shown. What has gone the day's listing tells.
        Extent::Single if hides_rules => return Verdict::Keep,
        Extent::Single if doubt.live.is_none() => return Verdict::Cancel,
        Extent::Single => Extent::Unknown,
        extent => extent,
    };
    match (doubt.cancelled, doubt.live, origin) {
        // Some instances gone and some new: the rule itself may be another.
        (true, Some(_), _) | (false, Some(_), Origin::AnotherRule) => return Verdict::Relist,
        (false, Some(_), Origin::ThisRule) => return Verdict::Keep,
        // It may be another where nothing tells: what is gone may all be far, in the gaps of the
        // next instances, or beyond as many as Google expands.
        (false, Some(live), Origin::Unknown) if live.may_hide_loss(master, now) => {
            return Verdict::Relist;
        }
        (false, Some(_), _) if extent == Extent::Unknown => return Verdict::Keep,
        _ => {}
    }
    match extent {
        Extent::Single | Extent::Unknown => Verdict::Relist,
        Extent::Open => Verdict::Keep,
        until => Verdict::CancelAfter(until),
    }
}

/// Notes the series that a page of a delta with instances is about.
pub(crate) fn note(items: &[Item<'_, Event<'_>>], doubts: &mut Doubts) {
    for Item { parsed: event, .. } in items {
        if let Some(series) = event.recurring_event_id.as_ref().map(Text::as_str) {
            doubts.note(series, event);
        }
    }
}

/// What a delta says of whole series: a cancelled event may be one, and takes its instances or
/// exceptions with it; one that now ends earlier loses those beyond; one that is single now has none.
/// With an instant, those that start before it or then are left alone.
pub(crate) fn cascade<'a, 'b: 'a>(
    feed: Feed<'_>,
    events: impl Iterator<Item = &'a Event<'b>>,
    after: Option<i64>,
) -> Result<()> {
    for event in events.filter(|event| event.recurring_event_id.is_none()) {
        let Some(id) = event.id.as_ref().map(Text::as_str) else { continue };
        let extent = if event.is_cancelled() { Extent::Single } else { extent(event) };
        for beyond in lost(extent, after) {
            cancel(feed, id, beyond)?;
        }
    }
    Ok(())
}

/// Beyond what a series of this extent has lost its instances; None: all of them.
fn lost(extent: Extent, after: Option<i64>) -> Vec<Option<Extent>> {
    let day = |at: i64| i32::try_from(at.div_euclid(DAY_MICROS)).unwrap_or(i32::MAX);
    match (extent, after) {
        (Extent::Open | Extent::Unknown, _) => vec![],
        (Extent::Single, None) => vec![None],
        // Of either kind: it may have been another series than it is an event.
        (Extent::Single, Some(at)) => {
            vec![Some(Extent::Until(at)), Some(Extent::UntilDay(day(at)))]
        }
        (Extent::Until(end), Some(at)) => vec![Some(Extent::Until(end.max(at)))],
        (Extent::UntilDay(end), Some(at)) => vec![Some(Extent::UntilDay(end.max(day(at))))],
        (until, None) => vec![Some(until)],
    }
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
