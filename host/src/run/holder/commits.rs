//! What a holder commits, and tells the control database of.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Holder, Standpoint};
use crate::failpoint;
use crate::run::readying::Readying;
use crate::run::tree::Tree;
use crate::store::commit::{CommitOf, Committed, ReadyEffects, StepCommit, Under};
use crate::store::{Error, relay, streams};

impl Holder {
    /// Commits a call, unless the owner has moved on since `at`. A sweep of many rows takes several
    /// transactions, and inbox items wait for the last.
    pub(in crate::run) async fn commit(
        &self,
        tree: &Tree,
        at: &Standpoint,
        step: CommitOf,
        effects: Readying,
        read_at: Option<i64>,
    ) -> Result<Committed, Error> {
        let effects = effects.ready().await?;
        let received = self.received.read().await;
        if *received != at.received {
            return Err(Error::Superseded("an inbox item came between"));
        }
        let mut step = self.step_commit(tree, at.under.clone(), step, effects, read_at);
        let mut rows_changed = 0;
        loop {
            failpoint::reach("page_called");
            let committed = self.store(tree, "page", step.clone()).await?;
            failpoint::reach("page_committed");
            if committed.outbox {
                self.relay(tree).await?;
            }
            rows_changed += committed.rows_changed;
            if !committed.unfinished {
                return Ok(Committed { rows_changed, ..committed });
            }
            step = step.behind(&committed, self.now());
        }
    }

    /// Commits a `receive`. An UNLINK of many rows takes several transactions, as a sweep does.
    pub(in crate::run) async fn commit_item(
        &self,
        tree: &Tree,
        step: CommitOf,
        effects: Readying,
        read_at: Option<i64>,
    ) -> Result<(), Error> {
        let effects = effects.ready().await?;
        let mut received = self.received.write().await;
        let mut moved = false;
        let mut step = self.step_commit(tree, self.under_now(), step, effects, read_at);
        loop {
            failpoint::reach("item_called");
            let committed = self.store(tree, "item", step.clone()).await?;
            failpoint::reach("item_committed");
            if committed.generation != self.generation.load(Ordering::Acquire) {
                self.interrupted.store(true, Ordering::Release);
                moved = true;
            }
            self.generation.store(committed.generation, Ordering::Release);
            self.grant_id.store(committed.grant_id.unwrap_or(0), Ordering::Release);
            *received += 1;
            if !committed.unfinished {
                break;
            }
            let left = step.behind(&committed, self.now());
            step = StepCommit { under: self.under_now(), ..left };
        }
        self.relay(tree).await?;
        if moved {
            // A new token lifts the pauses of the one before.
            let pauses = streams::pauses(self.control(), self.owner_id()).await?;
            self.runner.egress.pause_owner(self.owner_id(), pauses.owner_not_before);
        }
        Ok(())
    }

    fn step_commit(
        &self,
        tree: &Tree,
        under: Under,
        step: CommitOf,
        effects: ReadyEffects,
        read_at: Option<i64>,
    ) -> StepCommit {
        let (now, stale_before) = (self.now(), self.stale_before());
        let tree = Arc::clone(&tree.tables);
        StepCommit { under, now, tree, step, effects, read_at, stale_before }
    }

    /// Relays what waits; one at a time, since it moves the lease's `relayed_no`.
    pub(in crate::run) async fn relay(&self, tree: &Tree) -> Result<(), Error> {
        let mut lease = self.lease();
        relay::relay(self.control(), &tree.replication, &mut lease, self.now()).await?;
        let mut held = self.lock();
        held.relayed_no = held.relayed_no.max(lease.relayed_no);
        Ok(())
    }
}
