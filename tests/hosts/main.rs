//! Three host processes on one PostgreSQL server, killed and frozen, the server too, while the vendor
//! fails now and then. Every accepted post has its effect once, whoever carries it out.

mod beginning;
mod blows;
mod caps;
mod draining;
mod frozen;
mod heard;
mod pauses;
mod posts;
mod rates;

use std::sync::Arc;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use simulator::model::generate::Mix;
use simulator::{Fault, Moment, Then, When};
use tests::{Settings, TestHost, Tree};
use tokio::sync::Mutex;

use blows::Blows;
use posts::{OWNERS, Post, email};

/// Seeds of a run; `ROWGATE_SOAK=1` runs ten times as many.
const SEEDS: u64 = 10;
const HOSTS: usize = 3;
/// Random changes at the vendor before the posts of a seed.
const CHANGES: usize = 5;
/// Posts of a seed beside one for each owner.
const OPERATIONS: usize = 4;

/// The server is the same for all tests of the process, and what is done to it concerns them all.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Short, so that others take over soon.
const LEASE_TTL_MS: u64 = 1_000;

fn settings() -> Settings {
    Settings::default()
        .on_postgres()
        .env("ROWGATE_RUN_LEASE_TTL_MS", &LEASE_TTL_MS.to_string())
        .env("ROWGATE_RUN_POLL_MS", "100")
}

/// Of hosts that look at the schedule when they are told, and by themselves only after longer than any test takes.
fn listening() -> Settings {
    settings().env("ROWGATE_RUN_LEASE_TTL_MS", "30000").env("ROWGATE_RUN_POLL_MS", "3600000")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_accepted_post_is_lost_whoever_dies() {
    let _alone = ALONE.lock().await;
    let first = settings().start().await;
    first.simulator.set_limits(false);
    let tree = first.integrations().await;
    for owner in OWNERS {
        first.link(&tree, owner, &email(owner)).await;
        let mut model = first.simulator.model();
        model.generate_events(&email(owner), 30, Mix::Mixed).expect("the account is there");
    }
    let mut hosts = vec![first];
    while hosts.len() < HOSTS {
        let next = settings().start_beside(&hosts[0]).await;
        hosts.push(next);
    }
    hosts[0].settle().await;
    let seeds = if tests::is_soak() { 10 * SEEDS } else { SEEDS };
    let mut met = blows::Met::default();
    for seed in 0..seeds {
        one(&mut hosts, &tree, seed, &mut met).await;
    }
    println!("{seeds} seeds: {met:?}");
    assert!(met.hosts_killed > 0 && met.hosts_frozen > 0, "hosts must be hit: {met:?}");
    assert!(met.open_steps * 4 >= met.hosts_killed, "kills must hit open steps: {met:?}");
    assert!(met.hosts_started > 0, "hosts must come back amid the blows: {met:?}");
    assert!(met.server_ended > 0 && met.cuts > 0, "the server must be hit: {met:?}");
    assert!(met.faults * 2 >= seeds, "the vendor must fail: {met:?}");
    assert!(met.in_doubt < 2 * seeds, "of three owners a seed most must be sure: {met:?}");
}

async fn one(hosts: &mut [TestHost], tree: &Tree, seed: u64, met: &mut blows::Met) {
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let simulator = Arc::clone(&hosts[0].simulator);
    simulator.clear_requests();
    let held = random.random::<bool>().then(|| {
        let moment = if random.random() { Moment::Before } else { Moment::After };
        let (nth, count) = (Some(random.random_range(1..5)), Some(1));
        let when = When { nth, count, ..When::default() };
        simulator.add_fault(Fault::when(when, Then::Hold(moment)))
    });
    for fault in faults(&mut random) {
        simulator.add_fault(fault);
    }
    for _ in 0..CHANGES {
        simulator::model::random_change(&mut simulator.model(), &mut random);
    }
    // Each owner gets a post after the changes: nothing else would tell the hosts of them.
    let owners = OWNERS.into_iter().map(Some).chain([None; OPERATIONS]);
    let posts: Vec<Post> =
        owners.map(|owner| Post::random(&simulator, owner, &mut random)).collect();
    let doors = posts::Doors::new(hosts);
    let mut blows = Blows::new(hosts, &doors, &mut random);
    let (in_doubt, ()) = tokio::join!(posts::send_all(&posts, tree, &doors), blows.fall(met));
    if let Some(held) = held {
        simulator.clear_faults(Some(held));
    }
    blows.mend().await;
    hosts[0].settle().await;
    // Only now: how much of the work is left after the last blow depends on the machine.
    met.faults += simulator.faults().into_iter().map(|armed| armed.hit).sum::<u64>();
    simulator.clear_faults(None);
    // Whether these are linked hangs on when a frozen host took up what nobody waited for any more.
    met.in_doubt += in_doubt.len() as u64;
    for owner in in_doubt {
        hosts[0].link(tree, owner, &email(owner)).await;
    }
    hosts[0].settle().await;
    let differences = hosts[0].differences(tree).await;
    assert!(differences.is_empty(), "seed {seed}:\n{}", differences.join("\n"));
    let twice = format!(
        "select count(*) - count(distinct external_owner_id || '/' || google_calendar_id || '/' \
         || google_id) as n from {}",
        tree.events()
    );
    assert_eq!(hosts[0].sql(&twice).await, [json!({ "n": 0 })], "seed {seed}: rows twice");
    for host in hosts {
        assert!(host.is_running(), "seed {seed}: a host ended by itself");
    }
}

/// What goes wrong with listings of events in a seed. Nobody posts once more when it is over: the hosts
/// must come to the end by themselves. (Of a single event a 410 says that it is gone, and is believed.)
fn faults(random: &mut ChaCha8Rng) -> Vec<Fault> {
    let kinds = [
        Then::Answer { status: 410, body: String::new() },
        Then::Answer { status: 429, body: String::new() },
        Then::Answer { status: 500, body: String::new() },
        Then::Error("html-503".to_owned()),
        Then::TruncatedJson,
        Then::ResetMidBody,
    ];
    let count = random.random_range(1..4);
    let mut fault = || {
        let when = When {
            user: OWNERS.choose(random).map(|owner| email(owner)),
            nth: Some(random.random_range(1..4)),
            count: Some(random.random_range(1..3)),
            ..When::path("*/events")
        };
        Fault::when(when, kinds.choose(random).cloned().unwrap_or(Then::TruncatedJson))
    };
    (0..count).map(|_| fault()).collect()
}
