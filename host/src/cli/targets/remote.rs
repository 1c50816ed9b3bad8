//! The same on a host that runs elsewhere, through its API.

use serde_json::{Value, json};

use super::{DbSync, HttpSync, Shared};
use crate::cli::client::{self, Answered, Client, given};
use crate::cli::output::Format;
use crate::store::targets::Kind;

impl HttpSync {
    pub(in crate::cli) async fn run_there(
        self,
        client: &Client,
        format: Format,
    ) -> anyhow::Result<()> {
        let there = There::of(client, Kind::Http)?;
        let answered = match self {
            Self::Create(create) => {
                let body = given([
                    ("service_integration_identifier", Value::from(create.integration)),
                    ("connection_url", Value::from(create.url)),
                    ("period_seconds", Value::from(create.period)),
                    ("page_size", Value::from(create.page_size)),
                    ("deletions", Value::from(create.deletions)),
                ]);
                there.create(body).await?
            }
            Self::Update(update) => {
                let body = given([
                    ("period_seconds", Value::from(update.period)),
                    ("page_size", Value::from(update.page_size)),
                    ("deletions", Value::from(update.deletions)),
                ]);
                there.post(&update.target, "update", body).await?
            }
            Self::Secret { .. } => return here_only(),
            Self::Shared(shared) => shared.run_there(&there).await?,
        };
        client::print(format, &answered)
    }
}

impl DbSync {
    pub(in crate::cli) async fn run_there(
        self,
        client: &Client,
        format: Format,
    ) -> anyhow::Result<()> {
        let there = There::of(client, Kind::Db)?;
        let answered = match self {
            Self::Create(create) => {
                let body = given([
                    ("service_integration_identifier", Value::from(create.integration)),
                    ("connection_url", Value::from(create.url)),
                    ("period_seconds", Value::from(create.period)),
                    ("schema", Value::from(create.schema)),
                    ("table", Value::from(create.table)),
                ]);
                there.create(body).await?
            }
            Self::Update(update) => {
                let body = given([("period_seconds", update.period)]);
                there.post(&update.target, "update", body).await?
            }
            Self::Shared(shared) => shared.run_there(&there).await?,
        };
        client::print(format, &answered)
    }
}

impl Shared {
    async fn run_there(self, there: &There<'_>) -> anyhow::Result<Answered> {
        match self {
            Self::List => there.client.get(&there.all).await,
            Self::UpdateCreds(creds) => {
                let body = given([
                    ("user", Value::from(creds.user)),
                    ("password", Value::from(creds.password)),
                ]);
                there.post(&creds.target, "update_credentials", body).await
            }
            Self::Delete { target } => there.post(&target, "delete", json!({})).await,
            Self::Trigger { target } => there.post(&target, "sync", json!({})).await,
            Self::Rewind(_) | Self::Pause { .. } | Self::Resume { .. } => here_only(),
        }
    }
}

/// Targets of one kind there.
struct There<'c> {
    client: &'c Client,
    all: String,
}

impl<'c> There<'c> {
    fn of(client: &'c Client, kind: Kind) -> anyhow::Result<Self> {
        let all = client.of_org(&format!("sync_targets/{}", kind.name()))?;
        Ok(Self { client, all })
    }

    async fn create(&self, body: Value) -> anyhow::Result<Answered> {
        self.client.post(&format!("{}/create", self.all), body).await
    }

    async fn post(&self, target: &str, call: &str, body: Value) -> anyhow::Result<Answered> {
        let path = format!("{}/{}/{call}", self.all, client::segment(target));
        self.client.post(&path, body).await
    }
}

fn here_only<T>() -> anyhow::Result<T> {
    anyhow::bail!("this works on the host's machine only, without --host")
}
