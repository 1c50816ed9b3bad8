//! `rowgate owners`: calls of the API, here or on a host, tree by tree.

use anyhow::ensure;
use clap::Subcommand;
use serde_json::Value;

use super::client::{self, Client, segment};
use super::output::{self, Format};
use super::trees;

#[derive(Debug, Subcommand)]
pub(super) enum Owners {
    /// List owners
    List,
    /// Show an owner and its streams
    Show {
        /// The external owner id, as it was posted
        external_owner_id: String,
    },
}

impl Owners {
    pub(super) async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        match self {
            Self::List => list(client, format).await,
            Self::Show { external_owner_id } => show(client, &external_owner_id, format).await,
        }
    }
}

async fn list(client: &Client, format: Format) -> anyhow::Result<()> {
    let place = |last: &Value| last["external_owner_id"].as_str().unwrap_or_default().to_owned();
    client::print_body(format, &trees::all(client, "owners", place).await?)
}

/// One owner in each tree that knows the id.
async fn show(client: &Client, external_owner_id: &str, format: Format) -> anyhow::Result<()> {
    let mut known = false;
    for root in trees::roots(client).await? {
        let path = client.of_integration(&root, "owners")?;
        let path = format!("{path}/{}", segment(external_owner_id));
        let Some(owner) = client.find(&path, "no_such_owner").await? else { continue };
        known = true;
        let streams = client.get(&format!("{path}/streams")).await?;
        if format == Format::Json {
            let mut whole = owner.body;
            whole["stream_list"] = streams.body["items"].clone();
            client::print_body(format, &whole)?;
        } else {
            client::print(format, &owner)?;
            output::print_text("\n")?;
            client::print(format, &streams)?;
        }
    }
    ensure!(known, "no post ever named an owner `{external_owner_id}`");
    Ok(())
}
