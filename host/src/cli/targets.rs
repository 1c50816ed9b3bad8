//! `rowgate httpsync` and `rowgate dbsync`: calls of the API, here or on a host. Targets are of two kinds,
//! with the same commands for what is the same of both.

mod dbsync;
mod httpsync;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};

use super::client::{self, Answered, Client, given};
use super::named::named;
use crate::store::targets::Kind;

pub(super) use dbsync::DbSync;
pub(super) use httpsync::HttpSync;

/// What is the same of both kinds.
#[derive(Debug, Subcommand)]
pub(super) enum Shared {
    /// List the organization's targets
    List,
    /// Change user and password of the address; what is missing is asked
    UpdateCreds(UpdateCreds),
    /// Stop sending, and forget the target
    Delete(Delete),
    /// Send now what there is, also where a target waits after a failure
    Trigger(Named),
    /// Send again from a point of the past
    Rewind(RewindTo),
    /// Stop sending until it is resumed
    Pause(Pause),
    /// Go on with what came meanwhile
    Resume(Named),
}

named!(
    /// The target's id
    Named, "TARGET", "target", 't'
);

#[derive(Debug, Args)]
pub(super) struct UpdateCreds {
    #[command(flatten)]
    of: Named,
    #[arg(long, short = 'u')]
    user: Option<String>,
    #[arg(long, short = 'p')]
    password: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    #[command(flatten)]
    of: Named,
    /// The name of its table, to be asked nothing
    #[arg(long)]
    confirm: Option<String>,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("to").required(true))]
pub(super) struct RewindTo {
    #[command(flatten)]
    of: Named,
    /// Every row as it stands, then what changes
    #[arg(long, group = "to")]
    beginning: bool,
    /// What changed behind this number of the feed (header rowgate-feed-number)
    #[arg(long, group = "to")]
    number: Option<i64>,
    /// What changed since then, e.g. 2026-03-20T16:00:00Z
    #[arg(long, group = "to", value_name = "TIME")]
    since: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Pause {
    #[command(flatten)]
    of: Named,
    /// Why; it is shown with the target
    #[arg(long)]
    reason: Option<String>,
}

/// Targets of one kind.
struct Targets<'c> {
    client: &'c Client,
    all: String,
}

impl<'c> Targets<'c> {
    fn of(client: &'c Client, kind: Kind) -> anyhow::Result<Self> {
        let all = client.of_org(&format!("sync_targets/{}", kind.name()))?;
        Ok(Self { client, all })
    }

    async fn create(&self, body: Value) -> anyhow::Result<Answered> {
        self.client.post(&format!("{}/create", self.all), body).await
    }

    async fn post(&self, target: Named, call: &str, body: Value) -> anyhow::Result<Answered> {
        self.client.post(&self.path(target, call), body).await
    }

    fn path(&self, target: Named, call: &str) -> String {
        format!("{}/{}/{call}", self.all, client::segment(&target.name()))
    }
}

impl Shared {
    async fn run(self, targets: &Targets<'_>) -> anyhow::Result<Answered> {
        match self {
            Self::List => targets.client.get(&targets.all).await,
            Self::UpdateCreds(UpdateCreds { of, user, password }) => {
                let body = given([("user", user), ("password", password)]);
                targets.post(of, "update_credentials", body).await
            }
            Self::Delete(Delete { of, confirm }) => {
                targets.post(of, "delete", given([("confirm", confirm)])).await
            }
            Self::Trigger(of) => targets.post(of, "sync", json!({})).await,
            Self::Rewind(RewindTo { of, beginning, number, since }) => {
                let body = given([
                    ("beginning", Value::from(beginning)),
                    ("number", Value::from(number)),
                    ("since", Value::from(since)),
                ]);
                targets.post(of, "rewind", body).await
            }
            Self::Pause(Pause { of, reason }) => {
                targets.post(of, "pause", given([("reason", reason)])).await
            }
            Self::Resume(of) => targets.post(of, "resume", json!({})).await,
        }
    }
}
