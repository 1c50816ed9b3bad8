//! How items become rows, and what a later item may change of them.

use serde_json::{Value, json};

use crate::setup::{ANA, Case, OWNER, live, series, single};

/// A row without the columns whose values the host makes up.
fn without_times(mut row: Value) -> Value {
    let fields = row.as_object_mut().unwrap();
    for name in ["pk", "row_created_at", "row_updated_at"] {
        assert!(fields.remove(name).is_some(), "{name}");
    }
    row
}

fn is_instant(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.000000Z"
}

#[tokio::test]
async fn every_column_of_a_rich_event() {
    let case = Case::unlinked().await;
    case.simulator.model().set_time_zone(ANA, "America/Sao_Paulo").unwrap();
    let attendees = json!([{ "email": BOS, "responseStatus": "accepted" }]);
    case.add(json!({
        "id": "rich", "summary": "Überblick \u{1f980}", "status": "tentative",
        "created": "2024-02-29T23:59:59.000Z",
        "start": { "dateTime": "2026-11-20T09:00:00-08:00", "timeZone": "America/Los_Angeles" },
        "end": { "dateTime": "2026-11-20T21:30:00+01:00", "timeZone": "Europe/Berlin" },
        "attendees": attendees, "eventLabelId": "new-in-2026",
        "nested": { "deep": [1, 2.5, null, true] },
    }));
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    case.matches().await;
    let row = case.row("rich").await;
    assert!(row["pk"].is_i64());
    assert!(is_instant(&row["row_created_at"]) && is_instant(&row["row_updated_at"]), "{row}");
    let mut row = without_times(row);
    let data = row["data"].take();
    let updated = row["updated"].take();
    assert_eq!(
        row,
        json!({
            "compound_identity": "customer%2D1-ana@example.com-rich",
            "external_owner_id": OWNER,
            "google_id": "rich",
            "google_calendar_id": ANA,
            "status": "tentative",
            "created": "2024-02-29T23:59:59.000000Z",
            "updated": null,
            "start_date": null,
            "end_date": null,
            "original_start_date": null,
            "start_at": "2026-11-20T17:00:00.000000Z",
            "end_at": "2026-11-20T20:30:00.000000Z",
            "original_start_at": null,
            "recurring_event_id": null,
            "data": null,
        })
    );
    assert!(is_instant(&updated), "{updated}");
    assert!(updated.as_str().unwrap_or_default().starts_with("2026-11-02T00:00:00."), "{updated}");
    // The item as it came: offsets of the calendar's zone, fields that nobody knows.
    assert_eq!(data["start"]["dateTime"], "2026-11-20T14:00:00-03:00");
    assert_eq!(data["start"]["timeZone"], "America/Los_Angeles");
    assert_eq!(data["summary"], "Überblick \u{1f980}");
    assert_eq!(data["attendees"], attendees);
    assert_eq!(data["eventLabelId"], "new-in-2026");
    assert_eq!(data["nested"], json!({ "deep": [1, 2.5, null, true] }));
}

const BOS: &str = "bo@example.com";

#[tokio::test]
async fn rows_of_list_and_calendar() {
    let case = Case::linked().await;
    let lists = case.sql(&format!("select * from {}", case.tree.list.table)).await;
    assert_eq!(lists.len(), 1);
    let expected = json!({
        "external_owner_id": OWNER, "encrypted_refresh_token": null, "sync_token": null,
        "watch_channel_id": null, "watch_resource_id": null, "watch_channel_expiration": null,
        "data": {},
    });
    assert_eq!(without_times(lists[0].clone()), expected);
    let mut calendars = case.calendars(&case.tree, OWNER).await;
    assert_eq!(calendars.len(), 1);
    let mut calendar = without_times(calendars.remove(0));
    let data = calendar["data"].take();
    let expected = json!({
        "compound_identity": "customer%2D1-ana@example.com", "external_owner_id": OWNER,
        "google_id": ANA, "time_zone": "UTC", "deleted": false, "sync_tokens": null,
        "events_page_size": null, "events_watch_channel_id": null,
        "events_watch_resource_id": null, "events_watch_channel_expiration": null, "data": null,
    });
    assert_eq!(calendar, expected);
    assert_eq!((&data["id"], &data["accessRole"]), (&json!(ANA), &json!("owner")));
}

#[tokio::test]
async fn whole_days_and_their_instances() {
    let case = Case::unlinked().await;
    let day = |id: &str| {
        json!({
            "id": id, "start": { "date": "2026-11-09" }, "end": { "date": "2026-11-10" },
        })
    };
    case.add(day("day"));
    let mut days = day("days");
    days["recurrence"] = json!(["RRULE:FREQ=DAILY;COUNT=3"]);
    case.add(days);
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    case.matches().await;
    let columns = [
        "start_date",
        "end_date",
        "original_start_date",
        "start_at",
        "end_at",
        "original_start_at",
        "recurring_event_id",
    ];
    let seen = |row: &Value| Value::from(columns.map(|name| row[name].clone()).to_vec());
    assert_eq!(
        seen(&case.row("day").await),
        json!(["2026-11-09", "2026-11-10", null, null, null, null, null])
    );
    assert_eq!(
        seen(&case.row("days_20261111").await),
        json!(["2026-11-11", "2026-11-12", "2026-11-11", null, null, null, "days"])
    );
    let hours = case.add(series("hours", 3, "FREQ=WEEKLY;COUNT=2"));
    case.catch_up().await;
    let start = "2026-11-10T10:00:00.000000Z";
    assert_eq!(
        seen(&case.row("hours_20261110T100000Z").await),
        json!([null, null, null, start, "2026-11-10T11:00:00.000000Z", start, hours])
    );
}

#[tokio::test]
async fn the_year_0_is_no_time() {
    let case = Case::linked().await;
    for (id, created) in [
        ("zero", "0000-12-31T00:00:00Z"),
        ("nonsense", "soon"),
        ("first", "0001-01-01T00:00:00.000Z"),
    ] {
        let mut event = single(id, 4);
        event["created"] = json!(created);
        case.add(event);
    }
    case.catch_up().await;
    case.matches().await;
    assert_eq!(case.row("zero").await["created"], Value::Null);
    assert_eq!(case.row("nonsense").await["created"], Value::Null);
    let zero = case.row("zero").await;
    assert_eq!(zero["data"]["created"], "0000-12-31T00:00:00Z");
    assert_eq!(zero["start_at"], "2026-11-04T10:00:00.000000Z");
}

#[tokio::test]
async fn nul_escapes_go_and_look_alikes_stay() {
    let case = Case::linked().await;
    let mut event = single("nul", 4);
    event["summary"] = json!("be\u{0}fore");
    event["description"] = json!("a backslash and \\u0000 in letters");
    case.add(event);
    case.catch_up().await;
    let data = case.row("nul").await["data"].take();
    assert_eq!(data["summary"], "before");
    assert_eq!(data["description"], "a backslash and \\u0000 in letters");
}

#[tokio::test]
async fn stubs_of_deleted_events_erase_nothing() {
    let case = Case::linked().await;
    let elsewhere = {
        let mut model = case.simulator.model();
        model.add_calendar(ANA, &Default::default()).unwrap()
    };
    case.add(series("weekly", 3, "FREQ=WEEKLY;COUNT=4"));
    case.catch_up().await;
    let before = (case.row("one").await, case.row("weekly_20261110T100000Z").await);
    // Of what moved away nothing but the id is left; of a series' lost instance no more than times.
    case.simulator.model().move_event(ANA, &elsewhere, "one").unwrap();
    case.simulator.model().delete_series(ANA, "weekly").unwrap();
    case.catch_up().await;
    case.matches().await;
    let after = (case.row("one").await, case.row("weekly_20261110T100000Z").await);
    for (mut before, mut after) in [(before.0, after.0), (before.1, after.1)] {
        assert_eq!(before["status"].take(), "confirmed");
        assert_eq!(after["status"].take(), "cancelled");
        assert_ne!(before["row_updated_at"].take(), after["row_updated_at"].take());
        assert_eq!(before["summary"].take(), after["summary"].take());
        // Google may still have said when it last changed.
        before["updated"].take();
        after["updated"].take();
        for name in ["pk", "row_created_at", "start_at", "end_at", "created", "compound_identity"] {
            assert_eq!(before[name], after[name], "{name}");
        }
        assert_eq!(before["data"]["summary"], after["data"]["summary"]);
    }
}

#[tokio::test]
async fn an_event_comes_back_under_its_id() {
    let case = Case::linked().await;
    case.simulator.model().cancel_event(ANA, "one").unwrap();
    case.catch_up().await;
    assert_eq!(case.row("one").await["status"], "cancelled");
    case.simulator.model().undelete_event(ANA, "one").unwrap();
    case.catch_up().await;
    case.matches().await;
    assert_eq!(case.row("one").await["status"], "confirmed");
}

#[tokio::test]
async fn exceptions_of_a_series() {
    let case = Case::linked().await;
    case.add(series("weekly", 3, "FREQ=WEEKLY;COUNT=4"));
    case.catch_up().await;
    let (second, third) = ("weekly_20261110T100000Z", "weekly_20261117T100000Z");
    {
        let mut model = case.simulator.model();
        model.cancel_event(ANA, second).unwrap();
        let moved = json!({
            "start": { "dateTime": "2026-11-18T12:00:00Z" },
            "end": { "dateTime": "2026-11-18T13:00:00Z" },
        });
        model.patch_event(ANA, third, &moved).unwrap();
    }
    case.catch_up().await;
    case.matches().await;
    assert_eq!(case.expanded().await[second], "cancelled");
    assert_eq!(case.sources().await[second], "cancelled");
    let moved = case.row(third).await;
    assert_eq!(moved["start_at"], "2026-11-18T12:00:00.000000Z");
    assert_eq!(moved["original_start_at"], "2026-11-17T10:00:00.000000Z");
    assert_eq!(moved["recurring_event_id"], "weekly");
    assert_eq!(live(&case.sources().await), ["one", "weekly", third]);
}

#[tokio::test]
async fn a_single_event_that_became_a_series_goes_but_not_at_the_source() {
    let case = Case::linked().await;
    let rules = ["RRULE:FREQ=DAILY;COUNT=3".to_owned()];
    case.simulator.model().make_recurring(ANA, "one", &rules).unwrap();
    case.catch_up().await;
    case.matches().await;
    let instances = ["one_20261103T100000Z", "one_20261104T100000Z", "one_20261105T100000Z"];
    assert_eq!(live(&case.expanded().await), instances);
    assert_eq!(case.expanded().await["one"], "cancelled");
    assert_eq!(live(&case.sources().await), ["one"]);
    case.simulator.model().make_single(ANA, "one").unwrap();
    case.catch_up().await;
    case.matches().await;
    assert_eq!(live(&case.expanded().await), ["one"]);
}

#[tokio::test]
async fn an_unchanged_resync_moves_nothing() {
    let case = Case::linked().await;
    case.simulator.model().generate_events(ANA, 60, Default::default()).unwrap();
    case.catch_up().await;
    case.matches().await;
    let snapshot = async || {
        let mut all = Vec::new();
        let tables = [
            case.tree.list.table.as_str(),
            &case.tree.calendar.table,
            case.tree.events(),
            case.tree.sources(),
        ];
        for table in tables {
            all.push(case.sql(&format!("select * from {table} order by 1, 2")).await);
        }
        (all, case.feed().await)
    };
    let before = snapshot().await;
    assert!(before.0.iter().all(|rows| !rows.is_empty()) && !before.1.is_empty());
    case.simulator.clear_requests();
    case.read_again().await;
    assert_eq!(case.listings(), ["calendars full", "events full", "source full"]);
    assert!(before == snapshot().await, "an unchanged listing changed rows or the feed");
}
