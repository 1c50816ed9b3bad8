//! What senders do when they don't know whether they were heard: they send it again.

use serde_json::{Value, json};
use tests::TestHost;

const OWNER: &str = "ana";
const EMAIL: &str = "ana@google.example";

/// Columns that say when, of each event.
async fn rows(host: &TestHost, table: &str) -> Vec<Value> {
    let sql =
        format!("select pk, google_id, row_created_at, row_updated_at from {table} order by pk");
    host.sql(&sql).await
}

#[tokio::test]
async fn the_same_post_twice_changes_nothing_more() {
    let host = TestHost::start().await;
    let tree = host.integrations().await;
    let token = host.simulator.model().create_user(EMAIL);
    for day in 3..6 {
        let event = json!({
            "id": format!("e{day}"),
            "summary": "an hour",
            "start": { "dateTime": format!("2026-12-0{day}T10:00:00Z") },
            "end": { "dateTime": format!("2026-12-0{day}T11:00:00Z") },
        });
        host.simulator.model().add_event(EMAIL, &event).unwrap();
    }
    let body = json!({ "type": "LINKED", "external_owner_id": OWNER, "refresh_token": token });
    host.accepted(&tree, &body).await;
    host.settle().await;
    let calendars = rows_of(&host, &tree.calendar.table).await;
    assert_eq!(calendars.len(), 1);
    let events = rows(&host, tree.events()).await;
    assert_eq!(events.len(), 3);
    // At once, and later.
    for _ in 0..2 {
        for _ in 0..5 {
            host.accepted(&tree, &body).await;
        }
        host.settle().await;
        assert_eq!(rows_of(&host, &tree.calendar.table).await, calendars);
        assert_eq!(rows(&host, tree.events()).await, events);
    }
    assert_eq!(host.owner(OWNER).await["state"], "current");
}

async fn rows_of(host: &TestHost, table: &str) -> Vec<Value> {
    let sql = format!(
        "select pk, compound_identity, row_created_at, row_updated_at from {table} order by pk"
    );
    host.sql(&sql).await
}

/// The last accepted decides, however closely they follow one another.
#[tokio::test]
async fn the_last_of_a_burst_decides() {
    let host = TestHost::start().await;
    let tree = host.integrations().await;
    for (last, linked) in [("UNLINKED", false), ("LINKED", true), ("UNLINK", false)] {
        for at in 0..6 {
            let verb = if at % 2 == 0 { "LINKED" } else { "UNLINKED" };
            post(&host, &tree, verb).await;
        }
        post(&host, &tree, last).await;
        host.settle().await;
        let count = format!("select count(*) as n from {}", tree.list.table);
        assert_eq!(host.sql(&count).await[0]["n"], i64::from(linked), "{last}");
        let events = format!("select count(*) as n from {}", tree.calendar.table);
        assert_eq!(host.sql(&events).await[0]["n"], i64::from(linked), "{last}");
    }
}

async fn post(host: &TestHost, tree: &tests::Tree, verb: &str) {
    match verb {
        "LINKED" => host.link(tree, OWNER, EMAIL).await,
        "UNLINKED" => host.unlink(tree, OWNER).await,
        other => {
            let body = json!({ "type": other, "external_owner_id": OWNER });
            host.accepted(tree, &body).await;
            tree.note_linked(OWNER, None);
        }
    }
}
