//! Series in both feeds: instances, exceptions, and what deltas don't say.

use serde_json::{Value, json};
use simulator::model::Model;
use simulator::model::directory::CalendarSpec;
use simulator::model::event::View;
use simulator::model::query::EventQuery;
use simulator::model::time::zone;

use crate::setup::{ANA, all, brief, model, params, parsed, reason, series, single};

/// A delta of the expanded and of the source feed after a change.
fn deltas(model: &mut Model, change: impl FnOnce(&mut Model)) -> (Vec<String>, Vec<String>) {
    let expanded = all(model, "singleEvents=true").1.unwrap();
    let source = all(model, "").1.unwrap();
    change(model);
    (
        brief(&all(model, &format!("singleEvents=true&syncToken={expanded}")).0),
        brief(&all(model, &format!("syncToken={source}")).0),
    )
}

fn ids(days: &[&str], suffix: &str) -> Vec<String> {
    days.iter().map(|day| format!("s_{day}T100000Z{suffix}")).collect()
}

fn get(model: &Model, id: &str) -> Value {
    let view = View {
        zone: zone("UTC").unwrap(),
        foreign_zone: false,
        max_attendees: None,
        times_only: false,
    };
    serde_json::from_str(&model.get_event(ANA, id, &view).unwrap()).unwrap()
}

#[test]
fn instances_carry_their_master() {
    let mut model = model();
    model.add_event(ANA, &series("s", 4, "FREQ=WEEKLY;COUNT=2")).unwrap();
    let (items, _) = all(&model, "singleEvents=true");
    assert_eq!(brief(&items), ids(&["20261104", "20261111"], ""));
    let second = items.iter().find(|item| item["id"] == "s_20261111T100000Z").unwrap();
    let master = get(&model, "s");
    assert_eq!(second["recurringEventId"], "s");
    assert_eq!(second["originalStartTime"]["dateTime"], "2026-11-11T10:00:00Z");
    assert_eq!(second["end"]["dateTime"], "2026-11-11T11:00:00Z");
    assert!(second["recurrence"].is_null());
    for same in ["etag", "created", "updated", "iCalUID"] {
        assert_eq!(second[same], master[same], "{same}");
    }
    assert_eq!(get(&model, "s_20261111T100000Z")["start"], second["start"]);
}

#[test]
fn an_exception_is_one_change_in_both_feeds() {
    let mut model = model();
    model.add_event(ANA, &series("s", 4, "FREQ=WEEKLY;COUNT=3")).unwrap();
    let second = "s_20261111T100000Z";
    let (expanded, source) = deltas(&mut model, |model| {
        model.patch_event(ANA, second, &json!({ "summary": "other" })).unwrap();
    });
    assert_eq!((expanded, source), (vec![second.to_owned()], vec![second.to_owned()]));
    let (expanded, source) = deltas(&mut model, |model| {
        model.cancel_event(ANA, second).unwrap();
    });
    let cancelled = vec![format!("{second}:cancelled")];
    assert_eq!((expanded, source), (cancelled.clone(), cancelled.clone()));

    // A cancelled exception of a live series is in every source listing, never in an expanded one.
    let stub = all(&model, "").0.into_iter().find(|item| item["id"] == second).unwrap();
    assert_eq!(stub["originalStartTime"]["dateTime"], "2026-11-11T10:00:00Z");
    assert_eq!(stub.as_object().unwrap().len(), 6, "{stub}");
    assert_eq!(brief(&all(&model, "singleEvents=true").0), ids(&["20261104", "20261118"], ""));
}

#[test]
fn an_exception_can_be_added_as_raw_json() {
    let mut model = model();
    model.add_event(ANA, &series("s", 4, "FREQ=WEEKLY;COUNT=3")).unwrap();
    let body = json!({
        "recurringEventId": "s",
        "originalStartTime": { "dateTime": "2026-11-11T10:00:00Z" },
        "start": { "dateTime": "2026-11-12T10:00:00Z" },
        "end": { "dateTime": "2026-11-12T11:00:00Z" },
    });
    assert_eq!(model.add_event(ANA, &body).unwrap(), "s_20261111T100000Z");
    assert_eq!(get(&model, "s_20261111T100000Z")["start"]["dateTime"], "2026-11-12T10:00:00Z");
    let nowhere = json!({
        "recurringEventId": "s", "originalStartTime": { "dateTime": "2026-11-13T10:00:00Z" },
    });
    assert_eq!(reason(&model.add_event(ANA, &nowhere).unwrap_err()), (404, "notFound"));
}

#[test]
fn a_deleted_series_is_reported_only_near_now() {
    let mut model = model();
    model.add_event(ANA, &series("s", 4, "FREQ=MONTHLY;COUNT=12")).unwrap();
    let far = "s_20270904T100000Z";
    model.patch_event(ANA, far, &json!({ "summary": "far exception" })).unwrap();
    let (expanded, source) = deltas(&mut model, |model| {
        model.delete_series(ANA, "s").unwrap();
    });
    let near = ["20261104", "20261204", "20270104", "20270204", "20270304", "20270404"];
    assert_eq!(expanded, ids(&near, ":cancelled"));
    assert_eq!(source, ["s:cancelled".to_owned(), format!("{far}:cancelled")]);
    assert_eq!(get(&model, "s")["status"], "cancelled");

    let (expanded, _) = deltas(&mut model, |model| {
        model.undelete_event(ANA, "s").unwrap();
    });
    assert_eq!(expanded.len(), 12, "every instance is back: {expanded:?}");
}

#[test]
fn exceptions_may_die_silently_with_their_series() {
    let mut model = model();
    model.quirks.cancel_exceptions_with_series = false;
    model.add_event(ANA, &series("s", 4, "FREQ=WEEKLY;COUNT=3")).unwrap();
    let exception = "s_20261111T100000Z";
    model.patch_event(ANA, exception, &json!({ "summary": "other" })).unwrap();
    let (_, source) = deltas(&mut model, |model| {
        model.delete_series(ANA, "s").unwrap();
    });
    assert_eq!(source, ["s:cancelled"]);
}

#[test]
fn a_trimmed_series_loses_its_far_instances_silently() {
    let mut model = model();
    model.add_event(ANA, &series("s", 4, "FREQ=MONTHLY;COUNT=12")).unwrap();
    let (expanded, _) = deltas(&mut model, |model| {
        model.trim_series(ANA, "s", "20270204T100000Z").unwrap();
    });
    let mut wanted = ids(&["20261104", "20261204", "20270104", "20270204"], "");
    wanted.extend(ids(&["20270304", "20270404"], ":cancelled"));
    assert_eq!(expanded, wanted);
}

#[test]
fn a_moved_series_delivers_every_instance() {
    let mut model = model();
    model.add_event(ANA, &series("s", 4, "FREQ=MONTHLY;COUNT=12")).unwrap();
    let (expanded, source) = deltas(&mut model, |model| {
        let patch = json!({
            "start": { "dateTime": "2026-11-04T12:00:00Z" },
            "end": { "dateTime": "2026-11-04T13:00:00Z" },
        });
        model.patch_event(ANA, "s", &patch).unwrap();
    });
    assert_eq!(expanded.len(), 24, "12 new, 12 gone: {expanded:?}");
    assert_eq!(source, ["s"]);
}

#[test]
fn single_to_recurring_says_nothing_of_the_single_event() {
    let mut model = model();
    model.add_event(ANA, &single("s", 4)).unwrap();
    let (expanded, source) = deltas(&mut model, |model| {
        model.make_recurring(ANA, "s", &["RRULE:FREQ=DAILY;COUNT=2".to_owned()]).unwrap();
    });
    assert_eq!(expanded, ids(&["20261104", "20261105"], ""));
    assert_eq!(source, ["s"]);
    let (expanded, source) = deltas(&mut model, |model| {
        model.make_single(ANA, "s").unwrap();
    });
    let mut wanted = vec!["s".to_owned()];
    wanted.extend(ids(&["20261104", "20261105"], ":cancelled"));
    assert_eq!((expanded, source), (wanted, vec!["s".to_owned()]));
    assert!(model.delete_series(ANA, "s").is_err(), "not a series any more");
}

#[test]
fn this_and_following_makes_a_new_master() {
    let mut model = model();
    model.add_event(ANA, &series("s", 4, "FREQ=WEEKLY;COUNT=4")).unwrap();
    let changes = json!({ "summary": "later" });
    let new = model.split_series(ANA, "s", "s_20261118T100000Z", &changes).unwrap();
    assert_eq!(new, "s_R20261118T100000");
    assert_eq!(
        brief(&all(&model, "singleEvents=true").0),
        [
            "s_20261104T100000Z",
            "s_20261111T100000Z",
            "s_R20261118T100000_20261118T100000Z",
            "s_R20261118T100000_20261125T100000Z",
        ]
    );
    assert_eq!(brief(&all(&model, "").0), ["s", "s_R20261118T100000"]);
    assert_eq!(get(&model, "s_R20261118T100000_20261125T100000Z")["summary"], "later");
}

#[test]
fn a_series_moves_with_its_exceptions() {
    let mut model = model();
    let work = CalendarSpec { id: Some("work".to_owned()), ..CalendarSpec::default() };
    model.add_calendar(ANA, &work).unwrap();
    model.add_event(ANA, &series("s", 4, "FREQ=WEEKLY;COUNT=3")).unwrap();
    model.cancel_event(ANA, "s_20261111T100000Z").unwrap();
    let (expanded, source) = deltas(&mut model, |model| {
        model.move_event(ANA, "work", "s").unwrap();
    });
    assert_eq!(expanded, ids(&["20261104", "20261118"], ":cancelled"));
    assert_eq!(source, ["s:cancelled"]);
    let expected = model.expected();
    let rows: Vec<&String> = expected.users[ANA]["work"].expanded.keys().collect();
    assert_eq!(rows, ["s_20261104T100000Z", "s_20261118T100000Z"]);
}

#[test]
fn instances_list_one_series() {
    let mut model = model();
    model.add_event(ANA, &series("s", 4, "FREQ=WEEKLY;COUNT=5")).unwrap();
    model.add_event(ANA, &single("other", 4)).unwrap();
    model.cancel_event(ANA, "s_20261111T100000Z").unwrap();
    let query = EventQuery::parse(params("maxResults=3")).unwrap();
    let page = model.list_instances(ANA, ANA, "s", &query).unwrap();
    assert_eq!(brief(&parsed(&page)), ids(&["20261104", "20261118", "20261125"], ""));
    let next = format!("maxResults=3&pageToken={}", page.next_page_token.unwrap());
    let page =
        model.list_instances(ANA, ANA, "s", &EventQuery::parse(params(&next)).unwrap()).unwrap();
    assert_eq!(brief(&parsed(&page)), ids(&["20261202"], ""));
    assert!(model.list_instances(ANA, ANA, "other", &query).is_err());
}
