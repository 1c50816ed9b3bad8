//! What tells the scheduler, and holders of owners, that there is something to do; and who runs here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::model::{OrganizationId, OwnerId};
use crate::run::Signals;
use crate::store::leases::Lease;

/// Wakes the scheduler, and the holder of an owner, when an inbox item was accepted; tells when
/// nothing is left to do.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    due: Notify,
    holders: Mutex<HashMap<OwnerId, Holding>>,
    /// Wakes so far: idle is only what was idle since the last of them.
    wakes: AtomicU64,
    idle: watch::Sender<bool>,
}

/// An owner that runs here.
#[derive(Debug)]
pub(super) struct Holding {
    organization_id: OrganizationId,
    signals: Arc<Signals>,
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
        if let Some(holding) = self.holders().get(&owner_id) {
            holding.signals.arrived.notify_one();
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

    /// Waits until something is said to be due.
    pub(super) async fn due(&self) {
        self.0.due.notified().await;
    }

    /// Waits until no owner runs and none is due.
    pub async fn idle(&self) {
        let mut idle = self.0.idle.subscribe();
        // The sender lives as long as `self`.
        let _ = idle.wait_for(|idle| *idle).await;
    }

    /// Nothing was due and nothing ran, unless a wake came since the count was `wakes`.
    pub(super) fn rests(&self, wakes: u64) {
        self.0.idle.send_if_modified(|idle| {
            let rests = self.0.wakes.load(Ordering::Acquire) == wakes;
            rests && !std::mem::replace(idle, rests)
        });
    }

    /// One of the organization's runs gives way, unless one does so already.
    pub(super) fn give_way(&self, organization_id: OrganizationId) {
        let holders = self.holders();
        let mut runs = holders.values().filter(|run| run.organization_id == organization_id);
        if runs.clone().any(|run| run.signals.give_way.load(Ordering::Acquire)) {
            return;
        }
        if let Some(run) = runs.next() {
            run.signals.give_way.store(true, Ordering::Release);
        }
    }

    /// An owner runs here from now on.
    pub(super) fn hold(&self, lease: &Lease) -> Arc<Signals> {
        let (organization_id, signals) = (lease.organization_id, Arc::new(Signals::default()));
        let holding = Holding { organization_id, signals: Arc::clone(&signals) };
        self.holders().insert(lease.owner_id, holding);
        signals
    }

    /// That run of the owner has ended. A host that stood still for longer than a lease lives may
    /// have claimed the owner anew meanwhile: then another run is the holder here.
    pub(super) fn let_go(&self, owner_id: OwnerId, signals: &Arc<Signals>) {
        let mut holders = self.holders();
        if holders.get(&owner_id).is_some_and(|holding| Arc::ptr_eq(&holding.signals, signals)) {
            holders.remove(&owner_id);
        }
    }

    pub(super) fn runs_by_organization(&self) -> HashMap<OrganizationId, usize> {
        let mut runs = HashMap::new();
        for holding in self.holders().values() {
            *runs.entry(holding.organization_id).or_default() += 1;
        }
        runs
    }

    pub(super) fn wakes(&self) -> u64 {
        self.0.wakes.load(Ordering::Acquire)
    }

    pub(super) fn holders(&self) -> MutexGuard<'_, HashMap<OwnerId, Holding>> {
        self.0.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
