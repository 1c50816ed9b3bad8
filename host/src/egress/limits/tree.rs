//! A tree's tokens. The one host of its databases has them for itself; hosts that share a control
//! database take them from there in blocks (R16).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rowgate_manifest::RateLimit;

use super::bucket::{Bucket, filling};
use super::{Due, Which, unknown};
use crate::model::Micros;
use crate::store::limits::{BLOCK_LIFE, Block, Filling, Granted};

/// Each host may spend so much of a limit without asking, as most trees ask little: a hundredth.
const UNASKED_SHARE: u64 = 100;

/// Of a limit, hosts together are handed so much: with what five spend unasked it is all of it.
const HANDED_PERCENT: u64 = 95;

/// The buckets of one tree on this host.
#[derive(Debug, Default)]
pub(super) struct TreeBuckets {
    buckets: HashMap<Which, TreeBucket>,
    /// The vendor asked for a pause until then.
    pub(super) paused_until: Micros,
}

/// How a request of one host gets its token.
#[derive(Debug)]
pub(super) enum TreeBucket {
    /// From a bucket of its own.
    Alone(Bucket),
    /// From what the hosts share.
    Shared(Shared),
}

/// What this host has of a bucket that hosts share.
#[derive(Debug)]
pub(super) struct Shared {
    /// For one fetch at a time.
    pub(super) gate: Arc<tokio::sync::Mutex<()>>,
    unasked: Bucket,
    /// Size of the block fetched last, what is left of it, and from when it may be used.
    block: u32,
    left: u32,
    from: Micros,
    /// There is none to be had before then.
    none_before: Micros,
}

/// What there is to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// A block of so many requests.
    Block(u32),
    /// Nothing before then.
    NotBefore(Micros),
    /// Nothing: there is a block.
    Nothing,
}

impl TreeBuckets {
    pub(super) fn bucket(&mut self, due: &Due<'_>, shared: bool, now: Micros) -> &mut TreeBucket {
        let bucket = self.buckets.entry(due.which).or_insert_with(|| match shared {
            false => TreeBucket::Alone(Bucket::new(filling(due.limit), unknown(due.limit), now)),
            true => TreeBucket::Shared(Shared::new(due.limit, now)),
        });
        match bucket {
            TreeBucket::Alone(bucket) => bucket.refit(filling(due.limit), now),
            TreeBucket::Shared(shared) => shared.unasked.refit(unasked(due.limit), now),
        }
        bucket
    }

    pub(super) fn shared(&mut self, which: Which) -> Option<&mut Shared> {
        match self.buckets.get_mut(&which) {
            Some(TreeBucket::Shared(shared)) => Some(shared),
            _ => None,
        }
    }
}

impl TreeBucket {
    /// How long the next request waits; none: a block must be fetched first.
    pub(super) fn wait(&self, now: Micros) -> Option<Duration> {
        match self {
            Self::Alone(bucket) => Some(bucket.wait(now)),
            Self::Shared(shared) if shared.has_block(now) => {
                Some(Duration::from_micros((shared.from - now).max(0).unsigned_abs()))
            }
            Self::Shared(shared) => Some(shared.unasked.wait(now)).filter(Duration::is_zero),
        }
    }

    pub(super) fn take(&mut self, now: Micros) {
        match self {
            Self::Alone(bucket) => bucket.take(now),
            Self::Shared(shared) if shared.has_block(now) => shared.left -= 1,
            Self::Shared(shared) => shared.unasked.take(now),
        }
    }
}

impl Shared {
    fn new(limit: &RateLimit, now: Micros) -> Self {
        // Nothing at first, or a host that is started over and over would get more.
        let unasked = Bucket::new(unasked(limit), 0.0, now);
        Self { gate: Arc::default(), unasked, block: 0, left: 0, from: 0, none_before: 0 }
    }

    fn has_block(&self, now: Micros) -> bool {
        self.left > 0 && now < self.from + BLOCK_LIFE
    }

    pub(super) fn ask(&self, limit: &RateLimit, now: Micros) -> Ask {
        match self.has_block(now) {
            true => Ask::Nothing,
            false if now < self.none_before => Ask::NotBefore(self.none_before),
            false => Ask::Block(self.next_block(limit)),
        }
    }

    /// Twice as many as were used up, no more than may be sent in half a second. What expired unused
    /// is lost to everybody; then it is what was used.
    fn next_block(&self, limit: &RateLimit) -> u32 {
        let most = u32::try_from(limit.rate_s / 2).unwrap_or(u32::MAX).max(1);
        let next =
            if self.left == 0 { self.block.saturating_mul(2) } else { self.block - self.left };
        next.clamp(1, most)
    }

    pub(super) fn answered(&mut self, answer: Block) {
        match answer {
            Block::Granted(Granted { requests, from }) => {
                (self.block, self.left, self.from) = (requests, requests, from);
            }
            Block::NoneBefore(then) => self.none_before = then,
        }
    }
}

/// What a host spends unasked: in any window no more than its share.
#[expect(clippy::cast_precision_loss, reason = "limits of vendors are small")]
fn unasked(limit: &RateLimit) -> Filling {
    let half = (limit.requests / UNASKED_SHARE / 2) as f64;
    Filling { burst: half, rate_s: half / limit.window_s.max(1) as f64 }
}

/// The bucket that hosts share. A token is used within the life of its block, so that much more may
/// flow into a window.
#[expect(clippy::cast_precision_loss, reason = "limits of vendors are small")]
pub(super) fn handed(limit: &RateLimit) -> Filling {
    let handed = limit.requests.saturating_mul(HANDED_PERCENT) / 100;
    let life_s = BLOCK_LIFE.unsigned_abs().div_ceil(1_000_000);
    let flow = limit.rate_s.saturating_mul(limit.window_s + life_s);
    Filling { burst: handed.saturating_sub(flow).max(1) as f64, rate_s: limit.rate_s as f64 }
}
