//! Owners and their streams as they are shown, whoever looks.

use std::collections::HashMap;

use super::App;
use crate::model::{Micros, OrganizationId};
use crate::store::Error;
use crate::store::channels::TopicStatus;
use crate::store::integrations::Tree;
use crate::store::status::{OwnerStatus, StreamStatus};

/// An owner.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct OwnerShown {
    pub external_owner_id: String,
    /// The top of its tree.
    pub integration: String,
    pub state: &'static str,
    pub reason: Option<String>,
    pub streams: i64,
    /// In all tables of its tree.
    pub rows: i64,
    /// Webhooks that wait, or failed for good.
    pub inbox_waiting: i64,
    pub last_success_at: Option<Micros>,
    pub last_full_at: Option<Micros>,
    pub next_due_at: Option<Micros>,
    pub linked_at: Option<Micros>,
    /// Push channels by state, those that are gone left out.
    pub channels: Option<String>,
    pub last_error: Option<String>,
}

/// A stream.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct StreamShown {
    pub id: i64,
    pub external_owner_id: String,
    /// The top of its owner's tree.
    pub integration: String,
    pub service: String,
    pub kind: String,
    pub key: String,
    pub state: &'static str,
    pub reason: Option<String>,
    /// None: its table isn't there.
    pub rows: Option<i64>,
    pub last_success_at: Option<Micros>,
    pub last_full_at: Option<Micros>,
    pub next_due_at: Option<Micros>,
    /// How its changes reach us.
    pub push: Option<String>,
    pub last_error: Option<String>,
}

/// An owner with what is counted for it.
pub async fn owner(
    app: &App,
    organization: OrganizationId,
    owner: OwnerStatus,
) -> Result<OwnerShown, Error> {
    let tree = app.store.tree(&owner.root_id).await?;
    let rows = owner_rows(app, organization, &tree, &owner.external_owner_id).await?;
    let channels = channels(app, organization, &owner).await?;
    Ok(OwnerShown {
        state: owner_state(&owner),
        reason: owner.reason.or(tree.misconfigured),
        streams: owner.streams,
        rows,
        inbox_waiting: owner.waiting + owner.parked,
        last_success_at: owner.last_success_at,
        last_full_at: owner.last_full_at,
        next_due_at: owner.due_at.map(|due_at| due_at.max(owner.not_before)),
        linked_at: owner.linked_at,
        channels,
        last_error: owner.last_error,
        external_owner_id: owner.external_owner_id,
        integration: owner.root_id,
    })
}

/// Streams with what is counted for them.
pub async fn streams(
    app: &App,
    organization: OrganizationId,
    streams: Vec<StreamStatus>,
) -> Result<Vec<StreamShown>, Error> {
    let mut topics_of = HashMap::new();
    let mut shown = Vec::with_capacity(streams.len());
    for stream in streams {
        let rows = stream_rows(app, organization, &stream).await?;
        let owner = (stream.root_id.clone(), stream.external_owner_id.clone());
        if !topics_of.contains_key(&owner) {
            let topics = app.store.topic_statuses(&owner.0, &owner.1).await?;
            topics_of.insert(owner.clone(), topics);
        }
        let push = push(app, &stream, &topics_of[&owner]).await?;
        shown.push(StreamShown {
            id: stream.id,
            state: stream_state(&stream),
            reason: stream.unreadable.or(stream.owner_reason),
            rows,
            last_success_at: stream.last_success_at,
            last_full_at: stream.last_full_at,
            next_due_at: stream.due_at.map(|due_at| due_at.max(stream.not_before)),
            push,
            last_error: stream.last_error,
            external_owner_id: stream.external_owner_id,
            integration: stream.root_id,
            service: stream.service,
            kind: stream.kind,
            key: stream.key,
        });
    }
    Ok(shown)
}

async fn channels(
    app: &App,
    organization: OrganizationId,
    owner: &OwnerStatus,
) -> Result<Option<String>, Error> {
    let counts = app.store.channel_counts(organization, &owner.external_owner_id).await?;
    let of_tree = counts.iter().filter(|count| count.root_id == owner.root_id);
    let each: Vec<String> = of_tree.map(|c| format!("{} {}", c.count, c.state)).collect();
    Ok(Some(each.join(", ")).filter(|text| !text.is_empty()))
}

/// `current` once every stream came to an end and no post waits.
fn owner_state(owner: &OwnerStatus) -> &'static str {
    match owner.state.as_str() {
        "grant_dead" => "grant dead",
        "linked" if owner.waiting > 0 || owner.unfinished > 0 => "syncing",
        "linked" if owner.streams == 0 => "linked",
        "linked" => "current",
        _ if owner.waiting > 0 => "linking",
        _ => "unlinked",
    }
}

/// Rows of an owner in all tables of its tree.
async fn owner_rows(
    app: &App,
    organization: OrganizationId,
    tree: &Tree,
    external_owner_id: &str,
) -> Result<i64, Error> {
    let mut rows = 0;
    for member in &tree.members {
        let Some(plugin) = app.store.active_plugin(&member.plugin).await? else { continue };
        let table = plugin.manifest.table(&member.service);
        let Some(owner) = table.and_then(|table| table.owner.clone()) else { continue };
        let of_owner = [(owner, external_owner_id.to_owned())];
        let count = app.store.count_rows(organization, &member.table_name, &of_owner).await?;
        rows += count.unwrap_or(0);
    }
    Ok(rows)
}

/// By the topics of its owner. Nothing for a stream that asks for no push, or where push is off.
async fn push(
    app: &App,
    stream: &StreamStatus,
    topics: &[TopicStatus],
) -> Result<Option<String>, Error> {
    let tree = app.store.tree(&stream.root_id).await?;
    let Some(plugin) = app.store.active_plugin(&tree.root.plugin).await? else { return Ok(None) };
    let mut kinds = plugin.manifest.streams(&stream.service);
    let kind = kinds.find(|(name, _)| *name == stream.kind);
    let Some(push) = kind.and_then(|(_, kind)| kind.push.as_deref()) else { return Ok(None) };
    let topic = topics
        .iter()
        .find(|topic| (topic.push.as_str(), topic.key.as_str()) == (push, stream.key.as_str()));
    Ok(topic.map(|topic| match (topic.expires_at, topic.unsupported, &topic.last_error) {
        (Some(expires_at), ..) => {
            let until = jiff::Timestamp::from_microsecond(expires_at);
            format!("until {}", until.map(|until| until.to_string()).unwrap_or_default())
        }
        (None, true, _) => "unsupported".to_owned(),
        (None, false, Some(error)) => format!("none: {error}"),
        (None, false, None) => "none yet".to_owned(),
    }))
}

fn stream_state(stream: &StreamStatus) -> &'static str {
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
async fn stream_rows(
    app: &App,
    organization: OrganizationId,
    stream: &StreamStatus,
) -> Result<Option<i64>, Error> {
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
    app.store.count_rows(organization, &member.table_name, &columns).await
}
