//! SIGTERM: the step in flight ends, leases are given back, requests are answered, and whoever is
//! next goes on where this host was.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use simulator::{Moment, Seen, Then, When};
use tests::Settings;

use crate::setup::{ANA, BO, Case, OWNER, expanded_feed, later, single};

const OTHER: &str = "customer-2";
/// Of the listing of Ana's primary calendar, at ten events a page.
const PAGES: usize = 4;

/// Ana's listing stands still before its second page.
async fn held(settings: Settings) -> Case {
    let case = Case::unlinked_with(settings).await;
    for n in 0..35 {
        case.add(single(&format!("many{n}"), 1 + n % 28));
    }
    case.fault(When::path("*/events"), Then::ShortPage(10));
    case.fault(later(expanded_feed()).times(1), Then::Hold(Moment::Before));
    case.link(&case.tree, OWNER, ANA).await;
    case.simulator.await_held(1).await;
    // The second page is asked for while the first is still being committed.
    let rows = format!(
        "select count(*) as n from {} where google_calendar_id = '{ANA}'",
        case.tree.events()
    );
    case.until("the first page is committed", async || case.sql(&rows).await[0]["n"] == 10).await;
    case
}

/// Asks it to end, and waits until it says that it does.
async fn terminate(case: &Case) {
    case.terminate().await;
    let draining = Some((503, "{\"o\":\"draining\"}".to_owned()));
    case.until("the host drains", async || case.health().await == draining).await;
}

/// Requests for pages of Ana's primary calendar: of its full listing, first and later.
fn pages(case: &Case) -> (usize, usize) {
    let requests = case.simulator.requests();
    let of_ana = |seen: &&Seen| {
        seen.user.as_deref() == Some(ANA)
            && seen.path.contains("ana")
            && seen.query.contains("singleEvents=true")
            && !seen.query.contains("syncToken=")
    };
    let (later, first): (Vec<_>, Vec<_>) =
        requests.iter().filter(of_ana).partition(|seen| seen.query.contains("pageToken="));
    (first.len(), later.len())
}

/// Owners that somebody holds, and those that are due.
async fn owners(case: &Case) -> (i64, i64) {
    case.control("select count(lease_host), count(due_at) from owners").await[0]
}

/// Starts it again: the listing goes on and does not begin anew.
async fn goes_on(case: &mut Case, pages_left: usize) {
    case.simulator.clear_requests();
    case.host.restart().await;
    case.settle().await;
    assert_eq!(pages(case), (0, pages_left));
    case.matches().await;
}

#[tokio::test]
async fn the_step_in_flight_ends_and_the_next_start_goes_on() {
    // There is one worker, and Ana's run has it: nobody else is begun with.
    let mut case = held(Settings::default().env("ROWGATE_RUN_WORKERS", "1")).await;
    terminate(&case).await;
    case.link(&case.tree, OTHER, BO).await;
    case.simulator.release_held(None);
    let status = case.host.ended().await;
    assert!(status.success(), "{status}");
    assert_eq!(pages(&case), (1, 1), "the page in flight is the last");
    assert!(!case.log().contains("were dropped"), "it ended by itself");
    assert_eq!(owners(&case).await, (0, 2));
    let of_bo = case.simulator.requests().into_iter().any(|seen| seen.user.as_deref() == Some(BO));
    assert!(!of_bo, "a host that drains begins with nobody");
    goes_on(&mut case, PAGES - 2).await;
}

#[tokio::test]
async fn a_vendor_that_does_not_answer_holds_nothing_up() {
    let mut case = held(Settings::default().env("ROWGATE_SHUTDOWN_TIMEOUT_MS", "1000")).await;
    case.terminate().await;
    let status = case.host.ended().await;
    assert!(status.success(), "{status}");
    assert!(case.log().contains("calls in flight were dropped"));
    assert_eq!(owners(&case).await, (0, 1));
    case.simulator.release_held(None);
    goes_on(&mut case, PAGES - 1).await;
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    // Files are one host's, which takes its leases back; on a server they have to run out.
    let settings = Settings::default().env("ROWGATE_RUN_LEASE_TTL_MS", "3000");
    let mut case = held(settings).await;
    terminate(&case).await;
    case.terminate().await;
    let status = case.host.ended().await;
    assert_eq!(status.code(), Some(143), "{status}");
    assert_eq!(owners(&case).await, (1, 1));
    case.simulator.release_held(None);
    goes_on(&mut case, PAGES - 1).await;
}

#[tokio::test]
async fn a_post_in_flight_is_answered() {
    let mut case = Case::unlinked_with(Settings::default()).await;
    let body = format!("{{\"type\":\"RESYNC\",\"external_owner_id\":\"{OWNER}\"}}");
    let (sent, rest) = body.split_at(10);
    let address = case.base_url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: here\r\nWhdb-Webhook-Secret: {}\r\nExpect: 100-continue\r\n\
         Content-Length: {}\r\n\r\n",
        case.tree.list.path,
        case.tree.list.secret,
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 1024];
    let read = stream.read(&mut answer).unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 100 "), "the host reads the body");
    stream.write_all(sent.as_bytes()).unwrap();
    case.terminate().await;
    let draining = async || {
        tokio::task::yield_now().await;
        case.log().contains("draining")
    };
    case.until("the host drains", draining).await;
    stream.write_all(rest.as_bytes()).unwrap();
    let read = stream.read(&mut answer).unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 202 "), "{:?}", &answer[..read]);
    let status = case.host.ended().await;
    assert!(status.success(), "{status}");
    assert_eq!(owners(&case).await, (0, 1));
}

#[tokio::test]
async fn a_load_balancer_has_time_to_notice() {
    let mut case = Case::unlinked_with(Settings::default().env("ROWGATE_DRAIN_MS", "3000")).await;
    terminate(&case).await;
    case.link(&case.tree, OWNER, ANA).await;
    let status = tokio::time::timeout(Duration::from_secs(30), case.host.ended()).await.unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(owners(&case).await, (0, 1));
}
