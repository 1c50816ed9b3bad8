//! The control API: the same as the handle, in JSON.

use serde_json::json;
use simulator::model::expected::Expected;

use crate::client::Service;
use crate::setup::{ANA, single};

#[tokio::test]
async fn a_batch_builds_a_service_and_expected_shows_it() {
    let service = Service::start();
    let answer = service
        .control(
            "batch",
            json!([
                { "op": "create_user", "email": "bo@example.com" },
                { "op": "add_calendar", "email": "bo@example.com", "spec": { "id": "team" } },
                { "op": "share_calendar", "calendar": "team", "email": ANA, "role": "reader" },
                { "op": "add_event", "calendar": "team", "event": single("a", 2) },
                { "op": "make_recurring", "calendar": "team", "id": "a",
                  "recurrence": ["RRULE:FREQ=DAILY;COUNT=3"] },
                { "op": "cancel_event", "calendar": "team", "id": "a_20261103T100000Z" },
                { "op": "generate_events", "calendar": ANA, "count": 5, "mix": "singles" },
                { "op": "random_changes", "count": 3, "seed": 1 },
            ]),
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.json()[0]["refresh_token"].as_str().unwrap().starts_with("1//0"));
    assert_eq!(answer.json()[3]["id"], "a");
    assert_eq!(answer.json()[7]["changes"].as_array().unwrap().len(), 3);
    let expected = service.send("GET", "/control/expected", &[], "").await.unwrap();
    let expected: Expected = serde_json::from_slice(&expected.body).unwrap();
    assert_eq!(expected, service.simulator.model().expected());
}

#[tokio::test]
async fn mistakes_are_explained() {
    let service = Service::start();
    for (name, body, why) in [
        ("fly", json!({}), "unknown variant `fly`"),
        ("create_user", json!({}), "missing field `email`"),
        ("create_user", json!({ "email": "a", "emial": "b" }), "unknown field `emial`"),
        ("cancel_event", json!({ "calendar": ANA, "id": "x" }), "Not Found"),
        ("add_fault", json!({ "then": { "error": "nonsense" } }), "no error named \"nonsense\""),
        ("add_event", json!({ "calendar": ANA, "event": {} }), "Missing start time."),
        ("revoke_grant", json!({ "email": "x" }), "No user \"x\""),
        (
            "set_time_zone",
            json!({ "calendar": ANA, "time_zone": "Mars" }),
            "Unknown time zone \"Mars\"; known: UTC",
        ),
    ] {
        let answer = service.control(name, body).await;
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, 400);
        assert!(error.contains(why), "{name}: {error}");
    }
    assert_eq!(service.send("GET", "/control/x", &[], "").await.unwrap().status, 400);
}

#[tokio::test]
async fn the_clock_moves_on_command() {
    let service = Service::start();
    let answer = service.control("advance", json!({ "seconds": 90 })).await;
    assert_eq!(answer.json()["now"], "2026-11-02T00:01:30.000Z");
    let now = service.send("GET", "/control/now", &[], "").await.unwrap();
    assert_eq!(now.json(), answer.json());
}

#[tokio::test]
async fn requests_are_recorded_with_their_secrets() {
    let service = Service::start();
    service.get("calendars/primary?x=1").await.unwrap();
    let seen = service.send("GET", "/control/requests", &[], "").await.unwrap().json();
    assert_eq!(seen.as_array().unwrap().len(), 1, "control calls are not recorded");
    let wanted = (&json!("/calendar/v3/calendars/primary"), &json!("x=1"), &json!(ANA));
    assert_eq!((&seen[0]["path"], &seen[0]["query"], &seen[0]["user"]), wanted);
    assert_eq!(seen[0]["status"], 200);
    let text = seen[0]["headers"].to_string();
    assert!(text.contains(&format!("Bearer {}", service.access_token)));
    service.control("clear_requests", json!({})).await;
    assert!(service.simulator.requests().is_empty());
}

#[tokio::test]
async fn faults_and_holds_work_over_http() {
    let service = Service::start();
    let fault = json!({ "when": { "path": "*/events", "count": 1 }, "then": { "hold": "after" } });
    let id = service.control("add_fault", fault).await.json()["id"].clone();
    let (answer, ()) = tokio::join!(service.get("calendars/primary/events"), async {
        let held = service.control("await_held", json!({ "count": 1 })).await.json();
        assert_eq!(held["held"][0]["fault"], id);
        let released = service.control("release_held", json!({})).await.json();
        assert_eq!(released["released"], 1);
    });
    assert_eq!(answer.unwrap().status, 200);
    let faults = service.send("GET", "/control/faults", &[], "").await.unwrap().json();
    assert_eq!((&faults[0]["id"], &faults[0]["hit"]), (&id, &json!(1)));
    let none = service.control("await_held", json!({ "timeout_ms": 1 })).await.json();
    assert_eq!(none["held"], json!([]));
    service.control("clear_faults", json!({})).await;
    assert!(service.simulator.faults().is_empty());
}

#[tokio::test]
async fn help_lists_what_there_is() {
    let service = Service::start();
    let help = service.send("GET", "/control", &[], "").await.unwrap().json();
    assert!(help["read"].to_string().contains("expected"));
    let presets = service.send("GET", "/control/presets", &[], "").await.unwrap().json();
    assert!(presets.to_string().contains("quota-per-user"));
}
