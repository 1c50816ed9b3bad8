//! How often doubts have all listed, and what is remembered so that they needn't.

use rowgate_plugin::{Progress, Step};
use serde_json::{Value, json};

use super::series::{live_of, two_series};
use super::unseen::{DAYS, all_told, master, synced};
use super::{
    EXPANDED, NOW, World, cancelled_instance, error, events, instance, last_page, lists_anew,
    single,
};
use crate::Cursor;

const HOUR_MICROS: i64 = 3_600_000_000;
const MINUTE_MICROS: i64 = 60_000_000;

/// A monthly series: all its instances may have gone unseen.
fn monthly(series: &str, created: &str) -> Value {
    let mut event = master("RRULE:FREQ=MONTHLY");
    event["id"] = series.into();
    event["created"] = created.into();
    event["updated"] = created.into();
    event
}

/// A far instance of it, as old.
fn told(series: &str, created: &str) -> Value {
    let mut event = instance(series, DAYS);
    event["updated"] = created.into();
    event
}

/// A delta with a far instance of one series, then the series.
fn far_told(
    world: &mut World,
    cursor: Option<Cursor>,
    series: &str,
    created: &str,
) -> Step<Cursor> {
    world.host.answer(200, last_page(vec![told(series, created)], "s"));
    world.host.answer(200, monthly(series, created));
    let step = world.step(&events(EXPANDED), cursor).0.unwrap();
    world.step(&events(EXPANDED), step.cursor).0.unwrap()
}

#[test]
fn doubts_have_all_listed_no_sooner_than_an_hour_after_the_last_time() {
    let causes = [
        (200, json!({})),
        (200, master("RRULE:FREQ=DAILY;COUNT=10")),
        (403, error(403, "forbidden")),
        (404, error(404, "notFound")),
    ];
    for (status, cause) in causes {
        let mut world = World::new();
        world.relist_after_s = 3_600;
        let cursor = two_series(&mut world);
        world.host.answer(200, last_page(vec![cancelled_instance("abc", 0)], "s2"));
        world.host.answer(status, &cause);
        let step = world.run(&events(EXPANDED), cursor);
        assert_eq!(step.progress, Progress::Done(Some(900_000)), "{cause}");
        let mut cursor = step.cursor;
        // Deltas go on, and nothing else is asked for.
        for (minutes, wait_s) in [(10, 900), (50, 600), (59, 60)] {
            world.now = NOW + minutes * MINUTE_MICROS;
            let new = format!("new{minutes}");
            world.host.answer(200, last_page(vec![single(&new)], "s3"));
            let step = world.run(&events(EXPANDED), cursor);
            assert_eq!(step.progress, Progress::Done(Some(wait_s * 1_000)), "{cause}");
            assert!(world.row(EXPANDED, &new).is_some());
            cursor = step.cursor;
        }
        world.now = NOW + HOUR_MICROS;
        world.host.answer(200, last_page(vec![instance("abc", 1)], "s4"));
        let step = world.run(&events(EXPANDED), cursor);
        assert_eq!(step.progress, Progress::Done(None), "{cause}");
        assert_eq!(world.host.requests().pop().unwrap().query("syncToken"), None);
        assert_eq!(live_of(&world, "abc"), 1);
    }
}

#[test]
fn more_doubts_than_a_cursor_holds_wait_for_nothing_and_their_rules_are_forgotten() {
    let mut world = World::new();
    let cursor = synced(&mut world, DAYS - 1);
    world.now = NOW + 3 * HOUR_MICROS;
    let step = far_told(&mut world, cursor, "abc", "2026-01-01T02:00:00Z");
    assert_eq!(step.progress, Progress::Done(None), "it is younger than the listing");
    world.relist_after_s = 86_400;
    let others = (0..2_000).map(|n| cancelled_instance(&format!("series{n}"), 1));
    let items = others.chain([told("abc", "2026-01-01T02:00:00Z")]).collect();
    world.host.answer(200, last_page(items, "s"));
    let step = world.step(&events(EXPANDED), step.cursor).0.unwrap();
    assert!(lists_anew(&step));
    world.relist_after_s = 0;
    world.host.answer(200, last_page(vec![], "s"));
    let cursor = world.run(&events(EXPANDED), step.cursor).cursor;
    let step = far_told(&mut world, cursor, "abc", "2026-01-01T02:00:00Z");
    assert!(lists_anew(&step), "it was in doubt, and nobody looked at its rule");
}

#[test]
fn a_cancelled_instance_leaves_the_rule_as_it_is_known() {
    let mut world = World::new();
    let cursor = synced(&mut world, DAYS - 1);
    world.now = NOW + 3 * HOUR_MICROS;
    let mut series = monthly("abc", "2026-01-01T02:00:00Z");
    let created = "2026-01-01T02:00:00Z";
    let step = all_told(&mut world, cursor, created, 0..DAYS, &series);
    assert_eq!(step.progress, Progress::Done(None));
    series["updated"] = "2026-01-01T02:30:00Z".into();
    world.host.answer(200, last_page(vec![cancelled_instance("abc", 3)], "s"));
    world.host.answer(200, &series);
    let step = world.run(&events(EXPANDED), step.cursor);
    assert_eq!(step.progress, Progress::Done(None));
    let step = all_told(&mut world, step.cursor, "2026-01-01T02:40:00Z", 0..DAYS, &series);
    assert_eq!(step.progress, Progress::Done(None), "all is as it was");
}

#[test]
fn an_exception_that_is_older_than_its_series_leaves_no_doubt() {
    let mut world = World::new();
    let cursor = synced(&mut world, DAYS - 1);
    world.now = NOW + 3 * HOUR_MICROS;
    let created = "2026-01-01T02:00:00Z";
    let mut old = instance("abc", 4);
    old["updated"] = "2026-01-01T01:59:00Z".into();
    world.host.answer(200, last_page(vec![old, told("abc", created)], "s"));
    world.host.answer(200, monthly("abc", created));
    let step = world.run(&events(EXPANDED), cursor);
    assert_eq!(step.progress, Progress::Done(None));
}

#[test]
fn more_rules_than_are_kept_make_room_for_younger_ones() {
    let mut world = World::new();
    let cursor = synced(&mut world, DAYS - 1);
    world.now = NOW + 3 * HOUR_MICROS;
    let created = "2026-01-01T02:00:00Z";
    let series: Vec<_> = (0..501).map(|n| format!("series{n:03}")).collect();
    let items = series.iter().map(|series| told(series, created)).collect();
    world.host.answer(200, last_page(items, "s"));
    for series in &series {
        world.host.answer(200, monthly(series, created));
    }
    let cursor = world.run(&events(EXPANDED), cursor).cursor;
    world.now = NOW + 6 * HOUR_MICROS;
    let younger = "2026-01-01T05:00:00Z";
    for (series, created, relists) in [
        ("series500", created, false),
        ("series007", created, true), // forgotten
        ("unseen", created, true),    // it may have been among them
        ("younger", younger, false),
    ] {
        let step = far_told(&mut world, cursor.clone(), series, created);
        assert_eq!(lists_anew(&step), relists, "{series}");
    }
}

#[test]
fn long_ids_and_series_that_are_gone_take_no_room() {
    let rules = |step: &Step<Cursor>| {
        let cursor = serde_json::to_value(&step.cursor).unwrap();
        cursor["events"]["doubts"]["rules"].as_object().map_or(0, serde_json::Map::len)
    };
    let mut world = World::new();
    let cursor = synced(&mut world, DAYS - 1);
    world.now = NOW + 3 * HOUR_MICROS;
    let created = "2026-01-01T02:00:00Z";
    let step = far_told(&mut world, cursor, &"a".repeat(128), created);
    assert_eq!((step.progress.clone(), rules(&step)), (Progress::Done(None), 1));
    let long = far_told(&mut world, step.cursor.clone(), &"a".repeat(129), created);
    assert!(lists_anew(&long), "its rule may have been another");
    assert_eq!(rules(&long), 1);
    let gone = cancelled_instance(&"a".repeat(128), 1);
    world.host.answer(200, last_page(vec![gone], "s")).answer(410, error(410, "deleted"));
    let step = world.run(&events(EXPANDED), step.cursor);
    assert_eq!(rules(&step), 0);
}
