//! Error handlers: told once of what somebody must act on, and never in the way.

use std::sync::Arc;
use std::time::Duration;

use rowgate::clock::Clock;
use serde_json::{Value, json};
use simulator::{Fault, Options, Simulator, Then, When};
use tests::{Vendor, VendorAnswer};

use crate::receiver::{Does, Receiver};
use crate::setup::{ANA, Case, OWNER, settings};

fn handler() -> Vendor {
    Vendor::start(|_| VendorAnswer::reply(200, ""))
}

async fn create(case: &Case, url: &str) -> String {
    let made = case.json(&["error-handlers", "create", "--url", url]).await;
    made["opaque_id"].as_str().unwrap().to_owned()
}

fn told(handler: &Vendor) -> Vec<Value> {
    handler.seen().iter().map(|post| serde_json::from_slice(&post.body).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_grant_is_told_once() {
    let case = Case::start().await;
    let (one, hanging) = (handler(), Vendor::start(|_| VendorAnswer::HangUp));
    let url = format!("{}/errors/hush-7116-0123456789?key=hush-7116", one.base_url());
    create(&case, &url).await;
    create(&case, hanging.base_url()).await;
    let dead = json!({
        "type": "LINKED", "external_owner_id": OWNER, "refresh_token": "1//unknown",
    });
    case.accepted(&case.tree, &dead).await;
    case.until("it is told", async || !told(&one).is_empty()).await;
    let alert = told(&one).remove(0);
    assert_eq!(alert["error_type"], "grant_dead");
    assert_eq!(alert["details"], json!({ "external_owner_id": OWNER }));
    assert_eq!(alert["organization_key"], "default");
    assert_eq!(alert["service_integration_name"], "google_calendar_list_v1");
    assert_eq!(alert["service_integration_table"], case.tree.list.table.as_str());
    assert!(alert["message"].is_string() && alert["signature"].is_string(), "{alert}");
    assert!(!alert.to_string().contains("1//unknown"));
    // The same again within a day, then somebody else's.
    case.accepted(&case.tree, &dead).await;
    case.settle().await;
    let other = json!({
        "type": "LINKED", "external_owner_id": "other", "refresh_token": "1//unknown",
    });
    case.accepted(&case.tree, &other).await;
    case.until("the other is told", async || told(&one).len() > 1).await;
    assert_eq!(told(&one)[1]["details"]["external_owner_id"], "other");
    assert_eq!(told(&one).len(), 2);
    let listed = case.json(&["error-handlers", "list"]).await;
    assert!(!listed.to_string().contains("hush-7116"), "{listed}");
    assert!(!case.log().contains("hush-7116"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_client_is_told_once() {
    let case = Case::linked(1).await;
    let handler = handler();
    create(&case, handler.base_url()).await;
    let broken = Then::Error("invalid_client-secret".into());
    let fault = case.simulator.add_fault(Fault::when(When::path("/token"), broken));
    case.refresh(&case.tree, OWNER, ANA).await;
    case.until("it is told", async || !told(&handler).is_empty()).await;
    let alert = told(&handler).remove(0);
    assert_eq!(alert["error_type"], "integration_misconfigured");
    assert!(alert["message"].as_str().unwrap().contains("invalid_client"), "{alert}");
    assert_eq!(alert["service_integration_id"], case.tree.list.id.as_str());
    assert_eq!(alert["service_integration_table"], case.tree.list.table.as_str());
    assert!(!alert.to_string().contains("1//"), "{alert}");
    // Probes that find the same tell nothing new.
    case.until("it is probed", async || {
        case.simulator.faults().iter().any(|armed| armed.id == fault && armed.hit > 1)
    })
    .await;
    case.simulator.clear_faults(Some(fault));
    case.until("a probe got through", async || {
        case.integration_state(&case.tree.list).await.0 == "ok"
    })
    .await;
    case.settle().await;
    assert_eq!(told(&handler).len(), 1);
}

const HOUR_S: u64 = 3_600;

/// A host under a clock that the test moves, and the vendor's with it.
#[tokio::test(flavor = "multi_thread")]
async fn calendars_that_are_unreadable_for_a_day_are_told_once() {
    // Now: the data directory that it begins with is of today, and was looked through then.
    let simulator = Arc::new(Simulator::start(Options::default()).unwrap());
    let ahead_us = Clock::System.now() - simulator.model().now_us;
    simulator.advance(ahead_us / 1_000_000);
    let clock = Clock::simulated(simulator.model().now_us);
    // A run must not lose its lease because the clock leaps.
    let settings = settings().env("ROWGATE_RUN_LEASE_TTL_MS", "864000000");
    let case = Case::with(settings.simulator(Arc::clone(&simulator)).clock(clock.clone())).await;
    let advance = |seconds: u64| {
        simulator.advance(i64::try_from(seconds).unwrap());
        clock.advance(Duration::from_secs(seconds));
    };
    case.add("one", 1);
    case.link_ana().await;
    let handler = handler();
    create(&case, handler.base_url()).await;
    let gone = Then::Answer { status: 404, body: String::new() };
    let fault = simulator.add_fault(Fault::when(When::path("*/events"), gone));
    case.refresh(&case.tree, OWNER, ANA).await;
    let unreadable = "select count(*) from streams where unreadable is not null";
    case.until("it is unreadable", async || case.number(unreadable).await == 1).await;
    advance(23 * HOUR_S);
    case.settle().await;
    assert_eq!(told(&handler), [] as [Value; 0], "it may pass by itself");
    // What is looked for now and then, is looked for at some time after that. The clock doesn't leap over
    // a post under way: it would be sent again.
    let until_told = async |count: usize| {
        advance(3 * HOUR_S);
        case.until("it is told", async || {
            // Looked at first: what was told by then is under way, or done.
            let is_told = told(&handler).len() >= count;
            let under_way = "select count(*) from alert_posts where attempts > 0";
            let rests = case.number(under_way).await == 0;
            if rests && !is_told {
                advance(10);
            }
            rests && is_told
        })
        .await;
    };
    until_told(1).await;
    let alert = told(&handler).remove(0);
    assert_eq!(alert["error_type"], "streams_unreadable");
    assert_eq!(alert["service_integration_name"], "google_calendar_event_v1");
    assert_eq!(alert["service_integration_table"], case.tree.events());
    assert_eq!(alert["organization_key"], "default");
    let details = &alert["details"];
    assert_eq!((&details["count"], &details["external_owner_ids"]), (&json!(1), &json!([OWNER])));
    assert!(details["since"].is_string() && details["stream_ids"][0].is_i64(), "{alert}");
    let message = alert["message"].as_str().unwrap();
    assert!(message.contains("could not be read to its end since"), "{message}");
    // A calendar's key is somebody's address.
    assert!(!alert.to_string().contains(ANA), "{alert}");
    // Once, until it was read again.
    advance(48 * HOUR_S);
    case.settle().await;
    assert_eq!(told(&handler), [alert]);
    simulator.clear_faults(Some(fault));
    case.refresh(&case.tree, OWNER, ANA).await;
    case.until("it is read again", async || case.number(unreadable).await == 0).await;
    case.settle().await;
    let gone = Then::Answer { status: 404, body: String::new() };
    simulator.add_fault(Fault::when(When::path("*/events"), gone));
    case.refresh(&case.tree, OWNER, ANA).await;
    case.until("it is unreadable again", async || case.number(unreadable).await == 1).await;
    advance(24 * HOUR_S);
    until_told(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_fails_for_long_is_told_and_one_that_is_paused() {
    let settings = settings()
        .env("ROWGATE_DELIVERY_ALERT_AFTER_S", "0")
        .env("ROWGATE_DELIVERY_PAUSE_AFTER_S", "1");
    let case = Case::with(settings).await;
    case.add("one", 1);
    let handler = handler();
    let id = create(&case, handler.base_url()).await;
    let receiver = Receiver::behaving(|_| Does::Answer(503));
    let target = case.target(&receiver, &[]).await;
    case.link_ana().await;
    case.until("both are told", async || told(&handler).len() > 1).await;
    let alerts = told(&handler);
    assert_eq!(alerts.len(), 2, "however often it is tried between: {alerts:?}");
    for (alert, error_type) in alerts.iter().zip(["target_failing", "target_paused"]) {
        assert_eq!(
            (&alert["error_type"], &alert["details"]["target_id"]),
            (&json!(error_type), &json!(target))
        );
        assert_eq!(alert["service_integration_table"], case.tree.events());
    }
    let message = alerts[0]["message"].as_str().unwrap();
    assert!(message.starts_with("it has failed since 2"), "{message}");
    assert!(message.ends_with(": answered 503"), "{message}");
    assert_eq!(alerts[1]["message"], "it failed for too long: answered 503");
    let gone = case.json(&["error-handlers", "delete", &id]).await;
    assert_eq!(gone["opaque_id"], id.as_str());
    assert_eq!(case.json(&["error-handlers", "list"]).await, json!([]));
    for (url, reason) in [
        ("http://a.example/", "must be https"),
        ("https://10.1.2.3/", "isn't a public address"),
        ("https://o1.ingest.sentry.io/42", "must be like https://KEY@"),
    ] {
        let refused = case.command(&["error-handlers", "create", "--url", url]).await;
        let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(stderr.contains(reason), "{url}: {stderr}");
    }
}

/// Like one that isn't taken.
#[tokio::test(flavor = "multi_thread")]
async fn an_alert_whose_post_panics_is_posted_again() {
    let case = Case::with(settings().env("ROWGATE_FAILPOINT", "alert_posted:1:panic")).await;
    let handler = handler();
    create(&case, handler.base_url()).await;
    let dead = json!({
        "type": "LINKED", "external_owner_id": OWNER, "refresh_token": "1//unknown",
    });
    case.accepted(&case.tree, &dead).await;
    let counted = "rowgate_task_panics_total{task=\"alert\"} 1";
    case.until("it panicked", async || case.get("/metrics").await.contains(counted)).await;
    case.until("it is said", async || {
        let log = case.log();
        log.lines().any(|line| {
            line.contains("an alert is posted again") && line.contains("its post panicked")
        })
    })
    .await;
    assert_eq!(told(&handler).len(), 1);
}
