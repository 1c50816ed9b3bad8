//! `rowgate error-handlers`: calls of the API, here or on a host.

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{self, Client, given};
use super::named::named;
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

named!(
    /// The error handler's id
    Named, "ERROR_HANDLER", "error-handler", 'e'
);

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
                let path = format!("{all}/{}/delete", client::segment(&named.name()));
                client.post(&path, json!({})).await?
            }
        };
        client::print(format, &answered)
    }
}
