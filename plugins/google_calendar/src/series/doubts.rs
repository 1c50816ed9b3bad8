//! Series of which deltas leave open what became of their instances, as a cursor keeps them.

use std::collections::BTreeMap;

use rowgate_plugin::time;
use serde::{Deserialize, Serialize};

use crate::events::{CLOCKS_APART_MICROS, DAY_MICROS, ms_until};
use crate::recurrence::{fingerprint, is_dense};
use crate::row;
use crate::wire::{Event, Text};

/// What starts later than this may vanish without a word: a cautious half year.
pub(crate) const REACH_MICROS: i64 = 150 * DAY_MICROS;

/// More than so many are settled by a full listing: a cursor has an end.
const SERIES_MAX: usize = 2_000;
const ID_BYTES_MAX: usize = 256 << 10;

/// So many rules are remembered, of series with ids so long, and no more.
const RULES_MAX: usize = 500;
const RULE_ID_BYTES_MAX: usize = 128;

/// Stands for the rule of a series that was looked at, and whose rows may come from any.
const NO_RULE: u64 = 0;

/// So many that were asked for in vain, and a run leaves the rest to the next one.
const FAILURES_A_RUN: usize = 3;

/// So many runs in a row that asked for some in vain, and a full listing settles them all.
const FAILED_RUNS_MAX: u32 = 5;

/// Until the run after the first of those; each further one waits twice as long.
const RETRY_MICROS: i64 = 60_000_000;

/// The doubtful series of a feed. They outlive deltas: what a later one tells of a series is added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Doubts {
    series: BTreeMap<String, Doubt>,
    /// Rules of series by fingerprint, as they were when nothing of the series was in doubt. A title or
    /// an answer to an invitation brings all instances again, too; with the same rule none has gone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rules: BTreeMap<String, u64>,
    /// When others had to be forgotten, microseconds since the epoch. 0: none since the full listing.
    #[serde(skip_serializing_if = "is_default")]
    forgotten_at: i64,
    /// Runs in a row that asked for some in vain.
    #[serde(skip_serializing_if = "is_default")]
    failed_runs: u32,
    /// When the next one counts among them, microseconds since the epoch.
    #[serde(skip_serializing_if = "is_default")]
    retry_at: i64,
    /// Only a full listing tells what became of some.
    #[serde(skip_serializing_if = "is_default")]
    await_listing: bool,
}

/// What deltas told of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Doubt {
    /// Instances were cancelled.
    pub cancelled: bool,
    /// Instances are live: others may have gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
    /// This run asked for it in vain.
    #[serde(skip_serializing_if = "is_default")]
    postponed: bool,
}

/// Which rule the stored rows of a series come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Origin {
    /// The one that it has: none of them has gone.
    ThisRule,
    /// One that it had.
    AnotherRule,
    Unknown,
}

/// The live instances of a series that deltas brought.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Live {
    /// The earliest `updated`, microseconds since the epoch; 0 if one has none.
    updated_at: i64,
    /// The latest `updated`, microseconds since the epoch; 0 if none has one.
    last_updated_at: i64,
    /// The earliest and the latest original start, microseconds since the epoch.
    first_at: i64,
    last_at: i64,
}

impl Doubts {
    pub(crate) fn are_none(&self) -> bool {
        *self == Self::default()
    }

    /// Notes what an instance says of its series.
    pub(crate) fn note(&mut self, series: &str, instance: &Event<'_>) {
        if !self.series.contains_key(series) {
            self.series.insert(series.to_owned(), Doubt::default());
        }
        let Some(doubt) = self.series.get_mut(series) else { return };
        if instance.is_cancelled() {
            doubt.cancelled = true;
        } else {
            let live = Live::of(instance);
            doubt.live = Some(doubt.live.map_or(live, |noted| noted.and(live)));
        }
    }

    /// A series to be asked for in this run.
    pub(crate) fn next(&self) -> Option<(String, Doubt)> {
        if self.await_listing {
            return None;
        }
        let postponed = self.series.values().filter(|doubt| doubt.postponed).count();
        if postponed >= FAILURES_A_RUN {
            return None;
        }
        let mut open = self.series.iter().filter(|(_, doubt)| !doubt.postponed);
        open.next().map(|(series, doubt)| (series.clone(), *doubt))
    }

    /// It is known what became of it.
    pub(crate) fn settle(&mut self, series: &str) {
        self.series.remove(series);
    }

    /// It is gone: the id has no rule any more.
    pub(crate) fn forget_rule(&mut self, series: &str) {
        self.rules.remove(series);
    }

    /// What the rows of a series come from, beside the rule that it has. That is remembered from now
    /// on. A series that is seen for the first time is younger than the full listing at `full_at`.
    pub(crate) fn rows_come_from(
        &mut self,
        series: &str,
        master: &Event<'_>,
        live: Option<Live>,
        full_at: i64,
        now: i64,
    ) -> Origin {
        let Some(rule) = fingerprint(master).filter(|_| may_be_remembered(series)) else {
            return Origin::Unknown;
        };
        let known = self.rules.get(series).copied();
        let is_new = known.is_none() && is_younger(master, full_at.max(self.forgotten_at));
        // It may have changed once more since its instances were told.
        let is_told = live.is_some_and(|live| live.is_as_new_as(master));
        // Cancelled instances alone leave a rule as it is known.
        if live.is_some() || known != Some(rule) {
            self.keep_rule(series, if is_told { rule } else { NO_RULE }, now);
        }
        match known {
            Some(NO_RULE) => Origin::Unknown,
            Some(known) if known != rule => Origin::AnotherRule,
            Some(_) if is_told => Origin::ThisRule,
            None if is_told && is_new => Origin::ThisRule,
            _ => Origin::Unknown,
        }
    }

    fn keep_rule(&mut self, series: &str, rule: u64, now: i64) {
        if !may_be_remembered(series) {
            return;
        }
        if self.rules.len() >= RULES_MAX && !self.rules.contains_key(series) {
            self.rules.clear();
            self.forgotten_at = now;
        }
        self.rules.insert(series.to_owned(), rule);
    }

    /// Only a full listing tells what became of some. Until it begins none is asked for.
    pub(crate) fn wait_for_listing(&mut self) {
        self.await_listing = true;
    }

    /// Has a full listing to settle them?
    pub(crate) fn await_listing(&self) -> bool {
        self.await_listing
    }

    /// A full listing begins, which settles all. Of a series that nobody looked at any rule may be
    /// listed: it is none of those that are known, and older than the listing.
    pub(crate) fn before_full_listing(mut self) -> Self {
        self.rules.retain(|series, _| !self.series.contains_key(series));
        Self { rules: self.rules, ..Self::default() }
    }

    /// It was asked for in vain.
    pub(crate) fn postpone(&mut self, series: &str, now: i64) {
        if let Some(doubt) = self.series.get_mut(series) {
            doubt.postponed = true;
        }
        // Who comes later may find the old rule again, and not what was between.
        self.keep_rule(series, NO_RULE, now);
    }

    /// The run ends: milliseconds until the next one, if doubts are left. One that something else woke
    /// before its time doesn't count.
    pub(crate) fn end_run(&mut self, now: i64) -> Option<u64> {
        if self.series.is_empty() {
            (self.failed_runs, self.retry_at) = (0, 0);
            return None;
        }
        for doubt in self.series.values_mut() {
            doubt.postponed = false;
        }
        if now >= self.retry_at {
            self.failed_runs += 1;
            let doublings = self.failed_runs.min(FAILED_RUNS_MAX).saturating_sub(1);
            self.retry_at = now + (RETRY_MICROS << doublings);
        }
        Some(ms_until(self.retry_at, now))
    }

    /// Was so often asked in vain that only a full listing helps?
    pub(crate) fn are_hopeless(&self, now: i64) -> bool {
        self.failed_runs + 1 >= FAILED_RUNS_MAX && now >= self.retry_at
    }

    /// Are there more than can be kept?
    pub(crate) fn are_too_many(&self) -> bool {
        let id_bytes: usize = self.series.keys().map(String::len).sum();
        self.series.len() > SERIES_MAX || id_bytes > ID_BYTES_MAX
    }
}

impl Live {
    fn of(event: &Event<'_>) -> Self {
        let start = &event.original_start_time;
        let day = || row::day(start).map(|day| i64::from(day) * DAY_MICROS);
        let at = row::at(start).or_else(day);
        let updated_at = updated_at(event).unwrap_or_default();
        Self {
            updated_at,
            last_updated_at: updated_at,
            first_at: at.unwrap_or(i64::MIN),
            last_at: at.unwrap_or(i64::MAX),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            updated_at: self.updated_at.min(other.updated_at),
            last_updated_at: self.last_updated_at.max(other.last_updated_at),
            first_at: self.first_at.min(other.first_at),
            last_at: self.last_at.max(other.last_at),
        }
    }

    /// May instances have gone though none was cancelled? Plain ones take `updated` from their
    /// series, so where all are newer, only exceptions have changed.
    pub(crate) fn may_hide_loss(&self, master: &Event<'_>, now: i64) -> bool {
        let series_changed = updated_at(master).is_none_or(|at| self.updated_at <= at);
        series_changed && (self.last_at > now + REACH_MICROS || !is_dense(master))
    }

    fn is_as_new_as(&self, master: &Event<'_>) -> bool {
        updated_at(master).is_some_and(|at| self.last_updated_at >= at)
    }
}

fn is_younger(master: &Event<'_>, full_at: i64) -> bool {
    let created = master.created.as_ref().map(Text::as_str);
    let created_at = created.and_then(time::micros_from_rfc3339);
    created_at.is_some_and(|at| at > full_at + CLOCKS_APART_MICROS)
}

fn updated_at(event: &Event<'_>) -> Option<i64> {
    time::micros_from_rfc3339(event.updated.as_ref().map(Text::as_str)?)
}

fn may_be_remembered(series: &str) -> bool {
    series.len() <= RULE_ID_BYTES_MAX
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
