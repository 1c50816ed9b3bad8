//! Token buckets: a plugin asks its vendor no faster than the manifest's `limits` say, counted for
//! each owner and for each tree. A request waits a little; one that would wait longer ends its call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rowgate_manifest::{RateLimit, RateScope};

use super::HttpError;
use crate::metrics::Metrics;
use crate::model::{Failure, Micros, OwnerId, RetryScope};

/// A longer wait isn't waited: meanwhile the call would hold what others could use.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// A bucket that isn't known yet holds a tenth of the vendor's limit at most: who asked before this
/// process started, or before the lease came here, is unknown.
const UNKNOWN_SHARE: u64 = 10;

/// So many buckets are kept before full ones, which say nothing, are dropped.
const BUCKETS_KEPT: usize = 4_096;

/// For whom requests are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Counted {
    /// The owner.
    pub owner_id: OwnerId,
    /// Root of the owner's integration tree.
    pub root_id: Arc<str>,
}

/// All buckets of a process. Clones are the same buckets.
#[derive(Clone, Debug, Default)]
pub(super) struct Buckets {
    kept: Arc<Mutex<HashMap<Key, Bucket>>>,
    metrics: Arc<Metrics>,
}

/// Whose bucket, and of which `[[egress]]` and limit in the manifest.
type Key = (Whose, usize, usize);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whose {
    Owner(OwnerId),
    Tree(Arc<str>),
}

/// What a request takes from one bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due<'m> {
    pub(super) entry: usize,
    pub(super) nth: usize,
    pub(super) limit: &'m RateLimit,
}

impl Buckets {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { kept: Arc::default(), metrics }
    }

    /// Takes one request from each bucket.
    ///
    /// # Errors
    /// The call ends: a bucket is so empty that the wait would be too long. Nothing is taken then.
    pub(super) fn take(
        &self,
        counted: &Counted,
        dues: &[Due<'_>],
        now: Micros,
    ) -> Result<Duration, HttpError> {
        if dues.is_empty() {
            return Ok(Duration::ZERO);
        }
        let mut buckets = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let key = |due: &Due<'_>| (whose(counted, due.limit.per), due.entry, due.nth);
        let (mut longest, mut slowest) = (Duration::ZERO, None);
        for due in dues {
            let bucket = buckets.entry(key(due)).or_insert_with(|| Bucket::new(due.limit, now));
            let wait = bucket.wait(due.limit, now);
            if wait > WAIT_MAX {
                self.metrics.limit_refusal(named(due.limit.per));
                return Err(HttpError::Ended(too_fast(due.limit, wait)));
            }
            if wait > longest {
                (longest, slowest) = (wait, Some(due.limit.per));
            }
        }
        for due in dues {
            if let Some(bucket) = buckets.get_mut(&key(due)) {
                bucket.tokens -= 1.0;
            }
        }
        if let Some(scope) = slowest {
            self.metrics.limit_wait(named(scope), longest);
        }
        if buckets.len() > BUCKETS_KEPT && buckets.len().is_power_of_two() {
            buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        Ok(longest)
    }
}

fn whose(counted: &Counted, per: RateScope) -> Whose {
    match per {
        RateScope::Owner => Whose::Owner(counted.owner_id),
        RateScope::Tree => Whose::Tree(Arc::clone(&counted.root_id)),
    }
}

fn named(per: RateScope) -> &'static str {
    match per {
        RateScope::Owner => "owner",
        RateScope::Tree => "integration",
    }
}

fn too_fast(limit: &RateLimit, wait: Duration) -> Failure {
    let whom = named(limit.per);
    let scope = match limit.per {
        RateScope::Owner => RetryScope::Owner,
        RateScope::Tree => RetryScope::Integration,
    };
    let reason = format!(
        "the {whom}'s share of the vendor's limit ({} requests in {} s) is used up",
        limit.requests, limit.window_s
    );
    Failure::Retry { reason, after_ms: u64::try_from(wait.as_millis()).ok(), scope }
}

/// Requests that may be sent at once; negative where some wait already.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    /// `tokens` are of this moment.
    at: Micros,
    burst: f64,
    rate_s: f64,
}

impl Bucket {
    /// In any window, burst and what flows in stay within the vendor's limit together.
    #[expect(clippy::cast_precision_loss, reason = "limits of vendors are small")]
    fn new(limit: &RateLimit, now: Micros) -> Self {
        let flow = limit.rate_s.saturating_mul(limit.window_s);
        let burst = limit.requests.saturating_sub(flow).max(1);
        let first = (limit.requests / UNKNOWN_SHARE).clamp(1, burst);
        Self { tokens: first as f64, at: now, burst: burst as f64, rate_s: limit.rate_s as f64 }
    }

    /// How long the next request waits.
    fn wait(&mut self, limit: &RateLimit, now: Micros) -> Duration {
        *self = Self { tokens: self.tokens_at(now), at: now, ..*self };
        let missing = (1.0 - self.tokens).max(0.0);
        Duration::try_from_secs_f64(missing / self.rate_s)
            .unwrap_or(Duration::from_secs(limit.window_s))
    }

    fn is_full(&self, now: Micros) -> bool {
        self.tokens_at(now) >= self.burst
    }

    #[expect(clippy::cast_precision_loss, reason = "microseconds of a few minutes")]
    fn tokens_at(&self, now: Micros) -> f64 {
        let passed = (now - self.at).max(0) as f64 / 1e6;
        (self.tokens + passed * self.rate_s).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: RateLimit =
        RateLimit { per: RateScope::Owner, requests: 600, window_s: 60, rate_s: 8 };
    const TREE: RateLimit =
        RateLimit { per: RateScope::Tree, requests: 1_000, window_s: 60, rate_s: 10 };

    fn counted(owner_id: OwnerId) -> Counted {
        Counted { owner_id, root_id: "svi_1".into() }
    }

    fn dues() -> [Due<'static>; 2] {
        [Due { entry: 0, nth: 0, limit: &OWNER }, Due { entry: 0, nth: 1, limit: &TREE }]
    }

    const SECOND: Micros = 1_000_000;
    const WINDOW: Micros = 60 * SECOND;

    /// When each of as many requests as will go is sent, if every one is asked for at once.
    fn greedy(buckets: &Buckets, from: Micros, to: Micros) -> Vec<Micros> {
        let (mut now, mut sent) = (from, Vec::new());
        while now < to {
            match buckets.take(&counted(1), &dues(), now) {
                Ok(wait) => {
                    now += Micros::try_from(wait.as_micros()).unwrap();
                    sent.push(now);
                }
                Err(_) => now += SECOND / 10,
            }
        }
        sent
    }

    #[test]
    fn no_window_exceeds_the_limit() {
        let sent = greedy(&Buckets::default(), 0, 5 * WINDOW);
        for (nth, at) in sent.iter().enumerate() {
            assert!(sent[nth..].iter().take_while(|later| **later < at + WINDOW).count() <= 600);
        }
        assert!(sent.len() > 300 * 8, "the pace is kept up: {}", sent.len());
    }

    #[test]
    fn a_process_that_starts_anew_exceeds_it_by_a_tenth_at_most() {
        let before = greedy(&Buckets::default(), 0, WINDOW);
        let after = greedy(&Buckets::default(), WINDOW, 2 * WINDOW);
        let all: Vec<Micros> = before.into_iter().chain(after).collect();
        for (nth, at) in all.iter().enumerate() {
            assert!(all[nth..].iter().take_while(|later| **later < at + WINDOW).count() <= 660);
        }
    }

    #[test]
    fn owners_share_the_limit_of_their_tree() {
        let buckets = Buckets::default();
        let sent: usize = (0..40).map(|owner| at_once(&buckets, owner)).sum();
        assert!((100..=400).contains(&sent), "{sent}");
        let refused = buckets.take(&counted(99), &dues(), WINDOW);
        let Err(HttpError::Ended(Failure::Retry { scope, after_ms, .. })) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(scope, RetryScope::Integration);
        assert!(after_ms.is_some_and(|ms| ms > 1_000), "{after_ms:?}");
        let text = buckets.metrics.text(&crate::metrics::Load::default());
        assert!(text.contains("limit_refusals_total{scope=\"integration\"} "), "{text}");
        assert!(text.contains("limit_waits_total{scope=\"integration\"} "), "{text}");
        // Who was refused has lost nothing of his own.
        let own = [dues()[0]];
        assert_eq!(buckets.take(&counted(99), &own, WINDOW).unwrap(), Duration::ZERO);
    }

    fn at_once(buckets: &Buckets, owner_id: OwnerId) -> usize {
        (0..100).take_while(|_| buckets.take(&counted(owner_id), &dues(), WINDOW).is_ok()).count()
    }

    #[test]
    fn full_buckets_are_dropped() {
        let buckets = Buckets::default();
        let own = [dues()[0]];
        for owner in 0..20_000 {
            buckets.take(&counted(owner), &own, owner * SECOND).unwrap();
        }
        assert!(buckets.kept.lock().unwrap().len() <= 8_192);
    }
}
