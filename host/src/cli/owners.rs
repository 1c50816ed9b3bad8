//! `rowgate owners`.

use anyhow::ensure;
use clap::Subcommand;
use serde_json::{Value, json};

use super::output::{self, Format};
use super::streams;
use crate::app::App;
use crate::model::OrganizationId;
use crate::store::integrations::Tree;
use crate::store::status::OwnerStatus;

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
    pub(super) async fn run(self, app: &App, format: Format) -> anyhow::Result<()> {
        let organization = app.organization().await?.id;
        match self {
            Self::List => list(app, organization, format).await,
            Self::Show { external_owner_id } => {
                show(app, organization, &external_owner_id, format).await
            }
        }
    }
}

const COLUMNS: [&str; 13] = [
    "external_owner_id",
    "integration",
    "state",
    "reason",
    "streams",
    "rows",
    "inbox_waiting",
    "last_success",
    "last_full_read",
    "next_due",
    "linked_at",
    "channels",
    "last_error",
];

async fn list(app: &App, organization: OrganizationId, format: Format) -> anyhow::Result<()> {
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for owner in app.store.owner_statuses(organization, None).await? {
        rows.push(row(app, organization, &owner).await?);
    }
    output::print(format, &COLUMNS, &rows)
}

/// One owner in each tree that knows the id.
async fn show(
    app: &App,
    organization: OrganizationId,
    external_owner_id: &str,
    format: Format,
) -> anyhow::Result<()> {
    let owners = app.store.owner_statuses(organization, Some(external_owner_id)).await?;
    ensure!(!owners.is_empty(), "no post ever named an owner `{external_owner_id}`");
    let all = app.store.stream_statuses(organization, Some(external_owner_id)).await?;
    for owner in owners {
        let of_owner: Vec<_> = all.iter().filter(|s| s.root_id == owner.root_id).collect();
        let streams = streams::rows(app, organization, &of_owner).await?;
        let values = row(app, organization, &owner).await?;
        let mut fields: Vec<(&str, Value)> = COLUMNS.into_iter().zip(values).collect();
        if format == Format::Json {
            let objects = streams.into_iter().map(|stream| {
                let names = streams::COLUMNS.iter().map(|name| (*name).to_owned());
                names.zip(stream).collect::<serde_json::Map<_, _>>()
            });
            fields.push(("stream_list", json!(objects.collect::<Vec<_>>())));
            output::print_object(format, &fields)?;
        } else {
            output::print_object(format, &fields)?;
            output::print_text("\n")?;
            output::print(format, &streams::COLUMNS, &streams)?;
        }
    }
    Ok(())
}

async fn row(
    app: &App,
    organization: OrganizationId,
    owner: &OwnerStatus,
) -> anyhow::Result<Vec<Value>> {
    let tree = app.store.tree(&owner.root_id).await?;
    let rows = count_rows(app, organization, &tree, &owner.external_owner_id).await?;
    let waits = owner.due_at.map(|due_at| due_at.max(owner.not_before));
    Ok(vec![
        owner.external_owner_id.clone().into(),
        owner.root_id.clone().into(),
        state(owner).into(),
        owner.reason.clone().or(tree.misconfigured).into(),
        owner.streams.into(),
        rows.into(),
        (owner.waiting + owner.parked).into(),
        output::time(owner.last_success_at),
        output::time(owner.last_full_at),
        output::time(waits),
        output::time(owner.linked_at),
        channels(app, organization, owner).await?.into(),
        owner.last_error.clone().into(),
    ])
}

/// Push channels by state, those that are gone left out.
async fn channels(
    app: &App,
    organization: OrganizationId,
    owner: &OwnerStatus,
) -> anyhow::Result<Option<String>> {
    let counts = app.store.channel_counts(organization, &owner.external_owner_id).await?;
    let of_tree = counts.iter().filter(|count| count.root_id == owner.root_id);
    let each: Vec<String> = of_tree.map(|c| format!("{} {}", c.count, c.state)).collect();
    Ok(Some(each.join(", ")).filter(|text| !text.is_empty()))
}

/// `current` once every stream came to an end and no post waits.
fn state(owner: &OwnerStatus) -> &'static str {
    match owner.state.as_str() {
        "grant_dead" => "grant dead",
        "linked" if owner.waiting > 0 || owner.unfinished > 0 => "syncing",
        "linked" if owner.streams == 0 => "linked",
        "linked" => "current",
        _ if owner.waiting > 0 => "linking",
        _ => "unlinked",
    }
}

/// Rows of an owner in all tables of its tree.
async fn count_rows(
    app: &App,
    organization: OrganizationId,
    tree: &Tree,
    external_owner_id: &str,
) -> anyhow::Result<i64> {
    let mut rows = 0;
    for member in &tree.members {
        let Some(plugin) = app.store.active_plugin(&member.plugin).await? else { continue };
        let table = plugin.manifest.table(&member.service);
        let Some(owner) = table.and_then(|table| table.owner.clone()) else { continue };
        let of_owner = [(owner, external_owner_id.to_owned())];
        let count = app.store.count_rows(organization, &member.table_name, &of_owner).await?;
        rows += count.unwrap_or(0);
    }
    Ok(rows)
}
