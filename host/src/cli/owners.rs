//! `rowgate owners`: calls of the API, here or on a host, tree by tree.

use anyhow::ensure;
use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{self, Client, segment};
use super::output::{self, Format};

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
    let mut all: Vec<Value> = Vec::new();
    let mut page = json!({ "display_headers": [] });
    for root in roots(client).await? {
        let mut after = String::new();
        loop {
            let path =
                client.of_integration(&root, &format!("owners?after={}", segment(&after)))?;
            page = client.get(&path).await?.body;
            let items = page["items"].as_array().cloned().unwrap_or_default();
            let last = items.last().and_then(|last| last["external_owner_id"].as_str());
            after = last.unwrap_or_default().to_owned();
            all.extend(items);
            if page["has_more"] != true {
                break;
            }
        }
    }
    if !all.is_empty() {
        // Of the last tree, which may be empty.
        page["message"] = "".into();
    }
    page["items"] = all.into();
    client::print_body(format, &page)
}

/// One owner in each tree that knows the id.
async fn show(client: &Client, external_owner_id: &str, format: Format) -> anyhow::Result<()> {
    let mut known = false;
    for root in roots(client).await? {
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

/// Integrations that stand at the top of a tree.
async fn roots(client: &Client) -> anyhow::Result<Vec<String>> {
    let all = client.get(&client.of_org("service_integrations")?).await?;
    let all = all.body["items"].as_array().cloned().unwrap_or_default().into_iter();
    let roots = all.filter(|one| one["depends_on"].is_null());
    Ok(roots.filter_map(|one| Some(one["opaque_id"].as_str()?.to_owned())).collect())
}
