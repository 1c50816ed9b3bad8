//! `rowgate serve`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use super::output;
use crate::config::{Config, Flags, Log, LogFormat};
use crate::egress::Direct;
use crate::trace::Traces;
use crate::{api, app};

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Address; port 0 takes a free one [env: ROWGATE_LISTEN] [default: 127.0.0.1:18001]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Directory of components to install and activate if they are new [env: ROWGATE_PLUGINS]
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
}

impl Serve {
    pub(super) fn add_to(self, flags: &mut Flags) {
        flags.listen = self.listen;
        flags.plugins = self.plugins;
    }
}

/// Exit code where a second signal cuts the shutdown short, as if it had killed the process.
const CUT_SHORT: i32 = 128 + 15;

pub(super) async fn run(config: Config) -> anyhow::Result<()> {
    let traces = match config.trace.otlp_endpoint.as_str() {
        "" => None,
        endpoint => Some(Traces::begin(endpoint, Direct::new()?)?),
    };
    log(&config.log, traces.as_ref())?;
    let mut signals = Signals::listen()?;
    let shutdown = async move {
        signals.next().await;
        tracing::info!("draining; a second signal ends at once");
        tokio::spawn(async move {
            signals.next().await;
            tracing::warn!("ended at once: leases run out by themselves");
            std::process::exit(CUT_SHORT);
        });
    };
    let served = app::serve(config, api::router, shutdown).await;
    if let Some(traces) = traces {
        traces.end().await;
    }
    served
}

/// What asks this process to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
        Ok(Self { terminate: signal(terminate)?, interrupt: signal(interrupt)? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Lines and spans each have a filter of their own: traces are whole whatever is logged.
fn log(log: &Log, traces: Option<&Traces>) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .parse(&log.level)
        .map_err(|error| anyhow::anyhow!("log.level {:?}: {error}", log.level))?;
    let lines = tracing_subscriber::fmt::layer();
    let lines = match log.format {
        LogFormat::Text => lines.with_ansi(false).with_writer(|| OneLine(io::stderr())).boxed(),
        LogFormat::Json => lines.json().with_writer(io::stderr).boxed(),
    };
    let spans = traces.map(Traces::layer);
    tracing_subscriber::registry().with(lines.with_filter(filter)).with(spans).init();
    Ok(())
}

/// Makes one line of each event: texts of plugins and vendors must not forge lines, nor steer the
/// terminal of whoever reads them.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    /// Takes a whole event, as the subscriber writes it.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = output::escaped(text.trim_end_matches('\n'));
        self.0.write_all(format!("{line}\n").as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let mut written = Vec::new();
        OneLine(&mut written).write_all("INFO a\nERROR forged\u{1b}[2J\n".as_bytes()).unwrap();
        assert_eq!(written, b"INFO a\\nERROR forged\\u{1b}[2J\n");
    }
}
