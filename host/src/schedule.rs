//! Claims owners that are due and hands them to runs, up to a number at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::model::{Micros, OwnerId};
use crate::run::Runner;
use crate::store::Error;
use crate::store::leases::{self, Lease};

/// Settings of the scheduler.
#[derive(Clone, Debug)]
pub struct ScheduleOptions {
    /// Name of this host in leases; unique among those that share a control database.
    pub host: String,
    /// Owners that run at once.
    pub workers: usize,
    /// Life of a lease that isn't renewed.
    pub lease_ttl: Duration,
    /// At most so long without looking, whatever else was heard.
    pub poll: Duration,
    /// Calls in flight that don't end within this time after the runner was stopped are dropped.
    pub drain_max: Duration,
}

/// Wakes the scheduler, and the holder of an owner, when an inbox item was accepted; tells when
/// nothing is left to do.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    due: Notify,
    holders: Mutex<HashMap<OwnerId, Arc<Notify>>>,
    /// Wakes so far: idle is only what was idle since the last of them.
    wakes: AtomicU64,
    idle: watch::Sender<bool>,
}

impl Default for Shared {
    fn default() -> Self {
        let (idle, _) = watch::channel(false);
        Self { due: Notify::new(), holders: Mutex::default(), wakes: AtomicU64::new(0), idle }
    }
}

impl Wake {
    /// An inbox item of this owner is stored.
    pub fn arrived(&self, owner_id: OwnerId) {
        if let Some(holder) = self.holders().get(&owner_id) {
            holder.notify_one();
        }
        self.look();
    }

    /// Something changed; look.
    pub fn look(&self) {
        self.0.wakes.fetch_add(1, Ordering::AcqRel);
        self.0.idle.send_replace(false);
        self.0.due.notify_one();
    }

    /// Another process may have changed something, or it was ourselves: look, but whoever waits for
    /// rest isn't told otherwise.
    pub fn nudge(&self) {
        self.0.due.notify_one();
    }

    /// Waits until no owner runs and none is due.
    pub async fn idle(&self) {
        let mut idle = self.0.idle.subscribe();
        // The sender lives as long as `self`.
        let _ = idle.wait_for(|idle| *idle).await;
    }

    /// Nothing was due and nothing ran, unless a wake came since the count was `wakes`.
    fn rests(&self, wakes: u64) {
        self.0.idle.send_if_modified(|idle| {
            let rests = self.0.wakes.load(Ordering::Acquire) == wakes;
            rests && !std::mem::replace(idle, rests)
        });
    }

    fn wakes(&self) -> u64 {
        self.0.wakes.load(Ordering::Acquire)
    }

    fn holders(&self) -> std::sync::MutexGuard<'_, HashMap<OwnerId, Arc<Notify>>> {
        self.0.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until the runner is stopped, lets the calls in flight end, and gives all leases back.
pub async fn work(runner: Arc<Runner>, wake: Wake, options: ScheduleOptions) {
    let slots = Arc::new(Semaphore::new(options.workers.max(1)));
    let mut runs = JoinSet::new();
    let beat = tokio::spawn(heartbeat(Arc::clone(&runner), options.clone()));
    while let Some(slot) = free_slot(&runner, &slots).await {
        while runs.try_join_next().is_some() {}
        let wakes = wake.wakes();
        match claim(&runner, &options).await {
            Ok(Some(lease)) => {
                let (runner, wake) = (Arc::clone(&runner), wake.clone());
                let arrived = Arc::new(Notify::new());
                wake.holders().insert(lease.owner_id, Arc::clone(&arrived));
                runs.spawn(async move {
                    run(runner, wake, lease, arrived).await;
                    drop(slot);
                });
            }
            Ok(None) => {
                drop(slot);
                if wake.holders().is_empty() {
                    wake.rests(wakes);
                }
                rest(&runner, &wake, &options).await;
            }
            Err(error) => {
                drop(slot);
                tracing::error!(%error, "no owner can be claimed");
                runner.clock.sleep(options.poll).await;
            }
        }
    }
    drain(&runner, runs, &options).await;
    beat.abort();
}

/// None: the runner is stopped.
async fn free_slot(runner: &Runner, slots: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    let mut stopping = runner.stopping();
    tokio::select! {
        biased;
        _ = stopping.wait_for(|stopping| *stopping) => None,
        slot = Arc::clone(slots).acquire_owned() => slot.ok(),
    }
}

/// A call that waits too long for its vendor is dropped: nothing of it is committed, and the next
/// holder of the lease makes it again.
async fn drain(runner: &Runner, mut runs: JoinSet<()>, options: &ScheduleOptions) {
    tokio::select! {
        () = async { while runs.join_next().await.is_some() {} } => return,
        () = runner.clock.sleep(options.drain_max) => {}
    }
    runs.shutdown().await;
    match leases::give_back(runner.store.control(), &options.host).await {
        Ok(leases) => tracing::warn!(leases, "calls in flight were dropped; they are made again"),
        Err(error) => tracing::error!(%error, "leases run out instead of being given back"),
    }
}

/// Every line that is logged on the way carries the run's id and the owner.
async fn run(runner: Arc<Runner>, wake: Wake, lease: Lease, arrived: Arc<Notify>) {
    let run_id = runner.new_run_id();
    // An error's span, for where only errors are logged.
    let span = tracing::error_span!(
        "schedule",
        run = run_id.as_str(),
        owner = lease.external_owner_id.as_str(),
        root = lease.root_id.as_str(),
    );
    hold(&runner, &wake, &run_id, lease, &arrived).instrument(span).await;
}

async fn hold(runner: &Arc<Runner>, wake: &Wake, run_id: &str, lease: Lease, arrived: &Notify) {
    let owner_id = lease.owner_id;
    let done = runner.execute(run_id, lease, arrived).await;
    wake.holders().remove(&owner_id);
    // What arrived between the last look and the release is due in the database.
    wake.look();
    match done {
        Ok(()) => {}
        Err(Error::Superseded(what)) => {
            tracing::info!(what, "the lease is gone; another holder goes on");
        }
        Err(error) => {
            tracing::error!(%error, "a run broke off; it begins again in a while");
        }
    }
}

async fn claim(runner: &Runner, options: &ScheduleOptions) -> Result<Option<Lease>, Error> {
    let ttl = Micros::try_from(options.lease_ttl.as_micros()).unwrap_or(Micros::MAX / 2);
    leases::claim(runner.store.control(), &options.host, runner.clock.now(), ttl).await
}

/// Waits until something is due, or is said to be.
async fn rest(runner: &Runner, wake: &Wake, options: &ScheduleOptions) {
    let now = runner.clock.now();
    let poll = Micros::try_from(options.poll.as_micros()).unwrap_or(Micros::MAX / 2);
    let next = match leases::next_due(runner.store.control()).await {
        Ok(next) => next.unwrap_or(Micros::MAX),
        Err(_) => Micros::MAX,
    };
    tokio::select! {
        () = wake.0.due.notified() => {}
        () = runner.clock.sleep_until(next.clamp(now, now + poll)) => {}
    }
}

async fn heartbeat(runner: Arc<Runner>, options: ScheduleOptions) {
    let ttl = Micros::try_from(options.lease_ttl.as_micros()).unwrap_or(Micros::MAX / 2);
    loop {
        runner.clock.sleep(options.lease_ttl / 3).await;
        let until = runner.clock.now() + ttl;
        let renewed = leases::renew(runner.store.control(), &options.host, until).await;
        if let Err(error) = renewed {
            tracing::error!(%error, "leases could not be renewed");
        }
    }
}
