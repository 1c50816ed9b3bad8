//! Receivers that fail, are slow, or ask for something else.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use crate::receiver::{Does, Receiver, gone_at_first};
use crate::setup::{ANA, Case, OWNER};

/// Answers by a list; what comes after is taken.
fn answers(list: Vec<Does>) -> impl FnMut(&crate::receiver::Delivery) -> Does + Send + 'static {
    let mut list = list.into_iter();
    move |_| list.next().unwrap_or(Does::Take)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_taken_comes_again() {
    let case = Case::linked(3).await;
    let receiver = Receiver::behaving(answers(vec![
        Does::Answer(500),
        Does::HangUp,
        Does::Answer(404),
        Does::LoseAnswer,
        Does::Answer(302),
    ]));
    let id = case.target(&receiver, &["--deletions"]).await;
    receiver.until("it was taken twice", |copy| copy.taken.len() == 2).await;
    case.until_shown(&id, "all is well", |target| {
        target["state"] == "ok" && target["attempts"] == 0 && target["reason"] == ""
    })
    .await;
    let rows = {
        let copy = receiver.copy();
        copy.is_in_order();
        // After a lost answer the same content has the same id, and a higher fence.
        let [lost, again] = copy.taken.as_slice() else { panic!("two were taken") };
        let fence = |delivery: &crate::receiver::Delivery| -> i64 {
            delivery.header("rowgate-fence").parse().unwrap()
        };
        assert_eq!(lost.body["rows"], again.body["rows"]);
        assert!(fence(lost) < fence(again));
        copy.rows.clone()
    };
    assert_eq!(rows, case.table().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_is_sent_in_smaller_pages() {
    let case = Case::linked(9).await;
    let receiver = Receiver::behaving(|delivery| match delivery.rows().len() {
        0..=2 => Does::Take,
        _ => Does::Answer(413),
    });
    let id = case.target(&receiver, &[]).await;
    receiver.has_rows(9).await;
    receiver.copy().is_in_order();
    assert_eq!(receiver.copy().taken[0].rows().len(), 2, "9, 4, 2");
    case.until_shown(&id, "it is well", |target| target["state"] == "ok").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_stay_at_the_receiver() {
    let case = Case::linked(1).await;
    let elsewhere = Receiver::start();
    let other = format!("{}/sync", elsewhere.base_url());
    let receiver = Receiver::behaving(move |delivery| match delivery.request.path() {
        "/sync" if delivery.header("rowgate-fence") == "1" => {
            Does::AnswerWith(307, "location", other.clone())
        }
        "/sync" => Does::AnswerWith(307, "location", "/moved".into()),
        _ => Does::Take,
    });
    case.target(&receiver, &[]).await;
    receiver.has_rows(1).await;
    assert_eq!(receiver.copy().taken[0].request.path(), "/moved");
    assert!(elsewhere.seen().is_empty(), "its secrets stay where they belong");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_holds_nobody_up() {
    let case = Case::linked(2).await;
    let (let_go, held) = mpsc::channel::<()>();
    let (held, arrived) = (Mutex::new(held), Arc::new(tokio::sync::Notify::new()));
    let came = Arc::clone(&arrived);
    let hanging = Receiver::behaving(move |_| {
        came.notify_one();
        // Until the test lets go, by dropping its end.
        let _ = held.lock().unwrap().recv();
        Does::Take
    });
    let alive = Receiver::start();
    case.target(&hanging, &[]).await;
    arrived.notified().await;
    case.target(&alive, &[]).await;
    alive.has_rows(2).await;
    case.add("meanwhile", 9);
    case.catch_up().await;
    alive.has_rows(3).await;
    assert!(hanging.copy().taken.is_empty());
    drop(let_go);
    hanging.has_rows(3).await;
    hanging.copy().is_in_order();
}

#[tokio::test(flavor = "multi_thread")]
async fn long_failure_alerts_and_then_pauses() {
    let settings = crate::setup::settings()
        .env("ROWGATE_DELIVERY_ALERT_AFTER_S", "0")
        .env("ROWGATE_DELIVERY_PAUSE_AFTER_S", "1");
    let case = Case::with(settings).await;
    case.add("one", 1);
    let (gone, does) = gone_at_first();
    let receiver = Receiver::behaving(does);
    let id = case.target(&receiver, &[]).await;
    case.link_ana().await;
    case.until_shown(&id, "it is paused", |target| target["state"] == "paused").await;
    let reason = case.shown(&id).await["reason"].as_str().unwrap().to_owned();
    assert_eq!(reason, "it failed for too long: answered 503");
    let listed = case.printed(&["httpsync", "list", "--format", "csv"]).await;
    assert!(listed.contains("Reason") && listed.contains(&reason), "{listed}");
    assert!(case.log().contains("the receiver has failed for long"));
    let metrics = case.get("/metrics").await;
    assert!(metrics.contains("rowgate_targets{state=\"paused\"} 1"), "{metrics}");
    // Nothing is sent any more, whatever changes.
    let sent = receiver.seen().len();
    case.add("two", 2);
    case.catch_up().await;
    case.json(&["httpsync", "pause", &id]).await;
    assert_eq!(receiver.seen().len(), sent);
    *gone.lock().unwrap() = false;
    // Somebody has asked for it meanwhile.
    let refused = case.command(&["httpsync", "trigger", &id]).await;
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && stderr.contains("has been paused since"), "{stderr}");
    case.json(&["httpsync", "resume", &id]).await;
    receiver.has_rows(2).await;
    case.until_shown(&id, "it is well", |target| target["state"] == "ok").await;
}

/// WebhookDB's client has no other command for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_for_failures_ends_by_a_trigger_or_other_credentials() {
    let case =
        Case::with(crate::setup::settings().env("ROWGATE_DELIVERY_PAUSE_AFTER_S", "1")).await;
    case.add("one", 1);
    let (gone, does) = gone_at_first();
    let receiver = Receiver::behaving(does);
    let id = case.target(&receiver, &[]).await;
    case.link_ana().await;
    case.until_shown(&id, "it is paused", |target| target["state"] == "paused").await;
    *gone.lock().unwrap() = false;
    let triggered = case.json(&["httpsync", "trigger", &id]).await;
    assert!(triggered["message"].as_str().unwrap().contains("Its pause is over"), "{triggered}");
    receiver.has_rows(1).await;
    case.until_shown(&id, "it is well", |target| target["state"] == "ok").await;
    *gone.lock().unwrap() = true;
    case.add("two", 2);
    case.catch_up().await;
    case.until_shown(&id, "it is paused again", |target| target["state"] == "paused").await;
    *gone.lock().unwrap() = false;
    let taken =
        case.json(&["httpsync", "update-creds", &id, "--user", "bo", "--password", "x"]).await;
    assert!(taken["message"].as_str().unwrap().contains("Its pause is over"), "{taken}");
    receiver.has_rows(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_a_receiver_is_behind_is_seen() {
    let case = Case::linked(1).await;
    let takes = Arc::new(Mutex::new(true));
    let does = Arc::clone(&takes);
    let receiver = Receiver::behaving(move |_| match *does.lock().unwrap() {
        true => Does::Take,
        false => Does::Answer(503),
    });
    let value = async |name: &str| -> f64 {
        let metrics = case.get("/metrics").await;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} isn't in\n{metrics}")).parse().unwrap()
    };
    let (behind, lag) = ("rowgate_targets{state=\"behind\"}", "rowgate_feed_lag_seconds");
    let id = case.target(&receiver, &[]).await;
    receiver.has_rows(1).await;
    case.until("it has everything", async || value(behind).await < 0.5).await;
    assert!(value(lag).await < 1e-9);
    *takes.lock().unwrap() = false;
    case.add("late", 9);
    case.catch_up().await;
    case.until_shown(&id, "it fails", |target| target["state"] == "failing").await;
    assert!((value(behind).await - 1.0).abs() < 0.5);
    let lacks = value(lag).await;
    assert!(lacks > 0.0);
    case.until("it grows", async || value(lag).await > lacks).await;
    *takes.lock().unwrap() = true;
    receiver.has_rows(2).await;
    case.until("it has everything again", async || value(behind).await < 0.5).await;
    assert!(value(lag).await < 1e-9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_told_to_end_waits_for_no_receiver() {
    let settings = crate::setup::settings()
        .env("ROWGATE_SHUTDOWN_TIMEOUT_MS", "1000")
        .env("ROWGATE_DELIVERY_TIMEOUT_MS", "5000");
    let mut case = Case::with(settings).await;
    case.add("one", 1);
    let (let_go, held) = mpsc::channel::<()>();
    let (held, arrived) = (Mutex::new(held), Arc::new(tokio::sync::Notify::new()));
    let came = Arc::clone(&arrived);
    let mut first = true;
    let receiver = Receiver::behaving(move |_| {
        came.notify_one();
        let _ = held.lock().unwrap().recv();
        match std::mem::take(&mut first) {
            true => Does::HangUp,
            false => Does::Take,
        }
    });
    case.target(&receiver, &[]).await;
    case.host.link(&case.tree, OWNER, ANA).await;
    arrived.notified().await;
    case.stop().await;
    assert!(receiver.copy().taken.is_empty());
    drop(let_go);
    // The next holder waits until the last delivery can't be on its way any more.
    case.restart().await;
    receiver.has_rows(1).await;
    receiver.copy().is_in_order();
}

/// It isn't tried again at once, nor held until its lease is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_panics_has_failed() {
    let settings = crate::setup::settings()
        .env("ROWGATE_FAILPOINT", "page_delivered:1:panic")
        .env("ROWGATE_DELIVERY_BACK_OFF_BASE_MS", "3600000")
        .env("ROWGATE_DELIVERY_BACK_OFF_MAX_MS", "3600000");
    let case = Case::with(settings).await;
    case.add("one", 1);
    case.link_ana().await;
    let receiver = Receiver::start();
    let id = case.target(&receiver, &[]).await;
    case.until_shown(&id, "it fails", |target| target["state"] == "failing").await;
    let target = case.shown(&id).await;
    assert_eq!(target["reason"], "the delivery panicked: the host's log says why");
    assert_eq!(target["attempts"], 1);
    let metrics = case.get("/metrics").await;
    assert!(metrics.contains("rowgate_task_panics_total{task=\"delivery\"} 1"), "{metrics}");
    assert!(metrics.contains("rowgate_deliveries_total{outcome=\"failed\"} 1"), "{metrics}");
    assert!(case.command(&["httpsync", "trigger", &id]).await.status.success());
    receiver.until("the same comes again", |copy| copy.taken.len() == 2).await;
    case.until_shown(&id, "it is well", |target| target["state"] == "ok").await;
}
