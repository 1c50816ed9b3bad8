//! The same on a host that runs elsewhere, through its API.

use serde_json::{Value, json};

use super::HttpSync;
use crate::cli::client::{self, Client};
use crate::cli::output::Format;

impl HttpSync {
    pub(in crate::cli) async fn run_there(
        self,
        client: &Client,
        format: Format,
    ) -> anyhow::Result<()> {
        let all = client.of_org("sync_targets/http");
        let of =
            |target: &str, call: &str| client.of_org(&format!("sync_targets/http/{target}/{call}"));
        let answered = match self {
            Self::List => client.get(&all).await?,
            Self::Create(create) => {
                let body = given([
                    ("service_integration_identifier", create.integration.into()),
                    ("connection_url", create.url.into()),
                    ("period_seconds", create.period.into()),
                    ("page_size", create.page_size.into()),
                    ("deletions", create.deletions.into()),
                ]);
                client.post(&format!("{all}/create"), body).await?
            }
            Self::Update(update) => {
                let body = given([
                    ("period_seconds", update.period.into()),
                    ("page_size", update.page_size.into()),
                    ("deletions", update.deletions.into()),
                ]);
                client.post(&of(&update.target, "update"), body).await?
            }
            Self::UpdateCreds(creds) => {
                let body =
                    given([("user", creds.user.into()), ("password", creds.password.into())]);
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

/// What isn't null.
fn given<const N: usize>(members: [(&str, Value); N]) -> Value {
    let given = members.into_iter().filter(|(_, value)| !value.is_null());
    given.map(|(name, value)| (name.to_owned(), value)).collect()
}
