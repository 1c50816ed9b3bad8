//! Incremental syncs by one, two and three hosts on one database.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postgres_cluster::Client;
use serde_json::json;
use simulator::model::generate::Mix;
use tests::{TestHost, Tree};

use super::{Sizes, control};
use crate::report::{Aim, Report};
use crate::times::Stopwatch;

const HOSTS: usize = 3;
/// Between two looks whether all is done.
const LOOK: Duration = Duration::from_millis(5);

pub(super) async fn by_hosts(sizes: &Sizes, report: &mut Report) -> Result<()> {
    let first = crate::deployed().on_postgres().start().await;
    first.simulator.set_limits(false);
    let trees = link(&first, sizes).await;
    let mut hosts = vec![first];
    while hosts.len() < HOSTS {
        let next = crate::deployed().on_postgres().start_beside(&hosts[0]).await;
        hosts.push(next);
    }
    let mut client = control(&hosts[0]).connect()?;
    let mut changes = 0;
    for _ in 0..sizes.runs {
        for count in 1..=HOSTS {
            run_just(&mut hosts, count).await;
            // Whatever a first run costs is paid here.
            all_streams(&mut client).await?;
            change(&hosts[0], sizes, &mut changes);
            hosts[0].simulator.clear_requests();
            let syncs = all_streams(&mut client).await?;
            let listings = hosts[0].simulator.requests();
            let listings = listings.iter().filter(|seen| !seen.path.ends_with("/token")).count();
            ensure!(
                listings == syncs.count,
                "{} streams were due, and the vendor was asked {listings} times",
                syncs.count
            );
            let rate = syncs.count as f64 / syncs.seconds;
            report.add(&name(count), "1/s", Aim::None, rate);
        }
    }
    for tree in &trees {
        let differences = hosts[0].differences(tree).await;
        ensure!(differences.is_empty(), "rows differ:\n{}", differences.join("\n"));
    }
    let rate = |count| report.value(&name(count)).context("measured above");
    let ratio = rate(HOSTS)? / rate(1)?;
    report.add("incremental syncs, 3 hosts against one", "x", Aim::AtLeast(0.9), ratio);
    Ok(())
}

fn name(hosts: usize) -> String {
    format!("incremental syncs, hosts: {hosts}")
}

/// Several trees: of one alone the vendor's limits would be measured.
async fn link(host: &TestHost, sizes: &Sizes) -> Vec<Tree> {
    let mut trees = Vec::new();
    for tree in 0..sizes.trees {
        trees.push(host.integrations().await);
        for owner in 0..sizes.owners_a_tree {
            let email = email(tree, owner);
            host.link(&trees[tree as usize], &email, &email).await;
            let mut model = host.simulator.model();
            model.generate_events(&email, 10, Mix::Singles).expect("the account is there");
        }
        // All at once, a slow machine doesn't take every post in time.
        host.idle().await;
    }
    host.settle().await;
    trees
}

fn email(tree: u32, owner: u32) -> String {
    format!("user{owner}@tree{tree}.example.com")
}

/// Starts and stops hosts until the first `count` run.
async fn run_just(hosts: &mut [TestHost], count: usize) {
    for (at, host) in hosts.iter_mut().enumerate() {
        match (at < count, host.is_running()) {
            (true, false) => host.restart().await,
            (false, true) => host.stop().await,
            _ => {}
        }
    }
}

/// One more event in every calendar.
fn change(host: &TestHost, sizes: &Sizes, changes: &mut u32) {
    *changes += 1;
    let mut model = host.simulator.model();
    for (tree, owner) in
        (0..sizes.trees).flat_map(|t| (0..sizes.owners_a_tree).map(move |o| (t, o)))
    {
        let event = json!({
            "id": format!("change{changes}"), "summary": "new",
            "start": { "dateTime": "2026-12-01T10:00:00Z" },
            "end": { "dateTime": "2026-12-01T11:00:00Z" },
        });
        model.add_event(&email(tree, owner), &event).expect("the account is there");
    }
}

struct Syncs {
    count: usize,
    seconds: f64,
}

/// Makes every stream due and waits until none is.
async fn all_streams(client: &mut Client) -> Result<Syncs> {
    let count = client.value("select count(*) from streams")?.parse()?;
    let stopwatch = Stopwatch::start();
    client.query(
        "update streams set due_at = 0; update owners set due_at = 0; select pg_notify('rowgate', '')",
    )?;
    let mut looks = tokio::time::interval(LOOK);
    let left = "select exists (select 1 from streams where due_at = 0 or taken is not null)";
    loop {
        looks.tick().await;
        if client.value(left)? == "f" {
            return Ok(Syncs { count, seconds: stopwatch.seconds() });
        }
    }
}
