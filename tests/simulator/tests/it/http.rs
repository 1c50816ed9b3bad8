//! The Calendar API over HTTP: headers, encodings, ids, writes, limits.

use serde_json::json;
use simulator::model::calendar::Role;
use simulator::model::directory::CalendarSpec;
use simulator::model::generate::Mix;

use crate::client::Service;
use crate::setup::{ANA, single};

#[tokio::test]
async fn answers_look_like_the_services() {
    let service = Service::start();
    let answer = service.get("calendars/primary/events").await.unwrap();
    for (name, value) in [
        ("content-type", "application/json; charset=UTF-8"),
        ("cache-control", "private, max-age=0, must-revalidate, no-transform"),
        ("date", "Mon, 02 Nov 2026 00:00:00 GMT"),
        ("expires", "Mon, 02 Nov 2026 00:00:00 GMT"),
        ("vary", "Origin, X-Origin, Referer"),
        ("server", "ESF"),
        ("transfer-encoding", "chunked"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let body = answer.json();
    let top = body.as_object().unwrap();
    for field in [
        "kind",
        "etag",
        "summary",
        "description",
        "updated",
        "timeZone",
        "accessRole",
        "defaultReminders",
        "items",
        "nextSyncToken",
    ] {
        assert!(top.contains_key(field), "{field}");
    }
    let refused = service.get("calendars/nobody/events").await.unwrap();
    assert_eq!((refused.status, refused.reason()), (404, json!("notFound")));
    assert_eq!(refused.header("pragma"), Some("no-cache"));
}

#[tokio::test]
async fn a_missing_or_wrong_token_is_401() {
    let service = Service::start();
    let path = "/calendar/v3/users/me/calendarList";
    let answer = service.send("GET", path, &[], "").await.unwrap();
    assert_eq!((answer.status, answer.reason()), (401, json!("required")));
    let wrong = [("authorization", "Bearer ya29.wrong")];
    let answer = service.send("GET", path, &wrong, "").await.unwrap();
    assert_eq!((answer.status, answer.reason()), (401, json!("authError")));
    assert_eq!(answer.json()["error"]["status"], "UNAUTHENTICATED");
    assert_eq!(answer.json()["error"]["errors"][0]["location"], "Authorization");
    assert!(answer.header("www-authenticate").unwrap().contains("invalid_token"));
}

#[tokio::test]
async fn gzip_needs_the_user_agent_to_say_so() {
    let service = Service::start();
    service.simulator.model().generate_events(ANA, 20, Mix::Mixed).unwrap();
    let path = "calendars/primary/events?showDeleted=true";
    for (headers, is_zipped) in [
        (vec![("accept-encoding", "gzip"), ("user-agent", "x (gzip)")], true),
        (vec![("accept-encoding", "gzip"), ("user-agent", "x")], false),
        (vec![("user-agent", "x (gzip)")], false),
    ] {
        let answer = service.api("GET", path, &headers, "").await.unwrap();
        assert_eq!(answer.header("content-encoding").is_some(), is_zipped, "{headers:?}");
        let body = if is_zipped { answer.gunzipped() } else { answer.json() };
        assert_eq!(body["items"].as_array().unwrap().len(), 20);
    }
}

#[tokio::test]
async fn ids_are_percent_encoded() {
    let service = Service::start();
    let id = "en.usa#holiday@group.v.calendar.google.com";
    let spec = CalendarSpec { id: Some(id.to_owned()), ..CalendarSpec::default() };
    service.simulator.model().add_calendar(ANA, &spec).unwrap();
    let encoded = "en.usa%23holiday%40group.v.calendar.google.com";
    for path in [format!("calendars/{encoded}"), format!("users/me/calendarList/{encoded}")] {
        let answer = service.get(&path).await.unwrap();
        assert_eq!(answer.json()["id"], id, "{path}");
        assert_eq!(answer.header("etag"), answer.json()["etag"].as_str());
    }
    assert_eq!(service.get("calendars/primary").await.unwrap().json()["id"], ANA);
    assert_eq!(service.get("calendars/unknown").await.unwrap().status, 404);
}

#[tokio::test]
async fn an_etag_saves_the_body() {
    let service = Service::start();
    let path = "calendars/primary/events";
    let etag = service.get(path).await.unwrap().header("etag").unwrap().to_owned();
    let headers = [("if-none-match", etag.as_str())];
    let same = service.api("GET", path, &headers, "").await.unwrap();
    assert_eq!((same.status, same.body.len()), (304, 0));
    service.simulator.model().add_event(ANA, &single("a", 2)).unwrap();
    assert_eq!(service.api("GET", path, &headers, "").await.unwrap().status, 200);
}

#[tokio::test]
async fn fields_select_and_hide_tokens_that_are_not_listed() {
    let service = Service::start();
    service.simulator.model().add_event(ANA, &single("a", 2)).unwrap();
    let answer = service.get("calendars/primary/events?fields=items(id,status)").await.unwrap();
    assert_eq!(answer.json(), json!({ "items": [{ "id": "a", "status": "confirmed" }] }));
    let pretty = service.get("calendars/primary?prettyPrint=true").await.unwrap();
    assert!(pretty.text().contains("\n  \"id\""));
}

#[tokio::test]
async fn events_are_written_and_read_back() {
    let service = Service::start();
    let events = "calendars/primary/events";
    let made = service.api("POST", events, &[], &single("abc", 2).to_string()).await.unwrap();
    assert_eq!((made.status, &made.json()["id"]), (200, &json!("abc")));
    let micros: i64 = made.json()["etag"].as_str().unwrap().trim_matches('"').parse().unwrap();
    assert_eq!(micros % 2, 0);
    assert_eq!(made.json()["updated"], "2026-11-02T00:00:00.002Z");
    assert_eq!(micros / 2, 1_793_577_600_002_000);

    let again = service.api("POST", events, &[], &single("abc", 2).to_string()).await.unwrap();
    assert_eq!((again.status, again.reason()), (409, json!("duplicate")));
    let bad = service.api("POST", events, &[], "{").await.unwrap();
    assert_eq!((bad.status, bad.reason()), (400, json!("parseError")));
    let bad = service.api("POST", events, &[], r#"{"start": {"date": "2026-11-02"}}"#).await;
    assert_eq!(bad.unwrap().json()["error"]["message"], "Missing end time.");

    let one = format!("{events}/abc");
    let stale = [("if-match", "\"1\"")];
    let patch = r#"{"summary": "new", "location": "here"}"#;
    let refused = service.api("PATCH", &one, &stale, patch).await.unwrap();
    assert_eq!((refused.status, refused.reason()), (412, json!("conditionNotMet")));
    let patched = service.api("PATCH", &one, &[], patch).await.unwrap();
    assert_eq!(patched.json()["location"], "here");
    let body = single("abc", 5).to_string();
    let put = service.api("PUT", &one, &[], &body).await.unwrap().json();
    assert!(put["location"].is_null() && put["iCalUID"] == made.json()["iCalUID"]);

    assert_eq!(service.api("DELETE", &one, &[], "").await.unwrap().status, 204);
    let twice = service.api("DELETE", &one, &[], "").await.unwrap();
    assert_eq!((twice.status, twice.reason()), (410, json!("deleted")));
    assert_eq!(service.get(&one).await.unwrap().json()["status"], "cancelled");
}

#[tokio::test]
async fn moving_and_instances() {
    let service = Service::start();
    let work = CalendarSpec { id: Some("work".to_owned()), ..CalendarSpec::default() };
    service.simulator.model().add_calendar(ANA, &work).unwrap();
    let body = crate::setup::series("s", 2, "FREQ=DAILY;COUNT=3").to_string();
    service.api("POST", "calendars/primary/events", &[], &body).await.unwrap();
    let moved = "calendars/primary/events/s/move?destination=work";
    assert_eq!(service.api("POST", moved, &[], "").await.unwrap().status, 200);
    let answer = service.get("calendars/work/events/s/instances").await.unwrap();
    assert_eq!(answer.ids().len(), 3);
    assert_eq!(service.get("calendars/primary/events").await.unwrap().ids().len(), 0);
}

#[tokio::test]
async fn readers_may_not_write() {
    let service = Service::start();
    {
        let mut model = service.simulator.model();
        model.create_user("bo@example.com");
        model.share_calendar("bo@example.com", ANA, Role::Reader).unwrap();
    }
    let path = "calendars/bo%40example.com/events";
    assert_eq!(service.get(path).await.unwrap().status, 200);
    let refused = service.api("POST", path, &[], &single("a", 2).to_string()).await.unwrap();
    assert_eq!((refused.status, refused.reason()), (403, json!("requiredAccessLevel")));
    service.simulator.model().set_role("bo@example.com", ANA, Role::None).unwrap();
    assert_eq!(service.get(path).await.unwrap().status, 404);
}

#[tokio::test]
async fn six_hundred_requests_a_minute_and_no_more() {
    let service = Service::start();
    for _ in 0..600 {
        assert_eq!(service.get("calendars/primary").await.unwrap().status, 200);
    }
    let refused = service.get("calendars/primary").await.unwrap();
    assert_eq!((refused.status, refused.reason()), (403, json!("rateLimitExceeded")));
    let info = &refused.json()["error"]["details"][0];
    assert_eq!(info["metadata"]["quota_limit"], "defaultPerMinutePerUser");
    service.simulator.set_limits(false);
    assert_eq!(service.get("calendars/primary").await.unwrap().status, 200);
    service.simulator.set_limits(true);
    service.simulator.advance(60);
    assert_eq!(service.get("calendars/primary").await.unwrap().status, 200);
}
