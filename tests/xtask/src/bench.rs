//! `cargo xtask bench`: host and measuring program in release mode, then the measurements.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::checkout::{self, Checkout};
use crate::{components, postgres};

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
    let built = build(checkout)?;
    let mut bench = checkout.command(built.bench);
    bench
        .arg(workload.get_name())
        .args(options.quick.then_some("--quick"))
        .args(&options.more)
        .arg("--into")
        .arg(checkout.target("bench"))
        .env("ROWGATE_TEST_HOST", built.host)
        .env("ROWGATE_TEST_PLUGINS", checkout.target(components::PLUGINS));
    checkout::run(&mut bench)
}

struct Built {
    bench: PathBuf,
    host: PathBuf,
}

/// Build what is measured as it is shipped: with these packages alone the host and all that it needs are those
/// of `cargo build --release`, to the last feature. Asked for the whole workspace, cargo gives some of them
/// features of the tests' tools, and builds wasmtime and sqlx once more.
fn build(checkout: &Checkout) -> Result<Built> {
    let mut cargo = checkout.cargo();
    cargo.args(["build", "--release", "--package", "bench", "--package", "rowgate", "--bins"]);
    let artifacts = checkout::build(&mut cargo)?;
    let binary = |name| checkout::binary(&artifacts, name);
    Ok(Built { bench: binary("bench")?, host: binary("rowgate")? })
}
