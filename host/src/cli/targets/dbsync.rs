//! `rowgate dbsync`.

use clap::{Args, Subcommand};

use super::{Here, Shared, period_s, url};
use crate::app::App;
use crate::app::targets::{Asked, AskedTo, Change};
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
    /// Integration, by id, table or service
    pub(super) integration: String,
    /// The database, postgres://user:password@host:5432/database
    #[arg(long, short = 'u', visible_alias = "connection-url")]
    pub(super) url: Option<String>,
    /// Look for changes at least this often, in seconds; they are copied at once anyway
    #[arg(long)]
    pub(super) period: Option<i64>,
    /// Where the copy stands [default: public]
    #[arg(long)]
    pub(super) schema: Option<String>,
    /// What it is called [default: as the table]
    #[arg(long)]
    pub(super) table: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Update {
    /// The target's id
    pub(super) target: String,
    /// In seconds
    #[arg(long)]
    pub(super) period: i64,
}

impl DbSync {
    pub(in crate::cli) async fn run(self, app: &App, format: Format) -> anyhow::Result<()> {
        let here = Here::of(app, Kind::Db, format).await?;
        match self {
            Self::Create(create) => create.run(&here).await,
            Self::Update(update) => {
                let change = Change { period_seconds: Some(update.period), ..Change::default() };
                here.print(&here.targets.update(here.organization, &update.target, change).await?)
            }
            Self::Shared(shared) => shared.run(&here).await,
        }
    }
}

impl Create {
    async fn run(self, here: &Here) -> anyhow::Result<()> {
        let url = url(self.url, "The database, postgres://user:password@host:5432/database:")?;
        let (schema, table) = (self.schema.unwrap_or_default(), self.table.unwrap_or_default());
        let asked = Asked {
            integration: &self.integration,
            connection_url: &url,
            period_seconds: period_s(self.period)?,
            to: AskedTo::Database { schema: &schema, table: &table },
        };
        here.print(&here.targets.create(here.organization, asked).await?)
    }
}
