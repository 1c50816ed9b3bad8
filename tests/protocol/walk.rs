//! One walk: chance moves two hosts, the vendor, the backend and the clock; then all comes to rest.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::host::{Broken, Host, Phase};
use crate::rest;
use crate::vendor::NAMES;
use crate::world::{LEASE_TTL, Verb, World};

/// Micro-steps and events of a walk while faults happen.
const STEPS: usize = 160;

/// What walks met, to show that they are worth their time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Met {
    pub(crate) kills: u64,
    /// Kills of a host that held the owner.
    pub(crate) kills_open: u64,
    pub(crate) items: u64,
    pub(crate) micro_steps: u64,
}

/// Walks and says what was found wrong.
pub(crate) async fn walk(
    world: &mut World,
    seed: u64,
    broken: Option<Broken>,
    met: &mut Met,
) -> Result<(), String> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let counts_received = broken.is_none() && random.random_bool(0.5);
    world.begin(format!("owner {seed}"));
    let mut hosts = [0, 1].map(|index| Host {
        index,
        name: format!("host {index} of {seed}"),
        phase: Phase::Idle,
        is_frozen: false,
        broken,
        counts_received,
    });
    let error = |error: rowgate::store::Error| format!("unexpected: {error}");
    for _ in 0..2 {
        change_vendor(world, &mut random).await.map_err(error)?;
    }
    world.post(0, Verb::Link(0)).await.map_err(error)?;
    for _ in 0..STEPS {
        event(world, &mut hosts, &mut random, met).await.map_err(error)?;
    }
    met.items += world.items.len() as u64;
    rest::come(world, &mut hosts, &mut random).await?;
    rest::check(world).await
}

async fn event(
    world: &mut World,
    hosts: &mut [Host; 2],
    random: &mut ChaCha8Rng,
    met: &mut Met,
) -> Result<(), rowgate::store::Error> {
    let at = random.random_range(0..2);
    match random.random_range(0..100) {
        0..72 => {
            // A burst: short steps of one host without the other, as they mostly are.
            for _ in 0..random.random_range(1..6) {
                if !hosts[at].is_frozen {
                    met.micro_steps += 1;
                    hosts[at].step(world, random).await?;
                }
            }
        }
        72..79 => {
            let verb = match random.random_range(0..10) {
                0..3 => Verb::Link(random.random_range(0..2)),
                3..5 => Verb::Refresh,
                5..8 => Verb::Unlink,
                _ => Verb::Resync,
            };
            world.post(at, verb).await?;
        }
        79..88 => change_vendor(world, random).await?,
        88..91 => {
            met.kills += 1;
            met.kills_open += u64::from(hosts[at].is_open());
            hosts[at].restart();
        }
        91..94 => hosts[at].is_frozen = !hosts[at].is_frozen,
        94..96 => world.advance(random.random_range(1..4_000_000)),
        96 => world.advance(LEASE_TTL + 1),
        97 => revoke(world, random),
        _ => {
            if !hosts[at].is_frozen {
                hosts[at].beat(world).await?;
            }
        }
    }
    Ok(())
}

/// Changes an account and notifies of it, as a vendor does.
async fn change_vendor(
    world: &mut World,
    random: &mut ChaCha8Rng,
) -> Result<(), rowgate::store::Error> {
    let account = random.random_range(0..2);
    let shelf = NAMES.choose(random).copied().unwrap_or("a");
    if random.random_bool(0.3) {
        world.vendor.toggle_shelf(account, shelf);
        return world.push("shelf_v1", "").await;
    }
    let id = NAMES.choose(random).copied().unwrap_or("a");
    world.vendor.change_thing(account, shelf, id, random.random_bool(0.3));
    world.push("thing_v1", shelf).await
}

fn revoke(world: &mut World, random: &mut ChaCha8Rng) {
    if random.random_bool(0.3) {
        world.vendor.revoked = world.last_grant().unwrap_or(0);
    }
}
