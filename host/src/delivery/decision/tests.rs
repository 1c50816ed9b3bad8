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
        assert_eq!(decide(&status(413), standing, PATIENCE), Decision::Smaller { rows_max: half });
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
