//! An owner's buckets. They travel with its lease: whoever holds it next goes on where the former
//! holder was (R16).

use std::collections::HashMap;

use super::bucket::{self, Bucket, Told};
use super::{Due, Which, unknown};
use crate::model::Micros;

/// What a bucket holds that nothing is known of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum First {
    /// All: the former holder gave the lease back, and would have told otherwise.
    Full,
    /// Nothing: the former holder died.
    Empty,
    /// A tenth of the vendor's limit.
    #[default]
    Unknown,
}

/// The buckets of one owner on this host.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnerBuckets {
    /// The lease's.
    fence: i64,
    first: First,
    buckets: HashMap<Which, Bucket>,
    /// The vendor asked for a pause until then.
    pub(super) paused_until: Micros,
}

impl OwnerBuckets {
    /// `carried`: what came with the lease; none: the former holder didn't give it back.
    pub(super) fn of_lease(fence: i64, carried: Option<Option<&str>>) -> Self {
        let known = carried.and_then(|text| serde_json::from_str(text.unwrap_or("[]")).ok());
        let first = if known.is_some() { First::Full } else { First::Empty };
        let known: Vec<(Which, Told)> = known.unwrap_or_default();
        let known = known.into_iter().map(|(which, told)| (which, Bucket::from_told(told)));
        let buckets = known.collect();
        Self { fence, first, buckets, paused_until: 0 }
    }

    /// The same under the lease that follows.
    pub(super) fn go_on(&mut self, fence: i64) {
        (self.fence, self.paused_until) = (fence, 0);
    }

    pub(super) fn is_of(&self, fence: i64) -> bool {
        self.fence == fence
    }

    /// What the next holder must know; none: all are full.
    pub(super) fn carried(self, now: Micros) -> Option<String> {
        let used = self.buckets.into_iter().filter(|(_, bucket)| !bucket.is_full(now));
        let used: Vec<(Which, Told)> = used.map(|(which, bucket)| (which, bucket.told())).collect();
        if used.is_empty() { None } else { serde_json::to_string(&used).ok() }
    }

    pub(super) fn bucket(&mut self, due: &Due<'_>, now: Micros) -> &mut Bucket {
        let (which, filling) = (due.which, bucket::filling(due.limit));
        let first = match self.first {
            First::Full => filling.burst,
            First::Empty => 0.0,
            First::Unknown => unknown(due.limit),
        };
        let bucket = self.buckets.entry(which).or_insert_with(|| Bucket::new(filling, first, now));
        bucket.refit(filling, now);
        bucket
    }

    /// Says nothing that its absence doesn't.
    pub(super) fn is_idle(&self, now: Micros) -> bool {
        self.first == First::Unknown && self.buckets.values().all(|bucket| bucket.is_full(now))
    }
}
