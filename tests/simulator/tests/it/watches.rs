//! Watching and stopping: what is answered, and what is refused.

use serde_json::{Value, json};
use simulator::model::calendar::Role;
use simulator::model::directory::CalendarSpec;
use simulator::{Fault, Then, When};

use crate::client::Service;
use crate::receiver::channel;
use crate::setup::{ANA, BO, NOW_US};

const EVENTS: &str = "calendars/primary/events";
const LIST: &str = "users/me/calendarList";
const ADDRESS: &str = "https://receiver.example/google";
const NOW_MS: i64 = NOW_US / 1_000;
const DAY_MS: i64 = 86_400_000;

/// A second user's access token.
fn sign_up(service: &Service, email: &str) -> String {
    let mut model = service.simulator.model();
    let refresh_token = model.create_user(email);
    model.refresh(&refresh_token, None).unwrap().access_token
}

async fn stop(service: &Service, token: &str, id: &str, resource: &Value) -> (u16, Value) {
    let bearer = format!("Bearer {token}");
    let body = json!({ "id": id, "resourceId": resource }).to_string();
    let headers = [("authorization", bearer.as_str())];
    let path = "/calendar/v3/channels/stop";
    let answer = service.send("POST", path, &headers, &body).await.unwrap();
    (answer.status, answer.json()["error"]["message"].clone())
}

#[tokio::test]
async fn a_watch_is_answered_with_the_channel() {
    let service = Service::start();
    let mut body = channel("one", ADDRESS);
    body["token"] = json!("secret");
    let first = service.watch(EVENTS, body).await;
    assert_eq!(first.status, 200);
    let expected = json!({
        "kind": "api#channel",
        "id": "one",
        "resourceId": first.json()["resourceId"],
        "resourceUri":
            "https://www.googleapis.com/calendar/v3/calendars/primary/events?alt=json",
        "token": "secret",
        "expiration": "1794182400000",
    });
    assert_eq!(first.json(), expected, "a week, in milliseconds, as text");
    assert_eq!(first.json()["resourceId"].as_str().unwrap().len(), 27);

    let path = "calendars/ana%40example.com/events/watch?alt=json&maxResults=250";
    let body = channel("two", ADDRESS).to_string();
    let second = service.api("POST", path, &[], &body).await.unwrap().json();
    let uri = "https://www.googleapis.com/calendar/v3/calendars/ana%40example.com/events\
        ?alt=json&maxResults=250";
    assert_eq!(second["resourceUri"], uri, "as the request named it");
    assert_eq!(second["resourceId"], first.json()["resourceId"], "one resource, two channels");
    assert_eq!(second["token"], Value::Null);

    let list = service.watch(LIST, channel("three", ADDRESS)).await.json();
    let uri = "https://www.googleapis.com/calendar/v3/users/me/calendarList?alt=json";
    assert_eq!(list["resourceUri"], uri);
    assert_ne!(list["resourceId"], second["resourceId"]);
}

#[tokio::test]
async fn a_life_is_as_long_as_asked_for_up_to_a_month() {
    let service = Service::start();
    let days = |days: i64| NOW_MS + days * DAY_MS;
    for (n, (asked, wanted)) in [
        (json!({}), Some(7)),
        (json!({ "expiration": days(3).to_string() }), Some(3)),
        (json!({ "expiration": days(3) }), Some(3)),
        (json!({ "params": { "ttl": "172800" } }), Some(2)),
        (json!({ "params": { "ttl": "172800" }, "expiration": days(1).to_string() }), Some(1)),
        (json!({ "params": { "ttl": "5184000" } }), Some(30)),
        (json!({ "expiration": days(400).to_string() }), Some(30)),
        (json!({ "expiration": days(-1).to_string() }), None),
        (json!({ "expiration": "soon" }), None),
        (json!({ "params": { "ttl": "0" } }), None),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = channel(&format!("channel-{n}"), ADDRESS);
        body.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
        let answer = service.watch(EVENTS, body).await;
        match wanted {
            Some(wanted) => {
                let found = answer.json()["expiration"].as_str().unwrap().to_owned();
                assert_eq!(found, days(wanted).to_string(), "{asked}");
            }
            None => assert_eq!((answer.status, answer.reason()), (400, json!("invalid"))),
        }
    }
    service.simulator.model().push_rules.numeric_expiration = true;
    let answer = service.watch(EVENTS, channel("as-number", ADDRESS)).await.json();
    assert_eq!(answer["expiration"], days(7));
}

#[tokio::test]
async fn bad_requests_are_refused() {
    let service = Service::start();
    service.simulator.model().push_rules.unauthorized = vec!["https://unverified.".to_owned()];
    service.watch(EVENTS, channel("taken", ADDRESS)).await;
    let with = |name: &str, value: Value| {
        let mut body = channel("new", ADDRESS);
        body[name] = value;
        body
    };
    let http = "http://receiver.example/";
    let unverified = "https://unverified.example/x";
    for (body, status, reason, message) in [
        (json!({}), 400, "required", "entity.resource".to_owned()),
        (with("id", json!(null)), 400, "required", "channel.id".to_owned()),
        (with("type", json!(null)), 400, "required", "channel.type".to_owned()),
        (with("address", json!("")), 400, "required", "channel.address".to_owned()),
        (with("id", json!("x".repeat(65))), 400, "invalid", String::new()),
        (with("token", json!("x".repeat(257))), 400, "invalid", String::new()),
        (with("type", json!("pigeon")), 400, "push.channelTypeNotSupported", String::new()),
        (
            with("address", json!(http)),
            400,
            "push.webhookUrlNotHttps",
            format!("WebHook callback must be HTTPS: {http}"),
        ),
        (
            with("address", json!(unverified)),
            401,
            "push.webhookUrlUnauthorized",
            format!("Unauthorized WebHook callback channel: {unverified}"),
        ),
        (
            with("id", json!("taken")),
            400,
            "channelIdNotUnique",
            "Channel id taken not unique".to_owned(),
        ),
    ] {
        let answer = service.watch(EVENTS, body.clone()).await;
        assert_eq!((answer.status, answer.reason()), (status, json!(reason)), "{body}");
        if !message.is_empty() {
            assert_eq!(answer.json()["error"]["message"], message, "{body}");
        }
    }
    let broken = service.api("POST", &format!("{EVENTS}/watch"), &[], "{").await.unwrap();
    assert_eq!((broken.status, broken.reason()), (400, json!("parseError")));
    assert_eq!(service.watch(EVENTS, with("type", json!("webhook"))).await.status, 200);
    service.simulator.model().push_rules.allow_http = true;
    assert_eq!(service.watch(EVENTS, channel("http", http)).await.status, 200);
}

#[tokio::test]
async fn calendars_that_cant_be_watched() {
    let service = Service::start();
    sign_up(&service, BO);
    {
        let mut model = service.simulator.model();
        for id in ["en.usa#holiday@group.v.calendar.google.com", "team"] {
            let spec = CalendarSpec { id: Some(id.to_owned()), ..CalendarSpec::default() };
            model.add_calendar(ANA, &spec).unwrap();
        }
        model.delete_calendar("team").unwrap();
    }
    let holidays = "calendars/en.usa%23holiday%40group.v.calendar.google.com/events";
    let answer = service.watch(holidays, channel("a", ADDRESS)).await;
    let reason = json!("pushNotSupportedForRequestedResource");
    assert_eq!((answer.status, answer.reason()), (400, reason));
    let message = "Push notifications are not supported by this resource.";
    assert_eq!(answer.json()["error"]["message"], message);
    for gone in ["calendars/team/events", "calendars/bo@example.com/events"] {
        let answer = service.watch(gone, channel("a", ADDRESS)).await;
        assert_eq!((answer.status, answer.reason()), (404, json!("notFound")), "{gone}");
    }
    service.simulator.model().share_calendar(BO, ANA, Role::Reader).unwrap();
    let answer = service.watch("calendars/bo@example.com/events", channel("a", ADDRESS)).await;
    assert_eq!(answer.status, 200, "no refusal used up the id");
}

#[tokio::test]
async fn other_refusals_come_as_faults() {
    let service = Service::start();
    for (name, status, reason) in [
        ("forbidden", 403, "forbidden"),
        ("notACalendarUser", 403, "notACalendarUser"),
        ("quota-per-user", 403, "rateLimitExceeded"),
        ("too-many-requests", 429, "rateLimitExceeded"),
        ("push.webhookUrlUnauthorized", 401, "push.webhookUrlUnauthorized"),
        ("channelIdNotUnique", 400, "channelIdNotUnique"),
    ] {
        let when = When::path("*/watch").times(1);
        service.simulator.add_fault(Fault::when(when, Then::Error(name.to_owned())));
        let answer = service.watch(LIST, channel("a", ADDRESS)).await;
        assert_eq!((answer.status, answer.reason()), (status, json!(reason)), "{name}");
    }
    assert_eq!(service.watch(LIST, channel("a", ADDRESS)).await.status, 200);
}

#[tokio::test]
async fn watching_takes_the_scopes_of_reading() {
    for (scope, events, list) in [
        ("calendar.events.readonly", 200, 403),
        ("calendar.calendarlist.readonly", 403, 200),
        ("calendar.readonly", 200, 200),
        ("calendar.settings", 403, 403),
    ] {
        let mut service = Service::start();
        {
            let mut model = service.simulator.model();
            let scope = format!("https://www.googleapis.com/auth/{scope}");
            model.set_scopes(ANA, vec![scope]).unwrap();
            let answer = model.refresh(&service.refresh_token, None).unwrap();
            service.access_token = answer.access_token;
        }
        let found = service.watch(EVENTS, channel("a", ADDRESS)).await.status;
        assert_eq!(found, events, "{scope}");
        assert_eq!(service.watch(LIST, channel("b", ADDRESS)).await.status, list, "{scope}");
    }
}

#[tokio::test]
async fn a_channel_is_stopped_once_and_by_its_owner() {
    let service = Service::start();
    let bo = sign_up(&service, BO);
    let ana = service.access_token.clone();
    let resource = service.watch(EVENTS, channel("one", ADDRESS)).await.json();
    let resource = &resource["resourceId"];
    let unknown = json!("Channel 'one' not found for project '490000000000'");
    assert_eq!(stop(&service, &ana, "one", &json!("other")).await, (404, unknown.clone()));
    assert_eq!(stop(&service, &ana, "one", &json!(null)).await.0, 400);
    assert_eq!(stop(&service, &bo, "one", resource).await, (404, unknown.clone()));
    let own = service.simulator.model().client_id.clone();
    service.simulator.model().client_id = "other-client-id".to_owned();
    assert_eq!(stop(&service, &ana, "one", resource).await, (404, unknown.clone()));
    service.simulator.model().client_id = own;

    let body = json!({ "id": "one", "resourceId": resource }).to_string();
    let answer = service.api("POST", "channels/stop", &[], &body).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(stop(&service, &ana, "one", resource).await, (404, unknown));
    let again = service.watch(EVENTS, channel("one", ADDRESS)).await;
    assert_eq!((again.status, again.reason()), (400, json!("channelIdNotUnique")));

    service.watch(EVENTS, channel("two", ADDRESS)).await;
    service.simulator.advance(604_800);
    let renewed = service.simulator.model().refresh(&service.refresh_token, None).unwrap();
    assert_eq!(stop(&service, &renewed.access_token, "two", resource).await.0, 404, "expired");
}
