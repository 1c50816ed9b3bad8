//! From LINKED to all rows: one user with many events, through vendor, host and database.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use simulator::model::generate::Mix;
use simulator::{Options, Simulator};
use tests::{TestHost, Tree};
use tokio::time::MissedTickBehavior;

use crate::report::{Aim, Report};
use crate::times::{Stopwatch, memory_peak_bytes, process_cpu_s, thread_cpu_s};

mod alone;

const EMAIL: &str = "many@example.com";
const OWNER: &str = "many";
const FIRST: &str = "first@example.com";
/// A page of events.
const FIRST_EVENTS: usize = 2_000;
/// Between two looks whether the first row is there, and the last.
const LOOK: Duration = Duration::from_millis(4);

/// All databases and sizes in turn, several times.
pub(crate) async fn measure(quick: bool, report: &mut Report) -> Result<()> {
    let (sizes, runs) = if quick { (&[2_000][..], 1) } else { (&[10_000, 50_000][..], 5) };
    for run in 0..runs {
        for events in sizes {
            eprintln!("run {} of {runs}: {events} events", run + 1);
            one(report, *events).await?;
        }
    }
    Ok(())
}

async fn one(report: &mut Report, events: usize) -> Result<()> {
    let simulator = Arc::new(Simulator::start(Options::default())?);
    simulator.set_limits(false);
    let host = crate::deployed().simulator(Arc::clone(&simulator)).start().await;
    let tree = host.integrations().await;
    let user = |email: &str, events| {
        let mut model = simulator.model();
        let token = model.create_user(email);
        model.generate_events(email, events, Mix::Singles).expect("the account is there");
        token
    };
    // Whatever a first call costs is paid here.
    host.post_with(&tree, "LINKED", "first", FIRST, &user(FIRST, FIRST_EVENTS)).await;
    host.idle().await;
    let token = user(EMAIL, events);

    let vendor = alone::vendor(&simulator, EMAIL, &token).await?;
    let linked = linked(&host, &tree, &token, events).await?;
    let database = host.data_dir().join("replication/default.db");
    let sqlite = alone::sqlite(&database, tree.events()).await?;
    let mut add = |name: &str, unit, aim, value| {
        report.add(&format!("sqlite, {events} events: {name}"), unit, aim, value);
    };
    let rows = events as f64;
    add("LINKED to all rows", "rows/s", Aim::AtLeast(30_000.0), rows / linked.all_s);
    add("LINKED to first row", "s", Aim::None, linked.first_s);
    add("host, CPU", "s", Aim::None, linked.host_cpu_s);
    add("host, CPU for 100k rows", "s", Aim::None, linked.host_cpu_s * 1e5 / rows);
    add("of that inside the component", "s", Aim::None, linked.guest_cpu_s);
    add("host, peak memory", "MiB", Aim::Below(80.0), linked.memory_peak_mib);
    add("simulator, CPU", "s", Aim::None, linked.simulator_cpu_s);
    add("fetching alone", "rows/s", Aim::None, rows / vendor.seconds);
    add("fetching alone, CPU of simulator", "s", Aim::None, vendor.cpu_s);
    // The whole table.
    add("SQLite alone", "rows/s", Aim::None, (rows + FIRST_EVENTS as f64) / sqlite);
    Ok(())
}

/// What it took to have all rows.
#[derive(Clone, Copy, Debug)]
struct Linked {
    first_s: f64,
    all_s: f64,
    host_cpu_s: f64,
    guest_cpu_s: f64,
    simulator_cpu_s: f64,
    memory_peak_mib: f64,
}

async fn linked(host: &TestHost, tree: &Tree, token: &str, events: usize) -> Result<Linked> {
    let rows = alone::read_only(&host.data_dir().join("replication/default.db")).await?;
    let used = async || -> Result<(f64, f64, f64)> {
        let host_cpu_s = process_cpu_s(host.pid())?;
        Ok((host_cpu_s, guest_cpu_s(&host.get("/metrics").await), thread_cpu_s("simulator")?))
    };
    let last = format!("select coalesce(max(pk), 0) from {}", tree.events());
    let pks: i64 = sqlx::query_scalar(&last).fetch_one(&rows).await?;
    let before = used().await?;
    let stopwatch = Stopwatch::start();
    host.post_with(tree, "LINKED", OWNER, EMAIL, token).await;
    // Each row gets the next number.
    let first_s = seen(&rows, &last, pks + 1, stopwatch).await?;
    let all_s = seen(&rows, &last, pks + events as i64, stopwatch).await?;
    host.idle().await;
    let after = used().await?;
    let count =
        format!("select count(*) as n from {} where external_owner_id = '{OWNER}'", tree.events());
    let found = host.sql(&count).await;
    ensure!(found[0]["n"] == events, "{events} events, but {} rows", found[0]["n"]);
    Ok(Linked {
        first_s,
        all_s,
        host_cpu_s: after.0 - before.0,
        guest_cpu_s: after.1 - before.1,
        simulator_cpu_s: after.2 - before.2,
        memory_peak_mib: memory_peak_bytes(host.pid())? / f64::from(1 << 20),
    })
}

/// Seconds until this query answers with so much, or more.
async fn seen(
    rows: &sqlx::SqlitePool,
    query: &str,
    at_least: i64,
    stopwatch: Stopwatch,
) -> Result<f64> {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if sqlx::query_scalar::<_, i64>(query).fetch_one(rows).await? >= at_least {
            return Ok(stopwatch.seconds());
        }
    }
}

/// Seconds inside components, as the host counts them.
fn guest_cpu_s(metrics: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with("rowgate_guest_cpu_seconds_total"));
    lines.filter_map(|line| line.split(' ').next_back()?.parse::<f64>().ok()).sum()
}
