//! Random changes and posts, receivers that fail at random, `kill -9` of host and receiver: in the
//! end each receiver's copy and each mirror is the table, and nothing came out of order. Where nothing is
//! killed and each answer is heard, nothing comes twice either.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use simulator::model::generate::Mix;

use crate::examples::{Language, Program, create_target};
use crate::mirror::{self, Mirror};
use crate::receiver::{Delivery, Does, Receiver};
use crate::setup::{Case, rows_of, settings};

/// Each kills the host once and the program of the receiver once; `ROWGATE_SOAK=1` makes ten times
/// as many.
const SEEDS: u64 = 8;
const OWNERS: [&str; 3] = ["ann", "bob", "cy"];
const VERBS: [&str; 5] = ["LINKED", "REFRESHED", "REFRESHED", "RESYNC", "UNLINKED"];
/// Shorter than what a host waits for at most, so that what differs can be told.
const PATIENCE: Duration = Duration::from_secs(50);
const CHANGES: usize = 6;
const POSTS: usize = 6;

/// Where the host dies in every second seed; in the others it is killed while it works.
const EDGES: [&str; 3] = ["page_delivered", "bookmark_moved", "page_committed"];

/// What the walk met.
#[derive(Debug, Default)]
struct Met {
    host_kills: u64,
    at_edge: u64,
    receiver_kills: u64,
    in_doubt: u64,
}

struct Post {
    verb: &'static str,
    owner: &'static str,
    token: Option<String>,
}

impl Post {
    fn random(case: &Case, owner: Option<&'static str>, random: &mut ChaCha8Rng) -> Self {
        let verb = *VERBS.choose(random).unwrap();
        let owner = owner.unwrap_or_else(|| OWNERS.choose(random).unwrap());
        Self::new(case, verb, owner)
    }

    fn new(case: &Case, verb: &'static str, owner: &'static str) -> Self {
        let brings = matches!(verb, "LINKED" | "REFRESHED");
        let token = brings.then(|| case.simulator.model().create_user(&email(owner)));
        Self { verb, owner, token }
    }

    /// False: the host died before it answered.
    async fn send(&self, case: &Case) -> bool {
        let mut body = json!({ "type": self.verb, "external_owner_id": self.owner });
        if let Some(token) = &self.token {
            body["refresh_token"] = token.clone().into();
        }
        let list = &case.tree.list;
        let request = client().post(format!("{}{}", case.base_url(), list.path));
        let request = request.header("Whdb-Webhook-Secret", &list.secret).body(body.to_string());
        match request.send().await {
            Ok(answer) => {
                assert_eq!(answer.status().as_u16(), 202, "{} of {}", self.verb, self.owner);
                true
            }
            Err(_) => false,
        }
    }
}

/// A new one each time: connections to a dead host must not be taken up again.
fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn email(owner: &str) -> String {
    format!("{owner}@example.com")
}

/// Fails at random, and loses answers.
fn moody(seed: u64) -> Receiver {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    Receiver::behaving(move |_| match random.random_range(0..10) {
        0 => Does::Answer(500),
        1 => Does::HangUp,
        2 => Does::LoseAnswer,
        3 => Does::Answer(413),
        _ => Does::Take,
    })
}

struct Receivers {
    /// Of the events, killed at random.
    program: Program,
    /// Of the calendars, with deletions.
    moody: Receiver,
    /// Of the events, rows alone.
    rows_alone: Receiver,
    /// Of the events; its connections are cut at random.
    mirror: Mirror,
}

impl Receivers {
    async fn start(case: &Case) -> Self {
        let mut program = Program::start(Language::Python).await;
        create_target(case, &mut program, "3").await;
        let (moody, rows_alone) = (moody(1), moody(2));
        let calendars = case.tree.calendar.table.as_str();
        case.create_for(calendars, &moody.url(), "60", &["--deletions", "--page-size", "2"]).await;
        case.target(&rows_alone, &["--page-size", "5"]).await;
        let mirror = Mirror::start();
        mirror::create(case, &mirror.url(), &[]).await;
        Self { program, moody, rows_alone, mirror }
    }

    /// Which copies aren't their tables.
    async fn differ(&self, case: &Case) -> Vec<&'static str> {
        let events = case.table().await;
        let calendars = rows_of(case, &case.tree.calendar.table).await;
        let mirrored = self.mirror.is_table(case).await;
        let rows_alone = self.rows_alone.copy().rows.clone();
        // Nobody tells it of deletions; all else it has.
        let has_all = events.iter().all(|(pk, row)| rows_alone.get(pk) == Some(row));
        let all = [
            ("the program's", self.program.rows().await == events),
            ("the moody one's", without_push(&self.moody.copy().rows) == without_push(&calendars)),
            ("rows alone", has_all),
            ("the mirror", mirrored),
        ];
        all.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }
}

/// Bookkeeping columns don't move the feed.
fn without_push(rows: &BTreeMap<i64, Value>) -> BTreeMap<i64, Value> {
    let mut rows = rows.clone();
    for row in rows.values_mut() {
        let row = row.as_object_mut().unwrap();
        row.retain(|name, _| !name.starts_with("events_"));
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn each_copy_becomes_its_table() {
    let settings = settings()
        .env("ROWGATE_DELIVERY_TIMEOUT_MS", "2000")
        .env("ROWGATE_RUN_LEASE_TTL_MS", "2000");
    let mut case = Case::with(settings).await;
    case.simulator.set_limits(false);
    for owner in OWNERS {
        let post = Post::new(&case, "LINKED", owner);
        case.simulator.model().generate_events(&email(owner), 15, Mix::Mixed).unwrap();
        assert!(post.send(&case).await);
    }
    let mut receivers = Receivers::start(&case).await;
    let seeds = if tests::is_soak() { 10 * SEEDS } else { SEEDS };
    let mut met = Met::default();
    for seed in 0..seeds {
        println!("seed {seed}");
        one(&mut case, &mut receivers, seed, &mut met).await;
    }
    let (moody, rows_alone) = (receivers.moody.copy(), receivers.rows_alone.copy());
    println!(
        "{met:?}; {} and {} deliveries taken, {} rows deleted",
        moody.taken.len(),
        rows_alone.taken.len(),
        moody.deleted
    );
    moody.is_in_order();
    rows_alone.is_in_order();
    assert_eq!((met.host_kills, met.receiver_kills), (seeds, seeds), "{met:?}");
    assert!(met.at_edge > 0, "{met:?}");
    assert!(moody.deleted > 0, "an unlink deletes calendars");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_twice_where_each_answer_is_heard() {
    let case = Case::start().await;
    case.simulator.set_limits(false);
    for owner in OWNERS {
        let post = Post::new(&case, "LINKED", owner);
        case.simulator.model().generate_events(&email(owner), 15, Mix::Mixed).unwrap();
        assert!(post.send(&case).await);
    }
    // What changes while a copy is made comes again behind it.
    case.settle().await;
    let (all, rows_alone) = (Receiver::start(), Receiver::start());
    case.target(&all, &["--deletions", "--page-size", "3"]).await;
    case.target(&rows_alone, &["--page-size", "5"]).await;
    let have_all = async || {
        let events = case.table().await;
        let rows_alone = rows_alone.copy().rows.clone();
        let has_each = events.iter().all(|(pk, row)| rows_alone.get(pk) == Some(row));
        has_each && all.copy().rows == events
    };
    case.until("each has the table", async || have_all().await).await;
    for seed in 0..SEEDS {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        for _ in 0..CHANGES {
            simulator::model::random_change(&mut case.simulator.model(), &mut random);
        }
        for owner in OWNERS.into_iter().map(Some).chain([None]) {
            assert!(Post::random(&case, owner, &mut random).send(&case).await);
        }
        case.settle().await;
        case.until("each has the table", async || have_all().await).await;
    }
    for receiver in [&all, &rows_alone] {
        let copy = receiver.copy();
        copy.is_in_order();
        comes_once(&copy.taken);
    }
    assert!(all.copy().deleted > 0, "an unlink deletes events");
}

/// Neither a delivery nor a row as it stood at one time.
fn comes_once(taken: &[Delivery]) {
    let (mut ids, mut versions) = (BTreeSet::new(), BTreeSet::new());
    for delivery in taken {
        let id = delivery.header("webhook-id");
        assert!(ids.insert(id.to_owned()), "{id} came twice: {}", delivery.body);
        for row in delivery.rows() {
            let version = (row["pk"].to_string(), row["row_updated_at"].to_string());
            assert!(versions.insert(version), "a row came twice: {row}");
        }
    }
    assert!(versions.len() > taken.len(), "pages of several rows");
}

async fn one(case: &mut Case, receivers: &mut Receivers, seed: u64, met: &mut Met) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let at_edge = seed.is_multiple_of(2);
    if at_edge {
        let edge = EDGES[(seed / 2) as usize % EDGES.len()];
        let count = random.random_range(1..4);
        case.set_env("ROWGATE_FAILPOINT", Some(&format!("{edge}:{count}")));
        case.restart().await;
    }
    let kill_receiver_at = random.random_range(0..POSTS);
    for _ in 0..CHANGES {
        simulator::model::random_change(&mut case.simulator.model(), &mut random);
    }
    // Each owner gets a post after the changes: nothing else would tell the host of them.
    let owners = OWNERS.into_iter().map(Some).chain([None; POSTS - OWNERS.len()]);
    let posts: Vec<Post> = owners.map(|owner| Post::random(case, owner, &mut random)).collect();
    let mut unsent = Vec::new();
    for (at, post) in posts.into_iter().enumerate() {
        if at == kill_receiver_at {
            receivers.program.kill().await;
            met.receiver_kills += 1;
            receivers.mirror.cut();
        }
        if !unsent.is_empty() || !post.send(case).await {
            unsent.push(post);
        }
    }
    receivers.program.launch().await;
    if at_edge && unsent.is_empty() {
        // It dies at its edge, or has nothing left that leads there.
        let url = format!("{}/statusz/idle", case.base_url());
        let _either = client().get(url).send().await;
        let ended =
            async { while case.is_running() && !receivers.differ(case).await.is_empty() {} };
        tokio::time::timeout(PATIENCE, ended).await.expect("it dies, or delivers everything");
    }
    met.at_edge += u64::from(at_edge && !case.is_running());
    case.kill().await;
    met.host_kills += 1;
    met.in_doubt += unsent.len() as u64;
    case.set_env("ROWGATE_FAILPOINT", None);
    case.restart().await;
    for post in unsent {
        assert!(post.send(case).await, "seed {seed}: the host is gone again");
    }
    case.settle().await;
    let same = async || receivers.differ(case).await.is_empty();
    let waited = case.until("each copy is its table", same);
    let outcome = tokio::time::timeout(PATIENCE, waited).await;
    if outcome.is_err() {
        let targets = case.json(&["httpsync", "list"]).await;
        panic!("seed {seed}: differ: {:?}\n{targets:#}", receivers.differ(case).await);
    }
}
