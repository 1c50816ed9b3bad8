//! Series that can't be looked at, and how long that is put up with.

use rowgate_plugin::testing::HttpError;
use rowgate_plugin::{Failure, Progress, Step};
use serde_json::json;

use super::series::{live_of, others_are_untouched, tombstones, two_series};
use super::{
    EXPANDED, World, cancelled_instance, error, events, instance, last_page, lists_anew, page,
    single,
};
use crate::Cursor;

/// A run that begins with an empty delta and then asks about `abc` in vain.
fn ask_in_vain(world: &mut World, cursor: Option<Cursor>, n: u32) -> Step<Cursor> {
    world.host.answer(200, last_page(vec![single(&format!("new{n}"))], "s3"));
    match n % 4 {
        0 => world.host.answer(503, ""),
        1 => world.host.answer(400, error(400, "badRequest")),
        2 => world.host.answer(200, r#"{"id": "abc", "sta"#),
        _ => world.host.fail(HttpError::Timeout),
    };
    let step = world.step(&events(EXPANDED), cursor).0.unwrap();
    assert_eq!(step.progress, Progress::More);
    world.step(&events(EXPANDED), step.cursor).0.unwrap()
}

#[test]
fn a_series_that_cannot_be_had_holds_up_no_delta_and_is_listed_in_the_end() {
    let mut world = World::new();
    let mut cursor = two_series(&mut world);
    world.host.answer(200, last_page(vec![cancelled_instance("abc", 0)], "s2"));
    let step = world.step(&events(EXPANDED), cursor).0.unwrap();
    world.host.answer(503, "");
    let step = world.step(&events(EXPANDED), step.cursor).0.unwrap();
    assert_eq!(step.progress, Progress::Done(Some(60_000)));
    cursor = step.cursor;
    let mut retry_at = world.now + 60_000_000;
    for (n, wait_s) in [(1, 120_u64), (2, 240), (3, 480)] {
        // Pushes cut the waits short: it is asked for again, and that proves nothing.
        for second in [40, 20] {
            world.now = retry_at - second * 1_000_000;
            let step = ask_in_vain(&mut world, cursor, n);
            let left_ms = u64::try_from(second).unwrap() * 1_000;
            assert_eq!(step.progress, Progress::Done(Some(left_ms)), "{n}");
            cursor = step.cursor;
        }
        world.now = retry_at;
        let step = ask_in_vain(&mut world, cursor, n);
        assert_eq!(step.progress, Progress::Done(Some(wait_s * 1_000)), "{n}");
        assert!(world.row(EXPANDED, &format!("new{n}")).is_some());
        cursor = step.cursor;
        retry_at += i64::try_from(wait_s).unwrap() * 1_000_000;
    }
    let early = ask_in_vain(&mut world, cursor.clone(), 4);
    assert!(!lists_anew(&early), "{early:?}");
    world.now = retry_at;
    assert!(lists_anew(&ask_in_vain(&mut world, cursor.clone(), 4)));
    // Or it is there again, and all is well.
    world.host.answer(200, last_page(vec![], "s4")).answer(410, error(410, "deleted"));
    let step = world.run(&events(EXPANDED), cursor);
    assert_eq!((step.progress, live_of(&world, "abc")), (Progress::Done(None), 0));
    others_are_untouched(&world);
}

#[test]
fn what_concerns_more_than_a_series_pauses_more() {
    let answers = [(429, ""), (403, r#"{"error":{"errors":[{"reason":"quotaExceeded"}]}}"#)];
    for (status, body) in answers {
        let mut world = World::new();
        let cursor = two_series(&mut world);
        let cursor = tombstones(&mut world, cursor, 0..1);
        world.host.answer(status, body);
        let failed = world.step(&events(EXPANDED), cursor.clone()).0;
        assert!(matches!(failed, Err(Failure::Retry(_))), "{failed:?}");
        // Nothing is lost by that.
        world.host.answer(410, error(410, "deleted"));
        world.run(&events(EXPANDED), cursor);
        assert_eq!(live_of(&world, "abc"), 0);
    }
}

#[test]
fn a_series_that_is_forbidden_or_odd_is_listed() {
    let odd = json!({"id": "abc", "status": "confirmed", "recurrence": "RRULE:FREQ=DAILY"});
    let answers = [
        (403, error(403, "forbidden")),
        (200, odd),
        (200, json!({"id": "other", "status": "cancelled"})),
        (200, json!({})),
    ];
    for (status, answer) in answers {
        let mut world = World::new();
        let cursor = two_series(&mut world);
        let cursor = tombstones(&mut world, cursor, 0..1);
        world.host.answer(status, &answer);
        let step = world.step(&events(EXPANDED), cursor).0.unwrap();
        assert!(lists_anew(&step), "{answer}");
        assert_eq!(live_of(&world, "abc"), 729, "{answer}");
    }
}

#[test]
fn few_failures_end_a_run_and_a_success_forgets_them() {
    let mut world = World::new();
    let items: Vec<_> = (0..9).map(|n| instance(&format!("series{n}"), 0)).collect();
    world.host.answer(200, last_page(items, "s"));
    let cursor = world.run(&events(EXPANDED), None).cursor;
    let gone = (0..9).map(|n| cancelled_instance(&format!("series{n}"), 1)).collect();
    world.host.answer(200, last_page(gone, "s2"));
    world.host.answer(500, "").answer(500, "").answer(500, "");
    let step = world.run(&events(EXPANDED), cursor);
    assert_eq!(step.progress, Progress::Done(Some(60_000)));
    world.host.answer(200, last_page(vec![], "s3"));
    for _ in 0..9 {
        world.host.answer(410, error(410, "deleted"));
    }
    let step = world.run(&events(EXPANDED), step.cursor);
    assert_eq!(step.progress, Progress::Done(None));
    assert_eq!(world.live(EXPANDED), Vec::<String>::new());
}

#[test]
fn more_doubts_than_a_cursor_holds_are_listed() {
    for (count, length, relists) in [(2_000, 20, false), (2_001, 20, true), (600, 500, true)] {
        let mut world = World::new();
        world.host.answer(200, last_page(vec![], "s"));
        let cursor = world.run(&events(EXPANDED), None).cursor;
        let series = |n: usize| format!("{n:0length$}");
        let gone = (0..count).map(|n| cancelled_instance(&series(n), 1)).collect();
        world.host.answer(200, page(gone, "p"));
        let step = world.step(&events(EXPANDED), cursor).0.unwrap();
        assert_eq!(lists_anew(&step), relists, "{count} ids of {length}");
        let bytes = serde_json::to_vec(&step.cursor).unwrap().len();
        assert!(bytes < 1 << 20, "{bytes}");
    }
}
