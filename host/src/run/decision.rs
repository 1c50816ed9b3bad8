//! What becomes of a call that failed: the whole retry policy, as one pure function.

use crate::model::{Failure, RetryScope};
use crate::plugin::{CallError, TrapCause};

/// Where a stream stands when a call of it fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Standing {
    /// Failed attempts in a row before this one.
    pub attempts: u32,
    /// Timeouts in a row before this one.
    pub slow_count: u32,
    /// Size of the page that was asked for.
    pub page_limit: u32,
    /// The manifest's least size.
    pub page_limit_min: u32,
    /// The call had a cursor, and none expired before in this run or right before it.
    pub cursor_may_expire: bool,
}

/// How the first waits grow and where they end.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "units in the names")]
pub struct BackOff {
    pub base_ms: u64,
    pub max_ms: u64,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Decision {
    /// Pause the scope for so long, then run again.
    Wait {
        /// Whom the pause concerns.
        scope: RetryScope,
        /// Without jitter.
        wait_ms: u64,
        /// No shorter, whatever the jitter: the vendor said so.
        least_ms: u64,
        /// Timeouts in a row from now on.
        slow_count: u32,
    },
    /// Drop the cursor and run again, at once or after a wait.
    FullListing {
        /// None: at once.
        wait_ms: Option<u64>,
    },
    /// Run again at once with a smaller page.
    SmallerPage(u32),
    /// Stop the owner until it links again.
    GrantDead,
    /// Stop the tree; probe it now and then.
    Misconfigured,
}

/// A fault of a plugin is looked at by a person: asking again soon doesn't help.
const BUG_BASE_FACTOR: u64 = 30;
const BUG_MAX_FACTOR: u64 = 56;
/// Timeouts in a row after which a smaller page is asked for.
const SLOW_BEFORE_SMALLER: u32 = 2;

/// Decides. The caller adds jitter.
pub(super) fn decide(failure: &Failure, at: Standing, back_off: BackOff) -> Decision {
    let wait = |base_ms: u64, max_ms: u64| grow(base_ms, max_ms, at.attempts);
    match failure {
        Failure::Retry { after_ms, scope, .. } => Decision::Wait {
            scope: *scope,
            wait_ms: wait(back_off.base_ms, back_off.max_ms),
            least_ms: after_ms.unwrap_or(0),
            slow_count: 0,
        },
        Failure::CursorExpired(_) if at.cursor_may_expire => {
            Decision::FullListing { wait_ms: None }
        }
        Failure::CursorExpired(_) => {
            Decision::FullListing { wait_ms: Some(wait(back_off.base_ms, back_off.max_ms)) }
        }
        Failure::Reauthorise(_) => Decision::GrantDead,
        Failure::Misconfigured(_) => Decision::Misconfigured,
        Failure::TooLarge(_) if at.page_limit > at.page_limit_min => smaller(at),
        Failure::TooSlow(_)
            if at.slow_count + 1 >= SLOW_BEFORE_SMALLER && at.page_limit > at.page_limit_min =>
        {
            smaller(at)
        }
        Failure::TooSlow(_) => Decision::Wait {
            scope: RetryScope::ThisStream,
            wait_ms: wait(back_off.base_ms, back_off.max_ms),
            least_ms: 0,
            slow_count: at.slow_count + 1,
        },
        Failure::TooLarge(_) | Failure::Bug(_) => Decision::Wait {
            scope: RetryScope::ThisStream,
            wait_ms: wait(back_off.base_ms * BUG_BASE_FACTOR, back_off.max_ms * BUG_MAX_FACTOR),
            least_ms: 0,
            slow_count: 0,
        },
    }
}

/// A call that was stopped, as a failure that can be decided on.
pub(super) fn failure_of(error: CallError) -> Failure {
    match error {
        CallError::Failed(failure) => failure,
        // A smaller page needs less memory and less time.
        CallError::Trapped { cause: TrapCause::OutOfMemory, text } => Failure::TooLarge(text),
        CallError::Trapped { cause: TrapCause::WallTime, text } => Failure::TooSlow(text),
        CallError::Trapped { cause, text } => Failure::Bug(format!("{cause}: {text}")),
        CallError::Refused(text) => Failure::Bug(text),
        CallError::Unavailable(reason) => {
            Failure::Retry { reason, after_ms: None, scope: RetryScope::ThisStream }
        }
    }
}

/// `wait_ms` moved by up to a quarter either way, so that what failed together doesn't come back
/// together. `chance` is any number.
pub(super) fn jittered(wait_ms: u64, chance: u64) -> u64 {
    let span = wait_ms / 2;
    wait_ms - wait_ms / 4 + chance.checked_rem(span + 1).unwrap_or(0)
}

/// The wait of [`Decision::Wait`] with jitter; what has a least wait is spread behind that.
pub(super) fn spread(wait_ms: u64, least_ms: u64, chance: u64) -> u64 {
    let behind = chance.checked_rem(least_ms / 8 + 1).unwrap_or(0);
    jittered(wait_ms, chance).max(least_ms.saturating_add(behind))
}

fn smaller(at: Standing) -> Decision {
    Decision::SmallerPage((at.page_limit / 2).max(at.page_limit_min))
}

fn grow(base_ms: u64, max_ms: u64, attempts: u32) -> u64 {
    base_ms.saturating_mul(1 << attempts.min(20)).min(max_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACK_OFF: BackOff = BackOff { base_ms: 1_000, max_ms: 64_000 };
    const FRESH: Standing = Standing {
        attempts: 0,
        slow_count: 0,
        page_limit: 2_000,
        page_limit_min: 50,
        cursor_may_expire: true,
    };

    fn retry(after_ms: Option<u64>, scope: RetryScope) -> Failure {
        Failure::Retry { reason: String::new(), after_ms, scope }
    }

    #[test]
    fn table() {
        use Decision::*;
        use RetryScope::*;
        let text = String::new;
        let wait = |wait_ms, scope, slow_count| Wait { scope, wait_ms, least_ms: 0, slow_count };
        let after = |least_ms| Wait { scope: Integration, wait_ms: 1_000, least_ms, slow_count: 0 };
        let cases = [
            (retry(None, ThisStream), FRESH, wait(1_000, ThisStream, 0)),
            (retry(None, Owner), Standing { attempts: 3, ..FRESH }, wait(8_000, Owner, 0)),
            (retry(None, Owner), Standing { attempts: 99, ..FRESH }, wait(64_000, Owner, 0)),
            (retry(Some(9_000), Integration), FRESH, after(9_000)),
            (retry(Some(1), Integration), FRESH, after(1)),
            (Failure::CursorExpired(text()), FRESH, FullListing { wait_ms: None }),
            (
                Failure::CursorExpired(text()),
                Standing { cursor_may_expire: false, attempts: 1, ..FRESH },
                FullListing { wait_ms: Some(2_000) },
            ),
            (Failure::Reauthorise(text()), FRESH, GrantDead),
            (Failure::Misconfigured(text()), FRESH, Misconfigured),
            (Failure::TooLarge(text()), FRESH, SmallerPage(1_000)),
            (Failure::TooLarge(text()), Standing { page_limit: 60, ..FRESH }, SmallerPage(50)),
            (
                Failure::TooLarge(text()),
                Standing { page_limit: 50, ..FRESH },
                wait(30_000, ThisStream, 0),
            ),
            (Failure::TooSlow(text()), FRESH, wait(1_000, ThisStream, 1)),
            (Failure::TooSlow(text()), Standing { slow_count: 1, ..FRESH }, SmallerPage(1_000)),
            (
                Failure::TooSlow(text()),
                Standing { slow_count: 5, page_limit: 50, ..FRESH },
                wait(1_000, ThisStream, 6),
            ),
            (Failure::Bug(text()), FRESH, wait(30_000, ThisStream, 0)),
        ];
        for (failure, at, decision) in cases {
            assert_eq!(decide(&failure, at, BACK_OFF), decision, "{failure:?} {at:?}");
        }
    }

    #[test]
    fn jitter_stays_within_a_quarter() {
        for chance in [0, 1, 499, 500, 501, u64::MAX] {
            let wait = jittered(1_000, chance);
            assert!((750..=1_250).contains(&wait), "{wait}");
        }
        assert_eq!(jittered(0, 7), 0);
    }

    #[test]
    fn nobody_comes_back_before_the_vendor_said() {
        for chance in [0, 1, 499, 500, 501, u64::MAX] {
            assert_eq!(spread(1_000, 0, chance), jittered(1_000, chance));
            assert_eq!(spread(1_000, 1, chance), jittered(1_000, chance));
            let wait = spread(1_000, 8_000, chance);
            assert!((8_000..=9_000).contains(&wait), "{wait}");
        }
        assert_ne!(spread(0, 8_000, 1), spread(0, 8_000, 2), "spread out");
    }
}
