//! The rules R1 to R6 as a small executable model: two hosts that run the real store on real files,
//! killed, frozen and thawed at every edge by seeded walks. Each rule switched off is noticed.

mod holding;
mod host;
mod page;
mod rest;
mod vendor;
mod walk;
mod world;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use host::Broken;
use walk::Met;
use world::World;

/// Walks of a run; `ROWGATE_SOAK=1` walks ten times as many.
const SEEDS: u64 = 2_000;
/// Threads that walk, each in a world of its own.
const THREADS: u64 = 2;
/// Walks that share a world: files that grow make walks slow.
const WALKS_A_WORLD: u64 = 50;

#[test]
fn walks_end_right() {
    if let Ok(seed) = std::env::var("ROWGATE_SEED") {
        let seed = seed.parse().expect("a number");
        let (failed, _) = walks(None, seed..seed + 1);
        return assert!(failed.is_none(), "{}", failed.unwrap_or_default());
    }
    let (failed, met) = walks(None, 0..seeds());
    println!("{} walks: {met:?}", seeds());
    assert!(failed.is_none(), "{}", failed.unwrap_or_default());
    assert!(met.kills_open * 2 >= met.kills, "most kills must hit a holder: {met:?}");
}

#[test]
fn each_rule_switched_off_is_noticed() {
    let rules = [
        Broken::Fence,
        Broken::Generation,
        Broken::CursorVersion,
        Broken::Relay,
        Broken::Applied,
        Broken::Take,
    ];
    for broken in rules {
        let (failed, _) = walks(Some(broken), 0..seeds());
        let failed = failed.unwrap_or_else(|| panic!("{broken:?} switched off went unnoticed"));
        println!("{broken:?} switched off: {failed}");
    }
}

fn seeds() -> u64 {
    let is_soak = std::env::var("ROWGATE_SOAK").is_ok_and(|soak| soak == "1");
    if is_soak { 10 * SEEDS } else { SEEDS }
}

/// Walks seeds from 0 on until one ends wrong; says which and how.
fn walks(broken: Option<Broken>, seeds: Range<u64>) -> (Option<String>, Met) {
    let failed_seed = AtomicU64::new(u64::MAX);
    let threads: Vec<(Option<String>, Met)> = std::thread::scope(|scope| {
        let walk = |first| {
            let (failed_seed, seeds) = (&failed_seed, seeds.clone());
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                runtime.block_on(walk_some(broken, first, seeds, failed_seed))
            })
        };
        let handles: Vec<_> = (0..THREADS).map(walk).collect();
        handles.into_iter().map(|handle| handle.join().expect("no panic")).collect()
    });
    let mut met = Met::default();
    for (_, some) in &threads {
        met.kills += some.kills;
        met.kills_open += some.kills_open;
        met.items += some.items;
        met.micro_steps += some.micro_steps;
    }
    (threads.into_iter().find_map(|(failed, _)| failed), met)
}

async fn walk_some(
    broken: Option<Broken>,
    first: u64,
    seeds: Range<u64>,
    failed_seed: &AtomicU64,
) -> (Option<String>, Met) {
    let mut met = Met::default();
    let mut world = World::new().await.expect("fresh databases");
    let mine = (seeds.start + first..seeds.end).step_by(usize::try_from(THREADS).expect("few"));
    for (nth, seed) in (0..).zip(mine) {
        if failed_seed.load(Ordering::Relaxed) != u64::MAX {
            break;
        }
        if nth % WALKS_A_WORLD == 0 {
            world = World::new().await.expect("fresh databases");
        }
        if let Err(wrong) = walk::walk(&mut world, seed, broken, &mut met).await {
            failed_seed.store(seed, Ordering::Relaxed);
            return (Some(format!("seed {seed}: {wrong}")), met);
        }
    }
    (None, met)
}
