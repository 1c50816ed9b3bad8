//! Cancelled events go three weeks after they were cancelled, on the host's clock, and don't come back.

use std::sync::Arc;
use std::time::Duration;

use rowgate::clock::Clock;
use serde_json::{Value, json};
use simulator::{Options, Simulator};
use tests::{Settings, TestHost, Tree, Vendor};

use crate::setup::receiver;

const DAY_S: i64 = 24 * 3_600;
/// While something is under way both clocks go on by so much between two looks.
const TICK: Duration = Duration::from_millis(20);
const LOOK: Duration = Duration::from_millis(1);
const OWNER: &str = "customer-1";
const ANA: &str = "ana@example.com";

struct Case {
    host: TestHost,
    tree: Tree,
    clock: Clock,
}

impl Case {
    /// Ana's account with the events `stays` and `goes` and a series with the instance [`INSTANCE`], linked and
    /// read.
    async fn linked(settings: Settings) -> Self {
        let simulator = Arc::new(Simulator::start(Options::default()).unwrap());
        simulator.set_limits(false);
        // Commands go by the system's clock.
        let ahead_us = Clock::System.now() - simulator.model().now_us;
        simulator.advance(ahead_us / 1_000_000);
        let clock = Clock::simulated(simulator.model().now_us);
        // Its heart beats by the clock, which moves in leaps.
        let settings = settings
            .simulator(simulator)
            .clock(clock.clone())
            .env("ROWGATE_RUN_LEASE_TTL_MS", "86400000000")
            .env("ROWGATE_DELIVERY_ALLOW_HTTP", "true")
            .on_files();
        let host = settings.start().await;
        std::fs::write(host.data_dir().join("rowgate.toml"), "[delivery]\nallow_http = true\n")
            .unwrap();
        let tree = host.all_integrations().await;
        let case = Self { host, tree, clock };
        case.host.simulator.model().create_user(ANA);
        case.add("stays");
        case.add("goes");
        let mut series = event("series");
        series["recurrence"] = json!(["RRULE:FREQ=DAILY;COUNT=3"]);
        case.host.simulator.model().add_event(ANA, &series).unwrap();
        case.host.link(&case.tree, OWNER, ANA).await;
        case.arrives("goes").await;
        case.arrives(INSTANCE).await;
        case
    }

    fn add(&self, id: &str) {
        self.host.simulator.model().add_event(ANA, &event(id)).unwrap();
    }

    /// Cancels `goes` and the instance; both tables say so.
    async fn cancelled(&self) {
        self.host.simulator.model().cancel_event(ANA, "goes").unwrap();
        self.host.simulator.model().cancel_event(ANA, INSTANCE).unwrap();
        self.host.refresh(&self.tree, OWNER, ANA).await;
        for (table, id) in [self.tree.events(), self.tree.sources()]
            .into_iter()
            .flat_map(|table| [(table, "goes"), (table, INSTANCE)])
        {
            self.until(&format!("{id} is cancelled in {table}"), async || {
                self.status(table, id).await.as_deref() == Some("cancelled")
            })
            .await;
        }
    }

    /// Waits until it has a row among the expanded events, and if it is no instance among the source's.
    async fn arrives(&self, id: &str) {
        self.until(&format!("{id} has arrived"), async || {
            let at_the_source =
                id == INSTANCE || self.status(self.tree.sources(), id).await.is_some();
            at_the_source && self.status(self.tree.events(), id).await.is_some()
        })
        .await;
    }

    /// None: there is no such row, or no table yet.
    async fn status(&self, table: &str, id: &str) -> Option<String> {
        let query = format!("select status from {table} where google_id = '{id}'");
        let output = self.host.command(&["db", "sql", &query]).await;
        let rows: Vec<Value> = serde_json::from_slice(&output.stdout).ok()?;
        Some(rows.first()?["status"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits for it while time goes on.
    async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let mut looks = tokio::time::interval(LOOK);
        self.host
            .until(what, async || {
                looks.tick().await;
                self.advance(TICK);
                holds().await
            })
            .await;
    }

    fn advance(&self, by: Duration) {
        self.host.simulator.model().advance(i64::try_from(by.as_micros()).unwrap());
        self.clock.advance(by);
    }

    /// Days pass; then the owner's stale rows have been gone through.
    async fn days_pass(&self, days: i64) {
        self.advance(Duration::from_secs((days * DAY_S).unsigned_abs()));
        let since = self.clock.now();
        self.until("stale rows were gone through", async || self.swept_at().await >= since).await;
    }

    async fn swept_at(&self) -> i64 {
        let swept_at = "select stale_swept_at from rowgate_owners";
        self.host.beside_tables::<(i64,)>(swept_at).await[0].0
    }

    /// RESYNC, and all that it makes due.
    async fn read_again(&self) {
        self.host.simulator.clear_requests();
        self.host.resync(&self.tree, OWNER).await;
        self.until("nothing is left to do", async || {
            let now = self.clock.now();
            let busy = format!(
                "select (select count(*) from owners where due_at <= {now} or lease_host is not null)
                      + (select count(*) from inbox where done_at is null)"
            );
            self.host.number(&busy).await == 0
        })
        .await;
        let requests = self.host.simulator.requests();
        let full = requests
            .iter()
            .filter(|seen| seen.path.ends_with("/events") && !seen.query.contains("syncToken="));
        assert!(full.count() >= 2, "a full listing of each form");
    }
}

/// Of the series.
const INSTANCE: &str = "series_20261104T100000Z";

fn event(id: &str) -> Value {
    json!({
        "id": id, "summary": id,
        "start": { "dateTime": "2026-11-03T10:00:00Z" }, "end": { "dateTime": "2026-11-03T11:00:00Z" },
    })
}

/// What a receiver was sent under a name: `rows` or `deleted`.
fn sent(receiver: &Vendor, name: &str) -> Vec<Value> {
    let bodies = receiver.seen().into_iter();
    let bodies = bodies.filter_map(|seen| serde_json::from_slice::<Value>(&seen.body).ok());
    bodies.flat_map(|body| body[name].as_array().cloned().unwrap_or_default()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_event_goes_and_receivers_hear_of_it() {
    let case = Case::linked(Settings::default()).await;
    let (events, sources) = (case.tree.events(), case.tree.sources());
    let receiver = receiver();
    let address = receiver.base_url().strip_prefix("http://").unwrap();
    let url = format!("http://ana:hush@{address}/sync");
    let create = ["httpsync", "create", events, "--url", url.as_str(), "--period", "60"];
    case.host.json(&[&create[..], &["--deletions"]].concat()).await;
    let goes = |rows: Vec<Value>| rows.into_iter().find(|row| row["google_id"] == "goes");
    case.until("the receiver has it", async || goes(sent(&receiver, "rows")).is_some()).await;
    let pk = goes(sent(&receiver, "rows")).unwrap()["pk"].clone();

    case.cancelled().await;
    case.days_pass(19).await;
    for table in [events, sources] {
        assert_eq!(case.status(table, "goes").await.as_deref(), Some("cancelled"), "{table}");
    }
    assert!(sent(&receiver, "deleted").is_empty());

    case.days_pass(2).await;
    for table in [events, sources] {
        assert_eq!(case.status(table, "goes").await, None, "{table}");
        assert_eq!(case.status(table, "stays").await.as_deref(), Some("confirmed"), "{table}");
    }
    // The source says by it what the living series lacks.
    assert_eq!(case.status(events, INSTANCE).await, None);
    assert_eq!(case.status(sources, INSTANCE).await.as_deref(), Some("cancelled"));
    case.until("the receiver hears that it is gone", async || {
        sent(&receiver, "deleted").iter().any(|gone| gone["pk"] == pk)
    })
    .await;
    let line = "rowgate_forgotten_total{what=\"rows\"} 3";
    case.until("they are counted", async || {
        case.host.get("/metrics").await.lines().any(|one| one == line)
    })
    .await;

    // A full listing names it again.
    case.read_again().await;
    assert_eq!(case.status(events, "goes").await, None);
    assert_eq!(case.status(events, INSTANCE).await, None);
    assert_eq!(case.status(sources, "goes").await, None);
    assert_eq!(case.status(sources, INSTANCE).await.as_deref(), Some("cancelled"));
    case.host.assert_matches_model(&case.tree).await;

    let swept_at = case.swept_at().await;
    case.advance(Duration::from_secs(12 * 3_600));
    case.read_again().await;
    assert_eq!(case.swept_at().await, swept_at, "within a day nobody looks again");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_they_are_kept_for_ever_they_stay() {
    let settings = Settings::default().env("ROWGATE_RETENTION_STALE_ROW_DAYS", "0");
    let case = Case::linked(settings).await;
    case.cancelled().await;
    case.advance(Duration::from_secs((40 * DAY_S).unsigned_abs()));
    case.read_again().await;
    for table in [case.tree.events(), case.tree.sources()] {
        for id in ["goes", INSTANCE] {
            assert_eq!(case.status(table, id).await.as_deref(), Some("cancelled"), "{table}: {id}");
        }
    }
    assert_eq!(case.swept_at().await, 0, "nobody looks for them");
}
