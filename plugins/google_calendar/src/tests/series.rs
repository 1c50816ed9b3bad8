//! Series that end, seen from both feeds.

use rowgate_plugin::Progress;
use serde_json::{Value, json};

use super::{
    CAL, EXPANDED, SOURCE, World, cancelled_instance, error, events, instance, instance_id,
    last_page, lists_anew, page, single, start,
};
use crate::Cursor;
use crate::recurrence::{Extent, extent};
use crate::wire::Event;

/// A series of 730 instances beside another one whose id begins the same, both confirmed.
pub(super) fn two_series(world: &mut World) -> Option<Cursor> {
    let mut items: Vec<_> = (0..730).map(|day| instance("abc", day)).collect();
    items.extend((0..5).map(|day| instance("abc_R20260301T090000", day)));
    items.push(single("abcd"));
    world.host.answer(200, last_page(items, "s"));
    let cursor = world.run(&events(EXPANDED), None).cursor;
    assert_eq!(live_of(world, "abc"), 730);
    cursor
}

pub(super) fn live_of(world: &World, series: &str) -> usize {
    let start = format!("{series}_2");
    world.live(EXPANDED).iter().filter(|id| id.starts_with(&start)).count()
}

pub(super) fn others_are_untouched(world: &World) {
    assert_eq!(live_of(world, "abc_R20260301T090000"), 5);
    assert_eq!(world.status_of(EXPANDED, "abcd").as_deref(), Some("confirmed"));
}

/// A delta with tombstones for the days `from..to` only, then Google's answer about the series.
pub(super) fn tombstones(
    world: &mut World,
    cursor: Option<Cursor>,
    days: std::ops::Range<u32>,
) -> Option<Cursor> {
    let items = days.map(|day| cancelled_instance("abc", day)).collect();
    world.host.answer(200, last_page(items, "s2"));
    let (step, _) = world.step(&events(EXPANDED), cursor);
    let step = step.unwrap();
    assert_eq!(step.progress, Progress::More, "the series is still to be looked at");
    step.cursor
}

fn master(recurrence: &[&str]) -> Value {
    let mut event = single("abc");
    event["start"] = json!({"dateTime": start(0), "timeZone": "Europe/Oslo"});
    if !recurrence.is_empty() {
        event["recurrence"] = recurrence.into();
    }
    event
}

#[test]
fn a_deleted_series_leaves_nothing() {
    let cancelled = json!({"id": "abc", "status": "cancelled"});
    let answers = [
        (200, cancelled),
        (410, error(410, "deleted")),
        (200, master(&[])), // it became a single event
    ];
    for (status, answer) in answers {
        let mut world = World::new();
        let cursor = two_series(&mut world);
        let cursor = tombstones(&mut world, cursor, 0..180);
        assert_eq!(live_of(&world, "abc"), 550);
        world.host.answer(status, &answer);
        let step = world.run(&events(EXPANDED), cursor);
        assert_eq!(step.progress, Progress::Done(None));
        assert_eq!(live_of(&world, "abc"), 0, "{answer}");
        others_are_untouched(&world);
        let asked = &world.host.requests()[2];
        assert!(asked.url.ends_with("/events/abc"), "{}", asked.url);
        // The delta's token holds.
        world.host.answer(200, last_page(vec![], "s3"));
        world.run(&events(EXPANDED), step.cursor);
        assert_eq!(world.host.requests()[3].query("syncToken"), Some("s2"));
    }
}

#[test]
fn a_series_shortened_by_until_keeps_what_is_before() {
    // Days 0 to 99 stay.
    let until = start(99).replace(['-', ':'], "");
    let mut world = World::new();
    let cursor = two_series(&mut world);
    let cursor = tombstones(&mut world, cursor, 100..280);
    world.host.answer(200, master(&[&format!("RRULE:FREQ=DAILY;UNTIL={until}")]));
    world.run(&events(EXPANDED), cursor);
    assert_eq!(live_of(&world, "abc"), 100);
    let last = world.status_of(EXPANDED, &instance_id("abc", 99));
    assert_eq!(last.as_deref(), Some("confirmed"));
    others_are_untouched(&world);
}

#[test]
fn where_only_a_listing_tells_all_is_listed() {
    let unclear = [
        (200, master(&["RRULE:FREQ=DAILY;COUNT=10"])),
        (200, master(&["RRULE:FREQ=DAILY;UNTIL=20260301"])),
        (200, master(&["RDATE:20260301T090000Z"])),
        (404, error(404, "notFound")),
        (404, "<html>".into()),
    ];
    for (status, answer) in unclear {
        let mut world = World::new();
        let cursor = two_series(&mut world);
        let cursor = tombstones(&mut world, cursor, 0..1);
        world.host.answer(status, &answer);
        let (step, _) = world.step(&events(EXPANDED), cursor);
        assert!(lists_anew(&step.unwrap()), "{answer}");
        let others = (0..5).map(|day| instance("abc_R20260301T090000", day));
        let kept = others.chain([single("abcd"), instance("abc", 1)]).collect();
        world.host.answer(200, last_page(kept, "s3"));
        world.run(&events(EXPANDED), None);
        assert_eq!(live_of(&world, "abc"), 1);
        others_are_untouched(&world);
    }
}

#[test]
fn a_single_cancelled_instance_of_an_endless_series_is_just_that() {
    let mut world = World::new();
    let cursor = two_series(&mut world);
    let cursor = tombstones(&mut world, cursor, 7..8);
    world.host.answer(200, master(&["EXDATE:20260208T090000Z", "RRULE:FREQ=DAILY"]));
    let step = world.run(&events(EXPANDED), cursor);
    assert_eq!(step.progress, Progress::Done(None));
    assert_eq!(live_of(&world, "abc"), 729);
}

#[test]
fn a_series_with_old_and_new_instances_is_listed() {
    let mut world = World::new();
    let cursor = two_series(&mut world);
    // On two pages, the new ones first.
    let new: Vec<_> = (0..5).map(|day| instance("abc", day + 1_000)).collect();
    let old: Vec<_> = (0..180).map(|day| cancelled_instance("abc", day)).collect();
    world.host.answer(200, page(new, "p")).answer(200, last_page(old, "s2"));
    world.host.answer(200, master(&["RRULE:FREQ=WEEKLY"]));
    let step = world.step(&events(EXPANDED), cursor).0.unwrap();
    let step = world.step(&events(EXPANDED), step.cursor).0.unwrap();
    let step = world.step(&events(EXPANDED), step.cursor).0.unwrap();
    assert!(lists_anew(&step));
}

#[test]
fn many_series_are_checked_over_several_calls() {
    let mut world = World::new();
    let items: Vec<_> = (0..20).map(|n| instance(&format!("series{n:02}"), 0)).collect();
    world.host.answer(200, last_page(items, "s"));
    let cursor = world.run(&events(EXPANDED), None).cursor;
    let gone = (0..20).map(|n| cancelled_instance(&format!("series{n:02}"), 1)).collect();
    world.host.answer(200, last_page(gone, "s2"));
    for n in 0..20 {
        world.host.answer(200, json!({"id": format!("series{n:02}"), "status": "cancelled"}));
    }
    world.run(&events(EXPANDED), cursor);
    assert_eq!(world.live(EXPANDED), Vec::<String>::new());
    assert_eq!(world.host.requests().len(), 22);
}

#[test]
fn a_series_that_became_single_has_no_instances_in_either_feed() {
    for service in [EXPANDED, SOURCE] {
        let mut world = World::new();
        let items = vec![instance("abc", 3), instance("abc_R20260301T090000", 3), single("x")];
        world.host.answer(200, last_page(items, "s"));
        let cursor = world.run(&events(service), None).cursor;
        world.host.answer(200, last_page(vec![single("abc")], "s2"));
        world.run(&events(service), cursor);
        assert_eq!(world.live(service), ["abc", &instance_id("abc_R20260301T090000", 3), "x"]);
    }
}

#[test]
fn a_restarted_delta_collects_its_suspects_again() {
    let mut world = World::new();
    let cursor = two_series(&mut world);
    let first = || page(vec![cancelled_instance("abc", 0)], "p");
    world.host.answer(200, first()).answer(400, error(400, "invalid"));
    world.host.answer(200, first()).answer(200, last_page(vec![], "s2"));
    world.host.answer(410, error(410, "deleted"));
    world.run(&events(EXPANDED), cursor);
    assert_eq!(live_of(&world, "abc"), 0);
}

#[test]
fn a_series_deleted_at_the_source_takes_its_exceptions_with_it() {
    let mut world = World::new();
    let rule = master(&["RRULE:FREQ=DAILY"]);
    let items = vec![rule, instance("abc", 3), instance("abc_R20260301T090000", 3), single("x")];
    world.host.answer(200, last_page(items, "s"));
    let cursor = world.run(&events(SOURCE), None).cursor;
    world.host.answer(200, last_page(vec![json!({"id": "abc", "status": "cancelled"})], "s2"));
    world.run(&events(SOURCE), cursor);
    assert_eq!(world.live(SOURCE), [&instance_id("abc_R20260301T090000", 3), "x"]);
}

#[test]
fn a_series_shortened_at_the_source_loses_later_exceptions() {
    let mut world = World::new();
    let items = vec![master(&["RRULE:FREQ=DAILY"]), instance("abc", 3), instance("abc", 9)];
    world.host.answer(200, last_page(items, "s"));
    let cursor = world.run(&events(SOURCE), None).cursor;
    let until = start(5).replace(['-', ':'], "");
    let rule = master(&[&format!("RRULE:FREQ=DAILY;UNTIL={until}")]);
    world.host.answer(200, last_page(vec![rule], "s2"));
    world.run(&events(SOURCE), cursor);
    assert_eq!(world.live(SOURCE), ["abc", &instance_id("abc", 3)]);
}

#[test]
fn a_rule_of_another_type_ends_no_series() {
    let mut world = World::new();
    world.host.answer(200, last_page(vec![instance("abc", 3)], "s"));
    let cursor = world.run(&events(SOURCE), None).cursor;
    let mut odd = single("abc");
    odd["recurrence"] = "RRULE:FREQ=DAILY".into();
    world.host.answer(200, last_page(vec![odd], "s2"));
    world.run(&events(SOURCE), cursor);
    assert_eq!(world.live(SOURCE), ["abc", &instance_id("abc", 3)]);
}

#[test]
fn a_full_listing_asks_about_no_series() {
    let mut world = World::new();
    let items = vec![cancelled_instance("abc", 0), json!({"id": "abc", "status": "cancelled"})];
    world.host.answer(200, last_page(items, "s"));
    let step = world.run(&events(EXPANDED), None);
    assert_eq!(step.progress, Progress::Done(None));
    assert_eq!(world.host.requests().len(), 1);
    assert!(world.host.requests()[0].url.contains(&CAL.replace('@', "%40")));
}

#[test]
fn extents() {
    let timed = json!({"dateTime": "2026-02-01T09:00:00Z"});
    let day = json!({"date": "2026-02-01"});
    let until = Extent::Until(1_772_355_600_000_000); // 2026-03-01T09:00:00Z
    let cases: Vec<(&Value, &[&str], Extent)> = vec![
        (&timed, &[], Extent::Single),
        (&timed, &["EXDATE:20260202T090000Z"], Extent::Single),
        (&timed, &["RRULE:FREQ=DAILY"], Extent::Open),
        (&timed, &["RRULE:FREQ=DAILY", "RDATE;VALUE=DATE:20260202"], Extent::Open),
        (&timed, &["RRULE:FREQ=DAILY;UNTIL=20260301T090000Z;BYDAY=MO"], until),
        (&timed, &["rrule:freq=daily;until=20260301T090000Z"], until),
        (
            &timed,
            &["EXDATE;TZID=Europe/Oslo:20260202T090000", "RRULE:UNTIL=20260301T090000Z"],
            until,
        ),
        (&day, &["RRULE:FREQ=DAILY;UNTIL=20260301"], Extent::UntilDay(20_513)),
        (&day, &["RRULE:FREQ=DAILY;UNTIL=20260301T235959Z"], Extent::UntilDay(20_513)),
        (&timed, &["RRULE:FREQ=DAILY;UNTIL=20260301"], Extent::Unknown),
        (&timed, &["RRULE:FREQ=DAILY;UNTIL=20260301T090000"], Extent::Unknown),
        (&timed, &["RRULE:FREQ=DAILY;UNTIL=20260231T090000Z"], Extent::Unknown),
        (&timed, &["RRULE:FREQ=DAILY;UNTIL=x"], Extent::Unknown),
        (&day, &["RRULE:FREQ=DAILY;UNTIL=é026030"], Extent::Unknown),
        (&timed, &["RRULE:FREQ=DAILY;COUNT=5"], Extent::Unknown),
        (
            &timed,
            &["RRULE:FREQ=DAILY;UNTIL=20260301T090000Z", "RDATE:20260401T090000Z"],
            Extent::Unknown,
        ),
        (&timed, &["RRULE:COUNT=5", "RRULE:UNTIL=20260301T090000Z"], Extent::Unknown),
        (&timed, &["RDATE:20260401T090000Z"], Extent::Unknown),
    ];
    for (start, recurrence, expected) in cases {
        let event = json!({"start": start, "recurrence": recurrence}).to_string();
        let event: Event<'_> = serde_json::from_str(&event).unwrap();
        assert_eq!(extent(&event), expected, "{recurrence:?}");
    }
}
