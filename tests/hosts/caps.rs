//! An organization that has all the leases it may have: the rest of it takes turns, nobody else waits,
//! the host doesn't ask all the time, and who dies leaves no slot taken.

use std::collections::BTreeSet;
use std::sync::Arc;

use postgres_cluster::Cluster;
use serde_json::{Value, json};
use simulator::model::generate::Mix;
use simulator::{Fault, Moment, Simulator, Then, When};
use tests::{Integration, Settings, TestHost, Tree};

use crate::posts::email;
use crate::{ALONE, listening, settings};

/// Owners of the large organization, and how many of them may be worked on at once.
const MANY: usize = 9;
const CAP: usize = 3;
/// There is always a worker to spare.
const WORKERS: &str = "8";
const EVENTS: usize = 2;

/// The other organization, and its only owner.
const SMALL: &str = "small";
const SINGLE: &str = "single";
const ROUNDS: i64 = 3;
/// So long the vendor takes for the single owner's events: in this time who asks all the time would ask
/// often.
const DELAY_MS: u64 = 1_000;
/// Who was woken asks at most twice, and a round wakes the host when the post is stored, when it hears of
/// that, and when its run ends. Asked every 10 ms, it would be a hundred.
const LOOKS_A_ROUND_MAX: usize = 30;

fn capped(settings: Settings) -> Settings {
    settings
        .env("ROWGATE_RUN_WORKERS", WORKERS)
        .env("ROWGATE_RUN_ORGANIZATION_LEASES_MAX", &CAP.to_string())
}

fn account(simulator: &Simulator, owner: &str) {
    let mut model = simulator.model();
    model.create_user(&email(owner));
    let made = model.generate_events(&email(owner), EVENTS, Mix::Singles);
    made.expect("the account is there");
}

/// Links the owners of the large organization. Their listings are held, so each of them whose turn it is
/// keeps it. Answers with the fault that holds them.
async fn link_many(host: &TestHost, tree: &Tree) -> u64 {
    let listings = When::path("*/calendars/many*/events");
    let holds = host.simulator.add_fault(Fault::when(listings, Then::Hold(Moment::Before)));
    for nth in 0..MANY {
        let owner = format!("many{nth}");
        account(&host.simulator, &owner);
        host.link(tree, &owner, &email(&owner)).await;
    }
    holds
}

/// How many requests a fault has met.
fn hits(simulator: &Simulator, fault: u64) -> usize {
    let faults = simulator.faults();
    let armed = faults.iter().find(|armed| armed.id == fault).expect("it was set");
    usize::try_from(armed.hit).expect("few are hit")
}

/// The other organization: its list of calendars, and its events.
async fn small(host: &TestHost) -> [Integration; 2] {
    assert_eq!(host.json(&["orgs", "create", SMALL]).await["key"], SMALL);
    let (client_id, client_secret) = {
        let model = host.simulator.model();
        (model.client_id.clone(), model.client_secret.clone())
    };
    let settings = [
        format!("client_id={client_id}"),
        format!("client_secret={client_secret}"),
        format!("api_url={}", host.simulator.api_url()),
        format!("token_url={}", host.simulator.token_url()),
    ];
    let mut arguments = vec!["google_calendar_list_v1", "--org", SMALL];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let list = host.create_with(&arguments).await;
    host.create_with(&["google_calendar_v1", "--org", SMALL]).await;
    let events = host.create_with(&["google_calendar_event_v1", "--org", SMALL]).await;
    [list, events]
}

/// Has the server log each statement on the control database; of connections that are made from now on.
fn log_statements(host: &TestHost) {
    let database = host.database().expect("it is on a server");
    let log = format!("alter database {} set log_statement = 'all'", database.name());
    let mut superuser = Cluster::shared().maintenance().expect("the server runs");
    superuser.query(&log).expect("a superuser may");
}

/// How often the host has asked which organizations are ready.
fn looks(host: &TestHost) -> usize {
    let name = host.database().expect("it is on a server").name();
    let of_host = format!(" {name} LOG: ");
    let looks =
        |line: &&str| line.contains(&of_host) && line.contains("select g.id from organizations g");
    Cluster::shared().log().lines().filter(looks).count()
}

/// Posts of the single owner that were handled, and what they made due was done.
const SINGLE_DONE: &str = "
    select count(*) from owners o join inbox i on i.owner_id = o.id
    where o.external_owner_id = 'single' and o.lease_host is null and i.done_at is not null";

const MANY_LEASED: &str = "
    select count(*) from owners where external_owner_id like 'many%' and lease_host is not null";

#[tokio::test(flavor = "multi_thread")]
async fn at_its_cap_an_organization_takes_turns_and_nobody_else_waits() {
    let _alone = ALONE.lock().await;
    let mut host = capped(listening()).start().await;
    let tree = host.integrations().await;
    let [list, events] = small(&host).await;
    log_statements(&host);
    host.restart().await;
    let simulator = Arc::clone(&host.simulator);
    account(&simulator, SINGLE);
    let slow = Fault::when(When::path("*/calendars/single*/events"), Then::DelayMs(DELAY_MS));
    let slow = simulator.add_fault(slow);
    let holds = link_many(&host, &tree).await;
    simulator.await_held(CAP).await;

    let looks_before = looks(&host);
    for round in 1..=ROUNDS {
        let token = simulator.model().create_user(&email(SINGLE));
        let body = json!({
            "type": "LINKED", "external_owner_id": SINGLE, "refresh_token": token,
        });
        assert_eq!(host.post_to(&list, &list.secret, &body).await.0, 202);
        let done = async || host.number(SINGLE_DONE).await == round;
        host.until("the single owner isn't held up", done).await;
    }
    let looks = looks(&host) - looks_before;
    println!("{looks} looks in {ROUNDS} rounds");
    let rounds = usize::try_from(ROUNDS).expect("few");
    assert!((rounds..=LOOKS_A_ROUND_MAX * rounds).contains(&looks), "{looks} in {rounds} rounds");
    assert!(hits(&simulator, slow) >= rounds, "each round waits for the vendor");
    let rows = format!("select count(*) as n from {}", events.table);
    let rows: Value = host.json(&["db", "sql", &rows, "--org", SMALL]).await;
    assert_eq!(rows, json!([{ "n": EVENTS }]));
    assert_eq!(hits(&simulator, holds), CAP, "all that time nobody else of the large one ran");
    assert_eq!(host.number(MANY_LEASED).await, CAP as i64, "as many as it may have");

    let mut had_turn = BTreeSet::new();
    loop {
        // One that ended makes room for one more, and no more.
        let held = simulator.await_held(CAP).await;
        let users: BTreeSet<_> = held.iter().filter_map(|held| held.user.clone()).collect();
        assert_eq!((held.len(), users.len()), (CAP, CAP), "{held:?}");
        had_turn.extend(users);
        if had_turn.len() == MANY {
            break;
        }
        assert_eq!(simulator.release_held(Some(held[0].id)), 1);
    }
    simulator.clear_faults(None);
    host.settle().await;
    host.assert_matches_model(&tree).await;
    assert_eq!(host.number(MANY_LEASED).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_dies_at_the_cap_leaves_no_slot_taken() {
    let _alone = ALONE.lock().await;
    // Long enough that none runs out while its host lives.
    let settings = || capped(settings()).env("ROWGATE_RUN_LEASE_TTL_MS", "5000");
    let mut first = settings().start().await;
    let tree = first.integrations().await;
    let simulator = Arc::clone(&first.simulator);
    let holds = link_many(&first, &tree).await;
    simulator.await_held(CAP).await;
    let second = settings().start_beside(&first).await;
    second.idle().await;
    assert_eq!(
        hits(&simulator, holds),
        CAP,
        "the first host has all that the organization may have"
    );

    first.kill().await;
    second
        .until("the second host has as many", async || {
            hits(&simulator, holds) == 2 * CAP && simulator.await_held(0).await.len() == CAP
        })
        .await;
    simulator.clear_faults(None);
    second.settle().await;
    second.assert_matches_model(&tree).await;
}
