//! `rowgate dbsync`.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Named, Shared, Targets};
use crate::cli::client::{self, Client, given};
use crate::cli::integrations;
use crate::cli::output::Format;
use crate::store::targets::Kind;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum DbSync {
    /// Keep a copy of a table in a PostgreSQL database; what is missing is asked
    Create(Create),
    /// Change the period
    Update(Update),
    #[command(flatten)]
    Shared(Shared),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Create {
    #[command(flatten)]
    of: integrations::Named,
    /// The database, postgres://user:password@host:5432/database
    #[arg(long, short = 'u', visible_alias = "connection-url")]
    url: Option<String>,
    /// Look for changes at least this often, in seconds; they are copied at once anyway
    #[arg(long)]
    period: Option<i64>,
    /// Where the copy stands [default: public]
    #[arg(long)]
    schema: Option<String>,
    /// What it is called [default: as the table]
    #[arg(long)]
    table: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Update {
    #[command(flatten)]
    of: Named,
    /// In seconds
    #[arg(long)]
    period: Option<i64>,
}

impl DbSync {
    pub(in crate::cli) async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        let targets = Targets::of(client, Kind::Db)?;
        let answered = match self {
            Self::Create(create) => {
                let body = given([
                    ("service_integration_identifier", Value::from(create.of.name())),
                    ("connection_url", Value::from(create.url)),
                    ("period_seconds", Value::from(create.period)),
                    ("schema", Value::from(create.schema)),
                    ("table", Value::from(create.table)),
                ]);
                targets.create(body).await?
            }
            Self::Update(Update { of, period }) => {
                targets.post(of, "update", given([("period_seconds", period)])).await?
            }
            Self::Shared(shared) => shared.run(&targets).await?,
        };
        client::print(format, &answered)
    }
}
