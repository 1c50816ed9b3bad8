//! `rowgate keys`.

use std::time::Duration;

use clap::Subcommand;
use serde_json::Value;

use super::output::{self, Format};
use crate::app::{App, keys};

#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Seal all secrets with a new key, beside a host that runs, and remove the old one. Goes on where
    /// it was ended
    Rotate {
        /// Give up if a process still seals with the old key after so long
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        wait: u64,
    },
}

impl Keys {
    pub(super) async fn run(self, app: &App, format: Format) -> anyhow::Result<()> {
        let Self::Rotate { wait } = self;
        let rotated = keys::rotate(app, Duration::from_secs(wait), |progress| {
            let (table, column) = progress.of;
            eprintln!("{table}.{column}: {} values sealed again", progress.resealed);
        });
        let rotated = rotated.await?;
        if !rotated.removed {
            eprintln!(
                "nothing is sealed with the other keys any more: take them out of the configuration"
            );
        }
        let retired: Vec<String> = rotated.retired.iter().map(ToString::to_string).collect();
        output::print_object(
            format,
            &[
                ("key", rotated.key.to_string().into()),
                ("resealed", rotated.resealed.into()),
                ("retired", retired.join(" ").into()),
                ("removed", Value::Bool(rotated.removed)),
            ],
        )
    }
}
