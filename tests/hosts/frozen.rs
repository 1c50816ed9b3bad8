//! A host stands still in the middle of a page, longer than its lease lives. Another one takes over;
//! what the first one commits when it goes on is refused.

use serde_json::{Value, json};
use simulator::{Fault, Moment, Then, When};
use tests::{TestHost, Tree};

use crate::posts::email;
use crate::{ALONE, settings};

const OWNER: &str = "ann";

#[tokio::test(flavor = "multi_thread")]
async fn a_late_commit_is_refused() {
    let _alone = ALONE.lock().await;
    let slow = settings().start().await;
    let tree = slow.integrations().await;
    slow.link(&tree, OWNER, &email(OWNER)).await;
    add(&slow, "early");
    slow.settle().await;

    let when = When { count: Some(1), ..When::path("*/events") };
    slow.simulator.add_fault(Fault::when(when, Then::Hold(Moment::After)));
    slow.refresh(&tree, OWNER, &email(OWNER)).await;
    slow.simulator.await_held(1).await;
    slow.freeze().await;
    // The answer that is on its way to the frozen host knows nothing of these.
    add(&slow, "late");
    let gone = slow.simulator.model().cancel_event(&email(OWNER), "early");
    gone.expect("the event is there");
    let quick = settings().start_beside(&slow).await;
    quick.refresh(&tree, OWNER, &email(OWNER)).await;
    quick.settle().await;
    quick.assert_matches_model(&tree).await;
    let before = rows(&quick, &tree).await;

    slow.thaw().await;
    slow.simulator.release_held(None);
    slow.until("the slow host is refused", async || slow.log().contains("a page is refused")).await;
    quick.settle().await;
    slow.idle().await;
    assert_eq!(rows(&quick, &tree).await, before, "the slow host has written");
    quick.assert_matches_model(&tree).await;
}

fn add(host: &TestHost, id: &str) {
    let event = json!({
        "id": id, "start": { "date": "2026-11-03" }, "end": { "date": "2026-11-04" },
    });
    host.simulator.model().add_event(&email(OWNER), &event).expect("the account is there");
}

async fn rows(host: &TestHost, tree: &Tree) -> Vec<Value> {
    host.sql(&format!("select * from {} order by google_id", tree.events())).await
}
