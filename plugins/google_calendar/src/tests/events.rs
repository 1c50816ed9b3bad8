//! Events as rows.

use rowgate_plugin::db::Scalar;
use rowgate_plugin::testing::StreamChange;
use rowgate_plugin::{Progress, Step, StreamId};
use serde_json::{Value, json};

use super::{
    CAL, EXPANDED, SOURCE, World, calendars, cancelled_instance, error, events, instance,
    instance_id, last_page, page, single, text,
};
use crate::Cursor;

fn synced(world: &mut World, service: &str, items: Vec<Value>) -> Option<Cursor> {
    world.host.answer(200, last_page(items, "s"));
    world.run(&events(service), None).cursor
}

fn delta(world: &mut World, service: &str, cursor: Option<Cursor>, items: Vec<Value>) {
    world.host.answer(200, last_page(items, "s2"));
    world.run(&events(service), cursor);
}

#[test]
fn times_of_every_shape() {
    let instant = |s: i64| Some(Scalar::Timestamp(s * 1_000_000));
    let day = |d| Some(Scalar::Date(d));
    // 2026-03-20T16:00:00Z and 2026-03-20
    let (at, on) = (instant(1_774_022_400), day(20_532));
    let cases: Vec<(Value, Option<Scalar>, Option<Scalar>)> = vec![
        (
            json!({"dateTime": "2026-03-20T13:00:00-03:00", "timeZone": "America/Los_Angeles"}),
            at.clone(),
            None,
        ),
        (json!({"dateTime": "2026-03-20T16:00:00.000Z"}), at.clone(), None),
        (json!({"dateTime": "2026-03-20T16:00:00Z", "date": null}), at, None),
        (json!({"date": "2026-03-20"}), None, on.clone()),
        (json!({"date": "2026-03-20", "timeZone": "Asia/Tokyo", "dateTime": null}), None, on),
        (json!({"dateTime": "0000-12-31T00:00:00Z"}), None, None),
        (json!({"dateTime": "-0001-12-31T00:00:00Z"}), None, None),
        (
            json!({"dateTime": "2026-03-21T01:00:00", "timeZone": "Asia/Tokyo"}),
            instant(1_774_022_400),
            None,
        ),
        (json!({"dateTime": "2026-03-20T16:00:00", "timeZone": "Mars/Olympus"}), None, None),
        (json!({"dateTime": "2026-03-20T16:00:00"}), None, None),
        (json!({"date": "0000-01-01"}), None, None),
        (json!({"date": "soon"}), None, None),
        (json!({"date": 5}), None, None),
        (json!("2026"), None, None),
        (json!({}), None, None),
        (Value::Null, None, None),
    ];
    let fields = [
        ("start", "start_at", "start_date"),
        ("end", "end_at", "end_date"),
        ("originalStartTime", "original_start_at", "original_start_date"),
    ];
    for (moment, at, on) in &cases {
        for (field, at_column, on_column) in fields {
            let mut world = World::new();
            let mut event = json!({"id": "e", "status": "confirmed"});
            event[field] = moment.clone();
            synced(&mut world, EXPANDED, vec![event]);
            let row = world.row(EXPANDED, "e").unwrap();
            assert_eq!(row.get(at_column), at.as_ref(), "{field} {moment}");
            assert_eq!(row.get(on_column), on.as_ref(), "{field} {moment}");
        }
    }
}

#[test]
fn created_in_the_year_zero_is_null() {
    let year_1 = Scalar::Timestamp(-62_135_596_800_000_000);
    let cases = [
        (json!("0000-12-31T00:00:00Z"), None),
        (json!("0001-01-01T00:00:00+01:00"), None),
        (json!("0001-01-01T00:00:00Z"), Some(&year_1)),
        (json!("nonsense"), None),
        (json!(12), None),
    ];
    for (created, expected) in cases {
        let mut world = World::new();
        let mut event = single("e");
        event["created"] = created.clone();
        synced(&mut world, EXPANDED, vec![event]);
        let row = world.row(EXPANDED, "e").unwrap();
        assert_eq!(row.get("created"), expected, "{created}");
        assert!(row.contains_key("updated") && row.contains_key("start_at"));
    }
}

#[test]
fn data_is_the_item_as_it_came() {
    let raw = r#"{"id":"e","zzz":1.10,"status":"confirmed", "unknown" : {"b":1,"a":"\u0000\ud83d\ude00\u00e9"},"big":12345678901234567890123}"#;
    let mut world = World::new();
    world.host.answer(200, format!(r#"{{"items":[{raw}],"nextSyncToken":"s"}}"#));
    world.run(&events(EXPANDED), None);
    let row = world.row(EXPANDED, "e").unwrap();
    assert_eq!(text(row, "data").as_deref(), Some(raw));
    assert_eq!(text(row, "google_calendar_id").as_deref(), Some(CAL));
    assert_eq!(text(row, "recurring_event_id"), None);
}

#[test]
fn a_lone_surrogate_in_a_title_is_no_trouble() {
    let raw = r#"{"id":"e","status":"confirmed","summary":"\ud800"}"#;
    let mut world = World::new();
    world.host.answer(200, format!(r#"{{"items":[{raw}],"nextSyncToken":"s"}}"#));
    world.run(&events(EXPANDED), None);
    assert_eq!(text(world.row(EXPANDED, "e").unwrap(), "data").as_deref(), Some(raw));
}

#[test]
fn stubs_cancel_and_erase_nothing() {
    for service in [EXPANDED, SOURCE] {
        let mut world = World::new();
        let cursor = synced(&mut world, service, vec![single("a"), single("b")]);
        let before = world.row(service, "a").unwrap().clone();
        delta(&mut world, service, cursor, vec![json!({"id": "a", "status": "cancelled"})]);
        let mut expected = before;
        expected.insert("status".into(), Scalar::Text("cancelled".into()));
        assert_eq!(world.row(service, "a"), Some(&expected));
        assert_eq!(world.live(service), ["b"]);
    }
}

#[test]
fn a_cancelled_exception_is_kept_even_if_unknown() {
    let mut world = World::new();
    let cursor = synced(&mut world, SOURCE, vec![]);
    let exception = cancelled_instance("abc", 3);
    delta(&mut world, SOURCE, cursor, vec![exception.clone()]);
    let row = world.row(SOURCE, &instance_id("abc", 3)).unwrap();
    assert_eq!(text(row, "status").as_deref(), Some("cancelled"));
    assert_eq!(text(row, "recurring_event_id").as_deref(), Some("abc"));
    assert_eq!(text(row, "data").unwrap(), exception.to_string());
    assert!(row.contains_key("original_start_at"));
}

#[test]
fn a_tombstone_with_details_is_a_row_like_any_other() {
    let mut world = World::new();
    let cursor = synced(&mut world, EXPANDED, vec![single("a")]);
    let mut tombstone = single("a");
    tombstone["status"] = "cancelled".into();
    tombstone["summary"] = "last words".into();
    delta(&mut world, EXPANDED, cursor, vec![tombstone.clone()]);
    let row = world.row(EXPANDED, "a").unwrap();
    assert_eq!(text(row, "data").unwrap(), tombstone.to_string());
    assert!(row.contains_key("start_at"));
}

#[test]
fn an_undeleted_event_is_live_again() {
    let mut world = World::new();
    let cursor = synced(&mut world, EXPANDED, vec![single("a")]);
    world.host.answer(200, last_page(vec![json!({"id": "a", "status": "cancelled"})], "s2"));
    let cursor = world.run(&events(EXPANDED), cursor).cursor;
    delta(&mut world, EXPANDED, cursor, vec![single("a")]);
    assert_eq!(world.live(EXPANDED), ["a"]);
}

#[test]
fn a_live_event_that_lost_its_time_loses_it_in_the_row() {
    let mut world = World::new();
    let cursor = synced(&mut world, EXPANDED, vec![single("a")]);
    let mut all_day = single("a");
    all_day["start"] = json!({"date": "2026-02-01"});
    delta(&mut world, EXPANDED, cursor, vec![all_day, single("b")]);
    let row = world.row(EXPANDED, "a").unwrap();
    assert!(!row.contains_key("start_at") && row.contains_key("start_date"));
}

#[test]
fn a_single_event_that_became_a_series() {
    for (service, status) in [(EXPANDED, "cancelled"), (SOURCE, "confirmed")] {
        let mut world = World::new();
        let cursor = synced(&mut world, service, vec![single("abc"), single("abd")]);
        let data = text(world.row(service, "abc").unwrap(), "data");
        let items = vec![instance("abc", 0), instance("abc", 1), instance("new", 1)];
        world.host.answer(200, last_page(items, "s2"));
        if service == EXPANDED {
            for id in ["abc", "new"] {
                let mut series = single(id);
                series["recurrence"] = json!(["RRULE:FREQ=DAILY"]);
                world.host.answer(200, series);
            }
        }
        world.run(&events(service), cursor);
        assert_eq!(world.status_of(service, "abc").as_deref(), Some(status));
        assert_eq!(text(world.row(service, "abc").unwrap(), "data"), data);
        assert_eq!(world.status_of(service, "abd").as_deref(), Some("confirmed"));
        assert_eq!(world.row(service, "new"), None, "no row is made for it");
    }
}

#[test]
fn a_cancelled_instance_says_nothing_of_its_base() {
    let mut world = World::new();
    let items = vec![single("abc"), cancelled_instance("abc", 0)];
    synced(&mut world, EXPANDED, items);
    assert_eq!(world.live(EXPANDED), ["abc"]);
}

#[test]
fn who_sees_only_times_has_no_ghosts_in_the_source_table() {
    let role = |items: Vec<Value>, token: &str| json!({"accessRole": "freeBusyReader", "items": items, "nextSyncToken": token});
    for service in [SOURCE, EXPANDED] {
        let mut world = World::new();
        let items = (0..400).map(|day| instance("abc", day)).chain([single("xyz")]).collect();
        world.host.answer(200, role(items, "s"));
        let cursor = world.run(&events(service), None).cursor;
        assert_eq!(world.live(service).len(), 401);
        // One series is deleted, a single event becomes another.
        let mut items: Vec<_> = (0..180).map(|day| cancelled_instance("abc", day)).collect();
        items.push(instance("xyz", 0));
        world.host.answer(200, role(items, "s2")).answer(410, error(410, "deleted"));
        world.host.answer(404, error(404, "notFound"));
        let step = world.run(&events(service), cursor);
        assert_eq!(step.progress, Progress::Done(None), "{service}");
        assert_eq!(world.live(service), [instance_id("xyz", 0)], "{service}");
    }
}

#[test]
fn an_unreadable_calendar_stops_alone_and_asks_the_list() {
    for (status, reason) in [(404, "notFound"), (403, "forbidden"), (403, "requiredAccessLevel")] {
        let mut world = World::new();
        let cursor = synced(&mut world, EXPANDED, vec![single("a")]);
        world.host.answer(status, error(status, reason));
        let (step, did) = world.step(&events(EXPANDED), cursor);
        let step = step.unwrap();
        assert!(matches!(step.progress, Progress::Unreadable(_)), "{step:?}");
        assert_eq!(step.cursor, None);
        let activated = StreamChange::Activate { stream: calendars(), at: None };
        assert_eq!(did.streams, [activated]);
        assert_eq!(world.live(EXPANDED), ["a"], "rows stay");
    }
}

#[test]
fn calendars_whose_deltas_hide_deletions_are_always_read_in_full() {
    let key = "addressbook#contacts@group.v.calendar.google.com";
    let stream = StreamId::new(EXPANDED, "events", key);
    let mut world = World::new();
    world
        .host
        .answer(200, page(vec![single("a")], "p"))
        .answer(200, last_page(vec![single("b")], "s"));
    let step = world.run(&stream, None);
    assert_eq!(step, Step::relist_after(86_400_000));
    world.host.answer(200, last_page(vec![single("b")], "s2"));
    world.run(&stream, None);
    assert_eq!(world.live(EXPANDED), ["b"]);
    assert!(world.host.requests().iter().all(|request| request.query("syncToken").is_none()));

    let other = StreamId::new(EXPANDED, "events", "contacts@group.v.calendar.google.com");
    world.host.answer(200, last_page(vec![], "s"));
    assert!(world.run(&other, None).cursor.is_some());
}

#[test]
fn one_calendar_does_not_touch_another() {
    let mut world = World::new();
    synced(&mut world, EXPANDED, vec![single("a")]);
    let other = StreamId::new(EXPANDED, "events", "other");
    world.host.answer(200, last_page(vec![single("a"), single("b")], "s"));
    world.run(&other, None);
    synced(&mut world, EXPANDED, vec![]);
    let of = |calendar: &str| {
        let rows = world.tables.rows(EXPANDED).into_iter();
        let rows = rows.filter(|row| text(row, "google_calendar_id").as_deref() == Some(calendar));
        rows.filter_map(|row| text(row, "status")).collect::<Vec<_>>()
    };
    assert_eq!(of(CAL), ["cancelled"]);
    assert_eq!(of("other"), ["confirmed", "confirmed"]);
}
