//! An owner's first sync after a link is complete: who asks is told, once, behind the rows.

use serde_json::json;
use simulator::{Fault, Then, When};

use crate::receiver::Does;
use crate::setup::{ANA, Case, OWNER};
use crate::subscriber::{Subscriber, dying_at};

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_is_told_once_a_link_behind_the_rows() {
    let case = Case::start().await;
    for day in 1..=3 {
        case.add(&format!("event-{day}"), day);
    }
    let (both, synced_alone, rows_alone) =
        (Subscriber::start(), Subscriber::start(), Subscriber::start());
    let with_both = ["--event", "rows", "--event", "synced"];
    let id = case.subscribe_to_events(&both, &with_both).await;
    assert_eq!(case.subscription(&id).await["events"], json!(["rows", "synced"]));
    case.subscribe_to_events(&synced_alone, &["--event", "synced"]).await;
    case.subscribe_to_events(&rows_alone, &[]).await;
    case.link_ana().await;
    both.took(4).await;
    let told = both.told().remove(3);
    assert!(told.is_synced(), "{told:?}");
    assert_eq!(told.header("whdb-event"), "synced");
    let body = &told.body;
    assert_eq!(body["external_owner_id"], OWNER);
    assert_eq!(body["service_name"], "google_calendar_event_v1");
    assert_eq!(body["table_name"], case.tree.events());
    assert!(body["integration_id"].as_str().unwrap().starts_with("svi_"), "{body}");
    synced_alone.took(1).await;
    // Neither a new token nor a full resync is a link.
    case.catch_up().await;
    case.resync(&case.tree, OWNER).await;
    case.settle().await;
    case.add("event-4", 4);
    case.catch_up().await;
    both.took(5).await;
    assert_eq!(both.synced().len(), 1);
    case.unlink(&case.tree, OWNER).await;
    case.link_ana().await;
    synced_alone.took(2).await;
    both.until("the second link is told of", |told| {
        told.iter().filter(|one| one.is_synced()).count() == 2
    })
    .await;
    assert!(both.told().last().unwrap().is_synced());
    rows_alone.until("all rows", |told| told.len() == 8).await;
    assert!(rows_alone.synced().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_complete_is_not_told() {
    let case = Case::start().await;
    case.add("event-1", 1);
    let subscriber = Subscriber::start();
    case.subscribe_to_events(&subscriber, &["--event", "synced"]).await;
    let broken = Then::Answer { status: 500, body: String::new() };
    let fault = case.simulator.add_fault(Fault::when(When::path("*/events"), broken));
    case.host.link(&case.tree, OWNER, ANA).await;
    case.until("the events can't be read", async || {
        case.streams().await.iter().any(|stream| stream["state"] == "failing")
    })
    .await;
    assert!(subscriber.told().is_empty());
    case.simulator.clear_faults(Some(fault));
    case.settle().await;
    subscriber.took(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_once_whenever_the_host_dies() {
    for edge in ["stream_put_back:2", "first_sync_complete:1", "first_sync_stored:1"] {
        let mut case = Case::with(dying_at(edge)).await;
        case.add("event-1", 1);
        let subscriber = Subscriber::start();
        case.subscribe_to_events(&subscriber, &["--event", "synced"]).await;
        case.host.link(&case.tree, OWNER, ANA).await;
        case.ended().await;
        assert!(subscriber.told().is_empty(), "{edge}");
        case.set_env("ROWGATE_FAILPOINT", None);
        case.restart().await;
        subscriber.took(1).await;
        // Were it told twice, the second one would come before that of the next link.
        case.settle().await;
        case.unlink(&case.tree, OWNER).await;
        case.link_ana().await;
        subscriber.took(2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_acknowledgement_repeats_it() {
    let case = Case::start().await;
    case.add("event-1", 1);
    let mut first = true;
    let subscriber = Subscriber::behaving(move |_| match std::mem::take(&mut first) {
        true => Does::LoseAnswer,
        false => Does::Take,
    });
    case.subscribe_to_events(&subscriber, &["--event", "synced"]).await;
    case.link_ana().await;
    subscriber.took(2).await;
    let [lost, again] = subscriber.told().try_into().unwrap();
    assert_eq!(lost.body, again.body);
    assert_eq!(lost.header("webhook-id"), again.header("webhook-id"));
    assert_eq!((lost.header("whdb-attempt"), again.header("whdb-attempt")), ("1", "2"));
}
