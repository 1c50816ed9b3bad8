//! `rowgate httpsync`.

mod remote;

use anyhow::Context;
use clap::{ArgGroup, Args, Subcommand};
use serde_json::Value;

use super::output::{self, Format};
use super::prompt;
use crate::app::App;
use crate::app::targets::{Asked, Change, PAGE_SIZE, Rewind, Targets};
use crate::model::OrganizationId;
use crate::store::targets::Target;

#[derive(Debug, Subcommand)]
pub(super) enum HttpSync {
    /// Send a table's rows, and what changes in it, to a receiver; what is missing is asked
    Create(Create),
    /// List the organization's receivers
    List,
    /// Change period, page size or shape
    Update(Update),
    /// Change user and password of the address
    UpdateCreds(UpdateCreds),
    /// Stop sending, and forget the receiver
    Delete {
        /// The receiver's id
        target: String,
    },
    /// Send now what there is, also where a receiver waits after a failure
    Trigger {
        /// The receiver's id
        target: String,
    },
    /// Send again from a point of the past
    Rewind(RewindTo),
    /// Stop sending until it is resumed
    Pause {
        /// The receiver's id
        target: String,
    },
    /// Go on with what came meanwhile
    Resume {
        /// The receiver's id
        target: String,
    },
    /// Print the secret that signs what is sent
    Secret {
        /// The receiver's id
        target: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Integration, by id, table or service
    integration: String,
    /// Where to send, https://user:password@host/path
    #[arg(long, short = 'u', visible_alias = "connection-url")]
    url: Option<String>,
    /// Look for changes at least this often, in seconds; they are sent at once anyway
    #[arg(long)]
    period: Option<i64>,
    /// Rows of a delivery at most
    #[arg(long, visible_alias = "pagesize", default_value_t = PAGE_SIZE)]
    page_size: i64,
    /// Tell of deleted rows too, in fields beside `rows`
    #[arg(long)]
    deletions: bool,
}

#[derive(Debug, Args)]
pub(super) struct Update {
    /// The receiver's id
    target: String,
    /// In seconds
    #[arg(long)]
    period: Option<i64>,
    /// Rows of a delivery at most
    #[arg(long, visible_alias = "pagesize")]
    page_size: Option<i64>,
    /// Whether deliveries tell of deleted rows
    #[arg(long, action = clap::ArgAction::Set)]
    deletions: Option<bool>,
}

#[derive(Debug, Args)]
pub(super) struct UpdateCreds {
    /// The receiver's id
    target: String,
    #[arg(long, short = 'u')]
    user: String,
    /// Asked where it isn't given
    #[arg(long, short = 'p')]
    password: Option<String>,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("to").required(true))]
pub(super) struct RewindTo {
    /// The receiver's id
    target: String,
    /// Every row as it stands, then what changes
    #[arg(long, group = "to")]
    beginning: bool,
    /// What changed behind this number of the feed (header rowgate-feed-number)
    #[arg(long, group = "to")]
    number: Option<i64>,
    /// What changed since then, e.g. 2026-03-20T16:00:00Z
    #[arg(long, group = "to", value_name = "TIME")]
    since: Option<jiff::Timestamp>,
}

/// Why it is paused, where nobody said why.
const PAUSED_BY_HAND: &str = "paused by an operator";

impl HttpSync {
    pub(super) async fn run(self, app: &App, format: Format) -> anyhow::Result<()> {
        let (targets, organization) = (app.targets()?, app.organization().await?.id);
        match self {
            Self::Create(create) => create.run(&targets, organization, format).await,
            Self::List => list(&targets, organization, format).await,
            Self::Update(update) => {
                let change = Change {
                    period_seconds: update.period,
                    page_size: update.page_size,
                    deletions: update.deletions,
                };
                let target = targets.update(organization, &update.target, change).await?;
                output::print_object(format, &fields(&targets, &target))
            }
            Self::UpdateCreds(creds) => {
                let UpdateCreds { target, user, password } = creds;
                let password = match password {
                    Some(password) => password,
                    None => prompt::ask("Password:", true)?.unwrap_or_default(),
                };
                let updated =
                    targets.update_credentials(organization, &target, &user, &password).await?;
                output::print_object(format, &fields(&targets, &updated))
            }
            Self::Delete { target } => {
                targets.delete(organization, &target).await?;
                eprintln!("deleted: {target}");
                Ok(())
            }
            Self::Trigger { target } => {
                targets.trigger(organization, &target).await?;
                eprintln!("{target} is delivered to as soon as a host sees it");
                Ok(())
            }
            Self::Rewind(rewind) => {
                let target = rewind.target.clone();
                targets.rewind(organization, &target, rewind.to()).await?;
                eprintln!("{target} gets everything since then again");
                Ok(())
            }
            Self::Pause { target } => {
                let paused = targets.pause(organization, &target, PAUSED_BY_HAND).await?;
                output::print_object(format, &fields(&targets, &paused))
            }
            Self::Resume { target } => {
                let resumed = targets.resume(organization, &target).await?;
                output::print_object(format, &fields(&targets, &resumed))
            }
            Self::Secret { target } => {
                let secret = targets.signing_secret(organization, &target).await?;
                output::print_object(format, &[("signing_secret", Value::from(&**secret))])
            }
        }
    }
}

impl Create {
    async fn run(
        self,
        targets: &Targets,
        organization: OrganizationId,
        format: Format,
    ) -> anyhow::Result<()> {
        let url = match self.url {
            Some(url) => url,
            None => {
                let asked = "Where to send, https://user:password@host/path:";
                prompt::ask(asked, true)?.context("--url is missing")?
            }
        };
        let period_seconds = match self.period {
            Some(period) => period,
            None => {
                let asked = "Look for changes at least every so many seconds:";
                let answer = prompt::ask(asked, false)?.context("--period is missing")?;
                answer.parse().context("the period must be a number of seconds")?
            }
        };
        let asked = Asked {
            integration: &self.integration,
            connection_url: &url,
            period_seconds,
            page_size: Some(self.page_size),
            deletions: self.deletions,
        };
        let target = targets.create(organization, asked).await?;
        let secret = targets.signing_secret(organization, &target.id).await?;
        let mut fields = fields(targets, &target);
        fields.push(("signing_secret", Value::from(&**secret)));
        output::print_object(format, &fields)
    }
}

impl RewindTo {
    fn to(&self) -> Rewind {
        match (self.number, self.since) {
            (Some(number), _) => Rewind::Number(number),
            (None, Some(since)) => Rewind::Time(since.as_microsecond()),
            (None, None) => Rewind::Beginning,
        }
    }
}

async fn list(
    targets: &Targets,
    organization: OrganizationId,
    format: Format,
) -> anyhow::Result<()> {
    let all = targets.list(organization).await?;
    let rows: Vec<Vec<(&str, Value)>> = all.iter().map(|one| fields(targets, one)).collect();
    let columns: Vec<&str> = COLUMNS.into();
    let rows: Vec<Vec<Value>> =
        rows.into_iter().map(|row| row.into_iter().map(|(_, value)| value).collect()).collect();
    output::print(format, &columns, &rows)
}

const COLUMNS: [&str; 14] = [
    "opaque_id",
    "integration",
    "table_name",
    "connection_url",
    "period_seconds",
    "page_size",
    "deletions",
    "state",
    "last_synced_at",
    "latency_ms",
    "attempts",
    "next_at",
    "reason",
    "created_at",
];

fn fields(targets: &Targets, target: &Target) -> Vec<(&'static str, Value)> {
    let reason = target.paused.as_ref().or(target.last_error.as_ref());
    let values: [Value; COLUMNS.len()] = [
        target.id.clone().into(),
        target.integration_id.clone().into(),
        target.table_name.clone().into(),
        target.shown_url.clone().into(),
        target.period_s.into(),
        target.page_size.into(),
        target.deletions.into(),
        targets.health(target).name().into(),
        output::time(target.last_synced_at),
        target.last_delivery_ms.into(),
        target.attempts.into(),
        output::time(Some(target.due_at.max(target.not_before))),
        reason.cloned().into(),
        output::time(Some(target.created_at)),
    ];
    COLUMNS.into_iter().zip(values).collect()
}
