//! The commit of one guest call (invariant 2): its rows, deletions, change-feed entries, cursor,
//! applied inbox item and what the control database must hear, in one transaction of the
//! replication database, under the owner's fence and generation (R2, R3).

mod bookkeeping;
mod derive;
mod message;

use std::collections::HashMap;
use std::sync::Arc;

use rowgate_manifest::Manifest;
use sqlx::FromRow;

use super::tables::{self, ApplyError, ApplyScope, Prepared};
use super::{Connection, Database, Error, query, query_as};
use crate::failpoint;
use crate::model::{Effects, InboxId, Micros, OwnerChange, OwnerId, StreamChange, StreamId, Write};
use crate::rows::TableSpec;

pub use bookkeeping::show;
use message::store as store_message;
pub use message::{Message, StreamKey};

/// Rows that one transaction deletes at most; an UNLINK of more goes on in the next one (R7).
const UNLINK_SLICE: u32 = 5_000;

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

/// What a call of the guest wants committed.
#[derive(Clone, Debug)]
pub struct StepCommit {
    /// Lease and generation of the call.
    pub under: Under,
    /// Time of the call.
    pub now: Micros,
    /// The tree's tables.
    pub tree: Arc<TreeTables>,
    /// Which call it was.
    pub step: CommitOf,
    /// What it did.
    pub effects: Effects,
    /// A call that used `lookup` commits only if the owner's commit number is still this one.
    pub read_at: Option<i64>,
}

/// Which call is committed.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "fields say it")]
pub enum CommitOf {
    /// `receive` of an inbox item; `grants`: it brought sealed secrets.
    Item { id: InboxId, grants: bool },
    /// `sync`: one page. The stored cursor must still have this version.
    /// `half_read`: more pages follow.
    Page { stream: StreamId, version: i64, cursor: Option<Vec<u8>>, half_read: bool },
}

/// What a commit did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Committed {
    /// The owner's generation from now on.
    pub generation: i64,
    /// The item that brought the owner's grant.
    pub grant_id: Option<i64>,
    /// Rows inserted, updated or deleted.
    pub rows_changed: u64,
    /// Something waits in the outbox.
    pub outbox: bool,
    /// An UNLINK with more rows to delete: commit the same again.
    pub unfinished: bool,
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

/// Commits a call, or refuses it whole.
pub async fn commit(replication: &Database, step: StepCommit) -> Result<Committed, Error> {
    let writes =
        prepare(step.under.external_owner_id.as_deref(), &step.tree, &step.effects.writes)?;
    replication
        .write(move |connection| {
            Box::pin(
                async move { Transaction::begin(connection, &step, &writes).await?.run().await },
            )
        })
        .await
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

struct Transaction<'c> {
    connection: &'c mut Connection,
    step: &'c StepCommit,
    writes: &'c [Prepared],
    commit_no: i64,
    scope: ApplyScope,
    message: Message,
    committed: Committed,
}

impl<'c> Transaction<'c> {
    async fn begin(
        connection: &'c mut Connection,
        step: &'c StepCommit,
        writes: &'c [Prepared],
    ) -> Result<Self, Error> {
        let commit_no = advance(connection, &step.under, step.read_at).await?;
        if let CommitOf::Page { .. } = step.step {
            failpoint::reach("page_begun");
        }
        let commit_id = match step.effects.writes.is_empty() && step.effects.owner.is_empty() {
            true => 0,
            false => new_commit(connection, &step.under, step.now).await?,
        };
        let scope = apply_scope(&step.under, &step.tree, step.now, commit_id);
        let committed = Committed { generation: step.under.generation, ..Committed::default() };
        let message = Message::default();
        Ok(Self { connection, step, writes, commit_no, scope, message, committed })
    }

    async fn run(mut self) -> Result<Committed, Error> {
        let step = self.step;
        // First: the rows may end the stream, which is then no other's doing.
        if let CommitOf::Page { stream, version, cursor, half_read } = &step.step {
            self.page(stream, *version, cursor.as_deref(), *half_read).await?;
        }
        self.rows().await?;
        for change in self.step.effects.owner.clone() {
            match change {
                OwnerChange::Link => self.link().await?,
                OwnerChange::Unlink => self.unlink().await?,
                OwnerChange::Resync => self.resync().await?,
            }
        }
        for change in &self.step.effects.streams {
            self.stream(change).await?;
        }
        if let CommitOf::Item { id, .. } = self.step.step
            && !self.committed.unfinished
        {
            self.item(id).await?;
        }
        self.committed.outbox =
            store_message(self.connection, &self.step.under, self.commit_no, &self.message).await?;
        let row = query("select generation, grant_id from rowgate_owners where owner_id = $1")
            .bind(self.step.under.owner_id)
            .fetch_one(&mut *self.connection)
            .await?;
        self.committed.generation = row.get("generation");
        self.committed.grant_id = row.get("grant_id");
        Ok(self.committed)
    }

    /// The call's rows, and the streams that follow from the rows of parents.
    async fn rows(&mut self) -> Result<(), Error> {
        let tree = &self.step.tree;
        let applied = tables::apply(self.connection, &self.scope, self.writes).await;
        let applied = applied.map_err(apply_error)?;
        self.committed.rows_changed += applied.rows_changed + applied.deleted;
        let parents: Vec<&str> = match applied.deleted > 0 {
            true => tree.tables.keys().map(String::as_str).collect(),
            false => applied.changed_pks.keys().map(String::as_str).collect(),
        };
        derive::streams(self.connection, &self.scope, tree, &parents, &mut self.message).await
    }

    async fn link(&mut self) -> Result<(), Error> {
        let grant = match self.step.step {
            CommitOf::Item { id, grants: true } => Some(id),
            _ => None,
        };
        let row = query(
            "update rowgate_owners
             set generation = generation + 1, grant_id = coalesce($1, grant_id)
             where owner_id = $2 returning generation, grant_id",
        )
        .bind(grant)
        .bind(self.step.under.owner_id)
        .fetch_one(&mut *self.connection)
        .await?;
        self.message.linked = true;
        self.message.generation = row.get("generation");
        self.message.grant_id = row.get("grant_id");
        self.message.all_due = true;
        Ok(())
    }

    /// The generation goes up first, so that no run in flight can write behind the deletion.
    async fn unlink(&mut self) -> Result<(), Error> {
        let owner_id = self.step.under.owner_id;
        query(
            "update rowgate_owners set generation = generation + 1, grant_id = null
             where owner_id = $1",
        )
        .bind(owner_id)
        .execute(&mut *self.connection)
        .await?;
        query("delete from rowgate_cursors where owner_id = $1")
            .bind(owner_id)
            .execute(&mut *self.connection)
            .await?;
        let mut left = UNLINK_SLICE;
        for spec in self.step.tree.tables.values() {
            tables::drop_brackets(self.connection, owner_id, spec, None)
                .await
                .map_err(apply_error)?;
            let gone = tables::delete_owner_rows(self.connection, &self.scope, spec, left)
                .await
                .map_err(apply_error)?;
            self.committed.rows_changed += gone;
            left = left.saturating_sub(u32::try_from(gone).unwrap_or(u32::MAX));
        }
        self.committed.unfinished = left == 0;
        let item = match self.step.step {
            CommitOf::Item { id, .. } => id,
            CommitOf::Page { .. } => InboxId::MAX,
        };
        self.message = Message { unlinked: Some(item), ..Message::default() };
        Ok(())
    }

    async fn resync(&mut self) -> Result<(), Error> {
        let owner_id = self.step.under.owner_id;
        query(
            "update rowgate_cursors set version = version + 1, cursor = null where owner_id = $1",
        )
        .bind(owner_id)
        .execute(&mut *self.connection)
        .await?;
        for spec in self.step.tree.tables.values() {
            tables::drop_brackets(self.connection, owner_id, spec, None)
                .await
                .map_err(apply_error)?;
        }
        self.message.all_due = true;
        Ok(())
    }

    async fn stream(&mut self, change: &StreamChange) -> Result<(), Error> {
        let owner_id = self.step.under.owner_id;
        match change {
            StreamChange::Activate { stream, at } => self.message.due.push((key(stream), *at)),
            StreamChange::Reset(stream) => {
                query(
                    "update rowgate_cursors set version = version + 1, cursor = null
                     where owner_id = $1 and service = $2 and kind = $3 and key = $4",
                )
                .bind(owner_id)
                .bind(&stream.service)
                .bind(&stream.kind)
                .bind(&stream.key)
                .execute(&mut *self.connection)
                .await?;
                derive::drop_brackets(self.connection, owner_id, &self.step.tree, stream).await?;
                self.message.due.push((key(stream), None));
            }
            StreamChange::Remove(stream) => {
                derive::end(self.connection, owner_id, &self.step.tree, stream).await?;
                self.message.removed.push(key(stream));
            }
        }
        Ok(())
    }

    /// Marks an item as applied.
    async fn item(&mut self, id: InboxId) -> Result<(), Error> {
        query("insert into rowgate_applied (owner_id, inbox_id) values ($1, $2)")
            .bind(self.step.under.owner_id)
            .bind(id)
            .execute(&mut *self.connection)
            .await?;
        self.message.item = Some(id);
        Ok(())
    }

    /// Moves the stream's cursor, if it is the one that the call had.
    async fn page(
        &mut self,
        stream: &StreamId,
        version: i64,
        cursor: Option<&[u8]>,
        half_read: bool,
    ) -> Result<(), Error> {
        let manifest = &self.step.tree.manifest.plugin;
        let moved = query(
            "update rowgate_cursors set version = version + 1, cursor = $1,
                    cursor_version = $2, mapping_version = $3, half_read = $9
             where owner_id = $4 and service = $5 and kind = $6 and key = $7
               and version = $8",
        )
        .bind(cursor.map(<[u8]>::to_vec))
        .bind(manifest.cursor.writes)
        .bind(manifest.mapping_version)
        .bind(self.step.under.owner_id)
        .bind(&stream.service)
        .bind(&stream.kind)
        .bind(&stream.key)
        .bind(version)
        .bind(half_read)
        .execute(&mut *self.connection)
        .await?;
        if moved.rows_affected() == 0 {
            return Err(Error::Superseded("the cursor has moved"));
        }
        Ok(())
    }
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

fn prepare(
    owner: Option<&str>,
    tree: &TreeTables,
    writes: &[Write],
) -> Result<Vec<Prepared>, Error> {
    let rows_max = tree.manifest.plugin.limits.rows as usize;
    tables::prepare(owner, rows_max, &tree.tables, writes)
        .map_err(|rejected| Error::Refused(rejected.to_string()))
}

fn apply_error(error: ApplyError) -> Error {
    match error {
        ApplyError::Database(error) => Error::Database(error),
        gone @ ApplyError::NotListed(_) => Error::NotListed(gone.to_string()),
        refused => Error::Refused(refused.to_string()),
    }
}

fn apply_scope(under: &Under, tree: &TreeTables, now: Micros, commit_id: i64) -> ApplyScope {
    ApplyScope {
        owner_id: under.owner_id,
        external_owner_id: under.external_owner_id.clone(),
        now,
        commit_id,
        mapping_version: tree.manifest.plugin.mapping_version.into(),
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
