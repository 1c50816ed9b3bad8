//! Many activations of few streams among many: the rate, and what it leaves in the tables.

use anyhow::{Result, ensure};
use postgres_cluster::Client;
use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rowgate::model::Micros;
use rowgate::store::leases::{self, Lease};
use rowgate::store::streams::{self, DueStream, Ended};
use rowgate::store::{Database, Error};
use tokio::task::JoinSet;

use super::filled::Filled;
use super::leases::claimant;
use super::{Sizes, control};
use crate::report::{Aim, Report, quantile};
use crate::times::Stopwatch;

/// Streams that are made due at once, and hosts that claim their owners.
const BATCH: u32 = 1_000;
const CLAIMANTS: usize = 4;

/// As polls of streams with push are.
const NEXT_IN: Micros = 6 * 3_600_000_000;

/// Each activation is claimed, its stream taken and put back, its owner released: all that the
/// control database sees of a sync.
pub(super) async fn by_activations(
    filled: &Filled,
    sizes: &Sizes,
    report: &mut Report,
) -> Result<()> {
    let mut client = control(&filled.host).connect()?;
    let before = bytes(&mut client)?;
    let stopwatch = Stopwatch::start();
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let (mut done, mut claims) = (0, Vec::new());
    while done < sizes.activations {
        let span = BATCH.min(filled.owners);
        let first = filled.first_owner + i64::from(random.random_range(0..=filled.owners - span));
        let end = first + i64::from(span);
        // What a notification writes.
        client.query(&format!(
            "update streams set due_at = 1
             where owner_id >= {first} and owner_id < {end} and kind = 'events';
             update owners set due_at = 1 where id >= {first} and id < {end}"
        ))?;
        let batch = work_off(filled).await?;
        ensure!(batch.streams == span, "{span} were activated, {} started", batch.streams);
        done += span;
        claims.extend(batch.claims_ms);
    }
    let rate = f64::from(done) / stopwatch.seconds();
    report.add("activations, each claimed, taken, put back, released", "1/s", Aim::None, rate);
    report.add("claim meanwhile, p50", "ms", Aim::None, quantile(&claims, 0.5));
    report.add("claim meanwhile, p99", "ms", Aim::None, quantile(&claims, 0.99));
    for ((name, before), (_, after)) in before.into_iter().zip(bytes(&mut client)?) {
        let name = format!("{name}, grown by {done} activations");
        report.add(&name, "%", Aim::None, (after / before - 1.0) * 100.0);
        report.note(&name, &format!("from {:.1} to {:.1} MB", before / 1e6, after / 1e6));
    }
    Ok(())
}

struct Batch {
    streams: u32,
    claims_ms: Vec<f64>,
}

/// Several claim what is due until nothing is. No owner is claimed twice.
async fn work_off(filled: &Filled) -> Result<Batch> {
    let mut claimants = JoinSet::new();
    for number in 0..CLAIMANTS {
        let (control, by) = (filled.store.control().clone(), claimant(&format!("bench-{number}")));
        let (organization_id, clock) = (filled.organization_id, filled.store.clock().clone());
        claimants.spawn(async move {
            let (mut owners, mut streams, mut claims_ms) = (Vec::new(), 0, Vec::new());
            loop {
                let now = clock.now();
                let stopwatch = Stopwatch::start();
                let Some(lease) = leases::claim(&control, &by, organization_id, now).await? else {
                    return anyhow::Ok((owners, streams, claims_ms));
                };
                claims_ms.push(stopwatch.milliseconds());
                streams += run(&control, &lease, now).await?;
                leases::release(&control, &lease).await?;
                owners.push(lease.owner_id);
            }
        });
    }
    let (mut owners, mut batch) = (Vec::new(), Batch { streams: 0, claims_ms: Vec::new() });
    while let Some(claimed) = claimants.join_next().await {
        let (claimed, streams, claims_ms) = claimed??;
        owners.extend(claimed);
        batch.streams += streams;
        batch.claims_ms.extend(claims_ms);
    }
    let count = owners.len();
    owners.sort_unstable();
    owners.dedup();
    ensure!(owners.len() == count, "{} owners were claimed twice", count - owners.len());
    Ok(batch)
}

/// What a run writes of an owner's due streams. Answers how many there were.
async fn run(control: &Database, lease: &Lease, now: Micros) -> Result<u32, Error> {
    let due = streams::due(control, lease, now, 4).await?;
    streams::take(control, lease, due.iter().map(|stream| stream.id).collect()).await?;
    let mut count = 0;
    for DueStream { id, .. } in due {
        let ended =
            Ended { next_at: Some(now + NEXT_IN), at: now, succeeded: true, ..Ended::default() };
        streams::put_back(control, lease, id, ended).await?;
        count += 1;
    }
    Ok(count)
}

/// Tables that a run writes and their indexes, with their sizes.
fn bytes(client: &mut Client) -> Result<Vec<(String, f64)>> {
    let rows = client.query(
        "select case relkind when 'r' then 'table ' else 'index ' end || relname,
                pg_relation_size(oid)
         from pg_class where relkind in ('r', 'i')
           and (relname ~ '^(owners|streams)$' or relname ~ '^(owners|streams)_')
         order by relkind desc, relname",
    )?;
    let size = |row: Vec<Option<String>>| {
        let mut values = row.into_iter().flatten();
        Some((values.next()?, values.next()?.parse::<f64>().ok().filter(|bytes| *bytes > 0.0)?))
    };
    Ok(rows.into_iter().filter_map(size).collect())
}
