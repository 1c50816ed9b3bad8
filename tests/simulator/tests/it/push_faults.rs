//! What goes wrong with notifications, from the seed and on command.

use serde_json::{Value, json};
use simulator::model::Model;
use simulator::model::channel::Resource;
use simulator::model::generate::Mix;
use simulator::model::push::{Start, SyncTime};
use simulator::{Fault, Moment, Outcome, Simulator, Then, When};

use crate::client::Service;
use crate::receiver::{Receiver, channel};
use crate::setup::{ANA, NOW_US, single};

const EVENTS: &str = "calendars/primary/events";

async fn service(rules: Value) -> (Service, Receiver) {
    let (service, receiver) = (Service::watchable(), Receiver::start().await);
    service.open("one", &receiver).await;
    service.simulator.clear_pushes();
    let answer = service.control("set_push_rules", rules).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    (service, receiver)
}

fn add(simulator: &Simulator, count: usize) {
    simulator.model().generate_events(ANA, count, Mix::Singles).unwrap();
}

#[tokio::test]
async fn sync_comes_before_the_answer_or_after_it_or_never() {
    for (sync, while_held, at_last) in [
        (SyncTime::Early, 1, &["one sync 1", "one exists 2"][..]),
        (SyncTime::Late, 0, &["one sync 1", "one exists 2"]),
        (SyncTime::Never, 0, &["one exists 2"]),
    ] {
        let (service, receiver) = (Service::watchable(), Receiver::start().await);
        service.simulator.model().push_rules.sync = sync;
        service.simulator.add_fault(Fault::when(When::path("*/watch"), Then::Hold(Moment::After)));
        let watch = service.watch(EVENTS, channel("one", &receiver.url));
        let (answer, ()) = tokio::join!(watch, async {
            service.simulator.await_held(1).await;
            assert_eq!(receiver.received().len(), while_held, "{sync:?}");
            assert_eq!(service.simulator.pushes().len(), while_held, "{sync:?}");
            service.simulator.release_held(None);
        });
        assert_eq!(answer.status, 200);
        if sync != SyncTime::Never {
            service.simulator.await_pushes(1).await;
        }
        add(&service.simulator, 1);
        service.simulator.await_pushes(at_last.len()).await;
        assert_eq!(receiver.brief(), at_last, "{sync:?}");
    }
}

#[tokio::test]
async fn an_early_sync_that_is_held_doesnt_hold_the_answer() {
    let (service, receiver) = (Service::watchable(), Receiver::start().await);
    service.control("set_push_rules", json!({ "sync": "early", "hold": true })).await;
    assert_eq!(service.watch(EVENTS, channel("one", &receiver.url)).await.status, 200);
    assert_eq!(service.simulator.pushes()[0].outcome, Outcome::Held);
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn a_change_may_be_told_before_the_watch_is_answered() {
    let (service, receiver) = (Service::watchable(), Receiver::start().await);
    service.simulator.add_fault(Fault::when(When::path("*/watch"), Then::Hold(Moment::After)));
    let watch = service.watch(EVENTS, channel("one", &receiver.url));
    let (_, ()) = tokio::join!(watch, async {
        service.simulator.await_held(1).await;
        add(&service.simulator, 1);
        service.simulator.await_pushes(1).await;
        assert_eq!(receiver.brief(), ["one exists 2"]);
        service.simulator.release_held(None);
    });
    service.simulator.await_pushes(2).await;
    assert_eq!(receiver.brief(), ["one exists 2", "one sync 1"]);
}

#[tokio::test]
async fn some_get_lost_and_some_come_twice() {
    let (service, receiver) = service(json!({ "drop": 0.3, "duplicate": 0.3 })).await;
    add(&service.simulator, 40);
    let pushes = service.simulator.await_pushes(40).await;
    let dropped = pushes.iter().filter(|push| push.outcome == Outcome::Dropped).count();
    service.simulator.await_no_push().await;
    let received = receiver.brief()[1..].to_vec();
    assert_eq!(received.len(), service.simulator.pushes().len() - dropped);
    let mut once = received.clone();
    once.dedup();
    assert!(dropped > 0 && once.len() < received.len(), "{dropped} {received:?}");
    let (service, receiver) = self::service(json!({ "drop": 1.0 })).await;
    add(&service.simulator, 3);
    let pushes = service.simulator.await_pushes(3).await;
    assert!(pushes.iter().all(|push| push.outcome == Outcome::Dropped));
    assert_eq!(receiver.received().len(), 1, "sync alone");
}

#[tokio::test]
async fn some_step_behind_the_next() {
    let (service, receiver) = service(json!({ "reorder": 1.0 })).await;
    service.simulator.model().push_rules.hold = true;
    add(&service.simulator, 4);
    service.simulator.release_pushes(None);
    service.simulator.await_no_push().await;
    assert_eq!(
        receiver.brief()[1..],
        ["one exists 3", "one exists 2", "one exists 5", "one exists 4"]
    );
    service.simulator.model().push_rules.hold = false;
    add(&service.simulator, 1);
    service.simulator.await_no_push().await;
    assert_eq!(receiver.brief()[5..], ["one exists 6"], "nobody came: it leaves all the same");
}

#[tokio::test]
async fn a_late_one_is_overtaken() {
    let (service, receiver) = service(json!({ "delay_ms": [200, 250] })).await;
    {
        let mut model = service.simulator.model();
        model.add_event(ANA, &single("a", 2)).unwrap();
        model.push_rules.delay_ms = (0, 0);
        model.add_event(ANA, &single("b", 2)).unwrap();
    }
    service.simulator.await_no_push().await;
    assert_eq!(receiver.brief()[1..], ["one exists 3", "one exists 2"]);
}

#[tokio::test]
async fn pushes_are_held_until_released() {
    let (service, receiver) = service(json!({})).await;
    service.open("two", &receiver).await;
    service.simulator.clear_pushes();
    service.simulator.model().push_rules.hold = true;
    add(&service.simulator, 3);
    let held = service.control("await_pushes", json!({})).await.json();
    let outcomes = held["pushes"].as_array().unwrap().iter().map(|push| &push["outcome"]);
    assert!(outcomes.eq([&json!("held"); 6]));
    assert_eq!(receiver.received().len(), 2, "only the sync messages");

    let release = json!({ "channel": "two", "reversed": true });
    assert_eq!(service.control("release_pushes", release).await.json()["released"], 3);
    service.control("await_pushes", json!({ "channel": "two" })).await;
    assert_eq!(receiver.brief()[2..], ["two exists 4", "two exists 3", "two exists 2"]);

    let one = held["pushes"].as_array().unwrap().iter().find(|push| push["channel"] == "one");
    let number = one.unwrap()["number"].as_u64();
    assert_eq!(service.simulator.release_pushes(number), 1);
    service.simulator.await_pushes(4).await;
    assert_eq!(receiver.brief()[5..], ["one exists 2"]);

    service.control("expire_channels", json!({})).await;
    assert_eq!(service.simulator.release_pushes(None), 2);
    let pushes = service.simulator.await_pushes(6).await;
    let ended = pushes.iter().filter(|push| push.outcome == Outcome::Ended).count();
    assert_eq!((ended, receiver.received().len()), (2, 6));
}

#[tokio::test]
async fn one_may_stand_for_many_changes() {
    let (service, receiver) = service(json!({ "coalesce": true, "hold": true })).await;
    add(&service.simulator, 500);
    let pushes = service.simulator.pushes();
    assert_eq!((pushes.len(), pushes[0].changes), (1, 500));
    service.simulator.release_pushes(None);
    service.simulator.await_no_push().await;
    add(&service.simulator, 1);
    service.simulator.release_pushes(None);
    service.simulator.await_no_push().await;
    let received = receiver.brief();
    assert_eq!((received.len(), received[1].as_str()), (3, "one exists 2"));
    assert_eq!(received[2], "one exists 502", "as many numbers were left out");
}

#[tokio::test]
async fn channels_and_pushes_show_over_http() {
    let (service, receiver) = service(json!({})).await;
    let mut body = channel("list", &receiver.url);
    body["token"] = json!("secret");
    let answer = service.watch("users/me/calendarList", body).await.json();
    let channels = service.send("GET", "/control/channels", &[], "").await.unwrap().json();
    let expected = json!({
        "id": "list", "user": ANA, "resource": "calendar_list", "calendar": null,
        "resource_id": answer["resourceId"], "resource_uri": answer["resourceUri"],
        "address": receiver.url, "token": "secret", "expiration": "2026-11-09T00:00:00.000Z",
        "stopped": false, "live": true, "last_message": 1,
    });
    assert_eq!(channels[0], expected);
    assert_eq!(
        (&channels[1]["resource"], &channels[1]["calendar"]),
        (&json!("events"), &json!(ANA))
    );

    service.simulator.model().add_event(ANA, &single("a", 2)).unwrap();
    let wanted = json!({ "count": 1, "state": "exists" });
    let awaited = service.control("await_pushes", wanted).await.json();
    let expected = json!({
        "number": 3, "channel": "one", "state": "exists", "message_number": 2, "changes": 1,
        "answers": [200], "error": null, "outcome": "delivered",
    });
    assert_eq!(awaited["pushes"], json!([expected]));
    let all = service.send("GET", "/control/pushes", &[], "").await.unwrap().json();
    assert_eq!(all.as_array().unwrap().len(), 2);
    let in_vain = json!({ "count": 9, "timeout_ms": 1 });
    let awaited = service.control("await_pushes", in_vain).await.json();
    assert_eq!(awaited["pushes"].as_array().unwrap().len(), 2);
    service.control("clear_pushes", json!({})).await;
    assert!(service.simulator.pushes().is_empty());

    let rules = service.send("GET", "/control/push_rules", &[], "").await.unwrap().json();
    assert_eq!((&rules["sync"], &rules["retries"]), (&json!("late"), &json!(5)));
    let answer = service.control("set_push_rules", json!({ "dorp": 1.0 })).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("unknown field `dorp`"), "{}", answer.text());
}

/// A model that pushes badly, with so many channels on one calendar.
fn watched(seed: u64, channels: usize) -> Model {
    let mut model = Model::new(seed, NOW_US);
    model.create_user(ANA);
    let rules = json!({ "drop": 0.2, "duplicate": 0.2, "reorder": 0.3, "delay_ms": [0, 50] });
    model.set_push_rules(rules.as_object().unwrap().clone()).unwrap();
    for n in 0..channels {
        let body = channel(&format!("channel-{n}"), "https://receiver.example/");
        let events = Resource::Events(ANA.to_owned());
        model.watch(ANA, events, "calendars/primary/events", "", &body).unwrap();
    }
    model.generate_events(ANA, 100, Mix::Mixed).unwrap();
    model
}

#[test]
fn chance_follows_the_seed_and_leaves_the_data_alone() {
    let pushes = watched(3, 2).take_pushes();
    assert_eq!(pushes, watched(3, 2).take_pushes());
    assert_ne!(pushes, watched(4, 2).take_pushes());
    assert!(pushes.iter().any(|push| push.start == Start::Dropped));
    assert!(pushes.iter().any(|push| push.steps_back && push.delay_ms > 0));
    assert!(watched(3, 0).take_pushes().is_empty());
    assert_eq!(watched(3, 2).expected(), watched(3, 0).expected());
}
