//! One token bucket: what it holds, and how it fills.

use std::time::Duration;

use rowgate_manifest::RateLimit;

use crate::model::Micros;
use crate::store::limits::Filling;

/// How the bucket of a limit fills: in any window, burst and what flows in stay within the vendor's
/// limit together.
#[expect(clippy::cast_precision_loss, reason = "limits of vendors are small")]
pub(super) fn filling(limit: &RateLimit) -> Filling {
    let flow = limit.rate_s.saturating_mul(limit.window_s);
    let burst = limit.requests.saturating_sub(flow).max(1);
    Filling { burst: burst as f64, rate_s: limit.rate_s as f64 }
}

/// Requests that may be sent at once; negative where some wait already.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bucket {
    tokens: f64,
    /// `tokens` are of this moment.
    at: Micros,
    filling: Filling,
}

/// A bucket as it travels.
pub(super) type Told = (f64, Micros, f64, f64);

impl Bucket {
    pub(super) fn new(filling: Filling, tokens: f64, at: Micros) -> Self {
        Self { tokens: tokens.min(filling.burst), at, filling }
    }

    /// All of it, for the next holder of the lease: tokens, their moment, burst, rate.
    pub(super) fn told(&self) -> Told {
        // Down, so that nothing is gained.
        let tokens = (self.tokens * 1e3).floor() / 1e3;
        (tokens, self.at, self.filling.burst, self.filling.rate_s)
    }

    pub(super) fn from_told((tokens, at, burst, rate_s): Told) -> Self {
        Self::new(Filling { burst, rate_s }, tokens, at)
    }

    /// From now on it fills like this: the plugin's version may have changed.
    pub(super) fn refit(&mut self, filling: Filling, now: Micros) {
        if self.filling != filling {
            *self = Self::new(filling, self.tokens_at(now), now);
        }
    }

    /// How long the next request waits.
    pub(super) fn wait(&self, now: Micros) -> Duration {
        let missing = (1.0 - self.tokens_at(now)).max(0.0);
        Duration::try_from_secs_f64(missing / self.filling.rate_s).unwrap_or(Duration::MAX)
    }

    pub(super) fn take(&mut self, now: Micros) {
        (self.tokens, self.at) = (self.tokens_at(now) - 1.0, self.at.max(now));
    }

    pub(super) fn is_full(&self, now: Micros) -> bool {
        self.tokens_at(now) >= self.filling.burst
    }

    #[expect(clippy::cast_precision_loss, reason = "microseconds of a few minutes")]
    fn tokens_at(&self, now: Micros) -> f64 {
        let passed_s = (now - self.at).max(0) as f64 / 1e6;
        (self.tokens + passed_s * self.filling.rate_s).min(self.filling.burst)
    }
}
