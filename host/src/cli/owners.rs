//! `rowgate owners`.

mod remote;

use anyhow::ensure;
use clap::Subcommand;
use serde_json::{Value, json};

use super::output::{self, Format};
use super::streams;
use crate::app::App;
use crate::app::owners::{self, OwnerShown};
use crate::model::OrganizationId;

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
        rows.push(row(owners::owner(app, organization, owner).await?));
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
    let found = app.store.owner_statuses(organization, Some(external_owner_id)).await?;
    ensure!(!found.is_empty(), "no post ever named an owner `{external_owner_id}`");
    for owner in found {
        let of_owner = app.store.streams_of_owner(&owner.root_id, external_owner_id).await?;
        let streams = owners::streams(app, organization, of_owner).await?;
        let streams: Vec<Vec<Value>> = streams.into_iter().map(streams::row).collect();
        let values = row(owners::owner(app, organization, owner).await?);
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

fn row(owner: OwnerShown) -> Vec<Value> {
    vec![
        owner.external_owner_id.into(),
        owner.integration.into(),
        owner.state.into(),
        owner.reason.into(),
        owner.streams.into(),
        owner.rows.into(),
        owner.inbox_waiting.into(),
        output::time(owner.last_success_at),
        output::time(owner.last_full_at),
        output::time(owner.next_due_at),
        output::time(owner.linked_at),
        owner.channels.into(),
        owner.last_error.into(),
    ]
}
