//! One walk: chance moves two hosts, the vendor, the backend and the clock; then all comes to rest.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rowgate::store::Error;

use crate::host::{Dies, Host};
use crate::rules::Rule;
use crate::vendor::NAMES;
use crate::world::{LEASE_TTL, Verb, World};
use crate::{disk, rest};

/// Events of a walk while faults happen.
const EVENTS: usize = 50;

/// What walks met, to show that they are worth their time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Met {
    pub(crate) walks: u64,
    pub(crate) micro_steps: u64,
    pub(crate) items: u64,
    /// Of a host that held the owner.
    pub(crate) kills: u64,
    /// Of those, kills between the two transactions of a relay.
    pub(crate) kills_in_relay: u64,
    /// Hosts that found their lease, cursor or generation gone.
    pub(crate) superseded: u64,
    /// Of both hosts at once: a power loss, or a restore of the control database.
    pub(crate) restarts: u64,
}

impl Met {
    pub(crate) fn add(&mut self, other: &Self) {
        self.walks += other.walks;
        self.micro_steps += other.micro_steps;
        self.items += other.items;
        self.kills += other.kills;
        self.kills_in_relay += other.kills_in_relay;
        self.superseded += other.superseded;
        self.restarts += other.restarts;
    }
}

/// Walks and says what was found wrong.
pub(crate) async fn walk(
    world: &mut World,
    seed: u64,
    off: Option<Rule>,
    met: &mut Met,
) -> Result<(), String> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let counts_received = random.random_bool(0.3);
    world.begin(format!("owner {seed}"), off);
    let mut hosts = [0, 1].map(|index| Host::new(index, counts_received));
    let unexpected = |error: Error| format!("unexpected: {error}");
    begin(world, &mut random).await.map_err(unexpected)?;
    for _ in 0..EVENTS {
        event(world, &mut hosts, &mut random, met).await.map_err(unexpected)?;
    }
    met.walks += 1;
    met.items += world.items.len() as u64;
    rest::come(world, &mut hosts, &mut random, met).await?;
    rest::check(world).await
}

/// Two accounts with something in them, and a first link.
async fn begin(world: &mut World, random: &mut ChaCha8Rng) -> Result<(), Error> {
    for account in 0..2 {
        for shelf in NAMES.choose_multiple(random, 2) {
            world.vendor.toggle_shelf(account, shelf);
            for id in NAMES.choose_multiple(random, 2) {
                world.vendor.change_thing(account, shelf, id, false);
            }
        }
    }
    world.post(0, Verb::Link(0)).await
}

async fn event(
    world: &mut World,
    hosts: &mut [Host; 2],
    random: &mut ChaCha8Rng,
    met: &mut Met,
) -> Result<(), Error> {
    let at = random.random_range(0..2);
    let at = if random.random_bool(0.7) { holder_or(hosts, at) } else { at };
    let at = if hosts[at].is_frozen { 1 - at } else { at };
    let worked = burst(world, &mut hosts[at], random, met).await?;
    if hosts.iter().any(Host::is_open) {
        // Faults hurt who holds the owner.
        return match random.random() {
            true => incident(world, hosts, random, met).await,
            false => Ok(()),
        };
    }
    if worked {
        return Ok(());
    }
    // The owner rests, or its dead holder's lease does.
    match random.random_range(0..10) {
        0 => post(world, at, random).await,
        1..6 => change_vendor(world, random).await,
        _ => {
            world.advance(LEASE_TTL + 1);
            Ok(())
        }
    }
}

async fn incident(
    world: &mut World,
    hosts: &mut [Host; 2],
    random: &mut ChaCha8Rng,
    met: &mut Met,
) -> Result<(), Error> {
    let at = random.random_range(0..2);
    match random.random_range(0..100) {
        0..16 => post(world, at, random).await?,
        16..50 => change_vendor(world, random).await?,
        50..68 => kill(&mut hosts[holder_or(hosts, at)], random, met),
        68..80 => freeze(world, hosts, at, random),
        80..84 => world.advance(random.random_range(1..4_000_000)),
        84..88 => world.advance(LEASE_TTL + 1),
        88..91 => revoke(world, at, random).await?,
        91..93 => disk::save(world).await?,
        93..97 => {
            met.restarts += 1;
            hosts.iter_mut().for_each(Host::restart);
            match random.random_range(0..10) {
                0..4 => disk::lose_power(world).await?,
                4..8 => disk::leave_fence_behind(world).await?,
                _ => disk::put_back_copy(world).await?,
            }
        }
        _ => {
            for host in hosts.iter().filter(|host| !host.is_frozen) {
                host.beat(world).await?;
            }
        }
    }
    Ok(())
}

/// Short steps of one host without the other, as they mostly are; false: it had nothing to do.
async fn burst(
    world: &mut World,
    host: &mut Host,
    random: &mut ChaCha8Rng,
    met: &mut Met,
) -> Result<bool, Error> {
    let mut worked = false;
    for _ in 0..random.random_range(1..6) {
        if host.is_frozen || !host.step(world, random, met).await? {
            break;
        }
        worked = true;
    }
    Ok(worked)
}

/// That host if it holds the owner, else the other one.
fn holder_or(hosts: &[Host; 2], at: usize) -> usize {
    if hosts[at].is_open() { at } else { 1 - at }
}

/// Kills a host that holds the owner: at once, or at its next relay.
fn kill(host: &mut Host, random: &mut ChaCha8Rng, met: &mut Met) {
    if !host.is_open() {
        return;
    }
    met.kills += 1;
    match random.random_range(0..10) {
        0..3 => host.dies = Some(Dies::BeforeTelling),
        3..6 => host.dies = Some(Dies::BeforeForgetting),
        _ => host.restart(),
    }
}

/// Thaws the host that is frozen, or freezes one that holds the owner, mostly for long.
fn freeze(world: &World, hosts: &mut [Host; 2], at: usize, random: &mut ChaCha8Rng) {
    if let Some(frozen) = hosts.iter_mut().find(|host| host.is_frozen) {
        frozen.is_frozen = false;
        return;
    }
    let holder = &mut hosts[holder_or(hosts, at)];
    holder.is_frozen = holder.is_open();
    if holder.is_frozen && random.random_bool(0.7) {
        world.advance(LEASE_TTL + 1);
    }
}

async fn post(world: &mut World, at: usize, random: &mut ChaCha8Rng) -> Result<(), Error> {
    let before = world.last_grant();
    match random.random_range(0..10) {
        0..2 => world.post(at, Verb::Link(random.random_range(0..2))).await?,
        2..5 => world.post(at, Verb::Refresh).await?,
        5 => world.post(at, Verb::Unlink).await?,
        6 => {
            world.post(at, Verb::Unlink).await?;
            world.post(at, Verb::Link(1 - world.account())).await?;
        }
        // A backend asks to read everything again where it misses a change that the vendor hid.
        _ => {
            world.vendor.change_silently(world.account(), random.random_range(0..9));
            world.post(at, Verb::Resync).await?;
        }
    }
    // To grant anew may end what was granted before.
    if world.last_grant() > before && random.random() {
        world.vendor.revoked = before.unwrap_or(0);
    }
    Ok(())
}

/// Changes an account and notifies of it, as a vendor does.
async fn change_vendor(world: &mut World, random: &mut ChaCha8Rng) -> Result<(), Error> {
    let account = if random.random_bool(0.7) { world.account() } else { random.random_range(0..2) };
    let shelf = NAMES.choose(random).copied().unwrap_or("a");
    if random.random_bool(0.2) {
        world.vendor.toggle_shelf(account, shelf);
        return world.push("shelf_v1", "").await;
    }
    let id = NAMES.choose(random).copied().unwrap_or("a");
    world.vendor.change_thing(account, shelf, id, random.random_bool(0.2));
    world.push("thing_v1", shelf).await
}

/// The vendor refuses the grants so far; the backend may bring a new one soon.
async fn revoke(world: &mut World, at: usize, random: &mut ChaCha8Rng) -> Result<(), Error> {
    if random.random() {
        world.vendor.revoked = world.last_grant().unwrap_or(0);
    }
    if random.random_bool(0.8) {
        world.post(at, Verb::Refresh).await?;
    }
    Ok(())
}
