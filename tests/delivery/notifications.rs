//! A post for each row that changes: what it says, in which order, and what becomes of it when nobody
//! takes it.

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tests::is_on_postgres;

use crate::receiver::{Does, gone_at_first};
use crate::setup::{Case, OWNER, settings};
use crate::subscriber::{SECRET, Subscriber, dying_at};

#[tokio::test(flavor = "multi_thread")]
async fn each_row_that_changes_is_posted() {
    let case = Case::linked(2).await;
    let subscriber = Subscriber::start();
    let id = case.subscribe_to_events(&subscriber, &[]).await;
    case.add("event-3", 3);
    case.catch_up().await;
    // What was there before is no change.
    subscriber.took(1).await;
    let told = subscriber.told().remove(0);
    let table = case.table().await;
    let row = table.values().find(|row| row["google_id"] == "event-3").unwrap();
    assert_eq!(
        told.body,
        json!({
            "service_name": "google_calendar_event_v1", "table_name": case.tree.events(),
            "row": row, "external_id": row["compound_identity"],
            "external_id_column": "compound_identity",
        })
    );
    assert_eq!((told.request.method.as_str(), told.request.path()), ("POST", "/notify"));
    assert_eq!(told.header("content-type"), "application/json");
    assert_eq!(told.header("whdb-webhook-secret"), SECRET);
    assert_eq!(told.header("whdb-attempt"), "1");
    assert!(told.header("webhook-id").starts_with("msg_"));
    assert!(told.request.header("whdb-test-event").is_none());
    assert!(told.request.header("whdb-event").is_none());
    // Whole calendars, too.
    for day in 4..=9 {
        case.add(&format!("event-{day}"), day);
    }
    case.catch_up().await;
    subscriber.took(7).await;
    let events: BTreeSet<String> = subscriber.events().into_iter().collect();
    assert_eq!(events.len(), 7, "each once");
    let shown = case.subscription(&id).await;
    assert_eq!((&shown["state"], &shown["events"]), (&json!("ok"), &json!(["rows"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_taken_comes_again_in_order() {
    let case = Case::linked(1).await;
    let mut answers = [Does::Answer(500), Does::HangUp, Does::Answer(413), Does::Take]
        .into_iter()
        .chain([Does::Take, Does::LoseAnswer]);
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&attempts);
    let subscriber = Subscriber::behaving(move |request| {
        let attempt = request.header("whdb-attempt").unwrap().parse::<u32>().unwrap();
        seen.lock().unwrap().push(attempt);
        answers.next().unwrap_or(Does::Take)
    });
    case.subscribe_to_events(&subscriber, &[]).await;
    for day in 2..=5 {
        case.add(&format!("event-{day}"), day);
    }
    case.catch_up().await;
    // Four rows, one of them twice, since its answer was lost.
    subscriber.took(5).await;
    assert_eq!(*attempts.lock().unwrap(), [1, 2, 3, 4, 1, 1, 2, 1]);
    let events = subscriber.events();
    assert_eq!(events[2], events[3], "{events:?}");
    let ids: BTreeSet<String> =
        subscriber.told().iter().map(|told| told.header("webhook-id").to_owned()).collect();
    assert_eq!(ids.len(), 4, "a repetition can be told");
    let numbers: Vec<i64> = subscriber
        .told()
        .iter()
        .map(|told| told.header("rowgate-feed-number").parse().unwrap())
        .collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_holds_nobody_up() {
    let case = Case::linked(1).await;
    let (let_go, held) = mpsc::channel::<()>();
    let (held, arrived) = (Mutex::new(held), Arc::new(tokio::sync::Notify::new()));
    let came = Arc::clone(&arrived);
    let hanging = Subscriber::behaving(move |_| {
        came.notify_one();
        // Until the test lets go, by dropping its end.
        let _ = held.lock().unwrap().recv();
        Does::Take
    });
    let alive = Subscriber::start();
    case.subscribe_to_events(&hanging, &[]).await;
    case.subscribe_to_events(&alive, &[]).await;
    case.add("event-2", 2);
    case.catch_up().await;
    arrived.notified().await;
    alive.took(1).await;
    case.add("event-3", 3);
    case.catch_up().await;
    alive.took(2).await;
    assert!(hanging.told().is_empty());
    drop(let_go);
    hanging.took(2).await;
    assert_eq!(hanging.events(), alive.events());
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_are_told_to_who_asks() {
    let case = Case::linked(2).await;
    let (all, rows_alone) = (Subscriber::start(), Subscriber::start());
    case.subscribe_to_events(&all, &["--deletions"]).await;
    case.subscribe_to_events(&rows_alone, &[]).await;
    case.unlink(&case.tree, OWNER).await;
    all.took(2).await;
    for told in all.told() {
        assert_eq!((&told.body["row"], &told.body["deleted"]), (&json!(null), &json!(true)));
        let key = told.body["external_id"].as_str().unwrap();
        assert!(key.contains("event-"), "{key}");
    }
    case.link_ana().await;
    rows_alone.took(2).await;
    assert!(rows_alone.told().iter().all(|told| told.body["row"].is_object()));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_an_organization_means_what_is_made_later_too() {
    let case = Case::start().await;
    case.add("event-1", 1);
    let subscriber = Subscriber::start();
    let id = case.subscribe(&subscriber, None, &[]).await;
    assert_eq!(case.subscription(&id).await["associated_type"], "organization");
    let source = "google_calendar_source_event_v1";
    case.create(source, &case.tree.calendar).await;
    case.link_ana().await;
    let services = |told: &[crate::subscriber::Told]| {
        let names = told.iter().map(|one| one.body["service_name"].as_str().unwrap().to_owned());
        names.collect::<BTreeSet<String>>()
    };
    let of_list = "google_calendar_list_v1";
    let all = [of_list, "google_calendar_v1", "google_calendar_event_v1", source];
    let all: BTreeSet<String> = all.map(str::to_owned).into();
    subscriber.until("rows of each table", |told| services(told) == all).await;
    assert!(case.command(&["notifications", "delete", &id]).await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_posted_to_is_refused_with_its_reason() {
    let case = Case::start().await;
    let good = Subscriber::start().url();
    let events = case.tree.events();
    for (arguments, reason) in [
        (vec![events, "--url", "http://a.example/", "--secret", "s"], "must be https"),
        (vec![events, "--url", "ftp://a.example/", "--secret", "s"], "must be like https"),
        (vec![events, "--url", "https://10.1.2.3/", "--secret", "s"], "isn't a public address"),
        (vec!["--url", "https://169.254.169.254/x", "--secret", "s"], "isn't a public address"),
        (vec![events, "--url", &good, "--secret", "a b"], "webhook_secret must have"),
        (vec![events, "--url", &good, "--secret", "s", "--event", "all"], "must be some of"),
        (vec!["nothing_v1", "--url", &good, "--secret", "s"], "no integration"),
    ] {
        let mut command = vec!["notifications", "create"];
        command.extend(&arguments);
        let output = case.command(&command).await;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.contains(reason), "{arguments:?}: {stderr}");
    }
    assert_eq!(case.json(&["notifications", "list"]).await, json!([]));
    // Names are looked up for each post.
    let named = ["notifications", "create", events, "--url", "https://localhost/", "--secret", "s"];
    let id = case.json(&named).await["opaque_id"].as_str().unwrap().to_owned();
    let tested = case.command(&["notifications", "test", &id]).await;
    let stderr = String::from_utf8_lossy(&tested.stderr).into_owned();
    assert!(stderr.contains("isn't a public address"), "{stderr}");
    case.add("event-1", 1);
    case.link_ana().await;
    case.until("it can't be reached", async || {
        let shown = case.subscription(&id).await;
        shown["reason"].as_str().is_some_and(|text| text.contains("isn't a public address"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_event_says_that_it_is_one() {
    let case = Case::linked(1).await;
    let mut first = true;
    let subscriber = Subscriber::behaving(move |_| match std::mem::take(&mut first) {
        true => Does::Answer(500),
        false => Does::Take,
    });
    let id = case.subscribe_to_events(&subscriber, &[]).await;
    let failed = case.command(&["notifications", "test", &id]).await;
    let stderr = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(stderr.contains("with 2xx, not 500"), "{stderr}");
    let tested = case.json(&["notifications", "test", "--notification", &id]).await;
    assert_eq!(tested["opaque_id"], id.as_str());
    subscriber.took(1).await;
    let told = subscriber.told().remove(0);
    assert_eq!(told.header("whdb-test-event"), "1");
    assert_eq!(told.header("whdb-webhook-secret"), SECRET);
    assert_eq!(told.body["table_name"], case.tree.events());
    // Nothing comes of a subscription that is deleted.
    assert!(case.command(&["notifications", "delete", &id]).await.status.success());
    let other = Subscriber::start();
    case.subscribe_to_events(&other, &[]).await;
    case.add("event-2", 2);
    case.catch_up().await;
    other.took(1).await;
    assert_eq!(subscriber.seen().len(), 2);
    for verb in ["test", "resume", "delete"] {
        let refused = case.command(&["notifications", verb, &id]).await;
        let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(stderr.contains(&format!("there is no subscription `{id}`")), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_failure_alerts_and_then_pauses() {
    let settings = settings()
        .env("ROWGATE_DELIVERY_ALERT_AFTER_S", "0")
        .env("ROWGATE_DELIVERY_PAUSE_AFTER_S", "1");
    let case = Case::with(settings).await;
    case.add("event-1", 1);
    let (gone, does) = gone_at_first();
    let subscriber = Subscriber::behaving(does);
    let id = case.subscribe_to_events(&subscriber, &[]).await;
    case.link_ana().await;
    case.until("it is paused", async || case.subscription(&id).await["state"] == "paused").await;
    assert_eq!(case.subscription(&id).await["reason"], "it failed for too long: answered 503");
    assert!(case.log().contains("the subscriber has failed for long"));
    // Its pages aren't HTTP Sync's.
    assert_eq!(case.json(&["httpsync", "list"]).await, json!([]));
    case.add("event-2", 2);
    case.catch_up().await;
    *gone.lock().unwrap() = false;
    let resumed = case.json(&["notifications", "resume", &id]).await;
    assert_eq!(resumed["state"], "ok");
    subscriber.took(2).await;
    assert_eq!(subscriber.events(), ["event-1", "event-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_repeats_one_post_at_most() {
    let mut case = Case::with(dying_at("page_delivered:3")).await;
    for day in 1..=6 {
        case.add(&format!("event-{day}"), day);
    }
    let subscriber = Subscriber::start();
    case.subscribe_to_events(&subscriber, &[]).await;
    case.host.link(&case.tree, OWNER, crate::setup::ANA).await;
    case.ended().await;
    case.set_env("ROWGATE_FAILPOINT", None);
    case.restart().await;
    subscriber.took(7).await;
    let events = subscriber.events();
    assert_eq!(events[2], events[3], "the third wasn't noted down: {events:?}");
    let once: BTreeSet<String> = events.into_iter().collect();
    assert_eq!(once.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_nowhere_in_the_clear() {
    let case = Case::linked(1).await;
    let subscriber = Subscriber::behaving(|_| Does::Answer(500));
    let id = case.subscribe_to_events(&subscriber, &[]).await;
    case.add("event-2", 2);
    case.catch_up().await;
    case.until("it fails", async || case.subscription(&id).await["state"] == "failing").await;
    let listed = case.json(&["notifications", "list"]).await.to_string();
    for secret in [SECRET, "hush-2773"] {
        assert!(!listed.contains(secret), "{listed}");
        assert!(!case.log().contains(secret));
        if !is_on_postgres() {
            for file in ["control.db", "control.db-wal"] {
                let bytes = std::fs::read(case.data_dir().join(file)).unwrap_or_default();
                let secret = secret.as_bytes();
                assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{file}");
            }
        }
    }
}
