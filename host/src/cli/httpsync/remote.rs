//! The same on a host that runs elsewhere, through its API.

use serde_json::{Value, json};

use super::HttpSync;
use crate::cli::client::{self, Client, given};
use crate::cli::output::Format;

impl HttpSync {
    pub(in crate::cli) async fn run_there(
        self,
        client: &Client,
        format: Format,
    ) -> anyhow::Result<()> {
        let all = client.of_org("sync_targets/http")?;
        let of = |target: &str, call: &str| format!("{all}/{}/{call}", client::segment(target));
        let answered = match self {
            Self::List => client.get(&all).await?,
            Self::Create(create) => {
                let body = given([
                    ("service_integration_identifier", Value::from(create.integration)),
                    ("connection_url", Value::from(create.url)),
                    ("period_seconds", Value::from(create.period)),
                    ("page_size", Value::from(create.page_size)),
                    ("deletions", Value::from(create.deletions)),
                ]);
                client.post(&format!("{all}/create"), body).await?
            }
            Self::Update(update) => {
                let body = given([
                    ("period_seconds", Value::from(update.period)),
                    ("page_size", Value::from(update.page_size)),
                    ("deletions", Value::from(update.deletions)),
                ]);
                client.post(&of(&update.target, "update"), body).await?
            }
            Self::UpdateCreds(creds) => {
                let body = given([
                    ("user", Value::from(creds.user)),
                    ("password", Value::from(creds.password)),
                ]);
                client.post(&of(&creds.target, "update_credentials"), body).await?
            }
            Self::Delete { target } => client.post(&of(&target, "delete"), json!({})).await?,
            Self::Trigger { target } => client.post(&of(&target, "sync"), json!({})).await?,
            Self::Rewind(_) | Self::Pause { .. } | Self::Resume { .. } | Self::Secret { .. } => {
                anyhow::bail!("this works on the host's machine only, without --host")
            }
        };
        client::print(format, &answered)
    }
}
