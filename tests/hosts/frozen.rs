//! A host stands still in the middle of a page, longer than its lease lives. Another one takes over;
//! what the first one commits when it goes on is refused.

use serde_json::{Value, json};
use simulator::{Fault, Moment, Then, When};
use tests::{TestHost, Tree};

use crate::posts::email;
use crate::{ALONE, settings};

const OWNER: &str = "ann";

/// It has asked the vendor, and waits for the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_commit_is_refused() {
    let _alone = ALONE.lock().await;
    let (slow, tree) = linked().await;
    let when = When { count: Some(1), ..When::path("*/events") };
    slow.simulator.add_fault(Fault::when(when, Then::Hold(Moment::After)));
    slow.refresh(&tree, OWNER, &email(OWNER)).await;
    slow.simulator.await_held(1).await;
    slow.freeze().await;
    let (quick, taken_over) = take_over(&slow, &tree).await;

    slow.thaw().await;
    slow.simulator.release_held(None);
    slow.until("the slow host is refused", async || slow.log().contains("a page is refused")).await;
    nothing_has_moved(&slow, &quick, &tree, &taken_over).await;
}

/// It holds the owner's row in the database of the tables: it has made the first change of its commit,
/// not yet the last.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_stands_still_holds_nobody_up() {
    let _alone = ALONE.lock().await;
    let (mut slow, tree) = linked().await;
    slow.set_env("ROWGATE_FAILPOINT", Some("page_begun:1:freeze"));
    slow.restart().await;
    slow.refresh(&tree, OWNER, &email(OWNER)).await;
    slow.until("the host stands still in a commit", async || {
        tokio::task::yield_now().await;
        stands_still(slow.pid())
    })
    .await;
    // It stays so until another host is done: what it holds has to be taken from it.
    let (quick, taken_over) = take_over(&slow, &tree).await;
    assert!(stands_still(slow.pid()), "it was to stand still all the time");

    slow.thaw().await;
    let broke_off = async || slow.log().contains("a run broke off");
    slow.until("the slow host's commit is refused", broke_off).await;
    nothing_has_moved(&slow, &quick, &tree, &taken_over).await;
}

/// A host with a linked owner, up to date but for one event.
async fn linked() -> (TestHost, Tree) {
    let host = settings().start().await;
    let tree = host.integrations().await;
    host.link(&tree, OWNER, &email(OWNER)).await;
    host.settle().await;
    add(&host, "early");
    (host, tree)
}

/// Another host goes on with the owner; answers with the rows it leaves.
async fn take_over(slow: &TestHost, tree: &Tree) -> (TestHost, Vec<Value>) {
    // The answer that the frozen host has knows nothing of these.
    add(slow, "late");
    let gone = slow.simulator.model().cancel_event(&email(OWNER), "early");
    gone.expect("the event is there");
    let quick = settings().start_beside(slow).await;
    quick.refresh(tree, OWNER, &email(OWNER)).await;
    quick.settle().await;
    quick.assert_matches_model(tree).await;
    let rows = rows(&quick, tree).await;
    (quick, rows)
}

async fn nothing_has_moved(slow: &TestHost, quick: &TestHost, tree: &Tree, before: &[Value]) {
    quick.settle().await;
    slow.idle().await;
    assert_eq!(rows(quick, tree).await, before, "the slow host has written");
    quick.assert_matches_model(tree).await;
}

/// As SIGSTOP leaves a process.
fn stands_still(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
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
