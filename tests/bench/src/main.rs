//! Measures the built host. `cargo xtask bench` builds it and this in release mode, and runs this.
//!
//! What is compared is measured side by side in one run, several times in turn; a figure is the
//! median. Nothing leaves this machine.

mod report;
mod rows;
mod scale;
mod times;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use tests::Settings;

use report::Report;

/// Measure the built host.
#[derive(Parser)]
#[command(name = "bench", bin_name = "cargo xtask bench")]
struct Arguments {
    /// What to measure.
    workload: Workload,
    /// Small sizes, once each: shows that it works, and no more.
    #[arg(long)]
    quick: bool,
    /// How often streams are activated while tables may grow. None: a million times; 2,000 if quick.
    #[arg(long)]
    activations: Option<u32>,
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

impl Workload {
    fn name(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Scale => "scale",
        }
    }
}

/// How glibc gives memory back; as examples/deploy has it.
const MALLOC: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "2"),
    ("MALLOC_MMAP_THRESHOLD_", "262144"),
    ("MALLOC_TRIM_THRESHOLD_", "1048576"),
];

/// A host as it is deployed.
fn deployed() -> Settings {
    MALLOC.iter().fold(Settings::default(), |settings, (name, value)| settings.env(name, value))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if cfg!(debug_assertions) {
        eprintln!("built for development: a release is faster");
    }
    let Arguments { workload, quick, activations, into } = arguments;
    let mut report = Report::new(workload.name());
    let measured = match workload {
        Workload::Rows => rows::measure(quick, &mut report).await,
        Workload::Scale => scale::measure(quick, activations, &mut report).await,
    };
    // What was measured before something failed is worth a look.
    println!("{}", report.table());
    measured?;
    report.write(&into)
}
