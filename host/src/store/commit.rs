//! The commit of one guest call (invariant 2): its rows, deletions, change-feed entries, cursor,
//! applied inbox item and what the control database must hear, in one transaction of the
//! replication database, under the owner's fence and generation (R2, R3).

mod bookkeeping;
mod derive;
mod message;
mod stale;
mod step;
mod transaction;

#[cfg(test)]
mod fixture;

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use rowgate_manifest::Manifest;
use sqlx::FromRow;

pub use super::tables::Prepared;
use super::tables::{self, ApplyError, ApplyScope};
use super::{Connection, Database, Dialect, Error, query, query_as, unstorable};
use crate::model::{Micros, OwnerId, StreamId, Write};
use crate::rows::TableSpec;

pub use bookkeeping::show;
use message::store as store_message;
pub use message::{Message, StreamKey};
pub use stale::{Forgotten, forget_stale};
pub use step::{CommitOf, Committed, ReadyEffects, StepCommit};
use transaction::{Durability, Transaction};

/// The tables of an integration tree as the running manifest has them.
#[derive(Clone, Debug)]
pub struct TreeTables {
    /// The running plugin's manifest.
    pub manifest: Arc<Manifest>,
    /// Service to table; only services that an integration was created for.
    pub tables: HashMap<String, Arc<TableSpec>>,
}

/// Under what the call was made.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "see Lease and Planted")]
pub struct Under {
    pub owner_id: OwnerId,
    pub external_owner_id: Option<String>,
    pub fence: i64,
    pub generation: i64,
}

/// A stored cursor.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct StoredCursor {
    /// Moves with every change.
    pub version: i64,
    /// None: the next call starts with a full listing.
    pub cursor: Option<Vec<u8>>,
    /// The manifest's `cursor.writes` when it was stored.
    pub cursor_version: Option<i64>,
    /// The manifest's `mapping_version` when it was stored.
    pub mapping_version: Option<i64>,
    /// It stands between two pages: what changed on those before is only seen after the last.
    pub half_read: bool,
}

/// The cursor of a stream; none: the stream doesn't exist (any more).
pub async fn load_cursor(
    replication: &Database,
    owner_id: OwnerId,
    stream: &StreamId,
) -> Result<Option<StoredCursor>, Error> {
    let cursor = query_as(
        "select version, cursor, cursor_version, mapping_version, half_read from rowgate_cursors
         where owner_id = $1 and service = $2 and kind = $3 and key = $4",
    )
    .bind(owner_id)
    .bind(&stream.service)
    .bind(&stream.kind)
    .bind(&stream.key)
    .fetch_optional(replication.readers())
    .await?;
    Ok(cursor)
}

/// The number of the owner's last commit.
pub async fn commit_no(replication: &Database, owner_id: OwnerId) -> Result<i64, Error> {
    let row = query("select commit_no from rowgate_owners where owner_id = $1")
        .bind(owner_id)
        .fetch_one(replication.readers())
        .await?;
    Ok(row.get("commit_no"))
}

/// Commits a call, or refuses it whole. Of a page that others follow nobody need hear, so it isn't waited
/// for until it is on disk: after a loss of power its cursor stands before it again, and the stream with it.
pub async fn commit(replication: &Database, step: StepCommit) -> Result<Committed, Error> {
    if replication.dialect() == Dialect::Sqlite && step.is_read_again() {
        let again = step.clone();
        let committed = replication
            .write_ahead_of_sync(|connection| run(connection, again, Durability::Later))
            .await;
        if !matches!(committed, Err(Error::Superseded(transaction::TO_BE_TOLD))) {
            return committed;
        }
    }
    replication.write(|connection| run(connection, step, Durability::Now)).await
}

fn run(
    connection: &mut Connection,
    step: StepCommit,
    durability: Durability,
) -> BoxFuture<'_, Result<Committed, Error>> {
    Box::pin(async move { Transaction::begin(connection, &step).await?.run(durability).await })
}

/// Drops a stream's cursor, so that its next call starts with a full listing.
pub async fn drop_cursor(
    replication: &Database,
    under: Under,
    tree: Arc<TreeTables>,
    stream: StreamId,
    version: i64,
) -> Result<(), Error> {
    replication
        .write(move |connection| {
            Box::pin(async move {
                advance(connection, &under, None).await?;
                let moved = query(
                    "update rowgate_cursors set version = version + 1, cursor = null
                     where owner_id = $1 and service = $2 and kind = $3 and key = $4
                       and version = $5",
                )
                .bind(under.owner_id)
                .bind(&stream.service)
                .bind(&stream.kind)
                .bind(&stream.key)
                .bind(version)
                .execute(&mut *connection)
                .await?;
                if moved.rows_affected() == 0 {
                    return Err(Error::Superseded("the cursor has moved"));
                }
                derive::drop_brackets(connection, under.owner_id, &tree, &stream).await
            })
        })
        .await
}

/// Derives the streams of an owner anew from all parent rows, because the tree's services are not
/// those they were derived for (an integration was created later).
pub async fn derive_all(
    replication: &Database,
    under: Under,
    tree: Arc<TreeTables>,
    now: Micros,
) -> Result<bool, Error> {
    let services = services_text(&tree);
    let stored: Option<(String,)> =
        query_as("select services from rowgate_owners where owner_id = $1")
            .bind(under.owner_id)
            .fetch_optional(replication.readers())
            .await?;
    if stored.is_some_and(|(stored,)| stored == services) {
        return Ok(false);
    }
    replication
        .write(move |connection| {
            Box::pin(async move {
                let commit_no = advance(connection, &under, None).await?;
                let mut message = Message::default();
                let scope =
                    apply_scope(&under, &tree, now, new_commit(connection, &under, now).await?);
                let parents: Vec<&str> = tree.tables.keys().map(String::as_str).collect();
                derive::streams(connection, &scope, &tree, &parents, &mut message).await?;
                query("update rowgate_owners set services = $1 where owner_id = $2")
                    .bind(services)
                    .bind(under.owner_id)
                    .execute(&mut *connection)
                    .await?;
                store_message(connection, &under, commit_no, &message).await
            })
        })
        .await
}

/// The owner has committed since the call's first lookup: the call runs again (R2).
pub const READ_MOVED: &str = "another commit came between a lookup and this commit";

/// The first statement of every commit (R2).
async fn advance(
    connection: &mut Connection,
    under: &Under,
    read_at: Option<i64>,
) -> Result<i64, Error> {
    let row = query(
        "update rowgate_owners set commit_no = commit_no + 1
         where owner_id = $1 and fence = $2 and generation = $3 returning commit_no",
    )
    .bind(under.owner_id)
    .bind(under.fence)
    .bind(under.generation)
    .fetch_optional(connection)
    .await?;
    let moved = "another holder, link or unlink came between";
    let commit_no: i64 = row.ok_or(Error::Superseded(moved))?.get("commit_no");
    match read_at {
        Some(read_at) if read_at != commit_no - 1 => Err(Error::Superseded(READ_MOVED)),
        _ => Ok(commit_no),
    }
}

async fn new_commit(connection: &mut Connection, under: &Under, now: Micros) -> Result<i64, Error> {
    let row =
        query("insert into rowgate_commits (owner_id, committed_at) values ($1, $2) returning id")
            .bind(under.owner_id)
            .bind(now)
            .fetch_one(connection)
            .await?;
    Ok(row.get("id"))
}

/// See [`tables::prepare`]. [`Error::Refused`]: the guest's rows are none of its tables.
pub fn prepare(
    owner: Option<&str>,
    tree: &TreeTables,
    write: &Write,
) -> Result<Option<Prepared>, Error> {
    tables::prepare(owner, &tree.tables, write)
        .map_err(|rejected| Error::Refused(rejected.to_string()))
}

fn apply_error(error: ApplyError) -> Error {
    match error {
        ApplyError::Database(error) => row_error(error),
        gone @ ApplyError::NotListed(_) => Error::NotListed(gone.to_string()),
        refused => Error::Refused(refused.to_string()),
    }
}

/// What a statement failed with that stores what a guest gave.
fn row_error(error: sqlx::Error) -> Error {
    match unstorable(&error) {
        Some(why) => Error::Refused(format!("the database can't store a row: {why}")),
        None => Error::Database(error),
    }
}

fn apply_scope(under: &Under, tree: &TreeTables, now: Micros, commit_id: i64) -> ApplyScope {
    ApplyScope {
        owner_id: under.owner_id,
        external_owner_id: under.external_owner_id.clone(),
        now,
        commit_id,
        mapping_version: tree.manifest.plugin.mapping_version.into(),
        stale_before: None,
    }
}

fn services_text(tree: &TreeTables) -> String {
    let mut services: Vec<&str> = tree.tables.keys().map(String::as_str).collect();
    services.sort_unstable();
    serde_json::to_string(&services).expect("strings are JSON")
}

fn key(stream: &StreamId) -> StreamKey {
    (stream.service.clone(), stream.kind.clone(), stream.key.clone())
}
