//! The project's task runner: `cargo xtask --help`.
//!
//! It needs neither host nor wasmtime, so it is there a minute after a clone. What it prints for
//! people goes to standard error; results go to standard output.

mod bench;
mod checkout;
mod components;
mod conformance;
mod demo;
mod postgres;
mod suites;
mod wasm_route;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Build plugins and run the project's tests.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build every plugin under plugins/ to target/plugins/NAME.wasm.
    Plugins,
    /// Build the tests' guests under tests/guests/ to target/guests/NAME.wasm.
    Guests,
    /// Show the real host at work with a Google simulator: every verb, by curl and SQL.
    Demo(demo::Options),
    /// Measure the host, built in release mode; loopback only.
    Bench(bench::Options),
    /// Run everything that CI runs, suite by suite.
    Test(suites::Options),
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not the backtrace that anyhow would add: the chain says what to do.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let checkout = checkout::Checkout::find()?;
    match task {
        Task::Plugins => components::build_plugins(&checkout),
        Task::Guests => components::build_guests(&checkout),
        Task::Demo(options) => demo::run(&checkout, &options),
        Task::Bench(options) => bench::run(&checkout, &options),
        Task::Test(options) => suites::run(&checkout, &options),
    }
}
