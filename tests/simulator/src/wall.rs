//! The only place that touches real time: how long the simulator runs, and waiting.

use std::time::{Duration, Instant};

/// Real time since the start.
pub(crate) struct Wall {
    started: Instant,
}

impl Wall {
    #[allow(clippy::disallowed_methods, reason = "the model's clock is moved from here")]
    pub(crate) fn start() -> Self {
        Self { started: Instant::now() }
    }

    pub(crate) fn elapsed_us(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

#[allow(clippy::disallowed_methods, reason = "a fault that is slow has to be slow for real")]
pub(crate) async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
