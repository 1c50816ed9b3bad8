//! `rowgate replay`: a call of the API, here or on a host.

use clap::Args;
use serde_json::Value;

use super::client::{self, Client, given};
use super::integrations::OneOrAll;
use super::output::Format;

/// Handle stored webhooks once more, in the order in which they were accepted
#[derive(Debug, Args)]
pub(super) struct Replay {
    #[command(flatten)]
    of: OneOrAll,
    /// Those of so many hours [default: 1]
    #[arg(long, short = 'r')]
    hours: Option<i64>,
    /// Those until then, e.g. 2026-03-20T16:00:00Z [default: now]
    #[arg(long, short = 'b', value_name = "TIME")]
    before: Option<String>,
    /// Those since then
    #[arg(long, short = 'a', value_name = "TIME")]
    after: Option<String>,
    /// This one alone, as the log names it
    #[arg(long, value_name = "ID", conflicts_with_all = ["hours", "before", "after"])]
    id: Option<i64>,
}

impl Replay {
    pub(super) async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        let body = given([
            ("service_integration_identifier", Value::from(self.of.name())),
            ("hours", Value::from(self.hours)),
            ("before", Value::from(self.before)),
            ("after", Value::from(self.after)),
            ("webhook_id", Value::from(self.id)),
        ]);
        let answered = client.post(&client.of_org("replay")?, body).await?;
        client::print(format, &answered)
    }
}
