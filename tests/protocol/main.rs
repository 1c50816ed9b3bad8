//! The rules R1 to R6 as a small executable model: two hosts that run the real store on real files or
//! a real server, killed, frozen and thawed at every edge by seeded walks. Each rule switched off is noticed.

#![allow(clippy::unwrap_used, reason = "a test")]

mod cases;
mod disk;
mod holding;
mod host;
mod page;
mod rest;
mod rules;
mod tree;
mod vendor;
mod walk;
mod world;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use rules::Rule;
use tokio::task::LocalSet;
use walk::Met;
use world::World;

/// Walks of a run; `ROWGATE_SOAK=1` walks ten times as many.
const SEEDS: u64 = 2_000;
/// The same on a server, where a step takes longer.
const SEEDS_ON_A_SERVER: u64 = 200;
/// Of which so many must be enough to notice a rule that is switched off.
const SEEDS_TO_NOTICE: u64 = 500;
const THREADS: usize = 2;
/// Worlds that share a thread, so that one walks while another waits for a database.
const WORLDS_A_THREAD: usize = 4;
/// Walks that share a world: files that grow make walks slow.
const WALKS_A_WORLD: u64 = 50;

/// Walks this seed alone, and tells of its steps.
static SEED: LazyLock<Option<u64>> = LazyLock::new(|| {
    let seed = std::env::var("ROWGATE_SEED").ok()?;
    Some(seed.parse().expect("a number"))
});

#[test]
fn walks_end_right() {
    let all = if tests::is_on_postgres() { SEEDS_ON_A_SERVER } else { SEEDS };
    let all = if tests::is_soak() { 10 * all } else { all };
    let (first, end) = SEED.map_or((0, all), |seed| (seed, seed + 1));
    let walks = Arc::new(Walks { next: AtomicU64::new(first), end, failed: Mutex::default() });
    let mut met = Met::default();
    side_by_side(|| Arc::clone(&walks).some()).iter().for_each(|some| met.add(some));
    println!("{met:?}");
    let failed = walks.failed.lock().unwrap().take();
    assert!(failed.is_none(), "seed {}: {}", failed.clone().unwrap().0, failed.unwrap().1);
    if SEED.is_none() {
        assert!(met.kills > met.walks, "holders must be killed: {met:?}");
        assert!(met.kills_in_relay * 5 > met.walks, "relays must be cut short: {met:?}");
        assert!(met.superseded * 2 > met.walks, "leases must be lost: {met:?}");
    }
}

#[test]
fn each_rule_switched_off_is_noticed() {
    let next = Arc::new(AtomicUsize::new(0));
    let mut noticed: Vec<_> =
        side_by_side(|| notice_some(Arc::clone(&next))).into_iter().flatten().collect();
    noticed.sort_by_key(|(rule, _)| *rule as usize);
    noticed.iter().for_each(|(rule, how)| println!("{rule:?} switched off: {how:?}"));
    assert_eq!(noticed.len(), Rule::ALL.len());
    let unnoticed: Vec<_> = noticed.iter().filter(|(_, how)| how.is_none()).collect();
    assert!(unnoticed.is_empty(), "{unnoticed:?}");
}

/// Walks that go on until one ends wrong.
struct Walks {
    next: AtomicU64,
    end: u64,
    /// The first seed that ended wrong, and how.
    failed: Mutex<Option<(u64, String)>>,
}

impl Walks {
    async fn some(self: Arc<Self>) -> Met {
        let mut met = Met::default();
        let mut world = None;
        loop {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.end || self.failed.lock().unwrap().is_some() {
                return met;
            }
            if met.walks.is_multiple_of(WALKS_A_WORLD) {
                world = None;
            }
            if world.is_none() {
                world = Some(World::new().await.expect("fresh databases"));
            }
            let world = world.as_mut().unwrap();
            if let Err(wrong) = walk::walk(world, seed, None, &mut met).await {
                let mut failed = self.failed.lock().unwrap();
                if failed.as_ref().is_none_or(|(first, _)| seed < *first) {
                    *failed = Some((seed, wrong));
                }
            }
        }
    }
}

/// Switches off rules that no other world does, one after the other.
async fn notice_some(next: Arc<AtomicUsize>) -> Vec<(Rule, Option<(u64, String)>)> {
    let mut noticed = Vec::new();
    while let Some(rule) = Rule::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
        noticed.push((*rule, notice(*rule).await));
    }
    noticed
}

/// The first walk that ends wrong with the rule off, and how. With the rule on it ends right.
async fn notice(rule: Rule) -> Option<(u64, String)> {
    let mut met = Met::default();
    let mut world = World::new().await.expect("fresh databases");
    for seed in 0..SEEDS_TO_NOTICE {
        let Err(wrong) = walk::walk(&mut world, seed, Some(rule), &mut met).await else {
            continue;
        };
        let mut fresh = World::new().await.expect("fresh databases");
        let kept = walk::walk(&mut fresh, seed, None, &mut met).await;
        assert_eq!(kept, Ok(()), "seed {seed} ends wrong with all rules on");
        return Some((seed, wrong));
    }
    None
}

/// Runs as many jobs as there are worlds.
fn side_by_side<T, F>(job: impl Fn() -> F + Sync) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let on_thread = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        LocalSet::new().block_on(&runtime.expect("a runtime"), async {
            let jobs: Vec<_> =
                (0..WORLDS_A_THREAD).map(|_| tokio::task::spawn_local(job())).collect();
            let mut done = Vec::new();
            for job in jobs {
                done.push(job.await.expect("no panic"));
            }
            done
        })
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(on_thread)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    })
}
