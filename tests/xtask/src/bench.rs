//! `cargo xtask bench`: everything in release mode, then the measurements.

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::checkout::{self, Checkout};
use crate::suites::built;
use crate::{components, postgres};

/// As it is shipped.
const RELEASE: [&str; 1] = ["--release"];

/// What to measure, and how.
#[derive(Args)]
pub(crate) struct Options {
    /// What to measure.
    workload: Workload,
    /// Small sizes, once each: shows that it works, and no more.
    #[arg(long)]
    quick: bool,
    /// Further arguments of the measuring program, after `--`.
    #[arg(last = true)]
    more: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Workload {
    /// From LINKED to all rows, on each database.
    Rows,
    /// What grows with the number of streams, on PostgreSQL: claims, tables, syncs by several hosts, memory.
    Scale,
}

/// Build, measure, print a table and write target/bench/WORKLOAD.json.
pub(crate) fn run(checkout: &Checkout, options: &Options) -> Result<()> {
    postgres::prepare(checkout)?;
    components::build_plugins(checkout)?;
    eprintln!("bench: building in release mode; the first time this takes some 15 minutes");
    let workload = options.workload.to_possible_value().context("every workload has a name")?;
    let mut bench = checkout.command(built(checkout, "bench", &RELEASE)?);
    bench
        .arg(workload.get_name())
        .args(options.quick.then_some("--quick"))
        .args(&options.more)
        .arg("--into")
        .arg(checkout.target("bench"))
        .env("ROWGATE_TEST_HOST", built(checkout, "rowgate", &RELEASE)?)
        .env("ROWGATE_TEST_PLUGINS", checkout.target(components::PLUGINS));
    checkout::run(&mut bench)
}
