//! `rowgate streams`: calls of the API, here or on a host, tree by tree.

use clap::Subcommand;
use serde_json::json;

use super::client::{self, Client, segment};
use super::output::Format;
use super::trees;

#[derive(Debug, Subcommand)]
pub(super) enum Streams {
    /// List streams
    List {
        /// Only those of this external owner id
        #[arg(long, value_name = "ID")]
        owner: Option<String>,
    },
}

impl Streams {
    pub(super) async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        let Self::List { owner } = self;
        let below = format!("streams?owner={}", segment(&owner.unwrap_or_default()));
        let all = trees::all(client, &below, |last| {
            let place = ["external_owner_id", "service", "kind", "key"].map(|part| &last[part]);
            json!(place).to_string()
        });
        client::print_body(format, &all.await?)
    }
}
