//! Measures the built host. `cargo xtask bench` builds everything in release mode and runs this.
//!
//! What is compared is measured side by side in one run, several times in turn; a figure is the
//! median. Nothing leaves this machine.

mod report;
mod rows;
mod scale;
mod times;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measure the built host.
#[derive(Parser)]
#[command(name = "bench", bin_name = "cargo xtask bench")]
struct Arguments {
    /// What to measure.
    workload: Workload,
    /// Small sizes, once each: shows that it works, and no more.
    #[arg(long)]
    quick: bool,
    /// Where the JSON file goes.
    #[arg(long, default_value = "target/bench")]
    into: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Workload {
    /// From LINKED to all rows, on each database.
    Rows,
    /// What grows with the number of streams, on PostgreSQL.
    Scale,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let report = match arguments.workload {
        Workload::Rows => rows::measure(arguments.quick).await?,
        Workload::Scale => scale::measure(arguments.quick).await?,
    };
    println!("{}", report.table());
    report.write(&arguments.into)
}
