//! `rowgate services` and `rowgate fixtures`.

use clap::{Args, Subcommand};

use super::client::{self, Client};
use super::named::named;
use super::output::{self, Format};

#[derive(Debug, Subcommand)]
pub(super) enum Services {
    /// What can be configured
    List,
}

impl Services {
    pub(super) async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        let Self::List = self;
        client::print(format, &client.get(&client.of_org("services")?).await?)
    }
}

named!(
    /// A service that an active plugin offers, e.g. google_calendar_list_v1
    Named, "SERVICE", "service", 's'
);

/// SQL that makes a service's table, for tests of your own
#[derive(Debug, Args)]
pub(super) struct Fixtures {
    #[command(flatten)]
    service: Named,
    /// For which database
    #[arg(long, default_value = "postgres", value_parser = ["postgres", "sqlite"])]
    dialect: String,
}

impl Fixtures {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let service = client::segment(&self.service.name());
        let path = format!("/v1/services/{service}/fixtures?dialect={}", self.dialect);
        let answered = client.get(&path).await?;
        output::print_text(answered.body["schema_sql"].as_str().unwrap_or_default())
    }
}
