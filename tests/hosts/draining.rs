//! A host that is told to end leaves what it was in the middle of to another one.

use std::sync::Arc;

use serde_json::{Value, json};
use simulator::{Fault, Moment, Pages, Seen, Simulator, Then, When};

use crate::posts::email;
use crate::{ALONE, settings};

const OWNER: &str = "ann";
/// Longer than any test takes: no lease runs out.
const LEASE_TTL_MS: &str = "600000";
const EVENTS: u32 = 35;
const EVENTS_A_PAGE: usize = 10;
const PAGES: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn another_host_goes_on_in_the_middle_of_a_listing() {
    let _alone = ALONE.lock().await;
    let settings = || settings().env("ROWGATE_RUN_LEASE_TTL_MS", LEASE_TTL_MS);
    let mut first = settings().start().await;
    let tree = first.integrations().await;
    let simulator = Arc::clone(&first.simulator);
    simulator.model().create_user(&email(OWNER));
    for number in 0..EVENTS {
        let made = simulator.model().add_event(&email(OWNER), &event(number));
        made.expect("the account is there");
    }
    simulator.add_fault(Fault::when(When::path("*/events"), Then::ShortPage(EVENTS_A_PAGE)));
    let second_page = When { page: Some(Pages::Later), ..When::path("*/events") };
    simulator.add_fault(Fault::when(second_page.times(1), Then::Hold(Moment::Before)));
    first.link(&tree, OWNER, &email(OWNER)).await;
    simulator.await_held(1).await;
    let second = settings().start_beside(&first).await;
    second.idle().await;

    first.terminate().await;
    let draining = Some((503, "{\"o\":\"draining\"}".to_owned()));
    first.until("the first host drains", async || first.health().await == draining).await;
    assert_eq!(pages(&simulator), (1, 1), "the lease is the first host's until it lets go");
    simulator.release_held(None);
    let status = first.ended().await;
    assert!(status.success(), "{status}");
    second.settle().await;
    assert_eq!(pages(&simulator), (1, PAGES - 1), "no page is asked for twice");
    second.assert_matches_model(&tree).await;
}

fn event(number: u32) -> Value {
    let day = 1 + number % 28;
    json!({
        "id": format!("many{number}"),
        "start": { "dateTime": format!("2026-11-{day:02}T10:00:00Z") },
        "end": { "dateTime": format!("2026-11-{day:02}T11:00:00Z") },
    })
}

/// Requests for pages of the full listing of events: the first one, and later ones.
fn pages(simulator: &Simulator) -> (usize, usize) {
    let full = |seen: &&Seen| seen.path.ends_with("/events") && !seen.query.contains("syncToken=");
    let requests = simulator.requests();
    let (later, first): (Vec<&Seen>, Vec<&Seen>) =
        requests.iter().filter(full).partition(|seen| seen.query.contains("pageToken="));
    (first.len(), later.len())
}
