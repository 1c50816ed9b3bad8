//! A host that has nothing to do: what it holds, and what it does all the same.

use std::time::Duration;

use anyhow::{Context, Result};
use postgres_cluster::Client;

use super::filled::Filled;
use super::{Sizes, control};
use crate::report::{Aim, Report};
use crate::times::{Stopwatch, memory_bytes, process_cpu_s};

pub(super) async fn watch(
    filled: &Filled,
    sizes: &Sizes,
    report: &mut Report,
    at: &dyn Fn(&str) -> String,
) -> Result<()> {
    let host = &filled.host;
    host.idle().await;
    let mut client = control(host).connect()?;
    let before = Used::of(host.pid(), &mut client)?;
    let stopwatch = Stopwatch::start();
    let mut end = tokio::time::interval(Duration::from_secs(sizes.idle_s));
    end.tick().await;
    end.tick().await;
    let after = Used::of(host.pid(), &mut client)?;
    let seconds = stopwatch.seconds();
    let share = |before: f64, after: f64| (after - before) / seconds * 100.0;
    let memory = memory_bytes(host.pid())?;
    report.add(&at("memory of an idle host"), "MB", Aim::Below(100.0), memory / 1e6);
    report.add(&at("CPU of an idle host"), "%", Aim::None, share(before.host_s, after.host_s));
    let server = share(before.server_s, after.server_s);
    report.add(&at("CPU of the server for it"), "%", Aim::None, server);
    let statements = (after.statements - before.statements) / seconds;
    report.add(&at("statements of an idle host"), "1/s", Aim::None, statements);
    Ok(())
}

/// What was used so far.
struct Used {
    host_s: f64,
    /// By the processes that serve the host's connections.
    server_s: f64,
    /// Each is a transaction of its own.
    statements: f64,
}

impl Used {
    fn of(host: u32, client: &mut Client) -> Result<Self> {
        let rows = client.query(
            "select pid from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid()",
        )?;
        let mut server_s = 0.0;
        for pid in rows.into_iter().flatten().flatten() {
            // A connection may be closed any time.
            server_s += process_cpu_s(pid.parse()?).unwrap_or(0.0);
        }
        // Backends tell of what they did once a second at most, and when they rest.
        let count = client.value(
            "select xact_commit + xact_rollback from pg_stat_database
             where datname = current_database()",
        )?;
        let statements = count.parse().with_context(|| format!("{count} is a number"))?;
        Ok(Self { host_s: process_cpu_s(host)?, server_s, statements })
    }
}
