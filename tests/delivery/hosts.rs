//! Two hosts on one server: whoever delivered stands still, another goes on.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::receiver::{Does, Receiver};
use crate::setup::{Case, settings};

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_holder_is_replaced_and_has_no_say_any_more() {
    let settings = || {
        settings()
            .on_postgres()
            .env("ROWGATE_DELIVERY_TIMEOUT_MS", "1000")
            .env("ROWGATE_RUN_POLL_MS", "100")
            .env("ROWGATE_RUN_LEASE_TTL_MS", "2000")
    };
    let case = Case::with(settings()).await;
    case.add("one", 1);
    case.link_ana().await;
    let (let_go, held) = mpsc::channel::<()>();
    let (held, arrived) = (Mutex::new(held), Arc::new(tokio::sync::Notify::new()));
    let came = Arc::clone(&arrived);
    let mut first = true;
    let receiver = Receiver::behaving(move |_| {
        if !std::mem::take(&mut first) {
            return Does::Take;
        }
        came.notify_one();
        // Until the test lets go, by dropping its end.
        let _ = held.lock().unwrap().recv();
        Does::Answer(500)
    });
    let id = case.target(&receiver, &[]).await;
    arrived.notified().await;
    case.freeze().await;
    drop(let_go);
    let quick = settings().start_beside(&case).await;
    receiver.has_rows(1).await;
    let by_quick: i64 = receiver.copy().taken[0].header("rowgate-fence").parse().unwrap();
    assert!(by_quick > 1, "{by_quick}");
    let shown = async || {
        let all = quick.json(&["httpsync", "list"]).await;
        all.as_array().unwrap().iter().find(|one| one["opaque_id"] == id).unwrap().clone()
    };
    quick.until("it is saved", async || !shown().await["last_synced_at"].is_null()).await;
    let before = shown().await;

    case.thaw().await;
    // It hears of its failure now, and can't note it down.
    case.until("the first host is back", async || case.is_healthy().await).await;
    case.until("it has told of it", async || case.log().contains("the receiver failed")).await;
    case.add("two", 2);
    quick.refresh(&case.tree, crate::setup::OWNER, crate::setup::ANA).await;
    receiver.has_rows(2).await;
    quick.until("it is well", async || shown().await["attempts"] == json!(0)).await;
    assert_eq!(before["attempts"], json!(0));
    receiver.copy().is_in_order();
}
