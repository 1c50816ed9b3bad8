//! Runs: a leased owner, from its inbox items to its due streams, until nothing of it is due.

mod call_secrets;
pub(crate) mod components;
mod decision;
mod environment;
mod holder;
mod in_flight;
mod inbox;
mod keyless;
mod push;
mod readying;
mod stream;
pub(crate) mod tree;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{Notify, watch};

pub use decision::BackOff;
pub use in_flight::{InFlight, Running, RunningStream};

use crate::chance::Chance;
use crate::clock::Clock;
use crate::egress::Egress;
use crate::failpoint;
use crate::metrics::Metrics;
use crate::model::Micros;
use crate::plugin::Budget;
use crate::secrets::Keyring;
use crate::store::leases::{self, Lease};
use crate::store::streams::{self, DueStream};
use crate::store::{Error, Store};
use holder::Holder;
use stream::StreamRun;
use tree::Trees;

/// A run that broke off is taken up again after so many microseconds.
const AFTER_TROUBLE: Micros = 2_000_000;

/// Random bytes of a run's id: enough to tell the runs of a log apart.
const RUN_ID_BYTES: usize = 5;

/// How the scheduler speaks to the run of an owner.
#[derive(Debug, Default)]
pub struct Signals {
    /// An inbox item of this owner was stored.
    pub arrived: Notify,
    /// Others wait: give the lease back after the calls in flight.
    pub give_way: AtomicBool,
}

/// Settings of runs.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// How waits after failures grow.
    pub back_off: BackOff,
    /// So long an owner is worked on at a time. One whose streams never rest must not keep others
    /// from theirs.
    pub turn: Duration,
    /// Inbox items stay so long after they were done.
    pub inbox_kept: Duration,
    /// Rows that a manifest calls stale stay so long after they last moved. None: for ever.
    pub stale_rows_kept: Option<Duration>,
}

/// What every run needs. One per process.
pub struct Runner {
    pub(crate) store: Arc<Store>,
    pub(crate) trees: Trees,
    pub(crate) egress: Egress,
    pub(crate) keyring: Keyring,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) budget: Budget,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) options: RunOptions,
    /// Where vendors reach this host; none: push is off.
    pub(crate) push_base_url: Option<String>,
    pub(crate) in_flight: InFlight,
    pub(crate) stopping: watch::Sender<bool>,
}

impl Runner {
    /// A name for a run in logs, traces and `/statusz`.
    pub fn new_run_id(&self) -> String {
        self.chance.base36(RUN_ID_BYTES)
    }

    /// Runs an owner until nothing of it is due, and gives the lease back. After trouble the owner is
    /// taken up again in a while.
    pub async fn execute(
        self: &Arc<Self>,
        run_id: &str,
        lease: Lease,
        signals: &Arc<Signals>,
    ) -> Result<(), Error> {
        match AssertUnwindSafe(self.hold(run_id, lease.clone(), signals)).catch_unwind().await {
            Ok(done) => done,
            // Otherwise the heartbeat would keep the lease for ever.
            Err(_) => {
                self.metrics.panicked("run");
                let panicked = Error::Inconsistent("the run panicked; the log says where".into());
                self.abandon(&lease, panicked).await
            }
        }
    }

    async fn hold(
        self: &Arc<Self>,
        run_id: &str,
        mut lease: Lease,
        signals: &Arc<Signals>,
    ) -> Result<(), Error> {
        let listed = self.in_flight.list(run_id, &lease, self.clock.now());
        let (runner, told) = (Arc::clone(self), Arc::clone(signals));
        let holder = match Holder::begin(runner, &mut lease, listed, told).await {
            Ok(holder) => holder,
            Err(error) => return self.abandon(&lease, error).await,
        };
        let drained = async {
            self.drain(&holder, &signals.arrived).await?;
            holder.tell_first_sync().await?;
            holder.mark_targets().await
        };
        match drained.await {
            Ok(()) => {
                let mut lease = holder.lease();
                lease.buckets = self.egress.hand_over(lease.owner_id, lease.fence);
                leases::release(self.store.control(), &lease).await
            }
            Err(error) => self.abandon(&holder.lease(), error).await,
        }
    }

    /// Where the lease has passed on this changes nothing. Where it has not, a commit was refused
    /// for another reason: without this the heartbeat would keep a lease that nobody works under.
    async fn abandon(&self, lease: &Lease, error: Error) -> Result<(), Error> {
        // The next holder begins with nothing: what has been sent may not all be known.
        drop(self.egress.hand_over(lease.owner_id, lease.fence));
        let wait = if matches!(error, Error::Superseded(_)) { 0 } else { AFTER_TROUBLE };
        leases::abandon(self.store.control(), lease, self.clock.now() + wait).await?;
        Err(error)
    }

    async fn drain(&self, holder: &Holder, arrived: &Notify) -> Result<(), Error> {
        loop {
            holder.receive().await?;
            if holder.must_stop() {
                return Ok(());
            }
            let runs = holder.may_run().await?;
            let due = if runs { self.next_streams(holder).await? } else { Vec::new() };
            if !due.is_empty() {
                // What was received before them interrupts none of them.
                holder.take_interrupted();
                self.run_streams(holder, due, arrived).await?;
            } else if !self.push(holder, runs, arrived).await?
                && !holder.forget_stale_rows().await?
            {
                return Ok(());
            }
        }
    }

    /// One piece of push work; false: there is none. Inbox items are handled beside it, and one that
    /// links or unlinks the owner ends it: what the vendor makes of a dropped call, its row tells of.
    async fn push(&self, holder: &Holder, runs: bool, arrived: &Notify) -> Result<bool, Error> {
        holder.take_interrupted();
        let mut work = std::pin::pin!(push::work(holder, runs));
        loop {
            tokio::select! {
                biased;
                () = arrived.notified() => {}
                worked = &mut work => return worked,
            }
            let mut receive = std::pin::pin!(holder.receive());
            let mut worked = None;
            loop {
                tokio::select! {
                    received = &mut receive => { received?; break; }
                    done = &mut work, if worked.is_none() => worked = Some(done?),
                }
            }
            if let Some(worked) = worked {
                return Ok(worked);
            }
            if holder.take_interrupted() {
                return Ok(true);
            }
        }
    }

    /// Streams that may run side by side: several only where the manifest gives them disjoint rows.
    async fn next_streams(&self, holder: &Holder) -> Result<Vec<DueStream>, Error> {
        let tree = holder.tree().await?;
        let limit = tree.tables.manifest.plugin.streams_per_owner.max(1);
        let lease = holder.lease();
        let mut due = streams::due(holder.control(), &lease, holder.now(), limit).await?;
        let disjoint =
            |due: &DueStream| tree.kind(&due.stream()).is_some_and(|kind| !kind.rows.is_empty());
        if let Some(alone) = due.iter().position(|due| !disjoint(due)) {
            due = vec![due.swap_remove(alone)];
        }
        let ids = due.iter().map(|due| due.id).collect();
        if !due.is_empty() {
            streams::take(holder.control(), &lease, ids).await?;
            failpoint::reach("streams_taken");
        }
        Ok(due)
    }

    /// Runs streams side by side. An inbox item that arrives meanwhile is handled at once; if it
    /// linked or unlinked the owner, what runs is dropped: it couldn't commit any more.
    async fn run_streams(
        &self,
        holder: &Holder,
        due: Vec<DueStream>,
        arrived: &Notify,
    ) -> Result<(), Error> {
        let mut running: FuturesUnordered<_> =
            due.into_iter().map(|due| StreamRun::new(holder, due).run()).collect();
        loop {
            tokio::select! {
                biased;
                () = arrived.notified() => {
                    receive_beside(holder, &mut running).await?;
                    if holder.take_interrupted() {
                        drop(running);
                        return streams::put_back_all(holder.control(), &holder.lease()).await;
                    }
                }
                ended = running.next() => match ended {
                    Some(run) => { run?; }
                    // A stream that ended as gone may have left itself taken.
                    None => {
                        holder.take_interrupted();
                        return streams::put_back_all(holder.control(), &holder.lease()).await;
                    }
                },
            }
        }
    }

    /// No new call begins; the calls in flight go on to their commit.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Turns true when the runner is stopped.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Waits until the runner is stopped.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.stopping();
        // The sender lives as long as `self`.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }
}

/// Handles inbox items while streams go on: a page that is being committed must come to its end
/// before an item can be.
async fn receive_beside<'h>(
    holder: &Holder,
    running: &mut FuturesUnordered<impl Future<Output = Result<stream::Run, Error>> + 'h>,
) -> Result<(), Error> {
    let mut receive = std::pin::pin!(holder.receive());
    loop {
        tokio::select! {
            done = &mut receive => return done,
            Some(run) = running.next(), if !running.is_empty() => { run?; }
        }
    }
}
