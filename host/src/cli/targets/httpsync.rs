//! `rowgate httpsync`.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Named, Shared, Targets};
use crate::cli::client::{self, Client, given};
use crate::cli::integrations;
use crate::cli::output::Format;
use crate::store::targets::Kind;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum HttpSync {
    /// Send a table's rows, and what changes in it, to a receiver; what is missing is asked
    Create(Create),
    /// Change period, page size or shape
    Update(Update),
    /// Print the secret that signs what is sent
    Secret(Named),
    #[command(flatten)]
    Shared(Shared),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Create {
    #[command(flatten)]
    of: integrations::Named,
    /// Where to send, https://user:password@host/path
    #[arg(long, short = 'u', visible_alias = "connection-url")]
    url: Option<String>,
    /// Look for changes at least this often, in seconds; they are sent at once anyway
    #[arg(long)]
    period: Option<i64>,
    /// Rows of a delivery at most [default: 200]
    #[arg(long, visible_alias = "pagesize")]
    page_size: Option<i64>,
    /// Tell of deleted rows too, in fields beside `rows`
    #[arg(long)]
    deletions: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Update {
    #[command(flatten)]
    of: Named,
    /// In seconds
    #[arg(long)]
    period: Option<i64>,
    /// Rows of a delivery at most
    #[arg(long, visible_alias = "pagesize")]
    page_size: Option<i64>,
    /// Whether deliveries tell of deleted rows; `true` begins with a copy of the whole table
    #[arg(long, action = clap::ArgAction::Set)]
    deletions: Option<bool>,
}

impl HttpSync {
    pub(in crate::cli) async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        let targets = Targets::of(client, Kind::Http)?;
        let answered = match self {
            Self::Create(create) => {
                let body = given([
                    ("service_integration_identifier", Value::from(create.of.name())),
                    ("connection_url", Value::from(create.url)),
                    ("period_seconds", Value::from(create.period)),
                    ("page_size", Value::from(create.page_size)),
                    ("deletions", Value::from(create.deletions)),
                ]);
                targets.create(body).await?
            }
            Self::Update(Update { of, period, page_size, deletions }) => {
                let body = given([
                    ("period_seconds", Value::from(period)),
                    ("page_size", Value::from(page_size)),
                    ("deletions", Value::from(deletions)),
                ]);
                targets.post(of, "update", body).await?
            }
            Self::Secret(of) => client.get(&targets.path(of, "secret")).await?,
            Self::Shared(shared) => shared.run(&targets).await?,
        };
        client::print(format, &answered)
    }
}
