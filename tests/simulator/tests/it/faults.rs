//! Faults over HTTP: each kind once, and requests held while the service changes.

use std::collections::BTreeMap;

use serde_json::json;
use simulator::model::generate::Mix;
use simulator::{Fault, Moment, Pages, Then, When};

use crate::client::{Answer, Service};
use crate::setup::{ANA, single};

const EVENTS: &str = "calendars/primary/events?maxResults=5";

/// A simulator with 12 events: pages of 5, 5 and 2.
fn service() -> Service {
    let service = Service::start();
    service.simulator.model().generate_events(ANA, 12, Mix::Singles).unwrap();
    service
}

fn set(service: &Service, then: Then) {
    service.simulator.add_fault(Fault::when(When::default().times(1), then));
}

async fn page(service: &Service, token: &str) -> Answer {
    service.get(&format!("{EVENTS}&pageToken={token}")).await.unwrap()
}

#[tokio::test]
async fn documented_errors_and_proxies() {
    let service = service();
    for (name, status, reason) in [
        ("rateLimitExceeded", 403, json!("rateLimitExceeded")),
        ("quota-per-user", 403, json!("rateLimitExceeded")),
        ("too-many-requests", 429, json!("rateLimitExceeded")),
        ("fullSyncRequired", 410, json!("fullSyncRequired")),
        ("gone-without-reason", 410, json!(null)),
        ("notACalendarUser", 403, json!("notACalendarUser")),
        ("backendError", 500, json!("backendError")),
        ("html-502", 502, json!(null)),
        ("empty-403", 403, json!(null)),
    ] {
        set(&service, Then::Error(name.to_owned()));
        let answer = service.get(EVENTS).await.unwrap();
        assert_eq!((answer.status, answer.reason()), (status, reason), "{name}");
    }
    assert_eq!(service.get(EVENTS).await.unwrap().status, 200);
}

#[tokio::test]
async fn any_answer_with_any_header() {
    let service = service();
    let headers = BTreeMap::from([("Retry-After".to_owned(), "7".to_owned())]);
    let then = Then::Answer { status: 503, body: "{}".to_owned() };
    service.simulator.add_fault(Fault { when: When::default(), then, headers });
    let answer = service.get(EVENTS).await.unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("7")));
}

#[tokio::test]
async fn errors_hit_the_page_they_are_meant_for() {
    let service = service();
    let when = When { page: Some(Pages::Later), nth: Some(2), ..When::default() };
    let then = Then::Error("fullSyncRequired".to_owned());
    let id = service.simulator.add_fault(Fault::when(when, then));
    let first = service.get(EVENTS).await.unwrap();
    let second = page(&service, &first.next_page().unwrap()).await;
    assert_eq!((first.status, second.status), (200, 200));
    let third = page(&service, &second.next_page().unwrap()).await;
    assert_eq!(third.status, 410);
    let armed = &service.simulator.faults()[0];
    assert_eq!((armed.id, armed.matched, armed.hit), (id, 2, 1));
    service.simulator.clear_faults(Some(id));
    assert_eq!(page(&service, &second.next_page().unwrap()).await.status, 200);
}

#[tokio::test]
async fn pages_that_are_short_empty_or_lead_nowhere() {
    let service = service();
    let whole = service.get(EVENTS).await.unwrap().ids();

    set(&service, Then::EmptyPage);
    let empty = service.get(EVENTS).await.unwrap();
    assert!(empty.ids().is_empty());
    assert_eq!(page(&service, &empty.next_page().unwrap()).await.ids(), whole);

    set(&service, Then::ShortPage(2));
    let short = service.get(EVENTS).await.unwrap();
    assert_eq!(short.ids(), whole[..2]);
    assert_eq!(page(&service, &short.next_page().unwrap()).await.ids()[..3], whole[2..]);

    set(&service, Then::PageTokenCycle);
    let cycle = service.get(EVENTS).await.unwrap();
    assert_eq!(page(&service, &cycle.next_page().unwrap()).await.ids(), whole);

    set(&service, Then::DuplicateEvent);
    let double = service.get(EVENTS).await.unwrap().ids();
    assert_eq!((double.len(), &double[5]), (6, &whole[0]));

    set(&service, Then::DuplicateAcrossPages);
    let first = service.get(EVENTS).await.unwrap();
    let second = page(&service, &first.next_page().unwrap()).await;
    assert_eq!(first.ids()[4], second.ids()[0]);

    set(&service, Then::NoSyncToken);
    let answer = service.get("calendars/primary/events").await.unwrap().json();
    assert_eq!((&answer["nextSyncToken"], &answer["nextPageToken"]), (&json!(null), &json!(null)));
}

#[tokio::test]
async fn bodies_that_go_wrong_on_the_way() {
    let service = service();
    let whole = service.get(EVENTS).await.unwrap();

    set(&service, Then::TruncatedJson);
    let answer = service.get(EVENTS).await.unwrap();
    assert_eq!((answer.status, answer.is_cut, answer.json()), (200, false, json!(null)));

    set(&service, Then::ResetMidBody);
    let answer = service.get(EVENTS).await.unwrap();
    assert_eq!((answer.status, answer.is_cut), (200, true));
    assert_eq!(answer.body.len(), whole.body.len() / 2);

    set(&service, Then::ChunkedBody { chunk_bytes: 1_000 });
    let answer = service.get(EVENTS).await.unwrap();
    assert_eq!(answer.body, whole.body);
    assert!(answer.chunks > 2);

    set(&service, Then::SlowBody { chunk_bytes: 2_000, pause_ms: 1 });
    assert_eq!(service.get(EVENTS).await.unwrap().body, whole.body);

    set(&service, Then::NoAnswer);
    assert!(service.get(EVENTS).await.is_err());
    assert_eq!(service.get(EVENTS).await.unwrap().body, whole.body);
}

#[tokio::test]
async fn a_careless_server_repeats_secrets() {
    let service = service();
    set(&service, Then::Echo(400));
    let answer = service.get(EVENTS).await.unwrap();
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains(&service.access_token));
    for header in ["x-echo-authorization", "www-authenticate", "location"] {
        assert!(answer.header(header).unwrap().contains(&service.access_token), "{header}");
    }
    let location = "http://elsewhere.example/".to_owned();
    set(&service, Then::Redirect { status: 302, location: location.clone() });
    let answer = service.get(EVENTS).await.unwrap();
    assert_eq!((answer.status, answer.header("location")), (302, Some(location.as_str())));
}

#[tokio::test]
async fn the_service_changes_while_a_page_is_in_flight() {
    for (moment, sees_change) in [(Moment::After, false), (Moment::Before, true)] {
        let service = Service::start();
        service.simulator.add_fault(Fault::when(When::path("*/events"), Then::Hold(moment)));
        let (answer, ()) = tokio::join!(service.get("calendars/primary/events"), async {
            let held = service.simulator.await_held(1).await;
            assert_eq!((held.len(), held[0].user.as_deref()), (1, Some(ANA)));
            assert_eq!(service.simulator.requests()[0].status, None);
            service.simulator.model().add_event(ANA, &single("a", 2)).unwrap();
            assert_eq!(service.simulator.release_held(Some(held[0].id)), 1);
        });
        assert_eq!(!answer.unwrap().ids().is_empty(), sees_change, "{moment:?}");
        assert_eq!(service.simulator.requests()[0].status, Some(200));
    }
}

#[tokio::test]
async fn clearing_a_fault_frees_what_it_holds() {
    let service = Service::start();
    let id = service.simulator.add_fault(Fault::always(Then::Hold(Moment::After)));
    let (answer, ()) = tokio::join!(service.get("calendars/primary"), async {
        service.simulator.await_held(1).await;
        service.simulator.clear_faults(Some(id));
    });
    assert_eq!(answer.unwrap().status, 200);
}

#[tokio::test]
async fn a_client_that_gives_up_is_no_longer_held() {
    let service = Service::start();
    service.simulator.add_fault(Fault::always(Then::Hold(Moment::Before)));
    tokio::select! {
        _ = service.get("calendars/primary") => panic!("it was held"),
        _ = service.simulator.await_held(1) => {}
    }
    while service.simulator.release_held(None) > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn probable_faults_follow_the_seed() {
    let run = async || {
        let service = Service::start();
        let when = When { probability: Some(0.5), ..When::default() };
        service.simulator.add_fault(Fault::when(when, Then::Error("backendError".to_owned())));
        let mut statuses = Vec::new();
        for _ in 0..20 {
            statuses.push(service.get("calendars/primary").await.unwrap().status);
        }
        statuses
    };
    let first = run().await;
    assert_eq!(first, run().await);
    assert!(first.contains(&200) && first.contains(&500));
}
