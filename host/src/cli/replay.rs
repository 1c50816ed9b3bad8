//! `rowgate replay`: a call of the API, here or on a host.

use clap::Args;
use serde_json::Value;

use super::client::{self, Client, given};
use super::output::Format;

/// Handle stored webhooks once more, in the order in which they were accepted
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Integration, by id, table or service; all of the organization, if it isn't given
    integration: Option<String>,
    /// The same
    #[arg(long = "integration", short = 'i', value_name = "INTEGRATION", id = "named")]
    #[arg(conflicts_with = "integration")]
    named: Option<String>,
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
        let integration = self.integration.or(self.named);
        let body = given([
            ("service_integration_identifier", Value::from(integration)),
            ("hours", Value::from(self.hours)),
            ("before", Value::from(self.before)),
            ("after", Value::from(self.after)),
            ("webhook_id", Value::from(self.id)),
        ]);
        let answered = client.post(&client.of_org("replay")?, body).await?;
        client::print(format, &answered)
    }
}
