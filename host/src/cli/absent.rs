//! What WebhookDB has and this host hasn't: its API says what there is instead.

use clap::{Args, Subcommand};
use serde_json::json;

use super::client::{self, Client, given};
use super::integrations::Named;
use super::named::named;
use super::output::Format;

/// Read everything again: says how that is done here
#[derive(Debug, Args)]
#[command(subcommand_negates_reqs = true)]
pub(super) struct Backfill {
    #[command(subcommand)]
    again: Option<Again>,
    #[command(flatten)]
    of: Named,
}

#[derive(Debug, Subcommand)]
enum Again {
    /// The same from nothing
    Reset(Named),
}

impl Backfill {
    pub(super) async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        let path = match &self.again {
            Some(Again::Reset(of)) => client.of_integration(&of.name(), "backfill/reset")?,
            None => client.of_integration(&self.of.name(), "backfill")?,
        };
        client::print(format, &client.post(&path, json!({})).await?)
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum SavedViews {
    /// Keep a view
    #[command(visible_aliases = ["create", "replace", "new", "update"])]
    CreateOrReplace {
        /// Its name
        #[arg(long, short)]
        name: Option<String>,
        /// The statement
        #[arg(long)]
        sql: Option<String>,
    },
    /// List the organization's views
    List,
    /// Forget a view
    Delete(View),
}

named!(
    /// Its name
    View, "NAME", "name", 'n'
);

impl SavedViews {
    pub(super) async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        let all = client.of_org("saved_views")?;
        let answered = match self {
            Self::CreateOrReplace { name, sql } => {
                let body = given([("name", name), ("sql", sql)]);
                client.post(&format!("{all}/create_or_replace"), body).await?
            }
            Self::List => client.get(&all).await?,
            Self::Delete(view) => {
                let body = given([("name", view.name())]);
                client.post(&format!("{all}/delete"), body).await?
            }
        };
        client::print(format, &answered)
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Subscription {
    /// The plan
    Info,
    /// Plans that there are
    Plans,
    /// Choose a plan
    Edit {
        /// Which
        #[arg(long, short)]
        plan: Option<String>,
    },
}

impl Subscription {
    pub(super) async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        let of = client.of_org("subscriptions")?;
        let answered = match self {
            Self::Info => client.get(&of).await?,
            Self::Plans => client.get(&format!("{of}/plans")).await?,
            Self::Edit { plan } => {
                client.post(&format!("{of}/open_portal"), given([("plan", plan)])).await?
            }
        };
        client::print(format, &answered)
    }
}
