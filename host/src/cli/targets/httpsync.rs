//! `rowgate httpsync`.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Here, Shared, period_s, url};
use crate::app::App;
use crate::app::targets::{Asked, AskedTo, Change, PAGE_SIZE};
use crate::cli::output::{self, Format};
use crate::store::targets::Kind;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum HttpSync {
    /// Send a table's rows, and what changes in it, to a receiver; what is missing is asked
    Create(Create),
    /// Change period, page size or shape
    Update(Update),
    /// Print the secret that signs what is sent
    Secret {
        /// The target's id
        target: String,
    },
    #[command(flatten)]
    Shared(Shared),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Create {
    /// Integration, by id, table or service
    pub(super) integration: String,
    /// Where to send, https://user:password@host/path
    #[arg(long, short = 'u', visible_alias = "connection-url")]
    pub(super) url: Option<String>,
    /// Look for changes at least this often, in seconds; they are sent at once anyway
    #[arg(long)]
    pub(super) period: Option<i64>,
    /// Rows of a delivery at most
    #[arg(long, visible_alias = "pagesize", default_value_t = PAGE_SIZE)]
    pub(super) page_size: i64,
    /// Tell of deleted rows too, in fields beside `rows`
    #[arg(long)]
    pub(super) deletions: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Update {
    /// The target's id
    pub(super) target: String,
    /// In seconds
    #[arg(long)]
    pub(super) period: Option<i64>,
    /// Rows of a delivery at most
    #[arg(long, visible_alias = "pagesize")]
    pub(super) page_size: Option<i64>,
    /// Whether deliveries tell of deleted rows
    #[arg(long, action = clap::ArgAction::Set)]
    pub(super) deletions: Option<bool>,
}

impl HttpSync {
    pub(in crate::cli) async fn run(self, app: &App, format: Format) -> anyhow::Result<()> {
        let here = Here::of(app, Kind::Http, format).await?;
        match self {
            Self::Create(create) => create.run(&here).await,
            Self::Update(update) => {
                let change = Change {
                    period_seconds: update.period,
                    page_size: update.page_size,
                    deletions: update.deletions,
                };
                here.print(&here.targets.update(here.organization, &update.target, change).await?)
            }
            Self::Secret { target } => {
                let secret = here.targets.signing_secret(here.organization, &target).await?;
                output::print_object(format, &[("signing_secret", Value::from(&**secret))])
            }
            Self::Shared(shared) => shared.run(&here).await,
        }
    }
}

impl Create {
    async fn run(self, here: &Here) -> anyhow::Result<()> {
        let url = url(self.url, "Where to send, https://user:password@host/path:")?;
        let (page_size, deletions) = (Some(self.page_size), self.deletions);
        let asked = Asked {
            integration: &self.integration,
            connection_url: &url,
            period_seconds: period_s(self.period)?,
            to: AskedTo::Receiver { page_size, deletions },
        };
        let target = here.targets.create(here.organization, asked).await?;
        let secret = here.targets.signing_secret(here.organization, &target.id).await?;
        let mut fields = here.fields(&target);
        fields.push(("signing_secret", Value::from(&**secret)));
        output::print_object(here.format, &fields)
    }
}
