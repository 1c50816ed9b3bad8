//! Kills the real host under load: at every commit edge, while requests to the vendor are in flight,
//! and at random instants. On files it takes away what a loss of power might take. After each restart
//! every accepted post has its effect: no row twice, none lost.

mod doubt;
mod kills;
mod large;
mod posts;
mod power;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use simulator::{Fault, Then, When};
use tests::{Settings, TestHost, Tree};

use kills::{End, Kill};
use posts::{OWNERS, Post, email};

/// Kills of a run; on a server a quarter. `ROWGATE_SOAK=1` makes ten times as many.
const SEEDS: u64 = 50;
/// Random changes at the vendor before the posts of a seed.
const CHANGES: usize = 5;
/// Posts of a seed beside one for each owner.
const OPERATIONS: usize = 4;
/// Events of an owner at the beginning, and of a page: a full listing has several.
const EVENTS: usize = 30;
const EVENTS_A_PAGE: usize = 80;

/// What the kills hit.
#[derive(Debug, Default)]
struct Met {
    kills: u64,
    /// The host had begun a step and not ended it: it stood at an edge inside one, or waited for the
    /// vendor's answer.
    open_steps: u64,
    /// Kills at random instants, of which nobody knows what they hit.
    instants: u64,
    /// Those that came before the host was at rest.
    at_work: u64,
    /// Kills with a loss of power.
    losses: u64,
    /// What those took from the databases' logs.
    lost_bytes: u64,
    posts: u64,
    /// Posts that got no answer and were sent again.
    in_doubt: u64,
    /// Pages of listings behind their first.
    later_pages: u64,
}

/// On files a host notes what it has synced, which is what a loss of power leaves. On a server others
/// wait until a dead host's leases have run out.
fn settings() -> Settings {
    let settings = Settings::default().env("ROWGATE_NOTE_SYNCED", "1");
    if tests::is_on_postgres() {
        settings.env("ROWGATE_RUN_LEASE_TTL_MS", "3000")
    } else {
        settings
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_accepted_post_is_lost() {
    let mut host = settings().start().await;
    host.simulator.set_limits(false);
    host.simulator.add_fault(Fault::when(When::path("*/events"), Then::ShortPage(EVENTS_A_PAGE)));
    let tree = host.integrations().await;
    for owner in OWNERS {
        host.link(&tree, owner, &email(owner)).await;
        let model = &mut host.simulator.model();
        model
            .generate_events(&email(owner), EVENTS, simulator::model::generate::Mix::Mixed)
            .expect("the account is there");
    }
    host.settle().await;
    let seeds = if tests::is_on_postgres() { SEEDS / 4 } else { SEEDS };
    let seeds = if tests::is_soak() { 10 * seeds } else { seeds };
    let mut met = Met::default();
    for seed in 0..seeds {
        one(&mut host, &tree, seed, &mut met).await;
    }
    println!("{seeds} seeds: {met:?}");
    let known = met.kills - met.instants;
    assert!(met.kills * 10 >= seeds * 9, "nearly every seed must kill: {met:?}");
    assert!(met.open_steps * 2 >= known, "half the kills must hit an open step: {met:?}");
    assert!(met.at_work * 2 >= met.instants, "random kills must meet a host at work: {met:?}");
    assert!(met.later_pages >= seeds, "listings must have several pages: {met:?}");
    let may_lose = !tests::is_on_postgres();
    assert!(!may_lose || met.losses * 4 >= met.kills, "a quarter must cut the power: {met:?}");
}

async fn one(host: &mut TestHost, tree: &Tree, seed: u64, met: &mut Met) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let kill = Kill::of_seed(seed, &mut random);
    println!("seed {seed}: {kill:?}");
    host.simulator.clear_requests();
    let armed = kill.arm(host).await;
    for _ in 0..CHANGES {
        simulator::model::random_change(&mut host.simulator.model(), &mut random);
    }
    // Each owner gets a post after the changes: nothing else would tell the host of them.
    let owners = OWNERS.into_iter().map(Some).chain([None; OPERATIONS]);
    let posts = owners.map(|owner| Post::random(host, owner, &mut random));
    let mut waiting: Vec<Post> = posts.collect();
    waiting.reverse();
    let load = async {
        while let Some(post) = waiting.last() {
            if !post.send(host, tree).await {
                return End::Edge;
            }
            met.posts += 1;
            waiting.pop();
        }
        armed.end(host).await
    };
    let end = tokio::select! {
        end = load => end,
        () = armed.instant(host) => End::Instant,
    };
    host.kill().await;
    met.in_doubt += u64::from(!waiting.is_empty());
    met.kills += u64::from(end != End::Rest || !kill.is_edge());
    met.instants += u64::from(kill.is_instant());
    met.at_work += u64::from(end == End::Instant);
    let is_inside = matches!(kill, Kill::Edge { is_inside: true, .. });
    met.open_steps += u64::from(end == End::Held || end == End::Edge && is_inside);
    if random.random() && !tests::is_on_postgres() {
        met.losses += 1;
        met.lost_bytes += power::lose(host.data_dir(), &mut random);
    }
    armed.disarm(host);
    host.restart().await;
    for post in waiting.iter().rev() {
        assert!(post.send(host, tree).await, "seed {seed}: the host is gone again");
        met.posts += 1;
    }
    host.settle().await;
    let differences = host.differences(tree).await;
    assert!(differences.is_empty(), "seed {seed}: {kill:?}, {end:?}\n{}", differences.join("\n"));
    once(host, tree, seed).await;
    let requests = host.simulator.requests();
    met.later_pages +=
        requests.iter().filter(|seen| seen.query.contains("pageToken=")).count() as u64;
}

/// No key stands in a table twice.
async fn once(host: &TestHost, tree: &Tree, seed: u64) {
    let events = tree.events();
    let twice = format!(
        "select count(*) - count(distinct external_owner_id || '/' || google_calendar_id || '/' \
         || google_id) as n from {events}"
    );
    assert_eq!(host.sql(&twice).await, [json!({ "n": 0 })], "seed {seed}: rows twice");
}
