//! Random changes at the vendor and faults on the wire during syncs: once faults stop and a post
//! tells the host to look again, the tables equal the vendor's model.

use std::sync::LazyLock;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use simulator::model::generate::Mix;
use simulator::{Fault, Moment, Then, When};
use tests::{Settings, TestHost, Tree};

/// Seeds of a run on files; on a server a quarter. `ROWGATE_SOAK=1` runs ten times as many.
const SEEDS: u64 = 200;
/// Seeds that go through one host at once, each an owner with an account of its own.
const OWNERS_A_HOST: u64 = 25;
/// Rounds of changes, faults and posts of a seed.
const ROUNDS: usize = 3;
const CHANGES_A_ROUND: usize = 4;
/// A request that isn't answered so soon is given up. Long enough for a busy machine: what is given
/// up without need is only asked for again.
const REQUEST_TIMEOUT_MS: &str = "1000";

/// Runs the one batch that this seed belongs to: its owners share calendars.
static SEED: LazyLock<Option<u64>> = LazyLock::new(|| {
    let seed = std::env::var("ROWGATE_SEED").ok()?;
    Some(seed.parse().expect("a number"))
});

#[tokio::test(flavor = "multi_thread")]
async fn tables_equal_the_model_once_faults_stop() {
    let seeds = if tests::is_on_postgres() { SEEDS / 4 } else { SEEDS };
    let seeds = if tests::is_soak() { 10 * seeds } else { seeds };
    let (begin, end) = match *SEED {
        Some(seed) => (seed - seed % OWNERS_A_HOST, seed - seed % OWNERS_A_HOST + OWNERS_A_HOST),
        None => (0, seeds),
    };
    let mut hit = 0;
    for first in (begin..end).step_by(OWNERS_A_HOST as usize) {
        println!("seeds {first} to {}", first + OWNERS_A_HOST - 1);
        hit += batch(first).await;
    }
    let seeds = end - begin;
    println!("{seeds} seeds, {hit} requests met a fault");
    assert!(hit >= seeds, "faults must be met: {hit}");
}

/// Runs some seeds side by side; answers how many requests were hit by faults.
async fn batch(first: u64) -> u64 {
    let host = Settings::default()
        .env("ROWGATE_RUN_BACK_OFF_MAX_MS", "100")
        .env("ROWGATE_LIMITS_REQUEST_TIMEOUT_MS", REQUEST_TIMEOUT_MS)
        .start()
        .await;
    host.simulator.set_limits(false);
    let tree = host.all_integrations().await;
    let seeds = first..first + OWNERS_A_HOST;
    let mut seeds: Vec<(u64, ChaCha8Rng)> =
        seeds.map(|seed| (seed, ChaCha8Rng::seed_from_u64(seed))).collect();
    for (seed, random) in &mut seeds {
        let count = random.random_range(0..12);
        let mut model = host.simulator.model();
        model.create_user(&email(*seed));
        model.generate_events(&email(*seed), count, Mix::Mixed).expect("the account is there");
    }
    let mut hit = 0;
    for _ in 0..ROUNDS {
        for (seed, random) in &mut seeds {
            for fault in faults(*seed, random) {
                host.simulator.add_fault(fault);
            }
            post(&host, &tree, *seed, random).await;
            change(&host, random);
        }
        host.idle().await;
        hit += host.simulator.faults().iter().map(|armed| armed.hit).sum::<u64>();
        host.simulator.clear_faults(None);
    }
    for (seed, random) in &mut seeds {
        let verb = if random.random() { "REFRESHED" } else { "LINKED" };
        host.post_token(&tree, verb, &owner(*seed), &email(*seed)).await;
    }
    host.settle().await;
    let differences = host.differences(&tree).await;
    assert!(differences.is_empty(), "batch of seed {first}:\n{}", differences.join("\n"));
    hit
}

fn change(host: &TestHost, random: &mut ChaCha8Rng) {
    let mut model = host.simulator.model();
    for _ in 0..CHANGES_A_ROUND {
        simulator::model::random_change(&mut model, random);
    }
    match random.random_range(0..10) {
        0 => model.expire_access_tokens(None),
        1 => {
            // An unknown scope is an error; all scopes are known.
            let expired = model.expire_sync_tokens(&simulator::model::TokenScope::All);
            expired.expect("tokens of all listings");
        }
        _ => {}
    }
}

async fn post(host: &TestHost, tree: &Tree, seed: u64, random: &mut ChaCha8Rng) {
    let (owner, email) = (owner(seed), email(seed));
    match random.random_range(0..10) {
        0..5 => host.refresh(tree, &owner, &email).await,
        5..7 => host.link(tree, &owner, &email).await,
        7..9 => host.resync(tree, &owner).await,
        _ => host.unlink(tree, &owner).await,
    }
}

/// What goes wrong for one user's requests in a round.
fn faults(seed: u64, random: &mut ChaCha8Rng) -> Vec<Fault> {
    let kinds = [
        Then::Error("html-503".to_owned()),
        Then::Answer { status: 500, body: String::new() },
        Then::Answer { status: 429, body: String::new() },
        Then::Answer { status: 410, body: String::new() },
        Then::Error("quota-per-user".to_owned()),
        Then::Error("quota-per-project".to_owned()),
        // Until it is given up.
        Then::Hold(Moment::Before),
        Then::Hold(Moment::After),
        Then::NoAnswer,
        Then::TruncatedJson,
        Then::ResetMidBody,
        Then::ShortPage(1),
        Then::EmptyPage,
        Then::DuplicateEvent,
        Then::DuplicateAcrossPages,
        Then::NoSyncToken,
    ];
    let count = random.random_range(0..4);
    let mut fault = || Fault {
        when: When {
            user: Some(email(seed)),
            nth: Some(random.random_range(1..6)),
            count: Some(random.random_range(1..3)),
            ..When::default()
        },
        then: kinds.choose(random).cloned().unwrap_or(Then::NoAnswer),
        headers: Default::default(),
    };
    (0..count).map(|_| fault()).collect()
}

fn owner(seed: u64) -> String {
    format!("owner {seed}")
}

fn email(seed: u64) -> String {
    format!("user{seed}@example.com")
}
