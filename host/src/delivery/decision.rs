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
mod tests {
    use super::*;

    const S: Micros = 1_000_000;
    const PATIENCE: Patience = Patience {
        back_off_base: S,
        back_off_max: 300 * S,
        alert_after: 3_600 * S,
        pause_after: 432_000 * S,
    };
    const STANDING: Standing = Standing {
        now: 500_000 * S,
        attempts: 0,
        failing_since: None,
        restarts: 0,
        restarted_at: None,
        rows: 100,
        rows_max: 100,
        page_size: 200,
        chance: 0,
    };

    fn status(status: u16) -> Outcome {
        Outcome::Status { status, retry_after_s: None }
    }

    fn fails(outcome: &Outcome, standing: Standing) -> Failing {
        match decide(outcome, standing, PATIENCE) {
            Decision::Fail(failing) => failing,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_taken_advances_and_grows() {
        for (rows_max, next) in [(100, 112), (1, 2), (199, 200), (200, 200)] {
            let standing = Standing { rows_max, ..STANDING };
            let decision = decide(&Outcome::Taken, standing, PATIENCE);
            assert_eq!(decision, Decision::Advance { rows_max: next });
        }
    }

    #[test]
    fn what_is_too_large_is_halved_down_to_one_row() {
        for (rows, half) in [(100, 50), (3, 1), (2, 1)] {
            let standing = Standing { rows, ..STANDING };
            assert_eq!(
                decide(&status(413), standing, PATIENCE),
                Decision::Smaller { rows_max: half }
            );
        }
        let decision = decide(&status(413), Standing { rows: 1, ..STANDING }, PATIENCE);
        assert!(matches!(decision, Decision::Fail(_)), "{decision:?}");
    }

    #[test]
    fn what_needs_several_steps_does_not_fail() {
        let failing = Standing { attempts: 7, failing_since: Some(0), ..STANDING };
        for standing in [STANDING, failing] {
            assert_eq!(decide(&Outcome::HasMore, standing, PATIENCE), Decision::GoOn);
        }
    }

    #[test]
    fn a_row_that_cannot_be_stored_is_found_by_halving() {
        let row = || Outcome::Unstorable("row 7: NUL".into());
        for outcome in [row(), Outcome::TooLarge("out of memory".into())] {
            let decision = decide(&outcome, Standing { rows: 9, ..STANDING }, PATIENCE);
            assert_eq!(decision, Decision::Smaller { rows_max: 4 }, "{outcome:?}");
        }
        let alone = Standing { rows: 1, rows_max: 1, ..STANDING };
        let failing = fails(&row(), alone);
        assert_eq!(
            (failing.error.as_str(), failing.pause.as_deref()),
            ("row 7: NUL", Some("row 7: NUL"))
        );
        // There may be room later.
        let failing = fails(&Outcome::TooLarge("out of memory".into()), alone);
        assert_eq!((failing.rows_max, failing.pause), (1, None));
    }

    #[test]
    fn what_is_slow_is_tried_later_with_fewer_rows() {
        for (rows, rows_max, then) in [(100, 100, 50), (3, 100, 1), (1, 1, 1), (0, 100, 100)] {
            let standing = Standing { rows, rows_max, ..STANDING };
            let failing = fails(&Outcome::Slow("no answer in time".into()), standing);
            assert_eq!((failing.rows_max, failing.pause), (then, None), "{rows}");
        }
        let failing = fails(&Outcome::Unanswered("gone".into()), STANDING);
        assert_eq!(failing.rows_max, STANDING.rows_max);
    }

    #[test]
    fn who_has_lost_everything_gets_everything() {
        let at_once = Decision::Restart { restarts: 1, later: None };
        assert_eq!(decide(&Outcome::Lost, STANDING, PATIENCE), at_once);
        let long_ago = STANDING.now - RESTARTS_APART_MAX - 1;
        let again = Standing { restarts: 9, restarted_at: Some(long_ago), ..STANDING };
        assert_eq!(decide(&Outcome::Lost, again, PATIENCE), at_once);
    }

    #[test]
    fn who_loses_everything_again_and_again_gets_it_ever_more_seldom() {
        for (restarts, chance, wait_ms) in [
            (1, 0, 500),
            (1, 999, 999),
            (2, 0, 1_000),
            (4, 500, 6_000),
            // Longer than after failures.
            (11, 0, 512_000),
            (16, 0, 10_800_000),
            (1_000, 999, 21_589_200),
        ] {
            let restarted_at = Some(STANDING.now - RESTARTS_APART_MAX);
            let standing = Standing { restarts, restarted_at, chance, ..STANDING };
            match decide(&Outcome::Lost, standing, PATIENCE) {
                Decision::Restart { restarts: now, later: Some(failing) } => {
                    assert_eq!(now, restarts + 1);
                    let waits = (failing.at - standing.now) / 1_000;
                    assert!((waits - wait_ms).abs() <= 1, "{restarts}: {waits}");
                    assert!(failing.pause.is_none() && !failing.alert);
                }
                other => panic!("{restarts}: {other:?}"),
            }
        }
    }

    #[test]
    fn failures_wait_ever_longer() {
        let later = |outcome: &Outcome, standing| fails(outcome, standing).at - standing.now;
        for (attempts, chance, wait_ms) in [
            (0, 0, 500),
            (0, 999, 999),
            (1, 0, 1_000),
            (3, 500, 6_000),
            (9, 0, 150_000),
            (1_000, 999, 299_850),
        ] {
            let standing = Standing { attempts, chance, ..STANDING };
            let wait = later(&status(500), standing) / 1_000;
            assert!((wait - wait_ms).abs() <= 1, "{attempts}: {wait}");
        }
        for (asked, wait_s) in [(Some(7), 7), (Some(100_000), 3_600), (Some(-5), 0), (None, 0)] {
            let outcome = Outcome::Status { status: 429, retry_after_s: asked };
            assert_eq!(later(&outcome, STANDING) / S, wait_s, "{asked:?}");
        }
    }

    #[test]
    fn long_failure_alerts_and_then_pauses() {
        let outcome = Outcome::Unanswered("no connection".into());
        for (failing_for_s, alert) in [
            (None, Some(false)),
            (Some(3_599), Some(false)),
            (Some(3_600), Some(true)),
            (Some(431_999), Some(true)),
            (Some(432_000), None),
        ] {
            let failing_since = failing_for_s.map(|for_s| STANDING.now - for_s * S);
            let failing = fails(&outcome, Standing { failing_since, ..STANDING });
            assert_eq!(failing.error, "no connection");
            assert_eq!(failing.alert, alert.unwrap_or(false), "{failing_for_s:?}");
            let pause = alert.is_none().then_some("it failed for too long: no connection");
            assert_eq!(failing.pause.as_deref(), pause, "{failing_for_s:?}");
        }
    }
}
