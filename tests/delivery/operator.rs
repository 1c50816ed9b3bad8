//! `rowgate httpsync` beside a running host.

use serde_json::json;

use crate::receiver::{Does, Receiver};
use crate::setup::{Case, OWNER};

#[tokio::test(flavor = "multi_thread")]
async fn a_rewind_sends_again() {
    let case = Case::linked(3).await;
    let receiver = Receiver::start();
    let id = case.target(&receiver, &["--deletions"]).await;
    receiver.has_rows(3).await;
    let all_rows =
        |copy: &crate::receiver::Copy| copy.taken.iter().map(|one| one.rows().len()).sum::<usize>();
    let first: i64 = receiver.copy().taken[0].header("rowgate-feed-number").parse().unwrap();
    case.add("four", 4);
    case.catch_up().await;
    receiver.until("four rows", |copy| all_rows(copy) == 4).await;
    let number = first.to_string();
    case.json(&["httpsync", "rewind", &id, "--number", &number]).await;
    receiver.until("what came behind the number", |copy| all_rows(copy) == 5).await;
    case.json(&["httpsync", "rewind", &id, "--beginning"]).await;
    receiver.until("everything", |copy| all_rows(copy) == 9).await;
    case.json(&["httpsync", "rewind", &id, "--since", "1970-01-01T00:00:00Z"]).await;
    receiver.until("everything that the feed knows", |copy| all_rows(copy) == 13).await;
    let ids: std::collections::BTreeSet<String> =
        receiver.copy().taken.iter().map(|one| one.header("webhook-id").to_owned()).collect();
    assert_eq!(ids.len(), receiver.copy().taken.len(), "what is asked for is no repetition");
    let paused = case.json(&["httpsync", "pause", &id, "--reason", "they move"]).await;
    assert_eq!((&paused["state"], &paused["reason"]), (&json!("paused"), &json!("they move")));
    for shown in ["next_at", "created_at", "last_synced_at"] {
        assert!(paused[shown].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{paused}");
    }
    assert_eq!(paused["attempts"], 0);
    assert_eq!(case.json(&["httpsync", "resume", "-t", &id]).await["state"], "ok");
    let refused = case.command(&["httpsync", "rewind", &id, "--number", "1000000"]).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("number must be from 0 to"));
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_take_effect_and_deleted_targets_rest() {
    let case = Case::linked(2).await;
    let receiver = Receiver::start();
    let id = case.target(&receiver, &[]).await;
    receiver.has_rows(2).await;
    let updated = case
        .json(&[
            "httpsync",
            "update",
            &id,
            "--page-size",
            "7",
            "--period",
            "120",
            "--deletions",
            "true",
        ])
        .await;
    assert_eq!(
        (&updated["page_size"], &updated["period_seconds"], &updated["deletions"]),
        (&json!(7), &json!(120), &json!(true))
    );
    let copied = |copy: &crate::receiver::Copy| {
        copy.taken.last().is_some_and(|one| one.body["copy"]["last"] == true)
    };
    receiver.until("the copy that deletions begin with", copied).await;
    let moved =
        case.json(&["httpsync", "update-creds", &id, "--user", "bo", "--password", "x:y"]).await;
    assert_eq!(moved["connection_url"], updated["connection_url"]);
    case.add("three", 3);
    case.catch_up().await;
    receiver.has_rows(3).await;
    let last = receiver.copy().taken.last().unwrap().clone();
    assert_eq!(last.header("authorization"), "Basic Ym86eDp5");
    assert!(last.body.get("deleted").is_some());
    // Nothing is deleted without its table's name.
    let asked = case.command(&["httpsync", "delete", &id]).await;
    let stderr = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(stderr.contains(&format!("Type {} to confirm:", case.tree.events())), "{stderr}");
    assert_eq!(case.json(&["httpsync", "list"]).await.as_array().unwrap().len(), 1);
    let delete = ["httpsync", "delete", "-t", &id, "--confirm", case.tree.events()];
    assert!(case.command(&delete).await.status.success());
    let sent = receiver.seen().len();
    case.add("four", 4);
    case.catch_up().await;
    assert_eq!(case.json(&["httpsync", "list"]).await, json!([]));
    assert_eq!(receiver.seen().len(), sent);
    for verb in ["trigger", "pause", "resume", "delete", "secret"] {
        let refused = case.command(&["httpsync", verb, &id]).await;
        let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(stderr.contains(&format!("there is no target `{id}`")), "{stderr}");
    }
}

/// Deletions of before went by unsaid, and what the feed still has is behind the bookmark: a copy says
/// what is left.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_deletions_later_lets_go_of_what_was_deleted_before() {
    const BO: &str = "bo@example.com";
    let case = Case::linked(3).await;
    case.simulator.model().create_user(BO);
    case.add_to(BO, "bos-1", 1);
    case.link(&case.tree, "customer-2", BO).await;
    case.settle().await;
    let receiver = Receiver::start();
    let id = case.target(&receiver, &[]).await;
    receiver.has_rows(4).await;
    case.unlink(&case.tree, OWNER).await;
    case.settle().await;
    case.add_to(BO, "bos-2", 2);
    case.refresh(&case.tree, "customer-2", BO).await;
    receiver.has_rows(5).await;
    case.json(&["httpsync", "update", &id, "--deletions", "true"]).await;
    receiver.has_rows(2).await;
    let rows = receiver.copy().rows.clone();
    assert_eq!(rows, case.table().await);
    receiver.copy().is_in_order();
    // Said once more it begins nothing.
    let sent = receiver.copy().taken.len();
    case.json(&["httpsync", "update", &id, "--deletions", "true"]).await;
    case.unlink(&case.tree, "customer-2").await;
    receiver.until("the rows are gone", |copy| copy.rows.is_empty()).await;
    assert!(receiver.copy().taken[sent..].iter().all(|one| one.body["copy"].is_null()));
}

/// A receiver that doesn't take the first post, and its target, which waits for its back-off.
async fn failing(case: &Case) -> (Receiver, String) {
    let mut first = true;
    let receiver = Receiver::behaving(move |_| match std::mem::take(&mut first) {
        true => Does::Answer(500),
        false => Does::Take,
    });
    let id = case.target(&receiver, &[]).await;
    case.until_shown(&id, "it fails", |target| target["state"] == "failing").await;
    (receiver, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_does_not_wait_for_the_back_off() {
    let settings = crate::setup::settings()
        .env("ROWGATE_DELIVERY_BACK_OFF_BASE_MS", "3600000")
        .env("ROWGATE_DELIVERY_BACK_OFF_MAX_MS", "3600000");
    let case = Case::with(settings).await;
    case.add("one", 1);
    case.link_ana().await;
    let (receiver, id) = failing(&case).await;
    assert_eq!(case.shown(&id).await["reason"], "answered 500");
    assert!(case.command(&["httpsync", "trigger", &id]).await.status.success());
    receiver.has_rows(1).await;
}

/// A part of the host that breaks is begun again: a trigger of another process is heard, though nothing is
/// looked at for an hour otherwise. (On a server a target's trigger is found by polling alone.)
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_broke_while_it_listened_hears_again() {
    let settings = crate::setup::settings()
        .on_files()
        .env("ROWGATE_FAILPOINT", "heard:1:panic")
        .env("ROWGATE_RUN_POLL_MS", "3600000")
        .env("ROWGATE_DELIVERY_BACK_OFF_BASE_MS", "3600000")
        .env("ROWGATE_DELIVERY_BACK_OFF_MAX_MS", "3600000");
    let case = Case::with(settings).await;
    let broke = "rowgate_task_panics_total{task=\"watch\"} 1";
    case.until("it broke", async || case.get("/metrics").await.contains(broke)).await;
    case.add("one", 1);
    case.link_ana().await;
    let (receiver, id) = failing(&case).await;
    assert!(case.command(&["httpsync", "trigger", &id]).await.status.success());
    receiver.has_rows(1).await;
    assert!(case.get("/metrics").await.contains(broke), "once");
}
