//! Streams of one owner run side by side, up to the manifest's limit.

use std::collections::BTreeSet;
use std::convert::Infallible;

use simulator::model::directory::CalendarSpec;
use simulator::{Held, Moment, Then, When};

use crate::setup::{ANA, BO, Case, OWNER, single};

/// The plugin's `streams_per_owner`.
const AT_ONCE: usize = 4;
/// Each has two streams.
const CALENDARS: usize = 6;
const OTHER: &str = "customer-2";

#[tokio::test]
async fn so_many_streams_of_an_owner_run_at_once_and_no_more() {
    let case = Case::unlinked().await;
    for number in 1..CALENDARS {
        let spec = CalendarSpec::default();
        let calendar = case.simulator.model().add_calendar(ANA, &spec).unwrap();
        let event = single(&format!("in{number}"), 4);
        case.simulator.model().add_event(&calendar, &event).unwrap();
    }
    let anas = When { user: Some(ANA.to_owned()), ..When::path("*/events") };
    case.fault(anas, Then::Hold(Moment::After));
    case.link(&case.tree, OWNER, ANA).await;
    case.until("as many as may be are in flight", async || held(&case).await.len() >= AT_ONCE)
        .await;
    // Now what runs is due again, and must not begin a second time.
    case.resync(&case.tree, OWNER).await;
    case.until("the post is applied", async || {
        case.number("select count(*) from inbox where done_at is null").await == 0
    })
    .await;
    // What else the host would begin, it has begun by then: it serves another owner meanwhile.
    case.simulator.model().create_user(BO);
    case.simulator.model().add_event(BO, &single("bos", 5)).unwrap();
    case.link(&case.tree, OTHER, BO).await;
    case.until("another owner is served", async || {
        case.row_counts(&case.tree, OTHER).await.values().all(|rows| *rows > 0)
    })
    .await;
    let held = held(&case).await;
    assert_eq!(streams(&held).len(), AT_ONCE, "{held:?}");
    tokio::select! {
        () = case.settle() => {}
        never = let_go_one_by_one(&case) => match never {},
    }
    case.matches().await;
    let requests = case.simulator.requests();
    let of_ana = requests.iter().filter(|seen| seen.user.as_deref() == Some(ANA));
    let listed: BTreeSet<String> =
        of_ana.filter_map(|seen| feed(&seen.path, &seen.query)).collect();
    assert_eq!(listed.len(), 2 * CALENDARS, "each stream had its turn: {listed:?}");
}

/// Requests that are in flight now.
async fn held(case: &Case) -> Vec<Held> {
    case.simulator.await_held(0).await
}

/// Lets a request go as soon as one is held, and looks at who waits each time.
async fn let_go_one_by_one(case: &Case) -> Infallible {
    loop {
        let held = case.simulator.await_held(1).await;
        assert!(streams(&held).len() <= AT_ONCE, "{held:?}");
        if let Some(first) = held.first() {
            case.simulator.release_held(Some(first.id));
        }
    }
}

/// Whose requests these are; no stream has two.
fn streams(held: &[Held]) -> BTreeSet<String> {
    let streams: BTreeSet<String> =
        held.iter().filter_map(|held| feed(&held.path, &held.query)).collect();
    assert_eq!(streams.len(), held.len(), "a stream runs twice: {held:?}");
    streams
}

/// A calendar's path, and which of its two feeds is read. None: it isn't one.
fn feed(path: &str, query: &str) -> Option<String> {
    let expanded = query.contains("singleEvents=true");
    path.ends_with("/events").then(|| format!("{path} {expanded}"))
}
