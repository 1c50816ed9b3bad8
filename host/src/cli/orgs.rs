//! `rowgate orgs`.

use clap::Subcommand;
use serde_json::Value;

use super::output::{self, Format};
use crate::app::App;

#[derive(Debug, Subcommand)]
pub(super) enum Orgs {
    /// Make an organization
    Create {
        /// Its name; the key is made from it
        name: String,
    },
    /// List organizations
    List,
}

impl Orgs {
    pub(super) async fn run(self, app: &App, format: Format) -> anyhow::Result<()> {
        match self {
            Self::Create { name } => {
                let made = app.store.create_organization(&name).await?;
                output::print_object(
                    format,
                    &[
                        ("id", made.id.into()),
                        ("key", made.key.into()),
                        ("name", made.name.into()),
                        ("created_at", output::time(Some(made.created_at))),
                    ],
                )
            }
            Self::List => {
                let rows: Vec<Vec<Value>> = (app.store.organizations().await?.into_iter())
                    .map(|org| {
                        let created_at = output::time(Some(org.created_at));
                        vec![org.id.into(), org.key.into(), org.name.into(), created_at]
                    })
                    .collect();
                output::print(format, &["id", "key", "name", "created_at"], &rows)
            }
        }
    }
}
