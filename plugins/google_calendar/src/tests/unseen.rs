//! Instances that vanish where the expanded feed tells nothing of them.

use rowgate_plugin::{Progress, Step};
use serde_json::{Value, json};

use super::{
    EXPANDED, World, cancelled_instance, error, events, instance, last_page, single, start,
};
use crate::Cursor;

const DAYS: u32 = 700;

fn synced(world: &mut World, from: u32) -> Option<Cursor> {
    let items = (from..DAYS).map(|day| instance("abc", day)).chain([single("other")]).collect();
    world.host.answer(200, last_page(items, "s"));
    world.run(&events(EXPANDED), None).cursor
}

fn master(rule: &str) -> Value {
    let mut event = single("abc");
    event["start"] = json!({"dateTime": start(0), "timeZone": "Europe/Oslo"});
    event["recurrence"] = json!([rule]);
    event
}

/// A delta with the live instances of some days, then the answer about the series: where it ends.
fn changed(days: std::ops::Range<u32>, status: u16, answer: &Value) -> (World, Step<Cursor>) {
    let mut world = World::new();
    let cursor = synced(&mut world, days.start);
    let items = days.map(|day| instance("abc", day)).collect();
    world.host.answer(200, last_page(items, "s2")).answer(status, answer);
    let step = world.step(&events(EXPANDED), cursor).0.unwrap();
    assert_eq!(step.progress, Progress::More);
    let step = world.step(&events(EXPANDED), step.cursor).0.unwrap();
    (world, step)
}

#[test]
fn an_end_beyond_what_is_told_counts() {
    let until = start(400).replace(['-', ':'], "");
    let rule = master(&format!("RRULE:FREQ=DAILY;UNTIL={until}"));
    let (world, step) = changed(0..401, 200, &rule);
    assert_eq!(step.progress, Progress::Done(None));
    assert_eq!(world.live(EXPANDED).len(), 401 + 1);
}

#[test]
fn all_is_listed_only_where_instances_may_have_gone_unseen() {
    let cases = [
        (0..400, "RRULE:FREQ=DAILY;COUNT=400", true),
        (0..10, "RRULE:FREQ=DAILY;COUNT=10", false),
        (0..10, "RRULE:FREQ=WEEKLY;BYDAY=MO;INTERVAL=2;COUNT=10", false),
        (0..10, "RRULE:FREQ=WEEKLY;INTERVAL=5;COUNT=10", true),
        (0..10, "RRULE:FREQ=DAILY;BYMONTH=2;COUNT=10", true),
        (0..10, "RRULE:FREQ=YEARLY;COUNT=10", true),
        (0..10, "RDATE:20260301T090000Z", true),
        (0..DAYS, "RRULE:FREQ=DAILY", false),
        (300..DAYS, "RRULE:FREQ=DAILY", true), // all of it far away
        // Wide gaps: far instances may have gone, and the next ones are as they were.
        (0..DAYS, "RRULE:FREQ=DAILY;BYMONTH=2,3", true),
        (0..DAYS, "RRULE:FREQ=DAILY;BYMONTH=2,3;UNTIL=20300101T000000Z", true),
        (0..DAYS, "RRULE:FREQ=MONTHLY", true),
        (0..DAYS, "RRULE:FREQ=WEEKLY;UNTIL=20300101T000000Z", false),
    ];
    for (days, rule, relists) in cases {
        let (world, step) = changed(days.clone(), 200, &master(rule));
        assert_eq!(step == Step::restart(), relists, "{rule}");
        assert_eq!(world.live(EXPANDED).len() as u32, DAYS - days.start + 1, "{rule}");
    }
}

#[test]
fn a_changed_exception_says_nothing_of_its_series() {
    let mut world = World::new();
    let cursor = synced(&mut world, 0);
    let mut exception = instance("abc", 400);
    exception["updated"] = "2026-01-02T00:00:00Z".into();
    world.host.answer(200, last_page(vec![exception], "s2"));
    world.host.answer(200, master("RRULE:FREQ=DAILY;COUNT=700"));
    let step = world.run(&events(EXPANDED), cursor);
    assert_eq!(step.progress, Progress::Done(None));
    assert_eq!(world.live(EXPANDED).len() as u32, DAYS + 1);
}

#[test]
fn live_instances_outlive_what_is_told_of_their_series() {
    let hidden = single("abc"); // its rule isn't shown
    let gone = json!({"id": "abc", "status": "cancelled"});
    let cases = [
        (404, error(404, "notFound"), false),
        (410, error(410, "deleted"), true),
        (200, gone, true),
        (200, hidden, true),
    ];
    for (status, answer, relists) in cases {
        let (world, step) = changed(0..DAYS, status, &answer);
        assert_eq!(step == Step::restart(), relists, "{answer}");
        assert_eq!(world.live(EXPANDED).len() as u32, DAYS + 1, "{answer}");
    }
}

#[test]
fn who_sees_only_times_sees_no_rules() {
    let mut world = World::new();
    let items: Vec<_> = (0..9).map(|day| instance("abc", day)).collect();
    let role = json!("freeBusyReader");
    world.host.answer(200, json!({"accessRole": role, "items": items, "nextSyncToken": "s"}));
    let cursor = world.run(&events(EXPANDED), None).cursor;
    world.host.answer(200, last_page(vec![cancelled_instance("abc", 3)], "s2"));
    world.host.answer(200, single("abc"));
    let step = world.step(&events(EXPANDED), cursor).0.unwrap();
    let step = world.step(&events(EXPANDED), step.cursor).0.unwrap();
    assert_eq!(step, Step::restart());
    assert_eq!(world.live(EXPANDED).len(), 8);
}

#[test]
fn a_single_event_that_was_a_series_for_a_while_goes_with_it() {
    for (status, answer) in
        [(200, json!({"id": "abc", "status": "cancelled"})), (410, error(410, "deleted"))]
    {
        let mut world = World::new();
        world.host.answer(200, last_page(vec![single("abc"), single("abcd")], "s"));
        let cursor = world.run(&events(EXPANDED), None).cursor;
        let items = (0..3).map(|day| cancelled_instance("abc", day)).collect();
        world.host.answer(200, last_page(items, "s2")).answer(status, answer);
        world.run(&events(EXPANDED), cursor);
        assert_eq!(world.live(EXPANDED), ["abcd"]);
    }
}
