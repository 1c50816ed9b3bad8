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
    /// The whole table from the beginning.
    Restart,
    /// Again at a time, with so many rows.
    Later { at: Micros, error: String, alert: bool, rows_max: i64 },
    /// No more, until somebody resumes it.
    Pause { at: Micros, error: String, reason: String },
}

/// No receiver may ask for more.
const RETRY_AFTER_MAX_S: i64 = 3_600;

/// How far the doubling goes.
const DOUBLINGS_MAX: i64 = 30;

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
        Outcome::Lost => Decision::Restart,
        Outcome::Status { status: 413, .. } | Outcome::TooLarge(_) | Outcome::Unstorable(_)
            if rows > 1 =>
        {
            Decision::Smaller { rows_max: half }
        }
        Outcome::Status { status: 413, .. } => {
            failed("413: one row alone is too large".to_owned(), None, rows_max, standing, patience)
        }
        Outcome::Status { status, retry_after_s } => {
            failed(format!("answered {status}"), *retry_after_s, rows_max, standing, patience)
        }
        // A database that hangs takes long, too: not at once.
        Outcome::Slow(error) => failed(error.clone(), None, half, standing, patience),
        Outcome::Unanswered(error) | Outcome::TooLarge(error) => {
            failed(error.clone(), None, rows_max, standing, patience)
        }
        Outcome::Unstorable(error) => {
            let at = standing.now + wait(standing, patience);
            Decision::Pause { at, error: error.clone(), reason: error.clone() }
        }
    }
}

fn failed(
    error: String,
    retry_after_s: Option<i64>,
    rows_max: i64,
    standing: Standing,
    patience: Patience,
) -> Decision {
    let asked = retry_after_s.unwrap_or(0).clamp(0, RETRY_AFTER_MAX_S) * 1_000_000;
    let at = standing.now + wait(standing, patience).max(asked);
    let failing_for = standing.failing_since.map_or(0, |since| standing.now - since);
    if failing_for >= patience.pause_after {
        let reason = format!("it failed for too long: {error}");
        return Decision::Pause { at, error, reason };
    }
    Decision::Later { at, error, alert: failing_for >= patience.alert_after, rows_max }
}

/// Ever longer, up to a limit.
fn wait(standing: Standing, patience: Patience) -> Micros {
    let doublings = standing.attempts.clamp(0, DOUBLINGS_MAX);
    let doubled = patience.back_off_base.saturating_mul(1 << doublings);
    let wait = doubled.min(patience.back_off_max);
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
        rows: 100,
        rows_max: 100,
        page_size: 200,
        chance: 0,
    };

    fn status(status: u16) -> Outcome {
        Outcome::Status { status, retry_after_s: None }
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
        assert!(matches!(decision, Decision::Later { .. }), "{decision:?}");
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
        match decide(&row(), alone, PATIENCE) {
            Decision::Pause { reason, .. } => assert_eq!(reason, "row 7: NUL"),
            other => panic!("{other:?}"),
        }
        // There may be room later.
        let decision = decide(&Outcome::TooLarge("out of memory".into()), alone, PATIENCE);
        assert!(matches!(decision, Decision::Later { rows_max: 1, .. }), "{decision:?}");
    }

    #[test]
    fn what_is_slow_is_tried_later_with_fewer_rows() {
        for (rows, rows_max, then) in [(100, 100, 50), (3, 100, 1), (1, 1, 1), (0, 100, 100)] {
            let standing = Standing { rows, rows_max, ..STANDING };
            match decide(&Outcome::Slow("no answer in time".into()), standing, PATIENCE) {
                Decision::Later { rows_max, .. } => assert_eq!(rows_max, then, "{rows}"),
                other => panic!("{other:?}"),
            }
        }
        match decide(&Outcome::Unanswered("gone".into()), STANDING, PATIENCE) {
            Decision::Later { rows_max, .. } => assert_eq!(rows_max, STANDING.rows_max),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn who_has_lost_everything_gets_everything() {
        assert_eq!(decide(&Outcome::Lost, STANDING, PATIENCE), Decision::Restart);
    }

    #[test]
    fn failures_wait_ever_longer() {
        let later =
            |outcome: &Outcome, standing: Standing| match decide(outcome, standing, PATIENCE) {
                Decision::Later { at, .. } => at - standing.now,
                other => panic!("{other:?}"),
            };
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
            let decision = decide(&outcome, Standing { failing_since, ..STANDING }, PATIENCE);
            match (decision, alert) {
                (Decision::Later { alert: found, .. }, Some(alert)) => assert_eq!(found, alert),
                (Decision::Pause { error, reason, .. }, None) => {
                    assert_eq!(error, "no connection");
                    assert_eq!(reason, "it failed for too long: no connection");
                }
                (decision, _) => panic!("{failing_for_s:?}: {decision:?}"),
            }
        }
    }
}
