//! Series that end far away, where no delta of the expanded feed tells of it.

use rowgate_plugin::testing::{Host, HttpError, Sent};
use rowgate_plugin::{Failure, Progress};
use serde_json::{Value, json};

use super::{
    EXPANDED, NOW, SOURCE, World, error, events, instance, instance_id, last_page, page, single,
    start,
};
use crate::Cursor;
use crate::events::DAY_MICROS;

const HOUR_MICROS: i64 = 3_600_000_000;

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

/// Answers of the source feed that are of no use.
fn failures() -> [fn(&Host); 8] {
    [
        |host| _ = host.answer(503, ""),
        |host| _ = host.answer(400, error(400, "badRequest")),
        |host| _ = host.answer(404, error(404, "notFound")),
        |host| _ = host.answer(410, error(410, "fullSyncRequired")),
        |host| _ = host.answer(504, ""),
        |host| _ = host.answer(200, r#"{"items": [{"id": "abc", "sta"#),
        |host| _ = host.fail(HttpError::Timeout),
        |host| _ = host.fail(HttpError::TooLarge(1)),
    ]
}

#[test]
fn a_source_feed_that_fails_keeps_no_delta_from_coming() {
    // On the first reading, and with a token.
    for (days, token) in [(1, None), (2, Some("m"))] {
        for (n, fail) in failures().into_iter().enumerate() {
            let mut world = World::new();
            let mut cursor = synced(&mut world, EXPANDED);
            if days == 2 {
                cursor = day(&mut world, cursor, 1, &[last_page(vec![], "m")]);
            }
            world.now = NOW + days * DAY_MICROS;
            world.host.answer(200, last_page(vec![], "s2"));
            fail(&world.host);
            let step = world.run(&events(EXPANDED), cursor);
            assert_eq!(step.progress, Progress::Done(None), "{n}");
            let asked = world.host.requests().pop().unwrap();
            assert_eq!((asked.query("fields").is_some(), asked.query("syncToken")), (true, token));
            // Five hours later a delta arrives, and no more is asked for; then all is read again.
            world.now += 5 * HOUR_MICROS;
            world.host.answer(200, last_page(vec![single("new")], "s3"));
            let step = world.run(&events(EXPANDED), step.cursor);
            assert_eq!(world.status_of(EXPANDED, "new").as_deref(), Some("confirmed"), "{n}");
            world.now += HOUR_MICROS;
            let end = gone("far", "2026-01-01T12:00:00Z");
            world.host.answer(200, last_page(vec![], "s4"));
            world.host.answer(200, last_page(vec![end], "m2"));
            world.run(&events(EXPANDED), step.cursor);
            let asked = world.host.requests().pop().unwrap();
            assert_eq!(asked.query("syncToken"), None, "{n}");
            let far = world.status_of(EXPANDED, &instance_id("far", 400));
            // Between two readings only what changed since the one before is news.
            let expected = if days == 1 { "cancelled" } else { "confirmed" };
            assert_eq!(far.as_deref(), Some(expected), "{n}");
        }
    }
}

#[test]
fn a_page_that_is_too_much_is_asked_for_in_halves() {
    let mut world = World::new();
    let cursor = synced(&mut world, EXPANDED);
    world.now = NOW + DAY_MICROS;
    world.host.answer(200, last_page(vec![], "s2")).answer(504, "");
    let step = world.run(&events(EXPANDED), cursor);
    world.now += 6 * HOUR_MICROS;
    world.host.answer(200, last_page(vec![], "s3")).answer(200, last_page(vec![], "m"));
    world.run(&events(EXPANDED), step.cursor);
    let sizes: Vec<_> = world.host.requests().iter().map(page_size).collect();
    assert_eq!(sizes, ["100", "100", "100", "100", "50"], "the feed itself is as it was");
}

#[test]
fn what_is_of_the_owner_pauses_more_and_the_next_run_lists_first() {
    let mut world = World::new();
    let cursor = synced(&mut world, EXPANDED);
    world.now = NOW + DAY_MICROS;
    world.host.answer(200, last_page(vec![], "s2"));
    let step = world.step(&events(EXPANDED), cursor).0.unwrap();
    for (status, body) in [(429, String::new()), (403, error(403, "quotaExceeded").to_string())] {
        world.host.answer(status, body);
        let failed = world.step(&events(EXPANDED), step.cursor.clone()).0;
        assert!(matches!(failed, Err(Failure::Retry(_))), "{failed:?}");
    }
    world.now += HOUR_MICROS;
    world.host.answer(200, last_page(vec![single("new")], "s3"));
    let step = world.step(&events(EXPANDED), step.cursor).0.unwrap();
    assert_eq!(world.status_of(EXPANDED, "new").as_deref(), Some("confirmed"));
    world.host.answer(200, last_page(vec![], "m"));
    world.run(&events(EXPANDED), step.cursor);
    assert!(world.host.requests().pop().unwrap().query("fields").is_some());
}

#[test]
fn what_is_near_is_left_to_deltas() {
    // An exception of a series that has gone, a far one, and a far day.
    let mut far_day = instance("abc", 410);
    far_day["originalStartTime"] = json!({"date": super::date(410)});
    let items = vec![instance("abc", 3), instance("abc", 100), instance("abc", 400), far_day];
    let near = [instance_id("abc", 100), instance_id("abc", 3)];
    let mut short = single("abc");
    short["start"] = json!({"dateTime": start(0)});
    short["updated"] = "2026-01-01T12:00:00Z".into();
    short["recurrence"] = json!(["RRULE:FREQ=DAILY;UNTIL=20260102T000000Z"]);
    let mut with_far_day = near.to_vec();
    with_far_day.push(instance_id("abc", 410));
    let cases = [(gone("abc", "2026-01-01T12:00:00Z"), near.to_vec()), (short, with_far_day)];
    for (end, mut expected) in cases {
        let mut world = World::new();
        world.host.answer(200, last_page(items.clone(), "s"));
        let cursor = world.run(&events(EXPANDED), None).cursor;
        day(&mut world, cursor, 1, &[last_page(vec![end.clone()], "m")]);
        let mut live = world.live(EXPANDED);
        live.sort_unstable();
        expected.sort_unstable();
        assert_eq!(live, expected, "{end}");
    }
}

#[test]
fn a_reading_counts_from_its_beginning() {
    let mut world = World::new();
    let cursor = synced(&mut world, EXPANDED);
    world.now = NOW + DAY_MICROS;
    world.host.answer(200, last_page(vec![], "s2")).answer(200, page(vec![], "p"));
    let step = world.step(&events(EXPANDED), cursor).0.unwrap();
    let step = world.step(&events(EXPANDED), step.cursor).0.unwrap();
    world.now += 2 * HOUR_MICROS;
    world.host.answer(200, last_page(vec![], "s3")).answer(200, last_page(vec![], "m"));
    let cursor = world.run(&events(EXPANDED), step.cursor).cursor;
    day(&mut world, cursor, 2, &[last_page(vec![], "m2")]);
    let last = world.host.requests().pop().unwrap();
    assert_eq!(last.query("syncToken"), Some("m"), "a day after the first page");
}

fn page_size(asked: &Sent) -> String {
    asked.query("maxResults").unwrap_or_default().to_owned()
}
