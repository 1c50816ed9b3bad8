//! What follows from how a delivery ended: pure.

use crate::model::Micros;

/// How a delivery ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// 2xx.
    Taken,
    /// Another status.
    #[allow(missing_docs)]
    Status { status: u16, retry_after_s: Option<i64> },
    /// No answer; the text says why.
    Unanswered(String),
    /// The same, and fewer rows may fit into the time.
    Slow(String),
    /// The destination had no room for so much at once; the text says why.
    TooLarge(String),
    /// One of its rows can never be stored. Of a row that came alone the text says which one it is.
    Unstorable(String),
    /// A part of it was done for good; the same again does more of it.
    HasMore,
    /// The destination hasn't what came before.
    Lost,
}

/// A target at the end of a delivery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) now: Micros,
    /// Failures in a row before this one.
    pub(super) attempts: i64,
    pub(super) failing_since: Option<Micros>,
    /// How often in a row it had to get everything anew.
    pub(super) restarts: i64,
    /// When that was the last time.
    pub(super) restarted_at: Option<Micros>,
    /// Rows that the delivery had.
    pub(super) rows: i64,
    /// Rows that it might have had.
    pub(super) rows_max: i64,
    pub(super) page_size: i64,
    /// From 0 to 999.
    pub(super) chance: i64,
}

/// How long failures are borne.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "config.default.toml says what each is")]
pub struct Patience {
    pub back_off_base: Micros,
    pub back_off_max: Micros,
    pub alert_after: Micros,
    pub pause_after: Micros,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The bookmark moves; the next delivery may have so many rows.
    Advance { rows_max: i64 },
    /// The same again, at once: nothing has failed.
    GoOn,
    /// The same again with fewer rows.
    Smaller { rows_max: i64 },
    /// The whole table from the beginning, for so many times in a row: at once, or as a failure is
    /// tried again.
    Restart { restarts: i64, later: Option<Failing> },
    /// The target is given back.
    Fail(Failing),
}

/// A target that can't be delivered to just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failing {
    pub(super) error: String,
    /// When it is tried again.
    pub(super) at: Micros,
    /// With so many rows.
    pub(super) rows_max: i64,
    /// It has failed for long.
    pub(super) alert: bool,
    /// Why it isn't tried again until somebody resumes it.
    pub(super) pause: Option<String>,
}

/// No receiver may ask for more.
const RETRY_AFTER_MAX_S: i64 = 3_600;

/// How far the doubling goes.
const DOUBLINGS_MAX: i64 = 30;

/// A whole table is much: whoever loses it again and again gets it ever more seldom, down to this.
const RESTART_WAIT_MAX: Micros = 6 * 3_600_000_000;

/// Restarts are in a row if no more time lies between them. Longer than the longest wait.
const RESTARTS_APART_MAX: Micros = 24 * 3_600_000_000;

pub(super) fn decide(outcome: &Outcome, standing: Standing, patience: Patience) -> Decision {
    let Standing { rows, rows_max, page_size, .. } = standing;
    let half = if rows > 1 { rows / 2 } else { rows_max };
    match outcome {
        Outcome::Taken => {
            // Back to the full size by and by: one row may have been the large one.
            let grown = rows_max + (rows_max / 8).max(1);
            Decision::Advance { rows_max: grown.min(page_size) }
        }
        Outcome::HasMore => Decision::GoOn,
        Outcome::Lost => restart(standing, patience),
        Outcome::Status { status: 413, .. } | Outcome::TooLarge(_) | Outcome::Unstorable(_)
            if rows > 1 =>
        {
            Decision::Smaller { rows_max: half }
        }
        Outcome::Status { status: 413, .. } => {
            let error = "413: one row alone is too large".to_owned();
            Decision::Fail(failing(error, standing, patience))
        }
        Outcome::Status { status, retry_after_s } => {
            let failing = failing(format!("answered {status}"), standing, patience);
            let asked = retry_after_s.unwrap_or(0).clamp(0, RETRY_AFTER_MAX_S) * 1_000_000;
            let at = failing.at.max(standing.now + asked);
            Decision::Fail(Failing { at, ..failing })
        }
        // A database that hangs takes long, too: not at once.
        Outcome::Slow(error) => {
            let failing = failing(error.clone(), standing, patience);
            Decision::Fail(Failing { rows_max: half, ..failing })
        }
        Outcome::Unanswered(error) | Outcome::TooLarge(error) => {
            Decision::Fail(failing(error.clone(), standing, patience))
        }
        Outcome::Unstorable(error) => {
            let failing = failing(error.clone(), standing, patience);
            Decision::Fail(Failing { alert: false, pause: Some(error.clone()), ..failing })
        }
    }
}

/// What follows from a failure, whatever it was.
pub(super) fn failing(error: String, standing: Standing, patience: Patience) -> Failing {
    let wait = wait(standing.attempts, patience.back_off_max, standing, patience);
    let failing_for = standing.failing_since.map_or(0, |since| standing.now - since);
    let pauses = failing_for >= patience.pause_after;
    Failing {
        at: standing.now + wait,
        rows_max: standing.rows_max,
        alert: !pauses && failing_for >= patience.alert_after,
        pause: pauses.then(|| format!("it failed for too long: {error}")),
        error,
    }
}

/// The first time at once: it was put back to an older copy. A database where that goes on and on, or
/// that lies, must not have us copy without end.
fn restart(standing: Standing, patience: Patience) -> Decision {
    let Standing { now, restarted_at, .. } = standing;
    let in_a_row = restarted_at.is_some_and(|at| now - at <= RESTARTS_APART_MAX);
    let before = if in_a_row { standing.restarts } else { 0 };
    let restarts = before.saturating_add(1);
    if before <= 0 {
        return Decision::Restart { restarts, later: None };
    }
    let wait = wait(before - 1, RESTART_WAIT_MAX, standing, patience);
    let error = "it hasn't what it had before, once more: it gets everything again, later";
    let failing = failing(error.to_owned(), standing, patience);
    let at = failing.at.max(now + wait);
    Decision::Restart { restarts, later: Some(Failing { at, ..failing }) }
}

/// Ever longer, up to a limit.
fn wait(doublings: i64, wait_max: Micros, standing: Standing, patience: Patience) -> Micros {
    let doublings = doublings.clamp(0, DOUBLINGS_MAX);
    let doubled = patience.back_off_base.saturating_mul(1 << doublings);
    let wait = doubled.min(wait_max);
    // Between half and all of it, so that targets of one receiver don't come back together.
    wait / 2 + wait / 2 * standing.chance / 1_000
}

#[cfg(test)]
mod tests;
