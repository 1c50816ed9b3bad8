//! `rowgate notifications`: calls of the API, here or on a host.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{self, Client, given};
use super::integrations::OneOrAll;
use super::named::named;
use super::output::Format;

#[derive(Debug, Subcommand)]
pub(super) enum Notifications {
    /// Post each row that changes to a URL; what is missing is asked
    Create(Create),
    /// List the organization's subscriptions
    List,
    /// Post a test event
    Test(Named),
    /// Go on where it was paused, or waits after a failure
    Resume(Named),
    /// Stop posting, and forget the subscription
    Delete(Named),
}

named!(
    /// The subscription's id
    Named, "NOTIFICATION", "notification", 'n'
);

#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    of: OneOrAll,
    /// Where to post, https://host/path
    #[arg(long, short = 'u')]
    url: Option<String>,
    /// Sent with each post in the header Whdb-Webhook-Secret
    #[arg(long, visible_alias = "webhook-secret")]
    secret: Option<String>,
    /// What to tell of: rows, synced; may be repeated [default: rows]
    #[arg(long = "event", value_name = "EVENT")]
    events: Vec<String>,
    /// Tell of deleted rows too
    #[arg(long)]
    deletions: bool,
}

impl Notifications {
    pub(super) async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        let all = client.of_org("webhook_subscriptions")?;
        let of =
            |named: Named, call: &str| format!("{all}/{}/{call}", client::segment(&named.name()));
        let answered = match self {
            Self::List => client.get(&all).await?,
            Self::Create(create) => {
                let body = given([
                    ("service_integration_identifier", Value::from(create.of.name())),
                    ("url", Value::from(create.url)),
                    ("webhook_secret", Value::from(create.secret)),
                    ("events", Value::from(create.events)),
                    ("deletions", Value::from(create.deletions)),
                ]);
                client.post(&format!("{all}/create"), body).await?
            }
            Self::Test(named) => client.post(&of(named, "test"), json!({})).await?,
            Self::Resume(named) => client.post(&of(named, "resume"), json!({})).await?,
            Self::Delete(named) => client.post(&of(named, "delete"), json!({})).await?,
        };
        client::print(format, &answered)
    }
}
