//! `rowgate plugins`. A running host takes up a change with its next call.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::Value;

use super::output::{self, Format};
use crate::app::App;
use crate::app::plugins::install_file;
use crate::store::plugins::ActivePlugin;

#[derive(Debug, Subcommand)]
pub(super) enum Plugins {
    /// List installed components
    List,
    /// Install a component; it doesn't run before it is activated
    Install {
        /// The component, a .wasm file
        file: PathBuf,
    },
    /// Make an installed version the one that runs
    Activate {
        /// A plugin's name (its newest version) or a digest
        #[arg(required = true, value_name = "NAME|DIGEST")]
        plugins: Vec<String>,
    },
    /// Make the version that ran before run again
    Rollback {
        /// The plugin's name
        name: String,
    },
}

impl Plugins {
    pub(super) async fn run(self, app: &App, format: Format) -> anyhow::Result<()> {
        match self {
            Self::List => list(app, format).await,
            Self::Install { file } => {
                output::takes_a_while("compiling");
                let installed = install_file(&app.store, &app.engine()?, &file).await?;
                if !installed.new {
                    eprintln!("it was installed already");
                }
                output::print_object(
                    format,
                    &[
                        ("name", installed.name.into()),
                        ("version", installed.version.into()),
                        ("digest", installed.digest.into()),
                    ],
                )
            }
            Self::Activate { plugins } => {
                let mut active = Vec::new();
                for plugin in plugins {
                    active.push(app.store.activate_plugin(&plugin).await?);
                }
                print_active(format, &active)
            }
            Self::Rollback { name } => {
                print_active(format, &[app.store.rollback_plugin(&name).await?])
            }
        }
    }
}

fn print_active(format: Format, active: &[ActivePlugin]) -> anyhow::Result<()> {
    let rows: Vec<Vec<Value>> = (active.iter())
        .map(|plugin| {
            vec![
                plugin.name.clone().into(),
                plugin.manifest.plugin.version.clone().into(),
                plugin.digest.clone().into(),
                plugin.previous_digest.clone().into(),
                plugin.epoch.into(),
            ]
        })
        .collect();
    output::print(format, &["name", "version", "digest", "previous_digest", "epoch"], &rows)
}

async fn list(app: &App, format: Format) -> anyhow::Result<()> {
    let rows: Vec<Vec<Value>> = (app.store.plugin_versions().await?.into_iter())
        .map(|version| {
            let state = match (version.active, version.previous) {
                (true, _) => "active",
                (_, true) => "previous",
                _ => "installed",
            };
            vec![
                version.name.into(),
                version.version.into(),
                state.into(),
                version.digest.into(),
                output::time(Some(version.installed_at)),
            ]
        })
        .collect();
    output::print(format, &["name", "version", "state", "digest", "installed_at"], &rows)
}
