//! `rowgate serve`.

use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::app;
use crate::config::{Config, Flags, Log, LogFormat};

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

pub(super) async fn run(config: Config) -> anyhow::Result<()> {
    log(&config.log)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
    };
    app::serve(config, shutdown).await
}

fn log(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .parse(&log.level)
        .map_err(|error| anyhow::anyhow!("log.level {:?}: {error}", log.level))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => lines.with_ansi(false).init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}
