//! An owner with more rows than one transaction takes away: hosts die while it is read page by page, and
//! between the slices in which a full listing sweeps most of it and its UNLINK the rest.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tests::{TestHost, Tree};

use crate::kills::Kill;
use crate::{once, power, settings};

/// Each round meets another kill in each of the three: reading, sweep, UNLINK.
const ROUNDS: u64 = 3;
const OWNER: &str = "large";
/// Daily series, and how many days each has: more than 5,000 rows.
const SERIES: usize = 8;
const DAYS: usize = 700;
/// Rows that one transaction of an UNLINK or a sweep takes at most.
const SLICE: i64 = 5_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_large_owner_is_read_swept_and_unlinked_whoever_dies() {
    // A server breaks off what takes longer than a part of this.
    let mut host = settings().env("ROWGATE_RUN_LEASE_TTL_MS", "10000").start().await;
    host.simulator.set_limits(false);
    let tree = host.integrations().await;
    let rounds = if tests::is_soak() { 10 * ROUNDS } else { ROUNDS };
    for round in 0..rounds {
        let mut random = ChaCha8Rng::seed_from_u64(round);
        read(&mut host, &tree, round, &mut random).await;
        sweep(&mut host, &tree, round, &mut random).await;
        unlink(&mut host, &tree, round, &mut random).await;
    }
}

/// The list is page 1, the events are pages 2 to 4.
async fn read(host: &mut TestHost, tree: &Tree, round: u64, random: &mut ChaCha8Rng) {
    let email = email(round);
    host.simulator.model().create_user(&email);
    for number in 0..SERIES {
        let event = json!({
            "id": format!("daily{number}"), "summary": "daily",
            "start": { "dateTime": "2026-11-03T10:00:00Z", "timeZone": "UTC" },
            "end": { "dateTime": "2026-11-03T11:00:00Z", "timeZone": "UTC" },
            "recurrence": [format!("RRULE:FREQ=DAILY;COUNT={DAYS}")],
        });
        host.simulator.model().add_event(&email, &event).expect("the account is there");
    }
    let kill = match round % 3 {
        0 => Kill::edge("page_committed", 3),
        1 => Kill::Requests(random.random_range(2..6)),
        _ => Kill::edge("page_called", 3),
    };
    die(host, kill, random, async |host| host.link(tree, OWNER, &email).await).await;
    matches(host, tree, round).await;
    assert!(host.row_count(tree, OWNER).await > SLICE, "an UNLINK takes several transactions");
}

/// What is left of the calendar fits on a page: it is page 2, and sweeps in two commits.
async fn sweep(host: &mut TestHost, tree: &Tree, round: u64, random: &mut ChaCha8Rng) {
    for number in 0..SERIES {
        let gone = host.simulator.model().delete_series(&email(round), &format!("daily{number}"));
        gone.expect("the series is there");
    }
    let kill = match round % 3 {
        0 => Kill::edge("page_begun", random.random_range(2..4)),
        1 => Kill::edge("page_committed", 2),
        _ => Kill::Requests(random.random_range(1..4)),
    };
    die(host, kill, random, async |host| host.resync(tree, OWNER).await).await;
    matches(host, tree, round).await;
    assert!(host.row_count(tree, OWNER).await > SLICE, "what is swept stays, cancelled");
}

async fn unlink(host: &mut TestHost, tree: &Tree, round: u64, random: &mut ChaCha8Rng) {
    // Between the first and the second slice, or in the midst of one.
    let kill = match round % 3 {
        0 => Kill::edge("item_committed", 1),
        1 if !tests::is_on_postgres() => Kill::Lines(random.random_range(5..60)),
        _ => Kill::edge("item_called", 2),
    };
    die(host, kill, random, async |host| host.unlink(tree, OWNER).await).await;
    matches(host, tree, round).await;
    assert_eq!(host.row_count(tree, OWNER).await, 0, "round {round}");
}

/// Posts to a host that dies then, and lets another start of it go on.
async fn die(
    host: &mut TestHost,
    kill: Kill,
    random: &mut ChaCha8Rng,
    post: impl AsyncFnOnce(&TestHost),
) {
    println!("{kill:?}");
    let armed = kill.arm(host).await;
    post(host).await;
    if kill.is_edge() {
        host.dies().await;
    } else {
        // It may be at rest before the instant comes.
        tokio::select! {
            _ = armed.end(host) => {}
            () = armed.instant(host) => {}
        }
        host.kill().await;
    }
    if random.random() && !tests::is_on_postgres() {
        power::lose(host.data_dir(), random);
    }
    armed.disarm(host);
    host.restart().await;
    host.settle().await;
}

async fn matches(host: &TestHost, tree: &Tree, round: u64) {
    let differences = host.differences(tree).await;
    assert!(differences.is_empty(), "round {round}\n{}", differences.join("\n"));
    once(host, tree, round).await;
}

/// Another account each round: what is left of deleted series stays in an account's listings.
fn email(round: u64) -> String {
    format!("large{round}@example.com")
}
