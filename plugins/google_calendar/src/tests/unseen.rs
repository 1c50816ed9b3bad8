//! Instances that vanish where the expanded feed tells nothing of them.

use rowgate_plugin::{Progress, Step};
use serde_json::{Value, json};

use super::{
    EXPANDED, NOW, World, cancelled_instance, error, events, instance, last_page, lists_anew, page,
    single, start,
};
use crate::Cursor;

pub(super) const DAYS: u32 = 700;

pub(super) fn synced(world: &mut World, from: u32) -> Option<Cursor> {
    let items = (from..DAYS).map(|day| instance("abc", day)).chain([single("other")]).collect();
    world.host.answer(200, last_page(items, "s"));
    world.run(&events(EXPANDED), None).cursor
}

pub(super) fn master(rule: &str) -> Value {
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
fn all_is_listed_only_where_instances_may_have_gone_unseen() {
    let cases = [
        (0..400, "RRULE:FREQ=DAILY;COUNT=400", true),
        (0..10, "RRULE:FREQ=DAILY;COUNT=10", false),
        (0..10, "RRULE:FREQ=WEEKLY;BYDAY=MO;INTERVAL=2;COUNT=10", false),
        (0..10, "RRULE:FREQ=WEEKLY;INTERVAL=5;COUNT=10", true),
        (0..10, "RRULE:FREQ=DAILY;BYMONTH=2;COUNT=10", true),
        (0..10, "RRULE:FREQ=YEARLY;COUNT=10", true),
        (0..10, "RDATE:20260301T090000Z", true),
        // It may have been a weekly one, of which Google expands fourteen years.
        (0..DAYS, "RRULE:FREQ=DAILY", true),
        (0..10, "RRULE:FREQ=DAILY", false),
        (300..DAYS, "RRULE:FREQ=DAILY", true), // all of it far away
        // Wide gaps: far instances may have gone, and the next ones are as they were.
        (0..DAYS, "RRULE:FREQ=DAILY;BYMONTH=2,3", true),
        (0..DAYS, "RRULE:FREQ=DAILY;BYMONTH=2,3;UNTIL=20300101T000000Z", true),
        (0..DAYS, "RRULE:FREQ=MONTHLY", true),
        (0..DAYS, "RRULE:FREQ=WEEKLY;UNTIL=20300101T000000Z", true),
        (0..10, "RRULE:FREQ=WEEKLY;UNTIL=20300101T000000Z", false),
    ];
    for (days, rule, relists) in cases {
        let (world, step) = changed(days.clone(), 200, &master(rule));
        assert_eq!(lists_anew(&step), relists, "{rule}");
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
        assert_eq!(lists_anew(&step), relists, "{answer}");
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
    // A day's listing tells what else has gone.
    let step = world.run(&events(EXPANDED), cursor);
    assert_eq!(step.progress, Progress::Done(None));
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

/// A delta with all instances of an endless series, which changed at that time; then the series.
pub(super) fn all_told(
    world: &mut World,
    cursor: Option<Cursor>,
    updated: &str,
    days: std::ops::Range<u32>,
    master: &Value,
) -> Step<Cursor> {
    let told = |mut event: Value| {
        event["updated"] = updated.into();
        event
    };
    let items = days.map(|day| told(instance("abc", day))).collect();
    world.host.answer(200, last_page(items, "s")).answer(200, told(master.clone()));
    let step = world.step(&events(EXPANDED), cursor).0.unwrap();
    world.step(&events(EXPANDED), step.cursor).0.unwrap()
}

#[test]
fn with_the_rule_that_is_known_no_instance_has_gone() {
    let mut world = World::new();
    let cursor = synced(&mut world, 0);
    let monthly = master("RRULE:FREQ=MONTHLY");
    let step = all_told(&mut world, cursor, "2026-01-02T00:00:00Z", 0..DAYS, &monthly);
    assert!(lists_anew(&step), "it may have been another rule");
    let items = (0..DAYS).map(|day| instance("abc", day)).collect();
    world.host.answer(200, last_page(items, "s"));
    let cursor = world.run(&events(EXPANDED), step.cursor).cursor;
    // Somebody accepts the invitation: all comes again.
    let step = all_told(&mut world, cursor, "2026-01-03T00:00:00Z", 0..DAYS, &monthly);
    assert_eq!(step.progress, Progress::Done(None));
    // The series changed again after its instances were told: what was told is of neither rule.
    let items = (0..DAYS).map(|day| instance("abc", day)).collect();
    let yearly = master("RRULE:FREQ=YEARLY");
    let mut later = yearly.clone();
    later["updated"] = "2026-01-04T00:00:01Z".into();
    world.host.answer(200, page(items, "p")).answer(200, last_page(vec![], "s")).answer(200, later);
    let step = world.step(&events(EXPANDED), step.cursor).0.unwrap();
    let step = world.step(&events(EXPANDED), step.cursor).0.unwrap();
    let step = world.step(&events(EXPANDED), step.cursor).0.unwrap();
    assert!(lists_anew(&step));
    world.host.answer(200, last_page(vec![instance("abc", 0)], "s"));
    let cursor = world.run(&events(EXPANDED), step.cursor).cursor;
    let step = all_told(&mut world, cursor, "2026-01-05T00:00:00Z", 0..DAYS, &yearly);
    assert!(lists_anew(&step));
}

#[test]
fn another_rule_than_the_known_one_is_listed_however_near_all_is() {
    let mut world = World::new();
    let cursor = synced(&mut world, DAYS - 1);
    let daily = master("RRULE:FREQ=DAILY;COUNT=10");
    let step = all_told(&mut world, cursor, "2026-01-02T00:00:00Z", 0..10, &daily);
    assert_eq!(step.progress, Progress::Done(None));
    let weekly = master("RRULE:FREQ=WEEKLY;COUNT=2");
    let step = all_told(&mut world, step.cursor, "2026-01-03T00:00:00Z", 0..10, &weekly);
    assert!(lists_anew(&step));
}

#[test]
fn a_series_younger_than_the_listing_has_lost_nothing() {
    for (created, relists) in
        [("2026-01-01T00:30:00Z", true), ("2026-01-01T02:00:00Z", false), ("long ago", true)]
    {
        let mut world = World::new();
        let cursor = synced(&mut world, DAYS - 1);
        world.now = NOW + 3 * 3_600_000_000;
        let mut monthly = master("RRULE:FREQ=MONTHLY");
        monthly["created"] = created.into();
        let step = all_told(&mut world, cursor, "2026-01-01T02:00:00Z", 0..DAYS, &monthly);
        assert_eq!(lists_anew(&step), relists, "{created}");
        if relists {
            continue;
        }
        // From now on its rule is known.
        let step = all_told(&mut world, step.cursor, "2026-01-01T02:01:00Z", 0..DAYS, &monthly);
        assert!(!lists_anew(&step));
        let yearly = master("RRULE:FREQ=YEARLY");
        let step = all_told(&mut world, step.cursor, "2026-01-01T02:02:00Z", 0..DAYS, &yearly);
        assert!(lists_anew(&step));
    }
}
