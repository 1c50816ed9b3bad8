//! What receivers get: the payload of WebhookDB, and what is better than it.

use std::collections::BTreeSet;

use serde_json::json;
use tests::is_on_postgres;

use crate::receiver::{PASSWORD, Receiver};
use crate::setup::{Case, OWNER};

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_of_webhookdb_finds_what_it_knows() {
    let case = Case::linked(5).await;
    let receiver = Receiver::start();
    let created = case.created(&receiver, &["--page-size", "2"]).await;
    receiver.has_rows(5).await;

    let posts = receiver.seen();
    let test = serde_json::from_str::<serde_json::Value>(&posts[0].text()).unwrap();
    assert_eq!(
        test,
        json!({"rows": [], "integration_id": "svi_test", "integration_service": "httpsync_test",
               "table": "test"})
    );
    for post in &posts {
        assert_eq!((post.method.as_str(), post.path()), ("POST", "/sync"));
        // Basic of `ana:hush-0451`.
        assert_eq!(post.header("authorization"), Some("Basic YW5hOmh1c2gtMDQ1MQ=="));
        assert_eq!(post.header("content-type"), Some("application/json"));
    }
    let rows = {
        let copy = receiver.copy();
        copy.is_in_order();
        assert_eq!(copy.taken.iter().map(|one| one.rows().len()).collect::<Vec<_>>(), [2, 2, 1]);
        let mut timestamps = BTreeSet::new();
        for delivery in &copy.taken {
            let keys: Vec<&String> = delivery.body.as_object().unwrap().keys().collect();
            assert_eq!(
                keys,
                ["integration_id", "integration_service", "rows", "sync_timestamp", "table"]
            );
            assert_eq!(delivery.body["table"], case.tree.events());
            assert_eq!(delivery.body["integration_service"], "google_calendar_event_v1");
            assert_eq!(delivery.body["integration_id"], created["associated_id"]);
            let timestamp = delivery.body["sync_timestamp"].as_str().unwrap();
            assert_eq!(timestamp.len(), "2026-11-26T10:00:00.000000+00:00".len(), "{timestamp}");
            timestamps.insert(timestamp.to_owned());
        }
        assert_eq!(timestamps.len(), 1, "the same on all pages of a run");
        copy.rows.clone()
    };
    assert_eq!(rows, case.table().await);
    assert_eq!(created["connection_url"], format!("{}/sync", hidden(&receiver)));
    case.until_shown(created["opaque_id"].as_str().unwrap(), "all is delivered", |target| {
        target["state"] == "ok" && !target["last_synced_at"].is_null()
    })
    .await;
}

fn hidden(receiver: &Receiver) -> String {
    receiver.base_url().replace("http://", "http://***:***@")
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_signed() {
    let case = Case::linked(1).await;
    let receiver = Receiver::start();
    let created = case.created(&receiver, &[]).await;
    receiver.has_rows(1).await;
    let id = created["opaque_id"].as_str().unwrap();
    let secret = case.json(&["httpsync", "secret", id]).await["signing_secret"].clone();
    assert_eq!(secret, created["signing_secret"]);
    let update = ["httpsync", "update-creds", id, "--user", "bo", "--password", "x"];
    case.json(&update).await;
    let posts = receiver.seen();
    // Each with an id, a test too: when the target is made, and when its user is changed.
    let ids: Vec<&str> = posts.iter().filter_map(|post| post.header("webhook-id")).collect();
    assert_eq!((ids[0], ids[2], ids.len()), ("msg_test", "msg_test", 3));
    assert!(ids[1].starts_with("msg_") && ids[1] != "msg_test", "{ids:?}");
    for post in &posts {
        let header = |name| post.header(name).unwrap_or_else(|| panic!("no header {name}"));
        let sent_at = header("webhook-timestamp").parse().unwrap();
        let (secret, id) = (secret.as_str().unwrap(), header("webhook-id"));
        let signed = rowgate::auth::sign::sign(secret, id, sent_at, &post.body);
        assert_eq!(signed.as_deref(), Some(header("webhook-signature")), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_delivered_without_waiting_for_the_period() {
    let case = Case::linked(2).await;
    let receiver = Receiver::start();
    case.target(&receiver, &[]).await;
    receiver.has_rows(2).await;
    case.add("later", 9);
    case.catch_up().await;
    receiver.has_rows(3).await;
    // Only what changed.
    let copy = receiver.copy();
    assert_eq!(copy.taken.iter().map(|one| one.rows().len()).sum::<usize>(), 3);
    copy.is_in_order();
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_are_told_to_who_asks() {
    let case = Case::linked(3).await;
    let (all, rows_alone) = (Receiver::start(), Receiver::start());
    case.target(&all, &["--deletions"]).await;
    case.target(&rows_alone, &[]).await;
    all.has_rows(3).await;
    rows_alone.has_rows(3).await;
    case.unlink(&case.tree, OWNER).await;
    all.until("the rows are gone", |copy| copy.rows.is_empty()).await;
    let (deleted, last) = {
        let copy = all.copy();
        copy.is_in_order();
        (copy.deleted, copy.taken.last().unwrap().body.clone())
    };
    assert_eq!(deleted, 3);
    assert_eq!((&last["key"], &last["rows"]), (&json!("compound_identity"), &json!([])));
    assert!(last["deleted"][0]["compound_identity"].is_string(), "{last}");
    assert_eq!(last["position"]["number"].to_string(), header(&all, "rowgate-feed-number"));
    // Linked again, each row has the pk that it had.
    case.link_ana().await;
    all.has_rows(3).await;
    rows_alone
        .until("it got them again", |copy| {
            copy.taken.iter().map(|one| one.rows().len()).sum::<usize>() == 6
        })
        .await;
    let rows = {
        let copy = rows_alone.copy();
        assert_eq!(copy.rows.len(), 3);
        assert!(copy.taken.iter().all(|one| one.body.get("deleted").is_none()));
        assert!(
            copy.taken.iter().all(|one| !one.rows().is_empty()),
            "nothing to say, nothing sent"
        );
        copy.rows.clone()
    };
    assert_eq!(rows, case.table().await);
}

fn header(receiver: &Receiver, name: &str) -> String {
    receiver.copy().taken.last().unwrap().header(name).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_target_is_refused_with_its_reason() {
    let case = Case::start().await;
    let receiver = Receiver::start();
    let (good, other) = (receiver.url(), receiver.url().replace("127.0.0.1", "10.1.2.3"));
    let refusing = Receiver::start();
    drop(refusing);
    let events = case.tree.events();
    for (arguments, reason) in [
        (vec![events, "--url", &good, "--period", "59"], "period_seconds must be from 60 to 86400"),
        (vec![events, "--url", &good, "--period", "86401"], "period_seconds"),
        (vec![events, "--url", &good, "--period", "60", "--page-size", "0"], "page_size"),
        (vec![events, "--url", &good, "--period", "60", "--page-size", "1001"], "page_size"),
        (vec![events, "--url", "https://a.example/", "--period", "60"], "user or password"),
        (vec![events, "--url", &other, "--period", "60"], "must be https"),
        (vec![events, "--url", "https://u:p@169.254.169.254/", "--period", "60"], "isn't a public"),
        (vec![events, "--url", "https://u:p@localhost/", "--period", "60"], "isn't a public"),
        (vec![events, "--url", "http://u:p@127.0.0.1:1/", "--period", "60"], "connection_url must"),
        (vec!["nothing_v1", "--url", &good, "--period", "60"], "no integration"),
        (
            vec![events, "--url", &good],
            "the input ended at the question: Seconds without a delivery",
        ),
    ] {
        let mut command = vec!["httpsync", "create"];
        command.extend(&arguments);
        let output = case.command(&command).await;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.contains(reason), "{arguments:?}: {stderr}");
        assert!(!stderr.contains(PASSWORD), "{stderr}");
    }
    assert_eq!(case.json(&["httpsync", "list"]).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_nowhere_in_the_clear() {
    let case = Case::linked(1).await;
    let receiver = Receiver::behaving(|_| crate::receiver::Does::Answer(500));
    let id = case.target(&receiver, &[]).await;
    case.until_shown(&id, "it fails", |target| target["state"] == "failing").await;
    assert!(!case.json(&["httpsync", "list"]).await.to_string().contains(PASSWORD));
    assert!(!case.log().contains(PASSWORD));
    if !is_on_postgres() {
        for file in ["control.db", "control.db-wal"] {
            let bytes = std::fs::read(case.data_dir().join(file)).unwrap_or_default();
            assert!(
                !bytes.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes()),
                "{file}"
            );
        }
    }
}
