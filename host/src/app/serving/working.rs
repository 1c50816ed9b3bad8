//! What works beside the listener, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, micros};
use crate::config;
use crate::delivery::Deliveries;
use crate::model::Micros;
use crate::run::Runner;
use crate::schedule::Wake;

/// The scheduler as it works beside the listener.
pub(super) struct Working {
    pub(super) runner: Arc<Runner>,
    pub(super) wake: Wake,
    /// Its name in leases.
    pub(super) host: String,
    pub(super) task: tokio::task::JoinHandle<()>,
    pub(super) deliveries: Arc<Deliveries>,
    pub(super) delivering: tokio::task::JoinHandle<()>,
}

impl Working {
    /// Answers until when requests may go on. Until then the health check says what is going on, and
    /// webhooks are still taken: what sends them may not have noticed.
    pub(super) async fn drain(self, server: &config::Server, clock: &Clock) -> Micros {
        let since = clock.now();
        self.runner.stop();
        self.deliveries.stop();
        self.wake.look();
        let noticed = clock.sleep(Duration::from_millis(server.drain_ms));
        let delivered = ended_within(self.delivering, drain_max(server), clock);
        let (ended, (), ()) = tokio::join!(self.task, noticed, delivered);
        if let Err(error) = ended {
            tracing::error!(%error, "the scheduler ended badly");
        }
        since.saturating_add(micros(Duration::from_millis(server.shutdown_timeout_ms)))
    }
}

/// Calls and deliveries in flight get so long; the rest is for requests that are being answered.
pub(super) fn drain_max(server: &config::Server) -> Duration {
    Duration::from_millis(server.shutdown_timeout_ms) * 9 / 10
}

/// A receiver that doesn't answer holds nothing up: what it didn't take is sent again.
async fn ended_within(mut delivering: tokio::task::JoinHandle<()>, limit: Duration, clock: &Clock) {
    tokio::select! {
        ended = &mut delivering => {
            if let Err(error) = ended {
                tracing::error!(%error, "deliveries ended badly");
            }
        }
        () = clock.sleep(limit) => delivering.abort(),
    }
}
