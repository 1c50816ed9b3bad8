//! `rowgate backup` and `rowgate restore`.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::output::{self, Format};
use crate::app::{App, backup};
use crate::config::Config;

/// Copy all databases to a new directory, while a host writes
#[derive(Debug, Args)]
pub(super) struct Backup {
    /// A directory that is empty or not there
    #[arg(value_name = "DIR")]
    to: PathBuf,
    /// Copy the key file, too. Whoever has it and the copies has all secrets
    #[arg(long)]
    with_key: bool,
}

impl Backup {
    pub(super) async fn run(self, app: &App, format: Format) -> anyhow::Result<()> {
        let manifest = backup::back_up(app, &self.to, self.with_key).await?;
        match self.with_key {
            true => eprintln!("the key is in it: whoever gets this directory can open all secrets"),
            false => eprintln!(
                "the key is not in it: without it the secrets are lost; keep it elsewhere"
            ),
        }
        print(format, &manifest)
    }
}

/// Fill an empty data directory from a backup
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// A directory that `rowgate backup` made
    #[arg(value_name = "DIR")]
    from: PathBuf,
}

impl Restore {
    pub(super) async fn run(self, config: &Config, format: Format) -> anyhow::Result<()> {
        let manifest = backup::restore(config, &self.from).await?;
        if !manifest.has_key() && config.key.given().is_none() {
            eprintln!(
                "before you start a host, put the key at {}, or give it as ROWGATE_KEY; what is in it is \
                 sealed with: {}",
                config.data_dir().key().display(),
                manifest.keys.join(", ")
            );
        }
        eprintln!("what was posted since {} is not in it", output::time(Some(manifest.ended_at)));
        print(format, &manifest)
    }
}

fn print(format: Format, manifest: &backup::Manifest) -> anyhow::Result<()> {
    let rows: Vec<Vec<Value>> = (manifest.files.iter())
        .map(|file| vec![file.name.clone().into(), file.bytes.into(), file.sha256.clone().into()])
        .collect();
    output::print(format, &["file", "bytes", "sha256"], &rows)
}
