//! What grows with the number of streams, and what doesn't: on PostgreSQL, at three sizes.

mod filled;
mod growth;
mod idle;
mod leases;
mod push;
mod syncs;

use postgres_cluster::Database;
use tests::TestHost;

use crate::report::Report;

/// Sizes, and how often each is looked at.
struct Sizes {
    streams: &'static [u32],
    /// Claims that are timed, each after an activation.
    claims: u32,
    /// Activations among which the tables may grow.
    activations: u32,
    /// Changes at the vendor whose rows are waited for.
    changes: u32,
    /// How long an idle host is watched.
    idle_s: u64,
    /// Trees of integrations, and owners in each, whose streams several hosts share.
    trees: u32,
    owners_a_tree: u32,
    runs: u32,
}

const FULL: Sizes = Sizes {
    streams: &[10_000, 100_000, 1_000_000],
    claims: 2_000,
    activations: 1_000_000,
    changes: 300,
    idle_s: 30,
    trees: 20,
    owners_a_tree: 25,
    runs: 3,
};
const QUICK: Sizes = Sizes {
    streams: &[1_000, 10_000],
    claims: 100,
    activations: 2_000,
    changes: 20,
    idle_s: 3,
    trees: 2,
    owners_a_tree: 10,
    runs: 1,
};

pub(crate) async fn measure(
    quick: bool,
    activations: Option<u32>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut sizes = if quick { QUICK } else { FULL };
    sizes.activations = activations.unwrap_or(sizes.activations);
    for streams in sizes.streams {
        eprintln!("{streams} idle streams: filling the database");
        let mut filled = filled::Filled::new(*streams).await?;
        let at = |name: &str| format!("{streams} idle streams: {name}");
        for _ in 0..sizes.runs {
            leases::time(&filled, &sizes, report, &at).await?;
        }
        filled.host.restart().await;
        idle::watch(&filled, &sizes, report, &at).await?;
        push::to_row(&filled, &sizes, report, &at).await?;
        filled.host.stop().await;
        eprintln!("{}", report.table());
        if Some(streams) == sizes.streams.last() {
            eprintln!("{} activations", sizes.activations);
            growth::by_activations(&filled, &sizes, report).await?;
        }
    }
    eprintln!("syncs by several hosts");
    syncs::by_hosts(&sizes, report).await
}

/// The control database of a host.
fn control(host: &TestHost) -> &Database<'static> {
    host.database().expect("it was started on a server")
}
