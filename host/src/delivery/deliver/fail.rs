//! A target that can't be delivered to just now is given back: it says why, waits, and rests after long.
//! It makes no difference whether its destination failed or we have not what its deliveries need.

use std::sync::Arc;

use crate::delivery::Deliveries;
use crate::delivery::decision::{Failing, Standing, failing};
use crate::rows::TableSpec;
use crate::store::feed::Bookmark;
use crate::store::targets::{self, Claimed, Failed, Kind, Target, TargetSecrets};
use crate::store::{Database, Error, Store};

/// What deliveries to a target need.
pub(super) struct Prepared {
    pub(super) secrets: TargetSecrets,
    pub(super) replication: Database,
    pub(super) spec: Arc<TableSpec>,
    pub(super) bookmark: Bookmark,
}

/// Something of that can't be had.
pub(super) struct Unready {
    /// For whoever looks after the target.
    what: &'static str,
    error: Error,
}

pub(super) async fn prepare(store: &Store, target: &Target) -> Result<Prepared, Unready> {
    let secrets = store.target_secrets(&target.id).await;
    let secrets = secrets.map_err(Unready::since("its URL or secret can't be opened"))?;
    let spec = store.table_spec(&target.plugin, &target.service, &target.table_name).await;
    let spec = spec.map_err(Unready::since("what its table is like isn't known"))?;
    let replication = store.replication(target.organization_id).await;
    let replication =
        replication.map_err(Unready::since("its organization's tables can't be opened"))?;
    let bookmark = target.bookmark().map_err(Unready::since("its bookmark is broken"))?;
    Ok(Prepared { secrets, replication, spec: Arc::new(spec), bookmark })
}

impl Unready {
    pub(super) fn since(what: &'static str) -> impl FnOnce(Error) -> Self {
        move |error| Self { what, error }
    }

    /// Gives the target back, as if a delivery of so many rows at most had not been answered.
    pub(super) async fn fail(
        self,
        of: &Deliveries,
        claimed: &Claimed,
        target: &Target,
        rows_max: i64,
    ) -> Result<(), Error> {
        let standing = standing(of, target, 0, rows_max);
        let failing = failing(self.told(), standing, of.options.patience);
        fail(of, claimed, target, "target", failing).await
    }

    /// Other texts than refusals may name what is the host's own, such as places on its machine.
    fn told(self) -> String {
        let Self { what, error } = self;
        match error {
            Error::Refused(reason) => format!("{what}: {reason}"),
            error => {
                tracing::warn!(%error, "{what}");
                format!("{what}: the host's log says why")
            }
        }
    }
}

/// Gives a target back. `what`: of it that failed.
pub(super) async fn fail(
    of: &Deliveries,
    claimed: &Claimed,
    target: &Target,
    what: &str,
    failing: Failing,
) -> Result<(), Error> {
    of.metrics.delivery("failed", 0);
    let Failing { error, at, rows_max, alert, pause } = failing;
    match (&pause, alert) {
        (Some(reason), _) => tracing::error!(reason, "the {what} is paused"),
        (None, true) => tracing::error!(error, "the {what} has failed for long"),
        (None, false) => tracing::info!(error, "the {what} failed; it is tried again"),
    }
    let rows_max = (rows_max < target.page_size).then_some(rows_max);
    let failed = Failed { error, at, rows_max, alert, pause };
    let (control, now) = (of.store.control(), of.store.clock().now());
    targets::settle_failure(control, claimed, failed, now).await
}

/// A target at the end of a delivery of so many rows.
pub(super) fn standing(of: &Deliveries, target: &Target, rows: i64, rows_max: i64) -> Standing {
    Standing {
        now: of.store.clock().now(),
        attempts: target.attempts,
        failing_since: target.failing_since,
        restarts: target.restarts,
        restarted_at: target.restarted_at,
        rows,
        rows_max,
        page_size: target.page_size,
        chance: i64::try_from(of.store.chance().below(1_000)).unwrap_or(0),
    }
}

/// What a target's destination is, in logs.
pub(super) fn destination(kind: Kind) -> &'static str {
    match kind {
        Kind::Http => "receiver",
        Kind::Db => "database",
        Kind::Notification => "subscriber",
    }
}
