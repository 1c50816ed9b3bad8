//! Stale rows of the owner: once a day those go that have been kept long enough.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Holder;
use crate::clock::{micros, monotonic};
use crate::model::Micros;
use crate::run::tree::Tree;
use crate::store::{Error, commit};

/// An owner's stale rows are gone through so often.
const EVERY: Micros = 24 * 3_600 * 1_000_000;

/// When they are next gone through, having been at `swept_at`; never where there can be none.
pub(super) fn next_sweep(tree: &Tree, kept: Option<Duration>, swept_at: Micros) -> Micros {
    let declared = tree.tables.tables.values().any(|spec| spec.stale.is_some());
    if kept.is_none() || !declared {
        return Micros::MAX;
    }
    swept_at.saturating_add(EVERY)
}

impl Holder {
    /// Rows that have been stale since before then go. None: they stay.
    pub(super) fn stale_before(&self) -> Option<Micros> {
        let kept = self.runner.options.stale_rows_kept?;
        Some(self.now().saturating_sub(micros(kept)))
    }

    /// Deletes a slice of the owner's stale rows; false: nothing is left to delete today. The last of a
    /// holder's work: it may wait, which neither a page nor the renewal of a channel may.
    pub(in crate::run) async fn forget_stale_rows(&self) -> Result<bool, Error> {
        let now = self.now();
        let Some(before) = self.stale_before() else { return Ok(false) };
        if now < self.next_sweep_at.load(Ordering::Acquire) {
            return Ok(false);
        }
        let tree = self.tree().await?;
        let (under, tables) = (self.under_now(), Arc::clone(&tree.tables));
        let asked = monotonic();
        let gone = commit::forget_stale(&tree.replication, under, tables, now, before).await?;
        self.metrics().commit("stale", asked.elapsed());
        if gone.rows > 0 {
            self.metrics().forgotten("rows", gone.rows);
            self.runner.store.changed().note(&self.lease().root_id);
            tracing::debug!(rows = gone.rows, "stale rows are gone");
        }
        if !gone.unfinished {
            self.next_sweep_at.store(now.saturating_add(EVERY), Ordering::Release);
        }
        if gone.outbox {
            self.relay(&tree).await?;
        }
        Ok(gone.unfinished || gone.outbox)
    }
}
