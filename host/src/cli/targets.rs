//! `rowgate httpsync` and `rowgate dbsync`: targets of two kinds, with the same commands for what is
//! the same of both.

mod dbsync;
mod httpsync;
mod remote;

use anyhow::Context;
use clap::{ArgGroup, Args, Subcommand};
use serde_json::Value;

use super::output::{self, Format};
use super::prompt;
use crate::app::App;
use crate::app::targets::{Rewind, Targets};
use crate::model::OrganizationId;
use crate::store::targets::{Kind, Target};

pub(super) use dbsync::DbSync;
pub(super) use httpsync::HttpSync;

/// What is the same of both kinds.
#[derive(Debug, Subcommand)]
pub(super) enum Shared {
    /// List the organization's targets
    List,
    /// Change user and password of the address
    UpdateCreds(UpdateCreds),
    /// Stop sending, and forget the target
    Delete {
        /// The target's id
        target: String,
    },
    /// Send now what there is, also where a target waits after a failure
    Trigger {
        /// The target's id
        target: String,
    },
    /// Send again from a point of the past
    Rewind(RewindTo),
    /// Stop sending until it is resumed
    Pause {
        /// The target's id
        target: String,
    },
    /// Go on with what came meanwhile
    Resume {
        /// The target's id
        target: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct UpdateCreds {
    /// The target's id
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
    /// The target's id
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

/// Targets of one kind, of the organization that a command works on.
struct Here {
    targets: Targets,
    organization: OrganizationId,
    kind: Kind,
    format: Format,
}

impl Here {
    async fn of(app: &App, kind: Kind, format: Format) -> anyhow::Result<Self> {
        let (targets, organization) = (app.targets(kind)?, app.organization().await?.id);
        Ok(Self { targets, organization, kind, format })
    }

    fn print(&self, target: &Target) -> anyhow::Result<()> {
        output::print_object(self.format, &self.fields(target))
    }

    async fn list(&self) -> anyhow::Result<()> {
        let all = self.targets.list(self.organization).await?;
        let columns = columns(self.kind);
        let rows = all.iter().map(|target| {
            let fields = self.fields(target).into_iter();
            fields.map(|(_, value)| value).collect::<Vec<Value>>()
        });
        output::print(self.format, &columns, &rows.collect::<Vec<_>>())
    }

    fn fields(&self, target: &Target) -> Vec<(&'static str, Value)> {
        let value = |name: &str| match name {
            "opaque_id" => target.id.clone().into(),
            "integration" => target.integration_id.clone().into(),
            "table_name" => target.table_name.clone().into(),
            "connection_url" => target.shown_url.clone().into(),
            "schema" => target.to_schema.clone().into(),
            "table" => target.to_table.clone().into(),
            "period_seconds" => target.period_s.into(),
            "page_size" => target.page_size.into(),
            "deletions" => target.deletions.into(),
            "state" => self.targets.health(target).name().into(),
            "last_synced_at" => output::time(target.last_synced_at),
            "latency_ms" => target.last_delivery_ms.into(),
            "attempts" => target.attempts.into(),
            "next_at" => output::time(Some(target.due_at.max(target.not_before))),
            "reason" => target.reason().cloned().into(),
            "created_at" => output::time(Some(target.created_at)),
            _ => Value::Null,
        };
        columns(self.kind).into_iter().map(|name| (name, value(name))).collect()
    }
}

impl Shared {
    async fn run(self, here: &Here) -> anyhow::Result<()> {
        let Here { targets, organization, .. } = here;
        let organization = *organization;
        match self {
            Self::List => here.list().await,
            Self::UpdateCreds(creds) => {
                let UpdateCreds { target, user, password } = creds;
                let password = match password {
                    Some(password) => password,
                    None => prompt::ask("Password:", true)?.unwrap_or_default(),
                };
                let updated = targets.update_credentials(organization, &target, &user, &password);
                here.print(&updated.await?)
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
                here.print(&targets.pause(organization, &target, PAUSED_BY_HAND).await?)
            }
            Self::Resume { target } => here.print(&targets.resume(organization, &target).await?),
        }
    }
}

/// What was said, or is asked.
fn url(said: Option<String>, asked: &str) -> anyhow::Result<String> {
    match said {
        Some(url) => Ok(url),
        None => prompt::ask(asked, true)?.context("--url is missing"),
    }
}

/// The same.
fn period_s(said: Option<i64>) -> anyhow::Result<i64> {
    if let Some(period) = said {
        return Ok(period);
    }
    let asked = "Look for changes at least every so many seconds:";
    let answer = prompt::ask(asked, false)?.context("--period is missing")?;
    answer.parse().context("the period must be a number of seconds")
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

/// What is shown of a target.
fn columns(kind: Kind) -> Vec<&'static str> {
    let own = match kind {
        Kind::Http | Kind::Notification => ["period_seconds", "page_size", "deletions"],
        Kind::Db => ["schema", "table", "period_seconds"],
    };
    let first = ["opaque_id", "integration", "table_name", "connection_url"];
    let last =
        ["state", "last_synced_at", "latency_ms", "attempts", "next_at", "reason", "created_at"];
    first.into_iter().chain(own).chain(last).collect()
}
