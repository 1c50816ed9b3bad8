//! An organization's tables move to a database of its own, and everything goes on there: syncs, SQL,
//! deliveries.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postgres_cluster::{Cluster, Database};
use serde_json::Value;

use crate::receiver::{Does, PASSWORD, Receiver};
use crate::setup::{ANA, Case, OWNER, settings};

const BEN: &str = "ben@example.com";
const LEAVER: &str = "customer-2";

/// An empty database of the customer's.
fn database() -> Database<'static> {
    Cluster::shared().create_database().unwrap()
}

/// Of its owner. The server asks for no password.
fn admin_url(database: &Database<'_>) -> String {
    database.url().replacen('@', &format!(":{PASSWORD}@"), 1)
}

fn value(database: &Database<'_>, sql: &str) -> String {
    database.connect().unwrap().value(sql).unwrap()
}

/// A host whose operator allows it, for `serve` and for commands.
async fn case() -> Case {
    let settings = settings()
        .env("ROWGATE_ALLOW_OWN_DATABASES", "true")
        .env("ROWGATE_RUN_LEASE_TTL_MS", "3000")
        .env("ROWGATE_RUN_POLL_MS", "100");
    let case = Case::with(settings).await;
    let file = case.data_dir().join("rowgate.toml");
    std::fs::write(file, "allow_own_databases = true\n[delivery]\nallow_http = true\n").unwrap();
    case
}

async fn start(case: &Case, database: &Database<'_>) -> Value {
    case.json(&["db", "migrations", "start", "--admin-url", &admin_url(database)]).await
}

/// The last move.
async fn last(case: &Case) -> Value {
    case.json(&["db", "migrations", "list"]).await[0].clone()
}

async fn moved(case: &Case) {
    case.until("the tables have moved", async || {
        let last = last(case).await;
        assert_ne!(last["status"], "failed", "{last}");
        last["status"] == "done"
    })
    .await;
}

/// Takes what comes, except while it is closed.
fn closable() -> (Receiver, Arc<AtomicBool>) {
    let closed = Arc::new(AtomicBool::new(false));
    let is_closed = Arc::clone(&closed);
    let receiver = Receiver::behaving(move |_| match is_closed.load(Ordering::Acquire) {
        true => Does::Answer(503),
        false => Does::Take,
    });
    (receiver, closed)
}

/// Rows that are still there as they were.
fn shared(rows: BTreeMap<i64, Value>, with: &BTreeMap<i64, Value>) -> BTreeMap<i64, Value> {
    rows.into_iter().filter(|(pk, _)| with.contains_key(pk)).collect()
}

/// The host dies at `edge`, if one is named, and is started again. What the receiver hadn't heard of
/// before the move it hears after it, deletions too, and nothing else.
async fn goes_on_there(edge: Option<&str>) {
    let mut case = case().await;
    for day in 1..=5 {
        case.add(&format!("event-{day}"), day);
    }
    case.link_ana().await;
    case.simulator.model().create_user(BEN);
    let event = serde_json::json!({
        "id": "ben-1", "summary": "ben-1",
        "start": { "dateTime": "2026-11-20T10:00:00Z" }, "end": { "dateTime": "2026-11-20T11:00:00Z" },
    });
    case.simulator.model().add_event(BEN, &event).unwrap();
    case.host.link(&case.tree, LEAVER, BEN).await;
    case.settle().await;
    let (receiver, closed) = closable();
    let target = case.target(&receiver, &["--deletions"]).await;
    receiver.has_rows(6).await;
    case.until_shown(&target, "it has everything", |one| !one["last_synced_at"].is_null()).await;
    closed.store(true, Ordering::Release);
    case.host.unlink(&case.tree, LEAVER).await;
    case.add("event-6", 6);
    case.catch_up().await;
    let (before, heard) = (case.table().await, receiver.copy().taken.len());
    assert_eq!(before.len(), 6, "five that it knows, and a new one");

    if let Some(edge) = edge {
        case.set_env("ROWGATE_FAILPOINT", Some(edge));
        case.restart().await;
    }
    let database = database();
    let begun = start(&case, &database).await;
    assert_eq!((&begun["status"], &begun["current"]), (&"copying".into(), &false.into()));
    let shown = begun["database_url"].as_str().unwrap();
    assert!(shown.starts_with("postgres://***:***@"), "{shown}");
    if edge.is_some() {
        case.ended().await;
        assert_eq!(last(&case).await["status"], "copying");
        assert_eq!(case.table().await, before, "readers read where the tables lay");
        case.set_env("ROWGATE_FAILPOINT", None);
        case.restart().await;
    }
    // It is taken, and handled there.
    case.add("event-7", 7);
    case.host.refresh(&case.tree, OWNER, ANA).await;
    moved(&case).await;
    case.until("the new event is there", async || case.table().await.len() == 7).await;
    case.settle().await;
    let after = case.table().await;
    assert_eq!(after.len(), 7);
    assert_eq!(shared(after, &before), before);
    case.assert_matches_model(&case.tree).await;
    let counted = format!("select count(*) from public.{}", case.tree.events());
    assert_eq!(value(&database, &counted), "7", "they lie there");

    closed.store(false, Ordering::Release);
    let table = case.table().await;
    case.until("the copy is the table", async || receiver.copy().rows == table).await;
    let copy = receiver.copy();
    assert_eq!(copy.deleted, 1, "what was deleted before the move");
    let since = &copy.taken[heard..];
    assert!(since.iter().all(|one| one.body["copy"].is_null()), "no whole copy was sent");
    let rows: Vec<i64> =
        since.iter().flat_map(|one| one.rows()).map(|row| row["pk"].as_i64().unwrap()).collect();
    assert_eq!(rows.len(), 2, "two events are new: {rows:?}");
    copy.is_in_order();
    drop(copy);
    assert!(!case.log().contains(PASSWORD), "no password is logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_on_there() {
    goes_on_there(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_between_two_slices_goes_on() {
    goes_on_there(Some("slice_copied:5")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_before_the_switch_goes_on() {
    goes_on_there(Some("tables_copied:1")).await;
}

/// Ana is linked, and her event lies in the customer's database.
async fn with_an_event_there() -> (Case, Database<'static>) {
    let (case, database) = (case().await, database());
    case.add("event-1", 1);
    case.link_ana().await;
    start(&case, &database).await;
    moved(&case).await;
    (case, database)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_is_waited_for() {
    let (case, database) = with_an_event_there().await;
    for day in 2..=4 {
        database.cut_connections().unwrap();
        case.add(&format!("event-{day}"), day);
        case.catch_up().await;
    }
    case.until("all events are there", async || case.table().await.len() == 4).await;
    case.assert_matches_model(&case.tree).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_whose_tables_cannot_be_reached_shows_it() {
    let (case, database) = with_an_event_there().await;
    let (receiver, _) = closable();
    let id = case.target(&receiver, &[]).await;
    receiver.has_rows(1).await;
    case.until_shown(&id, "it has everything", |one| !one["last_synced_at"].is_null()).await;
    let allow = |whether: bool| {
        let sql = format!("alter database {} with allow_connections {whether}", database.name());
        Cluster::shared().maintenance().unwrap().query(&sql).unwrap();
    };
    allow(false);
    database.cut_connections().unwrap();
    assert!(case.command(&["httpsync", "trigger", &id]).await.status.success());
    case.until_shown(&id, "it fails again and again", |one| {
        one["state"] == "failing" && one["attempts"].as_i64().unwrap() > 1
    })
    .await;
    let reason = case.shown(&id).await["reason"].as_str().unwrap().to_owned();
    assert!(reason.ends_with("the host's log says why"), "{reason}");
    assert!(!reason.contains(PASSWORD) && !case.log().contains(PASSWORD));
    allow(true);
    case.until_shown(&id, "it is well", |one| one["state"] == "ok").await;
    case.add("event-2", 2);
    case.catch_up().await;
    receiver.has_rows(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_move_on_from_one_own_database_to_another() {
    let case = case().await;
    case.add("event-1", 1);
    case.link_ana().await;
    let (receiver, _) = closable();
    case.target(&receiver, &[]).await;
    receiver.has_rows(1).await;
    let (first, second) = (database(), database());
    for database in [&first, &second] {
        start(&case, database).await;
        moved(&case).await;
    }
    case.add("event-2", 2);
    case.catch_up().await;
    receiver.has_rows(2).await;
    let counted = format!("select count(*) from public.{}", case.tree.events());
    assert_eq!((value(&first, &counted), value(&second, &counted)), ("1".into(), "2".into()));
    let posted: usize = receiver.copy().taken.iter().map(|one| one.rows().len()).sum();
    assert_eq!(posted, 2, "nothing came twice");
    // One of another move isn't written to.
    let again =
        case.command(&["db", "migrations", "start", "--admin-url", &admin_url(&first)]).await;
    let says = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(says.contains("holds other tables of this host"), "{says}");
    // Nor is a mirror made of the tables themselves.
    let url = admin_url(&second);
    let all = ["dbsync", "create", case.tree.events(), "--url", &url, "--period", "3600"];
    let refused = case.command(&all).await;
    let says = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && says.contains("name another one"), "{says}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_fails_leaves_everything_as_it_was() {
    let case = case().await;
    case.add("event-1", 1);
    case.link_ana().await;
    let before = case.table().await;
    let database = database();
    // It comes after the look at the database, and can't be overlooked before the switch.
    let mut superuser = database.superuser().unwrap();
    superuser
        .query(
            "create function refuse() returns event_trigger language plpgsql as
             $$ begin raise exception 'the customer forbids it'; end $$;
             create event trigger refuse on ddl_command_start when tag in ('CREATE INDEX')
             execute function refuse()",
        )
        .unwrap();
    start(&case, &database).await;
    case.until("it has failed", async || last(&case).await["status"] == "failed").await;
    let reason = last(&case).await["error"].as_str().unwrap().to_owned();
    assert!(reason.contains("the customer forbids it"), "{reason}");
    assert_eq!(case.table().await, before);
    case.add("event-2", 2);
    case.catch_up().await;
    assert_eq!(case.table().await.len(), 2, "syncs go on where the tables lie");
    // What is left there is taken away by the next attempt.
    superuser.query("drop event trigger refuse; drop function refuse").unwrap();
    start(&case, &database).await;
    moved(&case).await;
    case.settle().await;
    case.assert_matches_model(&case.tree).await;
    assert_eq!(case.table().await.len(), 2);
}
