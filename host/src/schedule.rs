//! Claims owners that are due and hands them to runs, up to a number at once.

mod heartbeat;
mod wake;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::clock::{Clock, micros};
use crate::model::{Micros, OrganizationId};
use crate::run::{Runner, Signals};
use crate::store::leases::{self, Claimant, Lease};
use crate::store::{Database, Error};
use heartbeat::beating;
pub use wake::Wake;

/// Settings of the scheduler.
#[derive(Clone, Debug)]
pub struct ScheduleOptions {
    /// This host; its name is unique among those that share a control database.
    pub claimant: Claimant,
    /// Owners that run at once.
    pub workers: usize,
    /// At most so long without looking, whatever else was heard.
    pub poll: Duration,
    /// Calls in flight that don't end within this time after the runner was stopped are dropped.
    pub drain_max: Duration,
}

/// Runs until the runner is stopped, lets the calls in flight end, and gives all leases back.
pub async fn work(runner: Arc<Runner>, wake: Wake, options: ScheduleOptions) {
    let slots = Arc::new(Semaphore::new(options.workers.max(1)));
    // Both end with this function, also if it panics. Leases of what ran then aren't renewed: they run out.
    let (mut runs, mut beat) = (JoinSet::new(), JoinSet::new());
    wake.holders().clear();
    beat.spawn(beating(&runner, &wake, &options));
    let mut turns = Turns::default();
    while !runner.is_stopping() {
        while runs.try_join_next().is_some() {}
        let slot = match Arc::clone(&slots).try_acquire_owned() {
            Ok(slot) => slot,
            Err(_) => {
                tokio::select! {
                    () = runner.stopped() => {}
                    _ended = runs.join_next() => {}
                    () = wait(&runner, &wake, runner.clock.now() + micros(options.poll)) => {
                        let (control, by) = (runner.store.control(), &options.claimant);
                        turns.make_way(control, &runner.clock, &wake, by).await;
                    }
                }
                continue;
            }
        };
        let (wakes, looked_at) = (wake.wakes(), runner.clock.now());
        let control = runner.store.control();
        match turns.claim(control, &runner.clock, &wake, &options.claimant).await {
            Ok(Some(lease)) => {
                let (runner, wake) = (Arc::clone(&runner), wake.clone());
                let signals = wake.hold(&lease);
                runs.spawn(async move {
                    run(runner, wake, lease, signals).await;
                    drop(slot);
                });
            }
            Ok(None) => {
                drop(slot);
                if wake.holders().is_empty() {
                    wake.rests(wakes);
                }
                let next = next_look(control, &runner.clock, &options, looked_at).await;
                wait(&runner, &wake, next).await;
            }
            Err(error) => {
                drop(slot);
                tracing::error!(%error, "no owner can be claimed");
                tokio::select! {
                    () = runner.stopped() => {}
                    () = runner.clock.sleep(options.poll) => {}
                }
            }
        }
    }
    drain(&runner, runs, &options).await;
}

/// Whose turn it is: organizations one after the other, those first that have fewest runs here.
#[derive(Debug, Default)]
struct Turns {
    /// Organizations with something due, as far as is known; whose turn was is moved to the end.
    ready: Vec<OrganizationId>,
    looked_at: Micros,
}

/// So long what was seen of organizations with something due may stand, if there is enough to do.
const READY_STANDS: Micros = 100_000;

impl Turns {
    async fn claim(
        &mut self,
        control: &Database,
        clock: &Clock,
        wake: &Wake,
        by: &Claimant,
    ) -> Result<Option<Lease>, Error> {
        let mut looked = false;
        loop {
            let now = clock.now();
            if self.ready.is_empty() || now - self.looked_at > READY_STANDS {
                if looked && self.ready.is_empty() {
                    return Ok(None);
                }
                self.look(control, by, now).await?;
                looked = true;
            }
            let Some(at) = next_turn(&self.ready, &wake.runs_by_organization()) else {
                return Ok(None);
            };
            let organization_id = self.ready.remove(at);
            if let Some(lease) = leases::claim(control, by, organization_id, now).await? {
                self.ready.push(organization_id);
                return Ok(Some(lease));
            }
        }
    }

    /// Keeps the order of turns; who is new comes first.
    async fn look(&mut self, control: &Database, by: &Claimant, now: Micros) -> Result<(), Error> {
        let mut ready = leases::ready_organizations(control, by, now).await?;
        ready.sort_by_key(|id| {
            self.ready.iter().position(|known| known == id).map_or(0, |turn| turn + 1)
        });
        (self.ready, self.looked_at) = (ready, now);
        Ok(())
    }

    /// All slots are taken. If an organization without a run waits, one with several gives way: a
    /// run of many pages must not hold others up for longer than a page takes.
    async fn make_way(&mut self, control: &Database, clock: &Clock, wake: &Wake, by: &Claimant) {
        if let Err(error) = self.look(control, by, clock.now()).await {
            tracing::warn!(%error, "who waits isn't known");
            return;
        }
        let runs = wake.runs_by_organization();
        if let Some(organization_id) = who_gives_way(&self.ready, &runs) {
            wake.give_way(organization_id);
        }
    }
}

/// Position of the organization that has fewest runs; the one that waits longest of these.
fn next_turn(ready: &[OrganizationId], runs: &HashMap<OrganizationId, usize>) -> Option<usize> {
    let runs = |at: &usize| runs.get(&ready[*at]).copied().unwrap_or(0);
    (0..ready.len()).min_by_key(runs)
}

/// Which organization must give up a run: the one with most, if another waits without any.
fn who_gives_way(
    ready: &[OrganizationId],
    runs: &HashMap<OrganizationId, usize>,
) -> Option<OrganizationId> {
    let waits = ready.iter().any(|id| !runs.contains_key(id));
    let (most, count) = runs.iter().max_by_key(|(id, count)| (**count, **id))?;
    (waits && *count > 1).then_some(*most)
}

/// A call that waits too long for its vendor is dropped: nothing of it is committed, and the next
/// holder of the lease makes it again.
async fn drain(runner: &Runner, mut runs: JoinSet<()>, options: &ScheduleOptions) {
    tokio::select! {
        () = async { while runs.join_next().await.is_some() {} } => return,
        () = runner.clock.sleep(options.drain_max) => {}
    }
    runs.shutdown().await;
    match leases::give_back(runner.store.control(), &options.claimant.host).await {
        Ok(leases) => tracing::warn!(leases, "calls in flight were dropped; they are made again"),
        Err(error) => tracing::error!(%error, "leases run out instead of being given back"),
    }
}

/// Every line that is logged on the way carries the run's id and the owner.
async fn run(runner: Arc<Runner>, wake: Wake, lease: Lease, signals: Arc<Signals>) {
    let run_id = runner.new_run_id();
    // An error's span, for where only errors are logged.
    let span = tracing::error_span!(
        "schedule",
        run = run_id.as_str(),
        owner = lease.external_owner_id.as_str(),
        root = lease.root_id.as_str(),
    );
    hold(&runner, &wake, &run_id, lease, &signals).instrument(span).await;
}

async fn hold(
    runner: &Arc<Runner>,
    wake: &Wake,
    run_id: &str,
    lease: Lease,
    signals: &Arc<Signals>,
) {
    let (owner_id, organization_id) = (lease.owner_id, lease.organization_id);
    let done = runner.execute(run_id, lease, signals).await;
    wake.let_go(owner_id, signals);
    // What arrived between the last look and the release is due in the database.
    wake.look();
    match done {
        Ok(()) => {}
        Err(Error::Superseded(what)) => {
            tracing::info!(what, "the lease is gone; another holder goes on");
        }
        Err(error) => {
            tracing::error!(%error, "a run broke off; it begins again in a while");
            if error.is_away()
                && let Err(error) = runner.store.rest_if_away(organization_id).await
            {
                tracing::warn!(%error, "what else of its organization is due runs on");
            }
        }
    }
}

/// When to look again, without other news. Since `looked_at` nobody could be claimed.
async fn next_look(
    control: &Database,
    clock: &Clock,
    options: &ScheduleOptions,
    looked_at: Micros,
) -> Micros {
    // A time, not a duration: the clock may move while the database is asked.
    let now = clock.now();
    let next = leases::next_due(control, &options.claimant, now).await.unwrap_or(None);
    look_again_at(next, looked_at, now.saturating_add(micros(options.poll)))
}

/// So long whoever was due, and yet could not be claimed, is left alone.
const BUSY_PAUSE: Micros = 10_000;

/// `next`: when the next owner can be claimed, if that is known. `poll`: at the latest.
fn look_again_at(next: Option<Micros>, looked_at: Micros, poll: Micros) -> Micros {
    let next = next.unwrap_or(Micros::MAX);
    // Somebody has its row at this moment: who writes an item of it, or gives it back.
    let not_before = if next <= looked_at { looked_at + BUSY_PAUSE } else { next };
    not_before.min(poll)
}

/// Waits until something is said to be due, or until then.
async fn wait(runner: &Runner, wake: &Wake, until: Micros) {
    tokio::select! {
        () = wake.due() => {}
        () = runner.clock.sleep_until(until) => {}
    }
}

#[cfg(test)]
mod tests;
