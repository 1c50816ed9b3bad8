//! `rowgate backup` and `rowgate restore`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;

use super::output::{self, Format};
use crate::app::backup::Progress;
use crate::app::{App, backup};
use crate::config::Config;
use crate::store::restore::{Left, Restored};

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
        let manifest = backup::back_up(app, &self.to, self.with_key, tell).await?;
        match self.with_key {
            true => eprintln!("the key is in it: whoever gets this directory can open all secrets"),
            false => eprintln!(
                "the key is not in it: without it the secrets are lost; keep it elsewhere"
            ),
        }
        print(format, &manifest)
    }
}

/// Fill an empty data directory from a backup; or make databases go on that pg_restore has put back
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// A directory that `rowgate backup` made
    #[arg(value_name = "DIR", required_unless_present = "server", conflicts_with = "server")]
    from: Option<PathBuf>,
    /// The databases of the server were put back: let hosts go on with them. All hosts must be stopped
    #[arg(long)]
    server: bool,
}

impl Restore {
    pub(super) async fn run(self, config: &Config, format: Format) -> anyhow::Result<()> {
        if self.server {
            return print_restored(format, &backup::put_right(config, tell).await?);
        }
        let from = self.from.context("a backup's directory, or --server")?;
        let (manifest, restored) = backup::restore(config, &from, tell).await?;
        if !manifest.has_key() && config.key.given().is_none() {
            eprintln!(
                "before you start a host, put the key at {}, or give it as ROWGATE_KEY; what is in it is \
                 sealed with: {}",
                config.data_dir().key().display(),
                manifest.keys.join(", ")
            );
        }
        say_left(&restored);
        eprintln!("what was posted since {} is not in it", output::time(Some(manifest.taken_at)));
        print(format, &manifest)
    }
}

/// Whoever sits there sees how far it is.
fn tell(progress: Progress<'_>) {
    output::takes_a_while(&match progress {
        Progress::Copying { name, bytes } => format!("copying {name}, {bytes} bytes"),
        Progress::Checking { name, bytes } => format!("checking {name}, {bytes} bytes"),
        Progress::PuttingRight { organization } => format!("putting {organization} right"),
    });
}

fn print_restored(format: Format, restored: &Restored) -> anyhow::Result<()> {
    say_left(restored);
    if restored.behind > 0 {
        eprintln!("the tables of some owners are older: what was posted to them is done again");
    }
    if restored.ahead + restored.unknown > 0 {
        eprintln!(
            "the tables of some owners are newer than the control database: what was posted to them since \
             it was copied has to be posted again"
        );
    }
    eprintln!("hosts may be started; receivers get whole copies, and people log in again");
    output::print_object(
        format,
        &[
            ("organizations", restored.organizations.into()),
            ("owners", restored.owners.into()),
            ("owners_behind", restored.behind.into()),
            ("owners_ahead", restored.ahead.into()),
            ("owners_unknown", restored.unknown.into()),
            ("leases_freed", restored.leases.into()),
            ("targets", restored.targets.into()),
            ("sessions_ended", restored.sessions.into()),
            ("organizations_left", restored.left.len().into()),
        ],
    )
}

fn say_left(restored: &Restored) {
    for Left { key, reason } in &restored.left {
        eprintln!(
            "{reason}. So {key} rests, its posts wait, and a host puts it right as soon as it answers; give \
             other URLs if it answers elsewhere (`rowgate db migrations start`), and close the organization \
             if it is gone for good"
        );
    }
}

fn print(format: Format, manifest: &backup::Manifest) -> anyhow::Result<()> {
    let rows: Vec<Vec<Value>> = (manifest.files.iter())
        .map(|file| vec![file.name.clone().into(), file.bytes.into(), file.sha256.clone().into()])
        .collect();
    output::print(format, &["file", "bytes", "sha256"], &rows)
}
