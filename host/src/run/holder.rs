//! The holder of a lease: one owner, its inbox items in the order of acceptance, its due streams.

mod call;
mod commits;
mod pauses;
mod stale;
mod told;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{RwLock, RwLockReadGuard};
use zeroize::Zeroizing;

use super::call_secrets::Elections;
use super::decision::{BackOff, spread};
use super::in_flight::Listed;
use super::tree::Tree;
use super::{Runner, Signals, inbox};
use crate::clock::micros;
use crate::egress::CountedUnder;
use crate::failpoint;
use crate::metrics::Metrics;
use crate::model::{Micros, OwnerId};
use crate::secrets::Keyring;
use crate::store::commit::{self, Under};
use crate::store::leases::{self, Lease};
use crate::store::{Database, Error, feed, items, relay, synced};

pub(super) use call::{Authority, CalledAt};

/// See the module.
pub(super) struct Holder {
    runner: Arc<Runner>,
    signals: Arc<Signals>,
    lease: Mutex<Lease>,
    generation: AtomicI64,
    /// 0: no grant.
    grant_id: AtomicI64,
    elections: Arc<Elections>,
    /// Counts `receive` commits. A page commits only if none came since its call began, so a row
    /// that `receive` deleted can't come back from a page that was read before.
    received: RwLock<u64>,
    interrupted: AtomicBool,
    listed: Listed,
    /// There is a failure count or a misconfiguration mark that a success must clear.
    clear_on_success: AtomicBool,
    /// From then on the owner makes room for others.
    turn_ends_at: Micros,
    /// From then on its stale rows are to be gone through.
    next_sweep_at: AtomicI64,
}

/// Under what a call is made; see [`Holder::commit`].
#[derive(Clone)]
pub(super) struct Standpoint {
    pub(super) under: Under,
    received: u64,
}

impl Holder {
    /// Takes up a claimed lease: what the former holder left untold is told first. Who gives up needs the fence
    /// that the lease has then.
    pub(super) async fn begin(
        runner: Arc<Runner>,
        lease: &mut Lease,
        listed: Listed,
        signals: Arc<Signals>,
    ) -> Result<Self, Error> {
        let tree = runner.trees.get(&lease.root_id).await?;
        let control = runner.store.control();
        let planted = leases::plant(control, &tree.replication, lease).await?;
        failpoint::reach("fence_planted");
        runner.egress.adopt(CountedUnder {
            owner_id: lease.owner_id,
            fence: lease.fence,
            carried: (!lease.unreleased).then_some(lease.buckets.as_deref()),
        });
        if planted.commit_no < lease.relayed_no {
            let (no, now) = (planted.commit_no, runner.clock.now());
            let since = now.saturating_sub(micros(runner.options.inbox_kept));
            // The control database is told how many commits there are.
            tree.replication.sync().await?;
            let epoch = runner.chance.uuid();
            feed::found_put_back(control, &tree.replication, lease, epoch).await?;
            relay::drive_again(control, &tree.replication, lease, no, now, since).await?;
        }
        if lease.unreleased {
            relay::relay(control, &tree.replication, lease, runner.clock.now()).await?;
            // The holder before may have died between a commit and the mark of its targets.
            runner.store.changed().note(&lease.root_id);
        }
        let turn_ends_at = runner.clock.now().saturating_add(micros(runner.options.turn));
        let kept = runner.options.stale_rows_kept;
        let next_sweep_at = stale::next_sweep(&tree, kept, planted.stale_swept_at);
        let holder = Self {
            runner,
            signals,
            lease: Mutex::new(lease.clone()),
            generation: AtomicI64::new(planted.generation),
            grant_id: AtomicI64::new(planted.grant_id.unwrap_or(0)),
            elections: Arc::default(),
            received: RwLock::new(0),
            interrupted: AtomicBool::new(false),
            listed,
            clear_on_success: AtomicBool::new(false),
            turn_ends_at,
            next_sweep_at: AtomicI64::new(next_sweep_at),
        };
        if tree.ended {
            return Ok(holder);
        }
        let tables = Arc::clone(&tree.tables);
        let under = holder.under_now();
        let now = holder.now();
        if commit::derive_all(&tree.replication, under, tables, now).await? {
            holder.relay(&tree).await?;
        }
        Ok(holder)
    }

    /// Stores who is to be told, if the owner's first sync after its link is complete.
    pub(super) async fn tell_first_sync(&self) -> Result<(), Error> {
        if !synced::is_complete(self.control(), self.owner_id()).await? {
            return Ok(());
        }
        // What isn't told yet may add streams.
        let tree = self.tree().await?;
        self.relay(&tree).await?;
        failpoint::reach("first_sync_complete");
        if synced::settle(self.control(), &self.lease(), self.now()).await? {
            failpoint::reach("first_sync_stored");
            self.runner.store.changed().look();
        }
        Ok(())
    }

    /// Handles the open inbox items that may be handled now.
    pub(super) async fn receive(&self) -> Result<(), Error> {
        while !self.runner.is_stopping() {
            let item = items::next_item(self.control(), self.owner_id()).await?;
            let Some(item) = item.filter(|item| item.not_before <= self.now()) else { break };
            if !inbox::handle(self, item).await? {
                break;
            }
        }
        Ok(())
    }

    pub(super) async fn tree(&self) -> Result<Arc<Tree>, Error> {
        self.runner.trees.get(&self.lease().root_id).await
    }

    /// Under what a call that begins now is made.
    pub(super) async fn stand(&self) -> Standpoint {
        let received = self.received.read().await;
        Standpoint { under: self.under_now(), received: *received }
    }

    /// A guard while which no inbox item is applied, if none has been since `at`: what a call found
    /// out under an older grant must not be held against a newer one (R10).
    pub(super) async fn stands(&self, at: &Standpoint) -> Option<RwLockReadGuard<'_, u64>> {
        let received = self.received.read().await;
        (*received == at.received).then_some(received)
    }

    pub(super) fn under_now(&self) -> Under {
        let lease = self.lease();
        Under {
            owner_id: lease.owner_id,
            external_owner_id: lease.external_owner(),
            fence: lease.fence,
            generation: self.generation(),
        }
    }

    /// The owner's present grant.
    pub(super) fn grant_id(&self) -> Option<i64> {
        Some(self.grant_id.load(Ordering::Acquire)).filter(|id| *id > 0)
    }

    /// The owner's present generation.
    pub(super) fn generation(&self) -> i64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Where vendors reach this host; none: push is off.
    pub(super) fn push_base_url(&self) -> Option<&str> {
        self.runner.push_base_url.as_deref()
    }

    /// Id and token of a new channel.
    pub(super) fn channel_names(&self) -> (String, Zeroizing<String>) {
        let chance = &self.runner.chance;
        (chance.uuid(), Zeroizing::new(chance.base36(16) + &chance.base36(16)))
    }

    pub(super) fn keyring(&self) -> &Keyring {
        &self.runner.keyring
    }

    pub(super) fn lease(&self) -> Lease {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lease> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.runner.metrics
    }

    pub(super) fn owner_id(&self) -> OwnerId {
        self.lock().owner_id
    }

    pub(super) fn control(&self) -> &Database {
        self.runner.store.control()
    }

    pub(super) fn now(&self) -> Micros {
        self.runner.clock.now()
    }

    /// In about `wait_ms`.
    pub(super) fn later(&self, wait_ms: u64) -> Micros {
        self.not_before(wait_ms, 0)
    }

    /// In about `wait_ms`, but no earlier than in `least_ms`.
    pub(super) fn not_before(&self, wait_ms: u64, least_ms: u64) -> Micros {
        let wait = Duration::from_millis(spread(wait_ms, least_ms, self.chance()));
        self.now() + micros(wait)
    }

    pub(super) fn chance(&self) -> u64 {
        self.runner.chance.below(u64::MAX)
    }

    pub(super) fn back_off(&self) -> BackOff {
        self.runner.options.back_off
    }

    /// Streams must stop before their next call.
    pub(super) fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Acquire) || self.must_stop()
    }

    /// No further call of this owner may begin here: the host stops, others wait, or the owner has had
    /// its turn.
    pub(super) fn must_stop(&self) -> bool {
        self.runner.is_stopping()
            || self.signals.give_way.load(Ordering::Acquire)
            || self.now() >= self.turn_ends_at
    }

    /// Takes the mark that the generation has moved under running streams.
    pub(super) fn take_interrupted(&self) -> bool {
        self.interrupted.swap(false, Ordering::AcqRel)
    }
}
