//! HTTP Sync, DB Sync and notifications: send what changed in a table to the customer's receiver or
//! database, in pages or row by row, each after the one before was taken.
//!
//! A target is due when a commit changed rows of its tree, when its period is over, or when somebody
//! asks. Whoever has slots claims it under a fence. The bookmark moves only behind a page that was
//! answered 2xx, or committed there, so what was lost on the way comes again. Nothing here holds a
//! sync up: it only reads the feed. The only module beside `store` that knows sqlx (`mirror`).

pub mod alerts;
mod decision;
mod deliver;
mod destination;
mod mirror;
mod notification;
mod payload;
mod receiver;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{self, JoinError, JoinSet};
use tracing::Instrument as _;

pub use decision::Patience;
pub use destination::{Clients, Destination, DestinationRules};
pub use mirror::{DatabaseAddress, Mirror, OwnDatabases, PAGE_ROWS};
pub use notification::Subscriber;
pub use receiver::Receiver;

use crate::clock::micros;
use crate::metrics::Metrics;
use crate::model::Micros;
use crate::store::targets::{self, Claimed};
use crate::store::{Error, Store};

/// Settings of deliveries.
#[derive(Clone, Debug)]
pub struct DeliveryOptions {
    /// This host, as leases name it.
    pub host: String,
    /// Targets that are delivered to at once. Failing ones get half of them.
    pub workers: usize,
    /// A receiver, or database, has so long to answer.
    pub timeout: Duration,
    /// A target with much to take makes room for others after so long.
    pub turn: Duration,
    /// At most so long without looking, whatever else was heard.
    pub poll: Duration,
    /// How long failures are borne.
    pub patience: Patience,
    /// Where deliveries may go.
    pub rules: DestinationRules,
}

/// A lease outlives the timeout by half of it, and by no more than this: time for the database.
const LEASE_MARGIN_MAX: Duration = Duration::from_secs(5);

/// Between two looks that commits ask for.
const LOOK_PAUSE: Micros = 20_000;

impl DeliveryOptions {
    /// Until when a holder has the target that begins a delivery now.
    fn lease_until(&self, now: Micros) -> Micros {
        let margin = (self.timeout / 2).min(LEASE_MARGIN_MAX);
        now.saturating_add(micros(self.timeout.saturating_add(margin)))
    }
}

/// Delivers until it is stopped.
pub struct Deliveries {
    store: Arc<Store>,
    clients: Clients,
    metrics: Arc<Metrics>,
    options: DeliveryOptions,
    stopping: watch::Sender<bool>,
}

/// What a look at the targets found.
enum Seen {
    /// One that is delivered to now.
    Due(Claimed),
    /// None, before this time.
    Nothing { until: Micros },
}

impl Deliveries {
    /// Nothing is delivered yet.
    pub fn new(
        store: Arc<Store>,
        clients: Clients,
        metrics: Arc<Metrics>,
        options: DeliveryOptions,
    ) -> Self {
        Self { store, clients, metrics, options, stopping: watch::Sender::new(false) }
    }

    /// No target is claimed any more; those that are worked on end after the delivery in flight.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Claims what is due, up to a number at once. Ends when it is stopped and the last delivery is
    /// over.
    pub async fn work(self: Arc<Self>) {
        let mut running = JoinSet::new();
        let mut failing = HashSet::new();
        let mut unmarked = BTreeSet::new();
        while !self.is_stopping() {
            while let Some(ended) = running.try_join_next_with_id() {
                over(ended, &mut failing, &self.metrics);
            }
            unmarked.append(&mut self.store.changed().take());
            let now = self.store.clock().now();
            match self.look(&mut unmarked, running.len(), failing.len(), now).await {
                Ok(Seen::Due(claimed)) => {
                    let was_failing = claimed.was_failing;
                    let delivery = running.spawn(Arc::clone(&self).deliver(claimed));
                    if was_failing {
                        failing.insert(delivery.id());
                    }
                }
                Ok(Seen::Nothing { until }) => {
                    self.rest(&mut running, &mut failing, now, until).await;
                }
                Err(error) => {
                    tracing::error!(%error, "no target can be claimed");
                    tokio::select! {
                        () = self.stopped() => {}
                        () = self.store.clock().sleep(self.options.poll) => {}
                    }
                }
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// Marks targets whose tables changed, and claims one.
    async fn look(
        &self,
        unmarked: &mut BTreeSet<String>,
        running: usize,
        failing: usize,
        now: Micros,
    ) -> Result<Seen, Error> {
        let control = self.store.control();
        if !unmarked.is_empty() {
            targets::mark_due(control, unmarked, now).await?;
            self.store.changed().marked(unmarked);
            unmarked.clear();
        }
        // What is due and can't be claimed waits for a slot, or another host has it by now.
        let poll = now.saturating_add(micros(self.options.poll));
        if running >= self.options.workers.max(1) {
            return Ok(Seen::Nothing { until: poll });
        }
        let due_at = targets::next_due(control).await?.unwrap_or(Micros::MAX);
        if due_at > now {
            return Ok(Seen::Nothing { until: due_at.min(poll) });
        }
        let lease_until = self.options.lease_until(now);
        let also_failing = failing < self.options.workers.div_ceil(2);
        let host = &self.options.host;
        let claimed = targets::claim(control, host, also_failing, now, lease_until).await?;
        Ok(claimed.map_or(Seen::Nothing { until: poll }, Seen::Due))
    }

    /// Waits until something changed, a delivery ended, or a target falls due.
    async fn rest(
        &self,
        running: &mut JoinSet<()>,
        failing: &mut HashSet<task::Id>,
        looked_at: Micros,
        until: Micros,
    ) {
        tokio::select! {
            () = self.stopped() => {}
            () = self.store.changed().wait() => self.breathe(looked_at).await,
            Some(ended) = running.join_next_with_id() => over(ended, failing, &self.metrics),
            () = self.store.clock().sleep_until(until) => {}
        }
    }

    /// Commits come by the hundred; one look serves many of them.
    async fn breathe(&self, looked_at: Micros) {
        let clock = self.store.clock();
        tokio::select! {
            () = self.stopped() => {}
            () = clock.sleep_until(looked_at.saturating_add(LOOK_PAUSE)) => {}
        }
    }

    async fn deliver(self: Arc<Self>, claimed: Claimed) {
        let Claimed { id, fence, .. } = &claimed;
        let span = tracing::error_span!("delivery", target = id.as_str(), fence);
        let delivered = deliver::deliver(&self, claimed).instrument(span.clone()).await;
        span.in_scope(|| match delivered {
            Ok(()) => {}
            Err(Error::Superseded(what)) => {
                tracing::info!(what, "another holder goes on, or nobody");
            }
            Err(error) => {
                tracing::error!(%error, "deliveries broke off; they go on when the lease is over");
            }
        });
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives as long as `self`.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}

/// However it ended, it has left its place among those that fail.
fn over(
    ended: Result<(task::Id, ()), JoinError>,
    failing: &mut HashSet<task::Id>,
    metrics: &Metrics,
) {
    let id = match ended {
        Ok((id, ())) => id,
        Err(error) => {
            metrics.panicked("delivery");
            tracing::error!(%error, "a delivery broke off; it goes on when the lease is over");
            error.id()
        }
    };
    failing.remove(&id);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Load;

    #[tokio::test]
    async fn whatever_ends_leaves_its_place() {
        let (mut running, mut failing) = (JoinSet::new(), HashSet::new());
        let metrics = Metrics::default();
        failing.insert(running.spawn(async {}).id());
        failing.insert(running.spawn(async { panic!("on purpose") }).id());
        let stays = running.spawn(std::future::pending()).id();
        failing.insert(stays);
        for _ in 0..2 {
            over(running.join_next_with_id().await.unwrap(), &mut failing, &metrics);
        }
        assert_eq!(failing, HashSet::from([stays]));
        let counted = metrics.text(&Load::default());
        assert!(counted.contains("rowgate_task_panics_total{task=\"delivery\"} 1"), "{counted}");
    }
}
