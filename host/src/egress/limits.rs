//! Token buckets: a plugin asks its vendor no faster than the manifest's `limits` say, counted for
//! each owner and for each tree, whatever number of hosts work for it (R16). A request waits a little;
//! one that would wait longer ends its call. The same for a pause that the vendor asked for.

mod bucket;
mod owner;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rowgate_manifest::{RateLimit, RateScope};

use super::HttpError;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::model::{Failure, Micros, OwnerId, RetryScope};
use crate::store::limits::{self, Block};
use crate::store::{Database, Dialect};
use owner::OwnerBuckets;
use tree::{Ask, TreeBuckets, handed};

/// A longer wait isn't waited: meanwhile the call would hold what others could use.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// A bucket that isn't known yet holds a tenth of the vendor's limit at most: who asked before this
/// process started is unknown.
const UNKNOWN_SHARE: u64 = 10;

/// So many owners are kept before those are dropped whose buckets say nothing.
const OWNERS_KEPT: usize = 4_096;

/// For whom requests are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Counted {
    /// The owner.
    pub owner_id: OwnerId,
    /// Root of the owner's integration tree.
    pub root_id: Arc<str>,
}

/// The lease under which an owner's buckets are here.
#[derive(Clone, Copy, Debug)]
pub struct CountedUnder<'l> {
    /// The owner.
    pub owner_id: OwnerId,
    /// The lease's.
    pub fence: i64,
    /// What the former holder told of the buckets; the outer none: it died and told nothing.
    pub carried: Option<Option<&'l str>>,
}

/// All buckets of a process. Clones are the same buckets.
#[derive(Clone, Debug, Default)]
pub(super) struct Buckets {
    kept: Arc<Mutex<Kept>>,
    /// Where hosts share a tree's tokens; none: this host is the only one.
    control: Option<Database>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Kept {
    owners: HashMap<OwnerId, OwnerBuckets>,
    /// As many as there are trees.
    trees: HashMap<Arc<str>, TreeBuckets>,
}

/// `[[egress]]` and limit in the manifest.
type Which = (usize, usize);

/// What a request takes from one bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due<'m> {
    pub(super) which: Which,
    pub(super) limit: &'m RateLimit,
}

/// What became of an attempt to take.
enum Taken {
    /// One token from each bucket; they are good after so long.
    All(Duration),
    /// The due at this position needs a block first.
    Lacks(usize),
}

impl Buckets {
    /// `control`: the control database, which other hosts may use too.
    pub(super) fn new(control: Option<Database>, metrics: Arc<Metrics>) -> Self {
        let control = control.filter(|control| control.dialect() == Dialect::Postgres);
        Self { kept: Arc::default(), control, metrics }
    }

    /// An owner's buckets come with its lease.
    pub(super) fn adopt(&self, lease: CountedUnder<'_>) {
        let mut kept = self.lock();
        match (lease.carried, kept.owners.get_mut(&lease.owner_id)) {
            // A lease of this host ran out, and nobody else had the owner since.
            (None, Some(here)) if here.is_of(lease.fence - 1) => here.go_on(lease.fence),
            _ => {
                let buckets = OwnerBuckets::of_lease(lease.fence, lease.carried);
                kept.owners.insert(lease.owner_id, buckets);
            }
        }
    }

    /// They leave with it; the answer goes to the next holder.
    pub(super) fn hand_over(&self, owner_id: OwnerId, fence: i64, now: Micros) -> Option<String> {
        let mut kept = self.lock();
        // Where the lease was lost, this process itself may have it again.
        kept.owners.get(&owner_id).filter(|owner| owner.is_of(fence))?;
        kept.owners.remove(&owner_id)?.carried(now)
    }

    /// Until then the vendor wants nothing of this owner. What was sooner is forgotten.
    pub(super) fn pause_owner(&self, owner_id: OwnerId, until: Micros) {
        if let Some(owner) = self.lock().owners.get_mut(&owner_id) {
            owner.paused_until = until;
        }
    }

    /// Until then the vendor wants nothing of this tree.
    pub(super) fn pause_tree(&self, root_id: &str, until: Micros) {
        let mut kept = self.lock();
        let tree = kept.trees.entry(root_id.into()).or_default();
        tree.paused_until = tree.paused_until.max(until);
    }

    /// Takes one request from each bucket, and says how long it must wait.
    ///
    /// # Errors
    /// The call ends: a bucket is so empty, or a pause so long, that the wait would be too long.
    /// Nothing is taken then.
    pub(super) async fn take(
        &self,
        counted: &Counted,
        dues: &[Due<'_>],
        clock: &Clock,
    ) -> Result<Duration, HttpError> {
        loop {
            match self.take_now(counted, dues, clock.now())? {
                Taken::All(wait) => return Ok(wait),
                Taken::Lacks(at) => self.fetch(&counted.root_id, &dues[at], clock).await?,
            }
        }
    }

    fn take_now(
        &self,
        counted: &Counted,
        dues: &[Due<'_>],
        now: Micros,
    ) -> Result<Taken, HttpError> {
        let mut kept = self.lock();
        kept.drop_idle(now);
        let Kept { owners, trees } = &mut *kept;
        let owner = owners.entry(counted.owner_id).or_default();
        let tree = trees.entry(Arc::clone(&counted.root_id)).or_default();
        let paused = paused(owner.paused_until.max(tree.paused_until), now)?;
        let (mut longest, mut slowest) = (Duration::ZERO, None);
        for (at, due) in dues.iter().enumerate() {
            let wait = match due.limit.per {
                RateScope::Owner => owner.bucket(due, now).wait(now),
                RateScope::Tree => match tree.bucket(due, self.control.is_some(), now).wait(now) {
                    Some(wait) => wait,
                    None => return Ok(Taken::Lacks(at)),
                },
            };
            if wait > WAIT_MAX {
                return Err(self.too_fast(due.limit, wait));
            }
            if wait > longest {
                (longest, slowest) = (wait, Some(due.limit.per));
            }
        }
        for due in dues {
            match due.limit.per {
                RateScope::Owner => owner.bucket(due, now).take(now),
                RateScope::Tree => tree.bucket(due, self.control.is_some(), now).take(now),
            }
        }
        if let Some(scope) = slowest {
            self.metrics.limit_wait(named(scope), longest);
        }
        Ok(Taken::All(longest.max(paused)))
    }

    /// Fetches a block of a tree's tokens, unless somebody does so already.
    async fn fetch(
        &self,
        root_id: &Arc<str>,
        due: &Due<'_>,
        clock: &Clock,
    ) -> Result<(), HttpError> {
        let Some(control) = &self.control else { return Ok(()) };
        let Some(gate) = self.with_shared(root_id, due.which, |shared| Arc::clone(&shared.gate))
        else {
            return Ok(());
        };
        let _turn = gate.lock().await;
        let now = clock.now();
        let ask = self.with_shared(root_id, due.which, |shared| shared.ask(due.limit, now));
        let requests = match ask.unwrap_or(Ask::Nothing) {
            Ask::Block(requests) => requests,
            Ask::NotBefore(then) => return Err(self.not_before(due.limit, then, now)),
            Ask::Nothing => return Ok(()),
        };
        let filling = handed(due.limit);
        let answer = limits::take_block(control, root_id, due.which, filling, requests, now).await;
        let answer = answer.map_err(|error| {
            let reason = format!("the vendor's limit can't be asked for: {error}");
            let scope = RetryScope::ThisStream;
            HttpError::Ended(Failure::Retry { reason, after_ms: None, scope })
        })?;
        self.with_shared(root_id, due.which, |shared| shared.answered(answer));
        match answer {
            Block::Granted(_) => Ok(()),
            Block::NoneBefore(then) => Err(self.not_before(due.limit, then, now)),
        }
    }

    fn not_before(&self, limit: &RateLimit, then: Micros, now: Micros) -> HttpError {
        let wait = Duration::from_micros((then - now).max(0).unsigned_abs());
        self.too_fast(limit, wait.max(WAIT_MAX))
    }

    fn with_shared<T>(
        &self,
        root_id: &Arc<str>,
        which: Which,
        act: impl FnOnce(&mut tree::Shared) -> T,
    ) -> Option<T> {
        self.lock().trees.get_mut(root_id)?.shared(which).map(act)
    }

    fn too_fast(&self, limit: &RateLimit, wait: Duration) -> HttpError {
        self.metrics.limit_refusal(named(limit.per));
        HttpError::Ended(too_fast(limit, wait))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn drop_idle(&mut self, now: Micros) {
        if self.owners.len() > OWNERS_KEPT && self.owners.len().is_power_of_two() {
            self.owners.retain(|_, owner| !owner.is_idle(now));
        }
    }
}

/// How long a pause lasts.
fn paused(until: Micros, now: Micros) -> Result<Duration, HttpError> {
    let left = Duration::from_micros((until - now).max(0).unsigned_abs());
    if left <= WAIT_MAX {
        return Ok(left);
    }
    let reason = "the vendor asked for a pause".to_owned();
    let after_ms = u64::try_from(left.as_millis()).ok();
    // Whom the pause concerns has been written down already.
    Err(HttpError::Ended(Failure::Retry { reason, after_ms, scope: RetryScope::ThisStream }))
}

/// What a bucket that nothing is known of holds at first.
#[expect(clippy::cast_precision_loss, reason = "limits of vendors are small")]
fn unknown(limit: &RateLimit) -> f64 {
    (limit.requests / UNKNOWN_SHARE).max(1) as f64
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
