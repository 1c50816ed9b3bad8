//! What hosts that share a control database may ask of a vendor together (R16): one bucket a tree and
//! limit, from which each host takes blocks of requests. One short statement a block.

use super::{Database, Error, query, query_scalar};
use crate::model::Micros;

/// A request of a block is sent within this time, or not at all: else two windows' worth could be
/// saved up for one.
pub const BLOCK_LIFE: Micros = 1_000_000;

/// So far a bucket may be overdrawn: who takes such a block waits as long.
const DEBT_S: f64 = 1.0;

/// How a bucket fills.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Filling {
    /// Requests that it holds at most.
    pub burst: f64,
    /// Requests that flow in, a second.
    pub rate_s: f64,
}

/// The answer to a host that asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Block {
    /// Here they are.
    Granted(Granted),
    /// Others have all that flows in for a while; ask again then.
    NoneBefore(Micros),
}

/// Requests that one host may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// How many.
    pub requests: u32,
    /// From then on, and within [`BLOCK_LIFE`].
    pub from: Micros,
}

/// Takes a block from the bucket of a tree's limit: the `[[egress]]` and its limit in the manifest. A
/// bucket that nobody has ever asked for is full.
pub async fn take_block(
    control: &Database,
    root_id: &str,
    (entry, nth): (usize, usize),
    filling: Filling,
    requests: u32,
    now: Micros,
) -> Result<Block, Error> {
    let Filling { burst, rate_s } = filling;
    let number = |at: usize| i64::try_from(at).unwrap_or(i64::MAX);
    let statement = query_scalar::<f64>(TAKE)
        .bind(root_id.to_owned())
        .bind(number(entry))
        .bind(number(nth))
        .bind(f64::from(requests))
        .bind(burst)
        .bind(rate_s)
        .bind(now)
        .bind(rate_s * DEBT_S);
    if let Some(left) = control.fetch(statement).await? {
        return Ok(Block::Granted(Granted { requests, from: now + until_full(-left, rate_s) }));
    }
    let level = query(LEVEL).bind(root_id).bind(number(entry)).bind(number(nth));
    let level = level.fetch_one(control).await?;
    let (tokens, at): (f64, Micros) = (level.get("tokens"), level.get("at"));
    let missing = f64::from(requests) - rate_s * DEBT_S - tokens;
    let next = at.saturating_add(until_full(missing, rate_s));
    Ok(Block::NoneBefore(next.max(now + 1)))
}

const TAKE: &str = "
insert into buckets as b (root_id, entry, nth, tokens, at) values ($1, $2, $3, $5 - $4, $7)
on conflict (root_id, entry, nth) do update set
  tokens = least($5, b.tokens + greatest($7 - b.at, 0) * $6 / 1e6) - $4, at = greatest(b.at, $7)
where least($5, b.tokens + greatest($7 - b.at, 0) * $6 / 1e6) - $4 >= -$8
returning tokens";

const LEVEL: &str = "select tokens, at from buckets where root_id = $1 and entry = $2 and nth = $3";

/// Until so many requests have flowed in.
#[expect(clippy::cast_possible_truncation, reason = "it saturates")]
fn until_full(missing: f64, rate_s: f64) -> Micros {
    (missing.max(0.0) / rate_s * 1e6).ceil() as Micros
}
