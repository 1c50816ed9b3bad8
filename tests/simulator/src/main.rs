//! The simulator as a program: prints its URL when it is ready and serves until it is killed.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::Context;
use clap::Parser;
use simulator::{Options, Simulator};

/// A Google Calendar and OAuth server for demos, tests and plugin authors.
#[derive(Parser)]
struct Arguments {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:4920")]
    listen: SocketAddr,
    /// Source of all chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The service's clock at the start, RFC 3339.
    #[arg(long)]
    now: Option<jiff::Timestamp>,
    /// Let the service's clock run with real time.
    #[arg(long)]
    real_time: bool,
    /// Switch the request limits off.
    #[arg(long)]
    no_limits: bool,
    /// Let channels have addresses without TLS.
    #[arg(long)]
    http_callbacks: bool,
    /// OAuth client id that the token endpoint accepts.
    #[arg(long, default_value = "demo-client-id")]
    client_id: String,
    /// Its secret.
    #[arg(long, default_value = "demo-client-secret")]
    client_secret: String,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let defaults = Options::default();
    let simulator = Simulator::start(Options {
        listen: arguments.listen,
        seed: arguments.seed,
        now: arguments.now.unwrap_or(defaults.now),
        real_time: arguments.real_time,
        limits: !arguments.no_limits,
        http_callbacks: arguments.http_callbacks,
        client_id: arguments.client_id,
        client_secret: arguments.client_secret,
    })
    .with_context(|| format!("can't listen on {}", arguments.listen))?;
    println!("{}", simulator.base_url());
    std::io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}
