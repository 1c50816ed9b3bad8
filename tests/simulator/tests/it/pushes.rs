//! Notifications over real sockets: which changes send them, what they look like, when they end.

use serde_json::{Value, json};
use simulator::model::calendar::Role;
use simulator::model::directory::CalendarSpec;
use simulator::model::generate::Mix;
use simulator::{Operation, Outcome};

use crate::client::Service;
use crate::receiver::{Receiver, channel};
use crate::setup::{ANA, BO, series, single};

const LIST: &str = "users/me/calendarList";

async fn service() -> (Service, Receiver) {
    (Service::watchable(), Receiver::start().await)
}

/// States that arrived since `seen` notifications.
async fn news(service: &Service, receiver: &Receiver, seen: &mut usize) -> Vec<String> {
    service.simulator.await_no_push().await;
    let received = receiver.received();
    let states = received[*seen..].iter().map(|request| {
        let state = request.goog("resource-state");
        format!("{} {state}", request.goog("channel-id"))
    });
    let mut states: Vec<String> = states.collect();
    states.sort();
    *seen = received.len();
    states
}

fn apply(service: &Service, operation: Value) {
    let operation: Operation = serde_json::from_value(operation).unwrap();
    service.simulator.apply(operation).unwrap();
}

#[tokio::test]
async fn a_notification_looks_like_googles() {
    let (service, receiver) = service().await;
    let mut body = channel("one", &format!("{}/hooks/google?a=b", receiver.url));
    body["token"] = json!("secret");
    let answer = service.watch("calendars/primary/events", body).await.json();
    service.simulator.await_pushes(1).await;
    service.simulator.model().add_event(ANA, &single("a", 2)).unwrap();
    service.simulator.await_pushes(2).await;
    let received = receiver.received();
    assert_eq!(received.len(), 2);
    for (request, state, number) in [(&received[0], "sync", "1"), (&received[1], "exists", "2")] {
        assert_eq!((request.method.as_str(), request.body.len()), ("POST", 0));
        assert_eq!(request.path, "/hooks/google?a=b");
        let host = receiver.url.replace("http://", "");
        for (name, value) in [
            ("host", host.as_str()),
            ("content-length", "0"),
            (
                "user-agent",
                "APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)",
            ),
            ("x-goog-channel-id", "one"),
            ("x-goog-channel-token", "secret"),
            ("x-goog-channel-expiration", "Mon, 09 Nov 2026 00:00:00 GMT"),
            ("x-goog-resource-id", answer["resourceId"].as_str().unwrap()),
            ("x-goog-resource-uri", answer["resourceUri"].as_str().unwrap()),
            ("x-goog-resource-state", state),
            ("x-goog-message-number", number),
        ] {
            let found = request.headers.get(name).map(String::as_str);
            assert_eq!(found, Some(value), "{name}");
        }
    }
    let second = channel("two", &receiver.url);
    service.watch("calendars/primary/events", second).await;
    service.simulator.await_pushes(3).await;
    let bare = &receiver.received()[2];
    assert_eq!((bare.path.as_str(), bare.headers.get("x-goog-channel-token")), ("/", None));
}

#[tokio::test]
async fn every_change_of_an_event_is_told_once() {
    let (service, receiver) = service().await;
    let team = CalendarSpec { id: Some("team".to_owned()), ..CalendarSpec::default() };
    service.simulator.model().add_calendar(ANA, &team).unwrap();
    service.open("own", &receiver).await;
    service.open_on("calendars/team/events", "team", &receiver).await;
    let mut seen = 2;
    let rule = "FREQ=DAILY;COUNT=5";
    for (operation, told) in [
        (json!({ "op": "add_event", "event": single("a", 2) }), &["own exists"][..]),
        (json!({ "op": "add_event", "event": series("s", 3, rule) }), &["own exists"]),
        (json!({ "op": "patch_event", "id": "a", "patch": { "summary": "b" } }), &["own exists"]),
        (json!({ "op": "cancel_event", "id": "s_20261104T100000Z" }), &["own exists"]),
        (json!({ "op": "move_event", "id": "s", "to": "team" }), &["own exists", "team exists"]),
        (json!({ "op": "cancel_event", "id": "a" }), &["own exists"]),
        (json!({ "op": "undelete_event", "id": "a" }), &["own exists"]),
        (json!({ "op": "rename_calendar", "summary": "x" }), &[]),
        (
            json!({ "op": "generate_events", "count": 3, "mix": "singles" }),
            &["own exists", "own exists", "own exists"],
        ),
    ] {
        let mut operation = operation;
        operation["calendar"] = json!(ANA);
        apply(&service, operation.clone());
        assert_eq!(news(&service, &receiver, &mut seen).await, told, "{operation}");
    }
    service.simulator.model().add_event(ANA, &json!({})).unwrap_err();
    assert!(news(&service, &receiver, &mut seen).await.is_empty(), "a refused change is none");
    service.simulator.model().delete_calendar("team").unwrap();
    assert_eq!(news(&service, &receiver, &mut seen).await, ["team not_exists"]);
}

#[tokio::test]
async fn writes_of_the_api_tell_everyone_who_watches() {
    let (mut service, receiver) = service().await;
    service.open("of-ana", &receiver).await;
    service.open("of-ana-too", &receiver).await;
    {
        let mut model = service.simulator.model();
        let refresh_token = model.create_user(BO);
        model.share_calendar(ANA, BO, Role::Writer).unwrap();
        service.access_token = model.refresh(&refresh_token, None).unwrap().access_token;
    }
    service.open_on("calendars/ana@example.com/events", "of-bo", &receiver).await;
    service.open("bos-own", &receiver).await;
    let mut seen = 4;
    let body = single("a", 2).to_string();
    let path = "calendars/ana@example.com/events";
    assert_eq!(service.api("POST", path, &[], &body).await.unwrap().status, 200);
    let told = ["of-ana exists", "of-ana-too exists", "of-bo exists"];
    assert_eq!(news(&service, &receiver, &mut seen).await, told);
}

#[tokio::test]
async fn every_change_of_a_list_is_told_to_its_user() {
    let (service, receiver) = service().await;
    service.simulator.model().create_user(BO);
    service.open_on(LIST, "list", &receiver).await;
    let mut seen = 1;
    let spec = json!({ "id": "team" });
    for (operation, told) in [
        (json!({ "op": "add_calendar", "email": BO, "spec": spec }), 0),
        (json!({ "op": "set_role", "calendar": "team", "email": ANA, "role": "reader" }), 0),
        (json!({ "op": "add_to_list", "calendar": "team", "email": ANA }), 1),
        (json!({ "op": "rename_calendar", "calendar": "team", "summary": "Team" }), 1),
        (json!({ "op": "set_role", "calendar": "team", "email": ANA, "role": "writer" }), 1),
        (json!({ "op": "set_hidden", "calendar": "team", "email": ANA, "hidden": true }), 1),
        (
            json!({ "op": "set_summary_override", "calendar": "team", "email": ANA, "title": "T" }),
            1,
        ),
        (json!({ "op": "set_hidden", "calendar": "team", "email": BO, "hidden": true }), 0),
        (json!({ "op": "add_event", "calendar": "team", "event": single("a", 2) }), 0),
        (json!({ "op": "remove_from_list", "calendar": "team", "email": ANA }), 1),
        (json!({ "op": "rename_calendar", "calendar": "team", "summary": "Gone" }), 0),
        (json!({ "op": "add_to_list", "calendar": "team", "email": ANA }), 1),
        (json!({ "op": "set_role", "calendar": "team", "email": ANA, "role": "none" }), 1),
        (json!({ "op": "add_calendar", "email": ANA, "spec": { "id": "mine" } }), 1),
        (json!({ "op": "rename_calendar", "calendar": "mine", "summary": "Mine" }), 1),
        (json!({ "op": "delete_calendar", "calendar": "mine" }), 1),
    ] {
        apply(&service, operation.clone());
        let wanted = vec!["list exists".to_owned(); told];
        assert_eq!(news(&service, &receiver, &mut seen).await, wanted, "{operation}");
    }
}

#[tokio::test]
async fn message_numbers_grow_with_gaps() {
    let (service, receiver) = service().await;
    service.simulator.model().push_rules.gap_max = 5;
    service.open("one", &receiver).await;
    service.simulator.model().generate_events(ANA, 30, Mix::Singles).unwrap();
    service.simulator.await_pushes(31).await;
    let number = |request: &crate::receiver::Received| -> u64 {
        request.goog("message-number").parse().unwrap()
    };
    let numbers: Vec<u64> = receiver.received().iter().map(number).collect();
    assert_eq!(numbers[0], 1);
    let steps: Vec<u64> = numbers.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.iter().all(|step| (1..=6).contains(step)), "{steps:?}");
    assert!(steps.contains(&1) && steps.iter().any(|step| *step > 1), "{steps:?}");
}

#[tokio::test]
async fn some_refusals_are_worth_a_repetition() {
    let (service, receiver) = service().await;
    service.open("one", &receiver).await;
    service.simulator.model().push_rules.retries = 3;
    for (answers, seen, outcome) in [
        (&[500, 502, 503, 204][..], &[500, 502, 503, 204][..], Outcome::Delivered),
        (&[504, 504, 504, 504, 200], &[504, 504, 504, 504], Outcome::Failed),
        (&[202], &[202], Outcome::Delivered),
        (&[404], &[404], Outcome::Refused),
        (&[429], &[429], Outcome::Refused),
        (&[301], &[301], Outcome::Refused),
        (&[503, 401], &[503, 401], Outcome::Refused),
    ] {
        service.simulator.clear_pushes();
        receiver.answer(answers);
        service.simulator.model().generate_events(ANA, 1, Mix::Singles).unwrap();
        let pushes = service.simulator.await_pushes(1).await;
        let found: Vec<u16> = pushes[0].answers.iter().map(|answer| answer.unwrap()).collect();
        assert_eq!((found.as_slice(), pushes[0].outcome), (seen, outcome));
        receiver.forget_answers();
    }
    let total = receiver.received().len();
    assert_eq!(total, 1 + 4 + 4 + 1 + 1 + 1 + 1 + 2);
}

#[tokio::test]
async fn a_repetition_doesnt_keep_the_next_one_waiting() {
    let (service, receiver) = service().await;
    service.open("one", &receiver).await;
    service.simulator.model().push_rules.retry_ms = 3_600_000;
    receiver.answer(&[503]);
    service.simulator.model().generate_events(ANA, 2, Mix::Singles).unwrap();
    let pushes = service.simulator.await_pushes(2).await;
    assert_eq!(receiver.brief(), ["one sync 1", "one exists 2", "one exists 3"]);
    assert_eq!((pushes[1].outcome, &pushes[1].answers), (Outcome::UnderWay, &vec![Some(503)]));
    assert_eq!(pushes[2].outcome, Outcome::Delivered);
}

#[tokio::test]
async fn nobody_at_the_address() {
    let service = Service::watchable();
    service.simulator.model().push_rules.retries = 1;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", free.local_addr().unwrap());
    drop(free);
    service.watch("calendars/primary/events", channel("one", &address)).await;
    let pushes = service.simulator.await_pushes(1).await;
    assert_eq!((pushes[0].outcome, &pushes[0].answers), (Outcome::Failed, &vec![None, None]));
    assert!(pushes[0].error.is_some());

    // Connections are taken, and nobody reads.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", silent.local_addr().unwrap());
    service.simulator.clear_pushes();
    service.simulator.model().push_rules.answer_ms = 20;
    service.watch("calendars/primary/events", channel("silent", &address)).await;
    let pushes = service.simulator.await_pushes(1).await;
    assert_eq!((pushes[0].outcome, &pushes[0].answers), (Outcome::Failed, &vec![None, None]));
    assert_eq!(pushes[0].error.as_deref(), Some("no answer in time"));
}

#[tokio::test]
async fn an_address_with_tls_needs_a_stand_in() {
    let (service, receiver) = service().await;
    service.simulator.model().push_rules.retries = 0;
    let secure = "https://receiver.example:8443/hook";
    service.watch("calendars/primary/events", channel("two", secure)).await;
    let pushes = service.simulator.await_pushes(1).await;
    let why = pushes[0].error.as_deref();
    assert_eq!(why, Some("an address with TLS needs the rule `via`"));
    service.simulator.model().push_rules.via = Some(receiver.url.clone());
    service.simulator.model().generate_events(ANA, 1, Mix::Singles).unwrap();
    service.simulator.await_pushes(2).await;
    let received = &receiver.received()[0];
    let host = received.headers.get("host").map(String::as_str);
    assert_eq!((received.path.as_str(), host), ("/hook", Some("receiver.example:8443")));
}

#[tokio::test]
async fn expiry_comes_without_notice() {
    let (service, receiver) = service().await;
    service.open("first", &receiver).await;
    service.open_on(LIST, "second", &receiver).await;
    service.open("third", &receiver).await;
    let mut seen = 3;
    let expired = service.control("expire_channels", json!({ "id": "first" })).await.json();
    assert_eq!(expired, json!({ "expired": 1 }));
    service.simulator.model().add_event(ANA, &single("a", 2)).unwrap();
    assert_eq!(news(&service, &receiver, &mut seen).await, ["third exists"]);
    service.simulator.advance(604_799);
    service.simulator.model().add_event(ANA, &single("b", 2)).unwrap();
    assert_eq!(news(&service, &receiver, &mut seen).await, ["third exists"]);
    service.simulator.advance(1);
    service.simulator.model().add_event(ANA, &single("c", 2)).unwrap();
    let spec = CalendarSpec::default();
    service.simulator.model().add_calendar(ANA, &spec).unwrap();
    assert!(news(&service, &receiver, &mut seen).await.is_empty());
    let channels = service.send("GET", "/control/channels", &[], "").await.unwrap().json();
    let live = channels.as_array().unwrap().iter().map(|channel| &channel["live"]);
    assert!(live.eq([&json!(false); 3]));
}

#[tokio::test]
async fn a_stopped_channel_may_talk_on_for_a_while() {
    let (service, receiver) = service().await;
    let answer = service.open("one", &receiver).await;
    let mut seen = 1;
    let body = json!({ "id": "one", "resourceId": answer["resourceId"] }).to_string();
    let stopped = service.api("POST", "channels/stop", &[], &body).await.unwrap();
    assert_eq!(stopped.status, 204);
    service.simulator.model().add_event(ANA, &single("a", 2)).unwrap();
    assert!(news(&service, &receiver, &mut seen).await.is_empty());
    service.control("set_push_rules", json!({ "late_s": 60 })).await;
    service.simulator.model().add_event(ANA, &single("b", 2)).unwrap();
    assert_eq!(news(&service, &receiver, &mut seen).await, ["one exists"]);
    service.simulator.advance(60);
    service.simulator.model().add_event(ANA, &single("c", 2)).unwrap();
    assert!(news(&service, &receiver, &mut seen).await.is_empty());
}

#[tokio::test]
async fn a_revoked_grant_doesnt_end_a_channel() {
    let (service, receiver) = service().await;
    service.open("one", &receiver).await;
    let mut seen = 1;
    service.simulator.model().revoke_grant(ANA);
    service.simulator.model().add_event(ANA, &single("a", 2)).unwrap();
    assert_eq!(news(&service, &receiver, &mut seen).await, ["one exists"]);
    assert_eq!(service.get("calendars/primary/events").await.unwrap().status, 401);
}
