//! The list of calendars.

use rowgate_plugin::{Failure, Progress, RetryScope};
use serde_json::{Value, json};

use super::{GOOGLE_CALENDAR_V1, NOW, World, calendars, error, last_page, page, text};
use crate::Cursor;
use crate::events::DAY_MICROS;

fn entry(id: &str) -> Value {
    json!({"kind": "calendar#calendarListEntry", "id": id, "summary": id, "timeZone": "Europe/Oslo",
        "accessRole": "owner", "newField": {"x": [1]}})
}

fn stub(id: &str) -> Value {
    json!({"kind": "calendar#calendarListEntry", "id": id, "deleted": true, "defaultReminders": []})
}

fn listed(world: &mut World, ids: &[&str]) -> Option<Cursor> {
    world.host.answer(200, last_page(ids.iter().map(|id| entry(id)).collect(), "s"));
    let step = world.run(&calendars(), None);
    assert_eq!(step.progress, Progress::Done(None));
    step.cursor
}

/// Id and whether it is deleted.
fn rows(world: &World) -> Vec<(String, bool)> {
    let rows = world.tables.rows(GOOGLE_CALENDAR_V1).into_iter();
    rows.map(|row| {
        let deleted = text(row, "deleted").unwrap();
        (text(row, "google_id").unwrap(), deleted.contains("true"))
    })
    .collect()
}

#[test]
fn entries_are_rows_with_all_that_came() {
    let mut world = World::new();
    listed(&mut world, &["a#b@c"]);
    let row = world.row(GOOGLE_CALENDAR_V1, "a#b@c").unwrap();
    assert_eq!(text(row, "time_zone").as_deref(), Some("Europe/Oslo"));
    assert_eq!(text(row, "data").unwrap(), entry("a#b@c").to_string());
    assert_eq!(rows(&world), [("a#b@c".into(), false)]);
}

#[test]
fn a_stub_marks_a_known_calendar_and_erases_nothing() {
    let mut world = World::new();
    let cursor = listed(&mut world, &["a", "b"]);
    world.host.answer(200, last_page(vec![stub("a"), stub("never seen")], "s2"));
    world.run(&calendars(), cursor);
    assert_eq!(rows(&world), [("a".into(), true), ("b".into(), false)]);
    let row = world.row(GOOGLE_CALENDAR_V1, "a").unwrap();
    assert_eq!(text(row, "data").unwrap(), entry("a").to_string());
    assert_eq!(text(row, "time_zone").as_deref(), Some("Europe/Oslo"));
}

#[test]
fn it_comes_back() {
    let mut world = World::new();
    let cursor = listed(&mut world, &["a"]);
    world.host.answer(200, last_page(vec![stub("a")], "s2"));
    let cursor = world.run(&calendars(), cursor).cursor;
    world.host.answer(200, last_page(vec![entry("a")], "s3"));
    world.run(&calendars(), cursor);
    assert_eq!(rows(&world), [("a".into(), false)]);
}

#[test]
fn a_deleted_primary_is_not_believed() {
    for full in [false, true] {
        let mut world = World::new();
        let cursor = listed(&mut world, &["a"]).filter(|_| !full);
        let mut primary = stub("a");
        primary["primary"] = true.into();
        world.host.answer(200, last_page(vec![primary], "s2"));
        let (step, did) = world.step(&calendars(), cursor);
        step.unwrap();
        assert_eq!(rows(&world), [("a".into(), false)], "full: {full}");
        assert_eq!(did.logs.len(), 1);
    }
}

#[test]
fn a_full_list_over_pages_marks_what_it_lacks() {
    let mut world = World::new();
    listed(&mut world, &["a", "b", "c"]);
    world
        .host
        .answer(200, page(vec![entry("a")], "p"))
        .answer(200, last_page(vec![entry("c")], "s"));
    world.run(&calendars(), None);
    assert_eq!(rows(&world), [("a".into(), false), ("b".into(), true), ("c".into(), false)]);
}

#[test]
fn the_list_is_full_once_a_day() {
    let mut world = World::new();
    let cursor = listed(&mut world, &["a", "b"]);
    world.now = NOW + DAY_MICROS - 1;
    world.host.answer(200, last_page(vec![], "s2"));
    let cursor = world.run(&calendars(), cursor).cursor;
    assert_eq!(world.host.requests()[1].query("syncToken"), Some("s"));
    assert_eq!(rows(&world), [("a".into(), false), ("b".into(), false)]);

    world.now = NOW + DAY_MICROS;
    world.host.answer(200, page(vec![entry("a")], "p"));
    let step = world.step(&calendars(), cursor).0.unwrap();
    assert_eq!(world.host.requests()[2].query("syncToken"), None);
    // Under way it goes on, however long it takes.
    world.now = NOW + 9 * DAY_MICROS;
    world.host.answer(200, last_page(vec![], "s3"));
    world.run(&calendars(), step.cursor);
    assert_eq!(world.host.requests()[3].query("pageToken"), Some("p"));
    assert_eq!(rows(&world), [("a".into(), false), ("b".into(), true)]);
}

#[test]
fn a_refused_list_pauses_the_owner() {
    for (status, reason) in [(403, "forbidden"), (404, "notFound")] {
        let mut world = World::new();
        world.host.answer(status, error(status, reason));
        let (step, _) = world.step(&calendars(), None);
        assert!(
            matches!(&step, Err(Failure::Retry(retry)) if retry.scope == RetryScope::Owner),
            "{step:?}"
        );
    }
}

#[test]
fn odd_entries_do_not_stop_the_list() {
    let mut world = World::new();
    let odd = json!({"id": "odd", "timeZone": 7, "deleted": "no"});
    let items = vec![json!({"summary": "no id"}), json!(null), json!({"id": 5}), odd, entry("a")];
    world.host.answer(200, last_page(items, "s"));
    let (step, did) = world.step(&calendars(), None);
    step.unwrap();
    assert_eq!(rows(&world), [("a".into(), false), ("odd".into(), false)]);
    assert_eq!(did.logs.len(), 3);
}
