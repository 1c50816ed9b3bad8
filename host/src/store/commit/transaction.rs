//! The transaction of one call: its rows, what follows from them, and the mark that it is committed.

use super::derive;
use super::message::store as store_message;
use super::step::SLICE;
use super::{
    CommitOf, Committed, Message, StepCommit, advance, apply_error, apply_scope, key, new_commit,
};
use crate::failpoint;
use crate::model::{InboxId, OwnerChange, StreamChange};
use crate::store::tables::{self, ApplyError, ApplyScope};
use crate::store::{Connection, Error, query};

/// Until when a loss of power may take a commit back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// Until it is answered.
    Now,
    /// Until a later one is. It must have nothing to say to the control database (R5).
    Later,
}

/// The control database must hear of this commit, so it has to be made again and be on disk first.
pub(super) const TO_BE_TOLD: &str = "the commit says something to the control database";

pub(super) struct Transaction<'c> {
    connection: &'c mut Connection,
    step: &'c StepCommit,
    scope: ApplyScope,
    message: Message,
    committed: Committed,
}

impl<'c> Transaction<'c> {
    pub(super) async fn begin(
        connection: &'c mut Connection,
        step: &'c StepCommit,
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
        let scope = ApplyScope { stale_before: step.stale_before, ..scope };
        let generation = step.under.generation;
        let committed = Committed { generation, commit_no, ..Committed::default() };
        let message = Message::default();
        Ok(Self { connection, step, scope, message, committed })
    }

    pub(super) async fn run(mut self, durability: Durability) -> Result<Committed, Error> {
        let step = self.step;
        let may_be_unfinished = tables::end_listings(step.effects.writes_left());
        // First: the rows may end the stream, which is then no other's doing.
        match may_be_unfinished {
            true => self.hold_cursor().await?,
            false => self.move_cursor().await?,
        }
        self.rows().await?;
        if !self.committed.unfinished {
            if may_be_unfinished && !self.has_ended_its_stream() {
                self.move_cursor().await?;
            }
            self.changes().await?;
        }
        let commit_no = self.committed.commit_no;
        self.committed.outbox =
            store_message(self.connection, &step.under, commit_no, &self.message).await?;
        if self.committed.outbox && durability == Durability::Later {
            return Err(Error::Superseded(TO_BE_TOLD));
        }
        let row = query("select generation, grant_id from rowgate_owners where owner_id = $1")
            .bind(step.under.owner_id)
            .fetch_one(&mut *self.connection)
            .await?;
        self.committed.generation = row.get("generation");
        self.committed.grant_id = row.get("grant_id");
        Ok(self.committed)
    }

    /// The call's rows, and the streams that follow from the rows of parents.
    async fn rows(&mut self) -> Result<(), Error> {
        let (tree, effects) = (&self.step.tree, &self.step.effects);
        let writes = effects.writes_left();
        let applied = tables::apply(self.connection, &self.scope, writes, SLICE).await;
        let applied = applied.map_err(|error| match error {
            // It was there for the slices before.
            ApplyError::NotListed(_) if effects.is_begun => {
                Error::Superseded("the full listing is gone whose rest was to be swept")
            }
            error => apply_error(error),
        })?;
        self.committed.writes_done = applied.writes_done;
        self.committed.unfinished = applied.writes_done < writes.len();
        self.committed.rows_changed += applied.rows_changed + applied.deleted;
        let parents: Vec<&str> = match applied.deleted > 0 {
            true => tree.tables.keys().map(String::as_str).collect(),
            false => applied.changed_pks.keys().map(String::as_str).collect(),
        };
        derive::streams(self.connection, &self.scope, tree, &parents, &mut self.message).await
    }

    /// What the call changed beside rows, once those are all there.
    async fn changes(&mut self) -> Result<(), Error> {
        let step = self.step;
        for change in &step.effects.owner {
            match change {
                OwnerChange::Link => self.link().await?,
                OwnerChange::Unlink => self.unlink().await?,
                OwnerChange::Resync => self.resync().await?,
            }
        }
        for change in &step.effects.streams {
            self.stream(change).await?;
        }
        if let CommitOf::Item { id, .. } = step.step
            && !self.committed.unfinished
        {
            self.item(id).await?;
        }
        Ok(())
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
        let mut left = SLICE;
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
        for service in self.step.tree.tables.keys() {
            for (name, kind) in self.step.tree.manifest.streams(service) {
                let of_kind = (service.clone(), name.to_owned(), None, kind.page_limit);
                self.message.read_again.push(of_kind);
            }
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
                let mut kinds = self.step.tree.manifest.streams(&stream.service);
                if let Some((_, kind)) = kinds.find(|(name, _)| *name == stream.kind) {
                    let (service, name, key) = key(stream);
                    self.message.read_again.push((service, name, Some(key), kind.page_limit));
                }
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

    /// Makes sure that a page's stream has the cursor yet that the call had. It stays where it is: rows may
    /// be left to sweep.
    async fn hold_cursor(&mut self) -> Result<(), Error> {
        let step = self.step;
        let CommitOf::Page { stream, version, .. } = &step.step else { return Ok(()) };
        let held = query(
            "update rowgate_cursors set version = version
             where owner_id = $1 and service = $2 and kind = $3 and key = $4 and version = $5",
        )
        .bind(step.under.owner_id)
        .bind(&stream.service)
        .bind(&stream.kind)
        .bind(&stream.key)
        .bind(*version)
        .execute(&mut *self.connection)
        .await?;
        unmoved(held.rows_affected())
    }

    /// Moves the cursor of a page's stream, if it is the one that the call had.
    async fn move_cursor(&mut self) -> Result<(), Error> {
        let step = self.step;
        let CommitOf::Page { stream, version, cursor, half_read } = &step.step else {
            return Ok(());
        };
        let manifest = &step.tree.manifest.plugin;
        let moved = query(
            "update rowgate_cursors set version = version + 1, cursor = $1,
                    cursor_version = $2, mapping_version = $3, half_read = $9
             where owner_id = $4 and service = $5 and kind = $6 and key = $7
               and version = $8",
        )
        .bind(cursor)
        .bind(manifest.cursor.writes)
        .bind(manifest.mapping_version)
        .bind(step.under.owner_id)
        .bind(&stream.service)
        .bind(&stream.kind)
        .bind(&stream.key)
        .bind(*version)
        .bind(*half_read)
        .execute(&mut *self.connection)
        .await?;
        unmoved(moved.rows_affected())
    }

    /// The rows of this commit left the page's own stream without its parent row.
    fn has_ended_its_stream(&self) -> bool {
        let CommitOf::Page { stream, .. } = &self.step.step else { return false };
        self.message.removed.contains(&key(stream))
    }
}

/// `cursors`: how many were found as the call had them.
fn unmoved(cursors: u64) -> Result<(), Error> {
    match cursors {
        0 => Err(Error::Superseded("the cursor has moved")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
