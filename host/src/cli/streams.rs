//! `rowgate streams`.

use clap::Subcommand;
use serde_json::Value;

use super::output::{self, Format};
use crate::app::App;
use crate::model::OrganizationId;
use crate::store::channels::TopicStatus;
use crate::store::status::StreamStatus;

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
        let rows = rows(app, organization, &streams.iter().collect::<Vec<_>>()).await?;
        output::print(format, &COLUMNS, &rows)
    }
}

pub(super) const COLUMNS: [&str; 14] = [
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

pub(super) async fn rows(
    app: &App,
    organization: OrganizationId,
    streams: &[&StreamStatus],
) -> anyhow::Result<Vec<Vec<Value>>> {
    let mut rows = Vec::new();
    let owner = streams.first().map(|stream| stream.external_owner_id.as_str());
    let one = owner.filter(|one| streams.iter().all(|stream| stream.external_owner_id == *one));
    let topics = app.store.topic_statuses(organization, one).await?;
    for stream in streams {
        let count = count_rows(app, organization, stream).await?;
        let waits = stream.due_at.map(|due_at| due_at.max(stream.not_before));
        let reason = stream.unreadable.clone().or(stream.owner_reason.clone());
        rows.push(vec![
            stream.id.into(),
            stream.external_owner_id.clone().into(),
            stream.root_id.clone().into(),
            stream.service.clone().into(),
            stream.kind.clone().into(),
            stream.key.clone().into(),
            state(stream).into(),
            reason.into(),
            count.into(),
            output::time(stream.last_success_at),
            output::time(stream.last_full_at),
            output::time(waits),
            push(app, stream, &topics).await?.into(),
            stream.last_error.clone().into(),
        ]);
    }
    Ok(rows)
}

/// How its changes reach us; nothing for a stream that asks for no push, or where push is off.
async fn push(
    app: &App,
    stream: &StreamStatus,
    topics: &[TopicStatus],
) -> anyhow::Result<Option<String>> {
    let tree = app.store.tree(&stream.root_id).await?;
    let Some(plugin) = app.store.active_plugin(&tree.root.plugin).await? else { return Ok(None) };
    let mut kinds = plugin.manifest.streams(&stream.service);
    let kind = kinds.find(|(name, _)| *name == stream.kind);
    let Some(push) = kind.and_then(|(_, kind)| kind.push.as_deref()) else { return Ok(None) };
    let topic = topics.iter().find(|topic| {
        (topic.root_id.as_str(), topic.external_owner_id.as_str())
            == (stream.root_id.as_str(), stream.external_owner_id.as_str())
            && (topic.push.as_str(), topic.key.as_str()) == (push, stream.key.as_str())
    });
    Ok(topic.map(|topic| match (topic.expires_at, topic.unsupported, &topic.last_error) {
        (Some(expires_at), ..) => {
            let until = output::time(Some(expires_at));
            format!("until {}", until.as_str().unwrap_or_default())
        }
        (None, true, _) => "unsupported".to_owned(),
        (None, false, Some(error)) => format!("none: {error}"),
        (None, false, None) => "none yet".to_owned(),
    }))
}

fn state(stream: &StreamStatus) -> &'static str {
    match stream {
        stream if stream.owner_state == "grant_dead" => "grant dead",
        stream if stream.unreadable.is_some() => "unreadable",
        stream if stream.taken.is_some() => "running",
        stream if stream.attempts > 0 => "failing",
        stream if stream.last_success_at.is_none() => "syncing",
        _ => "current",
    }
}

/// The rows that the manifest gives to this stream; none while the table doesn't exist.
async fn count_rows(
    app: &App,
    organization: OrganizationId,
    stream: &StreamStatus,
) -> anyhow::Result<Option<i64>> {
    let tree = app.store.tree(&stream.root_id).await?;
    let member = tree.members.iter().find(|member| member.service == stream.service);
    let Some(member) = member else { return Ok(None) };
    let Some(plugin) = app.store.active_plugin(&member.plugin).await? else { return Ok(None) };
    let manifest = plugin.manifest;
    let Some(table) = manifest.table(&stream.service) else { return Ok(None) };
    let owner = table.owner.iter();
    let mut columns: Vec<(String, String)> =
        owner.map(|owner| (owner.clone(), stream.external_owner_id.clone())).collect();
    let kind = manifest.streams(&stream.service).find(|(name, _)| *name == stream.kind);
    let scope = kind.into_iter().flat_map(|(_, kind)| &kind.rows);
    columns
        .extend(scope.map(|(column, value)| (column.clone(), value.replace("{key}", &stream.key))));
    Ok(app.store.count_rows(organization, &member.table_name, &columns).await?)
}
