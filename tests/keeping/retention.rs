//! Deletions are forgotten after a month, on the host's clock.

use std::sync::Arc;
use std::time::Duration;

use rowgate::clock::Clock;
use serde_json::json;
use simulator::{Options, Simulator};
use tests::{Settings, TestHost};

const DAY: Duration = Duration::from_secs(24 * 3_600);
const OWNER: &str = "customer-1";
const ANA: &str = "ana@example.com";

async fn tombstones(host: &TestHost) -> i64 {
    let count = "select count(*) from rowgate_feed where deleted";
    host.beside_tables::<(i64,)>(count).await[0].0
}

/// None: there is no table yet.
async fn rows(host: &TestHost, table: &str) -> Option<usize> {
    let output = host.command(&["db", "sql", &format!("select pk from {table}")]).await;
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).ok()?;
    Some(rows.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_are_forgotten_after_a_month() {
    let simulator = Arc::new(Simulator::start(Options::default()).unwrap());
    let clock = Clock::simulated(simulator.model().now_us);
    // Its heart beats by the clock, which moves in leaps.
    let settings = Settings::default()
        .simulator(Arc::clone(&simulator))
        .clock(clock.clone())
        .env("ROWGATE_RUN_LEASE_TTL_MS", "86400000000")
        .on_files();
    let host = settings.start().await;
    let tree = host.integrations().await;
    simulator.model().create_user(ANA);
    let event = json!({
        "id": "one", "summary": "one",
        "start": { "dateTime": "2026-11-03T10:00:00Z" }, "end": { "dateTime": "2026-11-03T11:00:00Z" },
    });
    simulator.model().add_event(ANA, &event).unwrap();
    host.link(&tree, OWNER, ANA).await;
    let events = tree.events();
    host.until("the event is there", async || rows(&host, events).await == Some(1)).await;
    host.unlink(&tree, OWNER).await;
    host.until("the event is gone", async || rows(&host, events).await == Some(0)).await;
    let deleted = tombstones(&host).await;
    assert!(deleted >= 3, "list, calendar and event: {deleted}");
    clock.advance(29 * DAY);
    host.until("it was looked for what may go", async || {
        host.number("select count(*) from sweeps where what = 'feed'").await == 1
    })
    .await;
    assert_eq!(tombstones(&host).await, deleted);
    clock.advance(2 * DAY);
    host.until("deletions are forgotten", async || tombstones(&host).await == 0).await;
    let line = format!("rowgate_forgotten_total{{what=\"tombstones\"}} {deleted}");
    host.until("they are counted", async || {
        host.get("/metrics").await.lines().any(|one| one == line)
    })
    .await;
}
