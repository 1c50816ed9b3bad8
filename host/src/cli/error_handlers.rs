//! `rowgate error-handlers`: calls of the API, here or on a host.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{self, Client, given};
use super::output::Format;

#[derive(Debug, Subcommand)]
pub(super) enum ErrorHandlers {
    /// Tell a URL when somebody must act: a grant is dead, calendars are unreadable, a receiver is paused
    Create {
        /// https, or a DSN of Sentry's; asked where it isn't given
        #[arg(long, short = 'u')]
        url: Option<String>,
    },
    /// List the organization's error handlers
    List,
    /// Tell no more
    Delete(Named),
}

/// An error handler.
#[derive(Debug, Args)]
pub(super) struct Named {
    /// The error handler's id
    #[arg(required_unless_present = "named")]
    error_handler: Option<String>,
    /// The same
    #[arg(long = "error-handler", short = 'e', value_name = "ERROR_HANDLER", id = "named")]
    #[arg(conflicts_with = "error_handler")]
    named: Option<String>,
}

impl ErrorHandlers {
    pub(super) async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        let all = client.of_org("error_handlers")?;
        let answered = match self {
            Self::List => client.get(&all).await?,
            Self::Create { url } => {
                let body = given([("url", Value::from(url))]);
                client.post(&format!("{all}/create"), body).await?
            }
            Self::Delete(named) => {
                let id = named.error_handler.or(named.named).unwrap_or_default();
                client.post(&format!("{all}/{}/delete", client::segment(&id)), json!({})).await?
            }
        };
        client::print(format, &answered)
    }
}
