//! `rowgate streams`.

use clap::Subcommand;
use serde_json::Value;

use super::output::{self, Format};
use crate::app::App;
use crate::app::owners::{self, StreamShown};

#[derive(Debug, Subcommand)]
pub(super) enum Streams {
    /// List streams
    List {
        /// Only those of this external owner id
        #[arg(long, value_name = "ID")]
        owner: Option<String>,
    },
}

impl Streams {
    pub(super) async fn run(self, app: &App, format: Format) -> anyhow::Result<()> {
        let Self::List { owner } = self;
        let organization = app.organization().await?.id;
        let streams = app.store.stream_statuses(organization, owner.as_deref()).await?;
        let shown = owners::streams(app, organization, streams).await?;
        output::print(format, &COLUMNS, &shown.into_iter().map(row).collect::<Vec<_>>())
    }
}

const COLUMNS: [&str; 14] = [
    "id",
    "external_owner_id",
    "integration",
    "service",
    "kind",
    "key",
    "state",
    "reason",
    "rows",
    "last_success",
    "last_full_read",
    "next_due",
    "push",
    "last_error",
];

fn row(stream: StreamShown) -> Vec<Value> {
    vec![
        stream.id.into(),
        stream.external_owner_id.into(),
        stream.integration.into(),
        stream.service.into(),
        stream.kind.into(),
        stream.key.into(),
        stream.state.into(),
        stream.reason.into(),
        stream.rows.into(),
        output::time(stream.last_success_at),
        output::time(stream.last_full_at),
        output::time(stream.next_due_at),
        stream.push.into(),
        stream.last_error.into(),
    ]
}
