//! What grows with the number of streams, and what doesn't: on PostgreSQL, at three sizes.

mod filled;
mod leases;
mod syncs;

use anyhow::Result;
use postgres_cluster::Database;
use tests::TestHost;

use crate::report::{Aim, Report};
use crate::times::memory_bytes;

/// Sizes, and how often each is looked at.
struct Sizes {
    streams: &'static [u32],
    /// Claims that are timed, each after an activation.
    claims: u32,
    /// Claims among which the tables may grow.
    activations: u32,
    owners: u32,
    runs: u32,
}

const FULL: Sizes = Sizes {
    streams: &[10_000, 100_000, 1_000_000],
    claims: 2_000,
    activations: 1_000_000,
    owners: 200,
    runs: 3,
};
const QUICK: Sizes =
    Sizes { streams: &[1_000, 10_000], claims: 100, activations: 2_000, owners: 10, runs: 1 };

pub(crate) async fn measure(quick: bool) -> Result<Report> {
    let sizes = if quick { QUICK } else { FULL };
    let mut report = Report::new("scale");
    for streams in sizes.streams {
        eprintln!("{streams} streams");
        let mut filled = filled::Filled::new(*streams).await?;
        let at = |name: &str| format!("{streams} idle streams: {name}");
        for _ in 0..sizes.runs {
            leases::time(&filled, &sizes, &mut report, &at).await?;
        }
        filled.host.restart().await;
        filled.host.idle().await;
        let memory = memory_bytes(filled.host.pid())?;
        report.add(&at("memory of a host"), "MB", Aim::Below(100.0), memory / 1e6);
        filled.host.stop().await;
        if Some(streams) == sizes.streams.last() {
            leases::growth(&filled, &sizes, &mut report).await?;
        }
    }
    syncs::by_hosts(&sizes, &mut report).await?;
    Ok(report)
}

/// The control database of a host.
fn control(host: &TestHost) -> &Database<'static> {
    host.database().expect("it was started on a server")
}
