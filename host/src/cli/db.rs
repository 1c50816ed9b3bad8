//! `rowgate db`.

use std::time::Duration;

use clap::Subcommand;

use super::output::{self, Format};
use crate::app::App;
use crate::store::sql::QueryLimits;

#[derive(Debug, Subcommand)]
pub(super) enum Db {
    /// Run one reading statement on the organization's tables, also while a host runs
    Sql {
        /// The statement
        statement: String,
    },
}

impl Db {
    pub(super) async fn run(self, app: &App, format: Format) -> anyhow::Result<()> {
        let Self::Sql { statement } = self;
        let limits = &app.config.limits;
        let limits = QueryLimits {
            rows: limits.sql_rows_max,
            bytes: limits.sql_bytes_max,
            time: Duration::from_millis(limits.sql_timeout_ms),
            cut_rows: false,
        };
        let organization = app.organization().await?;
        let answer = app.store.query(organization.id, &statement, limits).await?;
        output::print(format, &answer.columns, &answer.rows)
    }
}
