//! What a call of the guest wants committed, and what a commit of it did.

use std::sync::Arc;

use super::{TreeTables, Under};
use crate::model::{Effects, InboxId, Micros, OwnerChange, StreamChange, StreamId};
use crate::store::tables::Prepared;

/// Rows that one transaction of an UNLINK deletes at most, or sweeps at the end of a full listing. What
/// is left goes on in the next one (R7).
pub(super) const SLICE: u32 = 5_000;

/// What a call did, its rows checked and ready for a database. Clones are cheap.
#[derive(Clone, Debug, Default)]
pub struct ReadyEffects {
    pub(super) writes: Arc<[Prepared]>,
    /// So many of them are committed.
    writes_done: usize,
    /// A commit of the call went before.
    pub(super) is_begun: bool,
    pub(super) streams: Vec<StreamChange>,
    pub(super) owner: Vec<OwnerChange>,
}

impl ReadyEffects {
    /// `writes`: those of `effects`, prepared.
    pub fn of(effects: Effects, writes: Vec<Prepared>) -> Self {
        let Effects { streams, owner, .. } = effects;
        Self { writes: writes.into(), streams, owner, ..Self::default() }
    }

    /// How many rows each write has.
    #[cfg(test)]
    pub(crate) fn rows(&self) -> impl Iterator<Item = usize> {
        self.writes.iter().map(Prepared::rows)
    }

    /// The writes that aren't committed yet.
    pub(super) fn writes_left(&self) -> &[Prepared] {
        &self.writes[self.writes_done..]
    }
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
    pub effects: ReadyEffects,
    /// A call that used `lookup` commits only if the owner's commit number is still this one.
    pub read_at: Option<i64>,
    /// A full listing passes over rows that have been stale since before this time. None: over none.
    pub stale_before: Option<Micros>,
}

impl StepCommit {
    /// A page with another behind it that changes rows alone: whoever finds the cursor before it reads it
    /// again, and nothing else says that it was read.
    pub(super) fn is_read_again(&self) -> bool {
        matches!(self.step, CommitOf::Page { half_read: true, .. })
            && self.effects.streams.is_empty()
            && self.effects.owner.is_empty()
    }

    /// What is left of the call behind a commit that is unfinished. For its lookups that commit is none
    /// that came between.
    pub fn behind(mut self, committed: &Committed, now: Micros) -> Self {
        self.effects.writes_done += committed.writes_done;
        self.effects.is_begun = true;
        self.read_at = self.read_at.map(|_| committed.commit_no);
        self.now = now;
        self
    }
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
    /// There are more rows to delete or to sweep: commit what is left ([`StepCommit::behind`]). Until
    /// then no cursor moves, no stream is activated and no item is applied.
    pub unfinished: bool,
    /// Its number among the owner's commits.
    pub commit_no: i64,
    /// How many of the call's writes it made.
    pub writes_done: usize,
}
