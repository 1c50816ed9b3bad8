//! What a holder tells of its work: to metrics, traces and the log.

use std::collections::BTreeSet;
use std::time::Duration;

use tracing::Instrument as _;
use tracing::field::Empty;

use super::Holder;
use crate::clock::monotonic;
use crate::metrics::Used;
use crate::model::{Call, Failure};
use crate::plugin::Called;
use crate::run::decision::Decision;
use crate::run::in_flight::StreamListed;
use crate::run::tree::Tree;
use crate::store::commit::{self, Committed, StepCommit};
use crate::store::streams::DueStream;
use crate::store::{Error, targets};

impl Holder {
    pub(super) fn count(&self, tree: &Tree, call: &Call, called: &Called) {
        let meters = &called.meters;
        let seconds = |us: u64| Duration::from_micros(us).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a gauge of bytes")]
        let memory_peak_bytes = meters.memory_peak_bytes as f64;
        let used = Used {
            cpu_s: seconds(meters.cpu_us),
            wall_s: seconds(meters.wall_us),
            memory_peak_bytes,
            http_requests: meters.http_requests,
        };
        let outcome = if called.result.is_ok() { "ok" } else { "failed" };
        self.metrics().call(&tree.tables.manifest.plugin.name, call.name(), outcome, used);
    }

    /// Commits, and measures how long it takes.
    pub(super) async fn store(
        &self,
        tree: &Tree,
        what: &'static str,
        step: StepCommit,
    ) -> Result<Committed, Error> {
        let span = tracing::debug_span!("store", what, rows_changed = Empty);
        let asked = monotonic();
        let done = commit::commit(&tree.replication, step).instrument(span.clone()).await?;
        self.metrics().commit(what, asked.elapsed());
        span.record("rows_changed", done.rows_changed);
        if done.rows_changed > 0 {
            self.runner.store.changed().note(&self.lease().root_id);
        }
        Ok(done)
    }

    /// Marks targets as due if nobody has, before the lease is given back: whose host dies earlier is
    /// followed by a holder that tells of what it can't know ([`Holder::begin`]).
    pub(in crate::run) async fn mark_targets(&self) -> Result<(), Error> {
        let (store, root_id) = (&self.runner.store, self.lease().root_id);
        if !store.changed().is_unmarked(&root_id) {
            return Ok(());
        }
        targets::mark_due(store.control(), &BTreeSet::from([root_id]), self.now()).await
    }

    /// One line an operator can act on, once, where the failure is decided on.
    pub(in crate::run) fn tell_failure(&self, failure: &Failure, decision: &Decision) {
        self.runner.metrics.failure(failure.cause());
        match failure {
            Failure::Bug(_) | Failure::Misconfigured(_) => {
                tracing::error!(%failure, ?decision, "call failed");
            }
            Failure::Reauthorise(_) => tracing::warn!(%failure, "the owner must link again"),
            _ => tracing::info!(%failure, ?decision, "call failed"),
        }
    }

    /// Shows a stream among the runs in flight.
    pub(in crate::run) fn list(&self, due: &DueStream) -> StreamListed<'_> {
        self.listed.list(due, self.now())
    }
}
