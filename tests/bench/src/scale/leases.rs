//! Claiming an owner among many that have nothing to do.

use anyhow::{Context, Result, ensure};
use postgres_cluster::Client;
use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rowgate::store::Dialect;
use rowgate::store::leases::{self, Claimant};
use tokio::task::JoinSet;

use super::filled::Filled;
use super::{Sizes, control};
use crate::report::{Aim, Report, quantile};
use crate::times::Stopwatch;

/// Owners that are made due at once, and hosts that claim them.
const BATCH: u32 = 1_000;
const CLAIMANTS: usize = 4;

/// Activates one owner at a time, and times the claim that finds it.
pub(super) async fn time(
    filled: &Filled,
    sizes: &Sizes,
    report: &mut Report,
    at: &dyn Fn(&str) -> String,
) -> Result<()> {
    let (store, by) = (&filled.store, claimant("bench"));
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut client = control(&filled.host).connect()?;
    expect_index(&mut client)?;
    let (mut claims, mut looks, mut releases) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..sizes.claims {
        let owner = filled.first_owner + i64::from(random.random_range(0..filled.owners));
        client.query(&format!("update owners set due_at = 0 where id = {owner}"))?;
        let now = store.clock().now();
        let looked = Stopwatch::start();
        let ready = leases::ready_organizations(store.control(), now).await?;
        looks.push(looked.seconds() * 1e3);
        ensure!(ready == [filled.organization_id], "the organization has something due");
        let claimed = Stopwatch::start();
        let lease = leases::claim(store.control(), &by, filled.organization_id, now).await?;
        claims.push(claimed.seconds() * 1e3);
        let lease = lease.context("an owner is due")?;
        ensure!(lease.owner_id == owner, "the owner that is due is claimed");
        let released = Stopwatch::start();
        leases::release(store.control(), &lease).await?;
        releases.push(released.seconds() * 1e3);
    }
    report.add(&at("claim, p50"), "ms", Aim::None, quantile(&claims, 0.5));
    report.add(&at("claim, p99"), "ms", Aim::Below(5.0), quantile(&claims, 0.99));
    report.add(&at("who has something due, p50"), "ms", Aim::None, quantile(&looks, 0.5));
    report.add(&at("who has something due, p99"), "ms", Aim::None, quantile(&looks, 0.99));
    report.add(&at("release, p99"), "ms", Aim::None, quantile(&releases, 0.99));
    Ok(())
}

/// Many activations, each claimed and released: the rate, and what it leaves in the tables.
pub(super) async fn growth(filled: &Filled, sizes: &Sizes, report: &mut Report) -> Result<()> {
    let mut client = control(&filled.host).connect()?;
    let before = bytes(&mut client)?;
    let stopwatch = Stopwatch::start();
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let mut done = 0;
    while done < sizes.activations {
        let span = BATCH.min(filled.owners);
        let first = filled.first_owner + i64::from(random.random_range(0..=filled.owners - span));
        let end = first + i64::from(span);
        client
            .query(&format!("update owners set due_at = 0 where id >= {first} and id < {end}"))?;
        done += claim_all(filled).await?;
    }
    let seconds = stopwatch.seconds();
    report.add("activations, claimed and released", "1/s", Aim::None, f64::from(done) / seconds);
    for ((name, before), (_, after)) in before.into_iter().zip(bytes(&mut client)?) {
        let name = format!("growth of {name} by {done} activations");
        report.add(&name, "%", Aim::None, (after / before - 1.0) * 100.0);
    }
    Ok(())
}

/// Several claim what is due until nothing is. No owner is claimed twice.
async fn claim_all(filled: &Filled) -> Result<u32> {
    let mut claimants = JoinSet::new();
    for number in 0..CLAIMANTS {
        let (control, by) = (filled.store.control().clone(), claimant(&format!("bench-{number}")));
        let (organization_id, clock) = (filled.organization_id, filled.store.clock().clone());
        claimants.spawn(async move {
            let mut owners = Vec::new();
            while let Some(lease) =
                leases::claim(&control, &by, organization_id, clock.now()).await?
            {
                leases::release(&control, &lease).await?;
                owners.push(lease.owner_id);
            }
            anyhow::Ok(owners)
        });
    }
    let mut owners = Vec::new();
    while let Some(claimed) = claimants.join_next().await {
        owners.extend(claimed??);
    }
    let count = owners.len();
    owners.sort_unstable();
    owners.dedup();
    ensure!(owners.len() == count, "{} owners were claimed twice", count - owners.len());
    Ok(u32::try_from(count)?)
}

fn claimant(host: &str) -> Claimant {
    Claimant { host: host.to_owned(), ttl: 30_000_000, organization_leases_max: 64 }
}

/// The claim's plan goes by the index of what is due, however many rows there are.
fn expect_index(client: &mut Client) -> Result<()> {
    client.query(&format!(
        "deallocate all; prepare claim (bigint, bigint, text, bigint, bigint) as {}",
        leases::claim_statement(Dialect::Postgres)
    ))?;
    let plan = client.query("explain execute claim (1, 2, 'bench', 1, 64)")?;
    let plan: Vec<String> = plan.into_iter().flatten().flatten().collect();
    let by_index = plan.iter().any(|line| line.contains("owners_due"));
    let scans = plan.iter().any(|line| line.contains("Seq Scan on owners"));
    ensure!(by_index && !scans, "the claim's plan:\n{}", plan.join("\n"));
    Ok(())
}

/// Tables that a claim writes and their indexes, with their sizes.
fn bytes(client: &mut Client) -> Result<Vec<(String, f64)>> {
    let rows = client.query(
        "select relname, pg_relation_size(oid) from pg_class
         where relname = 'owners' or relname like 'owners\\_%' order by relkind desc, relname",
    )?;
    let size = |row: Vec<Option<String>>| {
        let mut values = row.into_iter().flatten();
        Some((values.next()?, values.next()?.parse::<f64>().ok().filter(|bytes| *bytes > 0.0)?))
    };
    Ok(rows.into_iter().filter_map(size).collect())
}
