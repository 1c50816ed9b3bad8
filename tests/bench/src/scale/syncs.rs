//! Incremental syncs by one, two and three hosts on one database.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postgres_cluster::Client;
use simulator::model::generate::Mix;
use tests::Settings;

use super::{Sizes, control};
use crate::report::{Aim, Report};
use crate::times::Stopwatch;

const HOSTS: usize = 3;
/// Between two looks whether all is done.
const LOOK: Duration = Duration::from_millis(5);

pub(super) async fn by_hosts(sizes: &Sizes, report: &mut Report) -> Result<()> {
    let first = Settings::default().on_postgres().start().await;
    first.simulator.set_limits(false);
    let tree = first.integrations().await;
    for number in 0..sizes.owners {
        let email = format!("user{number}@example.com");
        first.link(&tree, &format!("user-{number}"), &email).await;
        let mut model = first.simulator.model();
        model.generate_events(&email, 10, Mix::Singles).expect("the account is there");
    }
    first.settle().await;
    let mut hosts = vec![first];
    while hosts.len() < HOSTS {
        let next = Settings::default().on_postgres().start_beside(&hosts[0]).await;
        hosts.push(next);
    }
    let mut client = control(&hosts[0]).connect()?;
    for _ in 0..sizes.runs {
        for count in 1..=HOSTS {
            for (at, host) in hosts.iter_mut().enumerate() {
                match (at < count, host.is_running()) {
                    (true, false) => host.restart().await,
                    (false, true) => host.stop().await,
                    _ => {}
                }
            }
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
            report.add(&format!("syncs, {count} hosts"), "1/s", Aim::None, rate);
        }
    }
    let rate = |count| report.value(&format!("syncs, {count} hosts")).context("measured above");
    let ratio = rate(HOSTS)? / rate(1)?;
    report.add("syncs, 3 hosts against one", "x", Aim::AtLeast(0.9), ratio);
    Ok(())
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
