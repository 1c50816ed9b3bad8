//! Kills the real host under load, at every commit edge and while requests to the vendor are in
//! flight, and takes away what a loss of power might take. After each restart every accepted post
//! has its effect: no row twice, none lost.

mod doubt;
mod posts;
mod power;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use simulator::{Fault, Moment, Then, When};
use tests::{Settings, TestHost, Tree};

use posts::{OWNERS, Post, email};

/// Kills of a run; `ROWGATE_SOAK=1` makes ten times as many.
const SEEDS: u64 = 50;
/// Random changes at the vendor before the posts of a seed.
const CHANGES: usize = 5;
/// Posts of a seed beside one for each owner.
const OPERATIONS: usize = 4;

/// Every second seed dies at one of these. True: inside a step, what it does is half done; false:
/// between steps.
const EDGES: [(&str, bool); 9] = [
    ("webhook_stored", true),
    ("fence_planted", false),
    ("item_called", true),
    ("item_committed", true),
    ("relay_told", true),
    ("streams_taken", false),
    ("page_called", true),
    ("page_committed", true),
    ("stream_put_back", false),
];

/// What the kills hit.
#[derive(Debug, Default)]
struct Met {
    kills: u64,
    /// The host had begun a step and not ended it: it stood at an edge inside one, or waited for the
    /// vendor's answer.
    open_steps: u64,
    /// Kills with a loss of power.
    losses: u64,
    /// What those took from the databases' logs.
    lost_bytes: u64,
    posts: u64,
    /// Posts that got no answer and were sent again.
    in_doubt: u64,
}

/// Where a seed ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// The host died at its edge.
    Edge,
    /// A request waits at the vendor.
    Held,
    /// The host came to rest.
    Rest,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_accepted_post_is_lost() {
    let mut host = Settings::default().on_files().env("ROWGATE_NOTE_SYNCED", "1").start().await;
    host.simulator.set_limits(false);
    let tree = host.integrations().await;
    for owner in OWNERS {
        host.link(&tree, owner, &email(owner)).await;
        let model = &mut host.simulator.model();
        model
            .generate_events(&email(owner), 30, simulator::model::generate::Mix::Mixed)
            .expect("the account is there");
    }
    host.settle().await;
    let seeds = if tests::is_soak() { 10 * SEEDS } else { SEEDS };
    let mut met = Met::default();
    for seed in 0..seeds {
        one(&mut host, &tree, seed, &mut met).await;
    }
    println!("{seeds} seeds: {met:?}");
    assert!(met.kills * 10 >= seeds * 9, "nearly every seed must kill: {met:?}");
    assert!(met.open_steps * 2 >= met.kills, "half the kills must hit an open step: {met:?}");
    assert!(met.losses * 4 >= met.kills, "a quarter of the kills must cut the power: {met:?}");
}

async fn one(host: &mut TestHost, tree: &Tree, seed: u64, met: &mut Met) {
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (edge, inside) = EDGES[(seed / 2) as usize % EDGES.len()];
    let at_edge = seed.is_multiple_of(2);
    if at_edge {
        let count = random.random_range(1..4);
        host.set_env("ROWGATE_FAILPOINT", Some(&format!("{edge}:{count}")));
        host.restart().await;
    } else {
        let moment = if random.random() { Moment::Before } else { Moment::After };
        let (nth, count) = (Some(random.random_range(1..5)), Some(1));
        let when = When { nth, count, ..When::default() };
        host.simulator.add_fault(Fault::when(when, Then::Hold(moment)));
    }
    for _ in 0..CHANGES {
        simulator::model::random_change(&mut host.simulator.model(), &mut random);
    }
    // Each owner gets a post after the changes: nothing else would tell the host of them.
    let owners = OWNERS.into_iter().map(Some).chain([None; OPERATIONS]);
    let posts = owners.map(|owner| Post::random(host, owner, &mut random));
    let mut waiting: Vec<Post> = posts.collect();
    waiting.reverse();
    while let Some(post) = waiting.last() {
        if !post.send(host, tree).await {
            break;
        }
        met.posts += 1;
        waiting.pop();
    }
    let end = if waiting.is_empty() { end(host, at_edge).await } else { End::Edge };
    host.kill().await;
    met.in_doubt += u64::from(!waiting.is_empty());
    met.kills += u64::from(end != End::Rest || !at_edge);
    met.open_steps += u64::from(end == End::Held || end == End::Edge && inside);
    if random.random() {
        met.losses += 1;
        met.lost_bytes += power::lose(host.data_dir(), &mut random);
    }
    host.simulator.clear_faults(None);
    host.set_env("ROWGATE_FAILPOINT", None);
    host.restart().await;
    for post in waiting.iter().rev() {
        assert!(post.send(host, tree).await, "seed {seed}: the host is gone again");
        met.posts += 1;
    }
    host.settle().await;
    let differences = host.differences(tree).await;
    assert!(differences.is_empty(), "seed {seed}: {edge}, {end:?}\n{}", differences.join("\n"));
    once(host, tree, seed).await;
}

/// Waits until the host rests, is dead, or waits for a held answer.
async fn end(host: &TestHost, at_edge: bool) -> End {
    let url = format!("{}/statusz/idle", host.base_url());
    let idle = async {
        let answered = match posts::client().get(url).send().await {
            Ok(answer) => answer.text().await.is_ok(),
            Err(_) => false,
        };
        if answered { End::Rest } else { End::Edge }
    };
    if at_edge {
        return idle.await;
    }
    tokio::select! {
        end = idle => end,
        _ = host.simulator.await_held(1) => End::Held,
    }
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
