//! Kills the real host under load, at every commit edge and while requests to the vendor are in
//! flight. After each restart every accepted post has its effect: no row twice, none lost.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use simulator::{Fault, Moment, Then, When};
use tests::{Settings, TestHost, Tree};

/// Kills of a run; `ROWGATE_SOAK=1` makes ten times as many.
const SEEDS: u64 = 50;
/// Random changes at the vendor before the posts of a seed.
const CHANGES: usize = 5;
/// Posts of a seed beside one for each owner.
const OPERATIONS: usize = 4;
const OWNERS: [&str; 3] = ["ann", "bob", "cy"];

/// Every second seed dies at one of these.
const EDGES: [&str; 8] = [
    "fence_planted",
    "item_called",
    "item_committed",
    "relay_told",
    "streams_taken",
    "page_called",
    "page_committed",
    "stream_put_back",
];

/// What the kills hit.
#[derive(Debug, Default)]
struct Met {
    kills: u64,
    /// The host had begun a step and not ended it.
    open_steps: u64,
    posts: u64,
    /// Posts that got no answer and were sent again.
    in_doubt: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_accepted_post_is_lost() {
    let mut host = Settings::default().start().await;
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
    let soak = std::env::var("ROWGATE_SOAK").is_ok_and(|soak| soak == "1");
    let seeds = if soak { 10 * SEEDS } else { SEEDS };
    let mut met = Met::default();
    for seed in 0..seeds {
        one(&mut host, &tree, seed, &mut met).await;
    }
    println!("{seeds} seeds: {met:?}");
    assert!(met.kills * 10 >= seeds * 9, "nearly every seed must kill: {met:?}");
    assert!(met.open_steps * 2 >= met.kills, "half the kills must hit an open step: {met:?}");
}

async fn one(host: &mut TestHost, tree: &Tree, seed: u64, met: &mut Met) {
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let edge = EDGES[(seed / 2) as usize % EDGES.len()];
    let at_edge = seed.is_multiple_of(2);
    if at_edge {
        let count = random.random_range(1..4);
        host.set_env("ROWGATE_FAILPOINT", Some(&format!("{edge}:{count}")));
        host.restart().await;
    } else {
        let moment = if random.random() { Moment::Before } else { Moment::After };
        let (nth, count) = (Some(random.random_range(1..5)), Some(1));
        let when = When { nth, count, ..When::default() };
        host.simulator.add_fault(Fault {
            when,
            then: Then::Hold(moment),
            headers: Default::default(),
        });
    }
    for _ in 0..CHANGES {
        simulator::model::random_change(&mut host.simulator.model(), &mut random);
    }
    // Each owner gets a post after the changes: nothing else would tell the host of them.
    let owners = OWNERS.into_iter().map(Some).chain([None; OPERATIONS]);
    let mut posts: Vec<Post> = owners.map(|owner| Post::random(host, owner, &mut random)).collect();
    posts.reverse();
    while let Some(post) = posts.last() {
        if !post.send(host, tree, met).await {
            break;
        }
        posts.pop();
    }
    let died = !posts.is_empty() || rests_or_dies(host, !at_edge).await;
    met.in_doubt += u64::from(!posts.is_empty());
    met.kills += u64::from(died || !at_edge);
    met.open_steps += u64::from(died);
    host.kill().await;
    host.simulator.clear_faults(None);
    host.set_env("ROWGATE_FAILPOINT", None);
    host.restart().await;
    for post in posts.iter().rev() {
        assert!(post.send(host, tree, met).await, "seed {seed}: the host is gone again");
    }
    host.settle().await;
    let differences = host.differences(tree).await;
    assert!(differences.is_empty(), "seed {seed}: {edge}\n{}", differences.join("\n"));
    once(host, tree, seed).await;
}

/// Waits until the host rests (false), or is dead or waits for a held answer (true).
async fn rests_or_dies(host: &TestHost, holds: bool) -> bool {
    let url = format!("{}/statusz/idle", host.base_url());
    let idle = async {
        match client().get(url).send().await {
            Ok(answer) => answer.text().await.is_err(),
            Err(_) => true,
        }
    };
    let held = async {
        if !holds {
            std::future::pending::<()>().await;
        }
        host.simulator.await_held(1).await;
    };
    tokio::select! {
        died = idle => died,
        () = held => true,
    }
}

/// One post of the load.
struct Post {
    verb: &'static str,
    owner: &'static str,
    token: Option<String>,
}

impl Post {
    fn random(host: &TestHost, owner: Option<&'static str>, random: &mut ChaCha8Rng) -> Self {
        let verbs = ["LINKED", "REFRESHED", "REFRESHED", "RESYNC", "UNLINKED"];
        let verb = verbs.choose(random).copied().unwrap_or("RESYNC");
        let owner = owner.or_else(|| OWNERS.choose(random).copied()).unwrap_or("ann");
        let brings = matches!(verb, "LINKED" | "REFRESHED");
        let token = brings.then(|| host.simulator.model().create_user(&email(owner)));
        Self { verb, owner, token }
    }

    /// Sends it; false: the host died before it answered.
    async fn send(&self, host: &TestHost, tree: &Tree, met: &mut Met) -> bool {
        let body: Value = match &self.token {
            Some(token) => json!({
                "type": self.verb, "external_owner_id": self.owner, "refresh_token": token,
            }),
            None => json!({ "type": self.verb, "external_owner_id": self.owner }),
        };
        let request = client()
            .post(format!("{}{}", host.base_url(), tree.list.path))
            .header("Whdb-Webhook-Secret", &tree.list.secret)
            .body(body.to_string());
        let Ok(answer) = request.send().await else { return false };
        assert_eq!(answer.status().as_u16(), 202, "{body}");
        met.posts += 1;
        match self.verb {
            "LINKED" | "REFRESHED" => tree.note_linked(self.owner, Some(&email(self.owner))),
            "UNLINKED" => tree.note_linked(self.owner, None),
            _ => {}
        }
        true
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

fn email(owner: &str) -> String {
    format!("{owner}@example.com")
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("no TLS set-up can fail")
}
