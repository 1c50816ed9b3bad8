//! What lists of events tell of their calendar.

use rowgate_plugin::testing::StreamChange;
use rowgate_plugin::{Progress, Step};
use serde_json::json;

use super::{
    CAL, EXPANDED, GOOGLE_CALENDAR_V1, World, calendars, cancelled_instance, error, events,
    instance, last_page, single, text,
};

#[test]
fn the_calendar_s_row_learns_what_its_events_tell() {
    let mut world = World::new();
    let entry = json!({"accessRole": "owner", "id": CAL, "summary": "old", "summaryOverride": "mine",
        "timeZone": "UTC"});
    world.host.answer(200, last_page(vec![entry], "s"));
    world.run(&calendars(), None);
    let body = |title: &str, zone: &str, role: &str| {
        json!({"summary": title, "description": "", "timeZone": zone,
        "accessRole": role, "nextSyncToken": "s", "items": []})
    };
    let cases = [
        ("old", "UTC", "owner", true, 0),
        ("new", "UTC", "owner", true, 0),
        ("new", "UTC", "owner", false, 0),
        ("new", "Asia/Tokyo", "owner", true, 0),
        ("new", "Asia/Tokyo", "freeBusyReader", true, 1),
        ("new", "Asia/Tokyo", "freeBusyReader", false, 0),
    ];
    let mut cursor = None;
    for (title, zone, role, is_news, resets) in cases {
        world.host.answer(200, body(title, zone, role));
        let (step, did) = world.step(&events(EXPANDED), cursor);
        let mut step = step.unwrap();
        assert_eq!(did.streams, []);
        assert_eq!(step.progress == Progress::More, is_news, "{title} {zone} {role}");
        if is_news {
            let (settled, did) = world.step(&events(EXPANDED), step.cursor);
            assert_eq!(did.streams, vec![StreamChange::Reset(calendars()); resets], "{role}");
            step = settled.unwrap();
        }
        assert_eq!(step.progress, Progress::Done(None));
        cursor = step.cursor;
        let row = world.row(GOOGLE_CALENDAR_V1, CAL).unwrap();
        assert_eq!(text(row, "time_zone").as_deref(), Some(zone));
        let expected = json!({"accessRole": role, "id": CAL, "summary": title,
            "summaryOverride": "mine", "timeZone": zone});
        assert_eq!(text(row, "data").unwrap(), expected.to_string());
    }
}

#[test]
fn a_title_that_is_no_text_holds_up_nothing() {
    for title in [r#""\ud800""#, "7", "null", "{}"] {
        let mut world = World::new();
        world.host.answer(200, last_page(vec![json!({"id": CAL, "summary": "old"})], "s"));
        world.run(&calendars(), None);
        let page = format!(r#"{{"summary":{title},"items":[],"nextSyncToken":"s"}}"#);
        world.host.answer(200, page);
        assert_eq!(world.run(&events(EXPANDED), None).progress, Progress::Done(None));
        let data = text(world.row(GOOGLE_CALENDAR_V1, CAL).unwrap(), "data").unwrap();
        assert!(data.contains(r#""summary":"old""#), "{data}");
    }
}

#[test]
fn doubts_end_in_the_role_check_and_the_next_run_lists() {
    let mut world = World::new();
    let entry = json!({"id": CAL, "accessRole": "owner"});
    world.host.answer(200, last_page(vec![entry], "s"));
    world.run(&calendars(), None);
    world.host.answer(200, last_page(vec![instance("abc", 0), instance("abc", 1)], "s"));
    let cursor = world.run(&events(EXPANDED), None).cursor;
    // The role was told for the first time by a delta that left a doubt, too.
    let body = json!({"accessRole": "reader", "nextSyncToken": "s2",
        "items": [cancelled_instance("abc", 0)]});
    world.host.answer(200, body).answer(410, error(410, "deleted"));
    let mut step = world.step(&events(EXPANDED), cursor).0.unwrap();
    let mut changes = Vec::new();
    while step.progress == Progress::More {
        let (next, did) = world.step(&events(EXPANDED), step.cursor);
        changes.extend(did.streams);
        step = next.unwrap();
    }
    assert_eq!(changes, [StreamChange::Reset(calendars())]);
    assert_eq!(world.live(EXPANDED), Vec::<String>::new());
    world.host.answer(200, last_page(vec![single("new")], "s3"));
    let step = world.step(&events(EXPANDED), step.cursor).0.unwrap();
    assert_eq!(step.progress, Progress::Done(None));
    assert_eq!(world.live(EXPANDED), ["new"]);
}

#[test]
fn a_role_that_changed_with_the_cursor_lost_relists_the_calendars_once() {
    let cases = [
        (json!({"id": CAL, "accessRole": "writer"}), "writer", 0),
        (json!({"id": CAL, "accessRole": "writer"}), "freeBusyReader", 1),
        (json!({"id": CAL}), "writer", 0),
    ];
    for (entry, role, resets) in cases {
        let mut world = World::new();
        world.host.answer(200, last_page(vec![entry], "s"));
        world.run(&calendars(), None);
        let body = json!({"accessRole": role, "nextSyncToken": "s", "items": []});
        world.host.answer(200, &body);
        let (step, did) = world.step(&events(EXPANDED), None);
        let step = step.unwrap();
        assert_eq!((step.progress, did.streams), (Progress::More, vec![]));
        let (step, did) = world.step(&events(EXPANDED), step.cursor);
        let step = step.unwrap();
        assert_eq!(step.progress, Progress::Done(None));
        assert_eq!(did.streams, vec![StreamChange::Reset(calendars()); resets], "{role}");
        world.host.answer(200, &body);
        let (next, did) = world.step(&events(EXPANDED), step.cursor);
        assert_eq!((next.unwrap().progress, did.streams), (Progress::Done(None), vec![]));
        assert_eq!(world.host.requests()[2].query("syncToken"), Some("s"));
    }
}

#[test]
fn a_role_is_compared_where_no_token_is_kept() {
    let mut world = World::new();
    world.host.answer(200, last_page(vec![json!({"id": CAL, "accessRole": "owner"})], "s"));
    world.run(&calendars(), None);
    world.host.answer(200, json!({"accessRole": "reader", "items": []}));
    let step = world.step(&events(EXPANDED), None).0.unwrap();
    let (step, did) = world.step(&events(EXPANDED), step.cursor);
    assert_eq!(step.unwrap(), Step::relist_after(86_400_000));
    assert_eq!(did.streams, [StreamChange::Reset(calendars())]);
}

#[test]
fn a_listing_that_begins_again_is_completed_before_its_role_is_compared() {
    let mut world = World::new();
    let first = json!({"accessRole": "owner", "items": [single("a")], "nextPageToken": "p"});
    world.host.answer(200, &first).answer(400, error(400, "invalid"));
    let last = json!({"accessRole": "owner", "items": [single("b")], "nextSyncToken": "s"});
    world.host.answer(200, &first).answer(200, &last);
    let step = world.run(&events(EXPANDED), None);
    assert_eq!(step.progress, Progress::Done(None));
    assert_eq!(world.live(EXPANDED), ["a", "b"]);
}
