//! Claiming an owner among many that have nothing to do.

use anyhow::{Context, Result, ensure};
use postgres_cluster::Client;
use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rowgate::store::Dialect;
use rowgate::store::leases::{self, Claimant};

use super::filled::Filled;
use super::{Sizes, control};
use crate::report::{Aim, Report, quantile};
use crate::times::Stopwatch;

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
    let (mut claims, mut looks, mut releases) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..sizes.claims {
        let owner = filled.first_owner + i64::from(random.random_range(0..filled.owners));
        client.query(&format!("update owners set due_at = 0 where id = {owner}"))?;
        let now = store.clock().now();
        let looked = Stopwatch::start();
        let ready = leases::ready_organizations(store.control(), &by, now).await?;
        looks.push(looked.milliseconds());
        ensure!(ready == [filled.organization_id], "the organization has something due");
        let claimed = Stopwatch::start();
        let lease = leases::claim(store.control(), &by, filled.organization_id, now).await?;
        claims.push(claimed.milliseconds());
        let lease = lease.context("an owner is due")?;
        ensure!(lease.owner_id == owner, "the owner that is due is claimed");
        let released = Stopwatch::start();
        leases::release(store.control(), &lease).await?;
        releases.push(released.milliseconds());
    }
    report.add(&at("claim, p50"), "ms", Aim::None, quantile(&claims, 0.5));
    report.add(&at("claim, p99"), "ms", Aim::Below(5.0), quantile(&claims, 0.99));
    report.add(&at("who has something due, p50"), "ms", Aim::None, quantile(&looks, 0.5));
    report.add(&at("who has something due, p99"), "ms", Aim::None, quantile(&looks, 0.99));
    report.add(&at("release, p99"), "ms", Aim::None, quantile(&releases, 0.99));
    let plan = Plan::of_claim(&mut client, filled)?;
    let name = at("claim, pages of the server that it touches");
    report.add(&name, "pages", Aim::None, plan.pages);
    report.note(&name, &plan.text);
    Ok(())
}

pub(super) fn claimant(host: &str) -> Claimant {
    Claimant { host: host.to_owned(), ttl: 30_000_000, organization_leases_max: 64 }
}

/// How the server makes a claim.
struct Plan {
    /// Pages, from memory or not, each as often as it is touched.
    pages: f64,
    text: String,
}

impl Plan {
    /// It goes by the index of what is due, however many rows there are.
    fn of_claim(client: &mut Client, filled: &Filled) -> Result<Self> {
        let now = filled.store.clock().now();
        let Filled { organization_id, first_owner, .. } = filled;
        client.query(&format!(
            "deallocate all; prepare claim (bigint, bigint, text, bigint, bigint) as {}",
            leases::claim_statement(Dialect::Postgres)
        ))?;
        // Rolled back: it is made, and leaves nothing.
        let rows = client.query(&format!(
            "begin; update owners set due_at = 0 where id = {first_owner};
             explain (analyze, buffers, timing off, summary off)
               execute claim ({now}, {now}, 'bench', {organization_id}, 64);
             rollback"
        ))?;
        let lines: Vec<String> = rows.into_iter().flatten().flatten().collect();
        let text = lines.join("\n");
        let by_index = lines.iter().any(|line| line.contains("owners_due"));
        let scans = lines.iter().any(|line| line.contains("Seq Scan on owners"));
        ensure!(by_index && !scans, "the claim's plan:\n{text}");
        let buffers = lines.iter().find(|line| line.contains("Buffers:"));
        let pages = buffers.and_then(|line| pages(line));
        Ok(Self { pages: pages.context("a plan with buffers")?, text })
    }
}

/// Of `Buffers: shared hit=12 read=3 dirtied=1`: 15.
fn pages(line: &str) -> Option<f64> {
    let counts = line.split_once("shared ")?.1.split(' ').filter_map(|word| word.split_once('='));
    let touched = counts.filter(|(what, _)| ["hit", "read"].contains(what));
    Some(touched.filter_map(|(_, count)| count.parse::<f64>().ok()).sum())
}

#[test]
fn pages_of_a_plan() {
    assert_eq!(pages("  Buffers: shared hit=12 read=3 dirtied=1"), Some(15.0));
    assert_eq!(pages("  Buffers: shared hit=7"), Some(7.0));
    assert_eq!(pages("  ->  Limit"), None);
}
