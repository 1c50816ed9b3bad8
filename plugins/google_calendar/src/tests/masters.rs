//! Series that end far away, where no delta of the expanded feed tells of it.

use rowgate_plugin::Progress;
use serde_json::{Value, json};

use super::{
    EXPANDED, NOW, SOURCE, World, error, events, instance, instance_id, last_page, page, single,
    start,
};
use crate::Cursor;

const DAY_MICROS: i64 = 86_400_000_000;

fn synced(world: &mut World, service: &str) -> Option<Cursor> {
    let items = vec![instance("far", 400), instance("far", 500), instance("abc", 3), single("x")];
    world.host.answer(200, last_page(items, "s"));
    world.run(&events(service), None).cursor
}

fn gone(id: &str, updated: &str) -> Value {
    json!({"id": id, "status": "cancelled", "updated": updated})
}

/// A run `days` after the first one: an empty delta, then what the test scripts.
fn day(world: &mut World, cursor: Option<Cursor>, days: i64, masters: &[Value]) -> Option<Cursor> {
    world.now = NOW + days * DAY_MICROS;
    world.host.answer(200, last_page(vec![], "s2"));
    for answer in masters {
        world.host.answer(200, answer);
    }
    let step = world.run(&events(EXPANDED), cursor);
    assert_eq!(step.progress, Progress::Done(None));
    step.cursor
}

#[test]
fn the_source_feed_is_asked_once_a_day_with_a_token_of_its_own() {
    let mut world = World::new();
    let cursor = synced(&mut world, EXPANDED);
    let cursor = day(&mut world, cursor, 0, &[]);
    let first = [page(vec![single("x")], "p"), last_page(vec![], "m")];
    let cursor = day(&mut world, cursor, 1, &first);
    let cursor = day(&mut world, cursor, 1, &[]);
    day(&mut world, cursor, 2, &[last_page(vec![], "m2")]);
    let requests = world.host.requests();
    let of_masters: Vec<_> =
        requests.iter().filter(|request| request.query("fields").is_some()).collect();
    let tokens: Vec<_> = of_masters
        .iter()
        .map(|request| (request.query("syncToken"), request.query("pageToken")))
        .collect();
    assert_eq!(tokens, [(None, None), (None, Some("p")), (Some("m"), None)]);
    assert!(of_masters.iter().all(|request| request.query("singleEvents").is_none()));
    let deltas = requests.iter().filter(|request| request.query("singleEvents").is_some());
    let tokens: Vec<_> = deltas.map(|request| request.query("syncToken")).collect();
    assert_eq!(tokens, [None, Some("s"), Some("s2"), Some("s2"), Some("s2")]);
}

#[test]
fn a_far_series_that_was_deleted_is_gone_within_a_day() {
    let mut until = single("far");
    until["recurrence"] = json!(["RRULE:FREQ=DAILY;UNTIL=20260101T000000Z"]);
    until["start"] = json!({"dateTime": start(400)});
    let mut turned_single = single("far");
    turned_single["updated"] = "2026-01-01T12:00:00Z".into();
    until["updated"] = turned_single["updated"].clone();
    let ends = [
        gone("far", "2026-01-01T12:00:00Z"),
        json!({"id": "far", "status": "cancelled"}),
        until,
        turned_single,
    ];
    for end in ends {
        // Before the first reading, and between two.
        for days in [1, 2] {
            let mut world = World::new();
            let mut cursor = synced(&mut world, EXPANDED);
            if days == 2 {
                cursor = day(&mut world, cursor, 1, &[last_page(vec![single("x")], "m")]);
            }
            day(&mut world, cursor, days, &[last_page(vec![end.clone()], "m2")]);
            assert_eq!(world.live(EXPANDED), [instance_id("abc", 3).as_str(), "x"], "{days} {end}");
        }
    }
}

#[test]
fn what_the_rows_know_already_is_not_gone_through() {
    let mut world = World::new();
    let cursor = synced(&mut world, EXPANDED);
    // Of a token that is older the whole is right, of what changed before the listing only the rows.
    let old = gone("far", "2025-12-30T00:00:00Z");
    let cursor = day(&mut world, cursor, 1, &[last_page(vec![old.clone()], "m")]);
    assert_eq!(world.live(EXPANDED).len(), 4);
    day(&mut world, cursor, 2, &[last_page(vec![old], "m2")]);
    assert_eq!(world.live(EXPANDED).len(), 2);
}

#[test]
fn whoever_sees_only_times_is_listed_in_full_once_a_day() {
    for service in [EXPANDED, SOURCE] {
        let mut world = World::new();
        let body = |items: Vec<Value>| json!({"accessRole": "freeBusyReader", "items": items, "nextSyncToken": "s"});
        world.host.answer(200, body(vec![instance("far", 400), single("x")]));
        let cursor = world.run(&events(service), None).cursor;
        world.host.answer(200, body(vec![]));
        let cursor = world.run(&events(service), cursor).cursor;
        assert_eq!(world.live(service).len(), 2);
        world.now = NOW + DAY_MICROS;
        world.host.answer(200, body(vec![single("x")]));
        world.run(&events(service), cursor);
        assert_eq!(world.live(service), ["x"]);
        let requests = world.host.requests();
        let tokens: Vec<_> = requests.iter().map(|seen| seen.query("syncToken")).collect();
        assert_eq!(tokens, [None, Some("s"), None]);
    }
}

#[test]
fn the_source_table_and_short_lists_need_none_of_it() {
    let mut world = World::new();
    let cursor = synced(&mut world, SOURCE);
    world.now = NOW + 9 * DAY_MICROS;
    world.host.answer(200, last_page(vec![], "s2"));
    world.run(&events(SOURCE), cursor);
    assert_eq!(world.host.requests().len(), 2);
}

#[test]
fn a_lost_token_reads_all_again() {
    let mut world = World::new();
    let cursor = synced(&mut world, EXPANDED);
    let cursor = day(&mut world, cursor, 1, &[last_page(vec![], "m")]);
    world.now = NOW + 2 * DAY_MICROS;
    world.host.answer(200, last_page(vec![], "s3")).answer(410, error(410, "fullSyncRequired"));
    let step = world.step(&events(EXPANDED), cursor).0.unwrap();
    let lost = world.step(&events(EXPANDED), step.cursor).0;
    assert!(matches!(lost, Err(rowgate_plugin::Failure::CursorExpired(_))), "{lost:?}");
}
