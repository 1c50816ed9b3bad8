//! Where time comes from. No other module reads the system's clock or sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::model::Micros;

/// The monotonic clock, on which timeouts and durations of real work are measured.
pub fn monotonic() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// A duration as what is added to the time; so long that it is for ever, it still can be added.
pub fn micros(duration: Duration) -> Micros {
    const LONGEST: Micros = Micros::MAX / 4;
    Micros::try_from(duration.as_micros()).map_or(LONGEST, |micros| micros.min(LONGEST))
}

/// The time, real or simulated.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The system's clock.
    System,
    /// The system's clock, so many microseconds put forward that it goes with a server's.
    Corrected(Arc<AtomicI64>),
    /// A clock that only moves when a test moves it.
    Simulated(Arc<Simulated>),
}

/// State of a simulated clock.
#[derive(Debug)]
pub struct Simulated {
    now: AtomicI64,
    moved: Notify,
}

impl Clock {
    /// A simulated clock that stands at `now`.
    pub fn simulated(now: Micros) -> Self {
        Self::Simulated(Arc::new(Simulated { now: AtomicI64::new(now), moved: Notify::new() }))
    }

    /// The system's clock, to be corrected.
    pub fn corrected() -> Self {
        Self::Corrected(Arc::default())
    }

    /// Puts a corrected clock forward (or back); does nothing to others.
    pub fn correct(&self, by: Micros) {
        if let Self::Corrected(offset) = self {
            offset.fetch_add(by, Ordering::AcqRel);
        }
    }

    /// Microseconds since the Unix epoch.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    pub fn now(&self) -> Micros {
        match self {
            Self::System => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX)),
            Self::Corrected(offset) => Self::System.now() + offset.load(Ordering::Acquire),
            Self::Simulated(clock) => clock.now.load(Ordering::Acquire),
        }
    }

    /// Waits until the clock has reached `at`.
    #[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
    pub async fn sleep_until(&self, at: Micros) {
        match self {
            Self::System | Self::Corrected(_) => {
                let wait = u64::try_from(at - self.now()).unwrap_or(0);
                tokio::time::sleep(Duration::from_micros(wait)).await;
            }
            Self::Simulated(clock) => loop {
                let moved = clock.moved.notified();
                tokio::pin!(moved);
                moved.as_mut().enable();
                if clock.now.load(Ordering::Acquire) >= at {
                    return;
                }
                moved.await;
            },
        }
    }

    /// Waits for `duration`.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now().saturating_add(micros(duration))).await;
    }

    /// Moves a simulated clock forward; does nothing to the system's.
    pub fn advance(&self, duration: Duration) {
        if let Self::Simulated(clock) = self {
            let micros = Micros::try_from(duration.as_micros()).unwrap_or(0);
            clock.now.fetch_add(micros, Ordering::AcqRel);
            clock.moved.notify_waiters();
        }
    }
}
