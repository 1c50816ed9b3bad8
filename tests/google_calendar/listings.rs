//! What listings do that they shouldn't: tokens, pages, 410s.

use std::collections::BTreeSet;

use serde_json::Value;
use simulator::model::TokenScope;
use simulator::{Moment, Then, When};
use tests::Settings;

use crate::setup::{ANA, Case, FAR, OWNER, expanded_feed, first, later, live, single};

/// Ana's calendar gets this many more events.
fn add_many(case: &Case, count: u32) {
    for n in 0..count {
        case.add(single(&format!("many{n:02}"), 1 + n % 28));
    }
}

/// The one stream of a service; null if there is none yet.
async fn stream(case: &Case, service: &str) -> Value {
    let mut streams = case.streams().await.into_iter();
    streams.find(|stream| stream["service"] == service).unwrap_or_default()
}

/// Requests for events with pages of this size.
fn of_size(size: u32) -> When {
    When { query: Some(format!("*maxResults={size}*")), ..When::path("*/events") }
}

/// Page sizes of the requests for events since the requests were last cleared.
fn sizes(case: &Case) -> BTreeSet<u32> {
    let requests = case.simulator.requests().into_iter();
    let of_events = requests.filter(|seen| seen.path.ends_with("/events"));
    let size = |query: &str| {
        let mut parts = query.split('&');
        parts.find_map(|part| part.strip_prefix("maxResults=")?.parse().ok())
    };
    of_events.filter_map(|seen| size(&seen.query)).collect()
}

#[tokio::test]
async fn a_calendar_that_is_too_slow_is_asked_for_smaller_pages() {
    for (slow, timeout_ms) in
        [(Then::Hold(Moment::Before), "1000"), (Then::Error("html-504".into()), "30000")]
    {
        let settings = Settings::default().env("ROWGATE_LIMITS_REQUEST_TIMEOUT_MS", timeout_ms);
        let case = Case::unlinked_with(settings).await;
        // Of the first two sizes no page comes in time; two timeouts in a row halve the size of a
        // feed, and there are two feeds.
        let faults = [2000, 1000].map(|size| case.fault(of_size(size), slow.clone()));
        case.link(&case.tree, OWNER, ANA).await;
        case.settle().await;
        assert_eq!(faults.map(|fault| case.hits(fault)), [4, 4], "{slow:?}");
        case.matches().await;
        // The size stays with the sync token: the next reading doesn't begin with timeouts again.
        case.add(single("later", 9));
        case.catch_up().await;
        assert_eq!(faults.map(|fault| case.hits(fault)), [4, 4], "{slow:?}");
        case.matches().await;
    }
}

#[tokio::test]
async fn pages_grow_back_when_all_is_read_again() {
    for by_resync in [true, false] {
        let case = Case::unlinked().await;
        let slow = case.fault(of_size(2000), Then::Error("html-504".into()));
        case.link(&case.tree, OWNER, ANA).await;
        case.settle().await;
        assert_eq!(case.hits(slow), 4);
        case.simulator.clear_faults(Some(slow));
        case.simulator.clear_requests();
        case.catch_up().await;
        assert_eq!(sizes(&case), BTreeSet::from([1000]), "a sync token is bound to its size");
        case.simulator.clear_requests();
        if by_resync {
            case.read_again().await;
            assert_eq!(sizes(&case), BTreeSet::from([2000]));
        } else {
            case.simulator.model().expire_sync_tokens(&TokenScope::All).unwrap();
            case.catch_up().await;
            assert_eq!(sizes(&case), BTreeSet::from([1000, 2000]), "the 410, and what follows");
        }
        case.simulator.clear_requests();
        case.catch_up().await;
        assert_eq!(sizes(&case), BTreeSet::from([2000]));
        case.matches().await;
    }
}

#[tokio::test]
async fn pages_grow_back_though_a_small_one_fails_meanwhile() {
    let case = Case::unlinked().await;
    let slow = case.fault(of_size(2000), Then::Error("html-504".into()));
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    case.simulator.clear_faults(Some(slow));
    let small =
        || When { query: Some("*singleEvents=true*maxResults=1000*".into()), ..of_size(1000) };
    let fails = case.fault(small().times(1), Then::Error("html-504".into()));
    case.fault(small().times(1), Then::Hold(Moment::Before));
    case.refresh(&case.tree, OWNER, ANA).await;
    case.simulator.await_held(1).await;
    case.until("the other feed is read", async || {
        stream(&case, "google_calendar_source_event_v1").await["state"] == "current"
    })
    .await;
    case.resync(&case.tree, OWNER).await;
    case.until("RESYNC is applied", async || case.owner(OWNER).await["inbox_waiting"] == 0).await;
    assert_eq!(case.hits(fails), 1, "what is held will fail");
    case.simulator.clear_requests();
    case.simulator.clear_faults(None);
    case.settle().await;
    assert_eq!(sizes(&case), BTreeSet::from([2000]));
    case.simulator.clear_requests();
    case.catch_up().await;
    assert_eq!(sizes(&case), BTreeSet::from([2000]), "the size stays");
    case.matches().await;
}

/// Only pages can be too slow: a token endpoint that hangs shrinks none.
#[tokio::test]
async fn a_slow_token_endpoint_costs_no_sync_token() {
    let settings = Settings::default().env("ROWGATE_LIMITS_REQUEST_TIMEOUT_MS", "1000");
    let case = Case::unlinked_with(settings).await;
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    case.simulator.clear_requests();
    // A new grant needs a new access token, and each stream asks for one in vain at least twice.
    let slow = case.fault(When::path("/token").times(8), Then::Hold(Moment::Before));
    case.add(single("two", 4));
    case.catch_up().await;
    assert_eq!(case.hits(slow), 8);
    case.matches().await;
    assert_eq!(sizes(&case), BTreeSet::from([2000]));
    let listings = case.listings();
    assert!(!listings.iter().any(|listing| listing == "events full"), "{listings:?}");
}

#[tokio::test]
async fn a_list_that_ends_without_a_token_is_read_in_full_next_time() {
    let case = Case::unlinked().await;
    case.add_far();
    let fault = case.fault(expanded_feed().times(1), Then::NoSyncToken);
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    case.matches().await;
    assert_eq!(case.hits(fault), 1);
    let count =
        case.simulator.requests().iter().filter(|seen| seen.path.ends_with("/events")).count();
    assert_eq!(count, 2, "one page of each feed, no loop");
    assert_eq!(stream(&case, "google_calendar_event_v1").await["state"], "current");
    // A later listing is a full one, and sweeps; the other feed goes on from its token.
    case.end_far_silently();
    case.simulator.clear_requests();
    case.catch_up().await;
    assert!(case.listings().contains(&"events full".to_owned()), "{:?}", case.listings());
    assert!(case.listings().contains(&"source delta".to_owned()), "{:?}", case.listings());
    assert_eq!(case.expanded().await[FAR], "cancelled");
}

#[tokio::test]
async fn empty_pages_with_a_token_are_gone_through() {
    let case = Case::unlinked().await;
    add_many(&case, 25);
    case.fault(When::path("*/events"), Then::ShortPage(10));
    let empty = case.fault(When { nth: Some(2), ..expanded_feed() }.times(1), Then::EmptyPage);
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    assert_eq!(case.hits(empty), 1);
    case.matches().await;
}

#[tokio::test]
async fn an_event_twice_in_a_page_and_across_pages_is_one_row() {
    let case = Case::unlinked().await;
    add_many(&case, 25);
    case.fault(When::path("*/events"), Then::ShortPage(10));
    let within = case.fault(When::path("*/events"), Then::DuplicateEvent);
    let across = case.fault(When::path("*/events"), Then::DuplicateAcrossPages);
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    assert!(case.hits(within) > 2 && case.hits(across) > 2);
    case.matches().await;
    assert_eq!(case.events(&case.tree, OWNER).await.len(), 26);
}

#[tokio::test]
async fn a_cycle_of_page_tokens_ends() {
    let case = Case::unlinked().await;
    add_many(&case, 25);
    case.fault(When::path("*/events"), Then::ShortPage(10));
    let cycle = case.fault(later(expanded_feed()), Then::PageTokenCycle);
    case.link(&case.tree, OWNER, ANA).await;
    case.until("the cycle is noticed", async || {
        !stream(&case, "google_calendar_event_v1").await["last_error"].is_null()
    })
    .await;
    assert!(case.hits(cycle) < 100, "{} requests", case.hits(cycle));
    assert!(live(&case.expanded().await).len() < 26, "an incomplete listing");
    case.simulator.clear_faults(None);
    case.catch_up().await;
    case.matches().await;
}

#[tokio::test]
async fn a_410_on_the_first_page_reads_in_full_and_reconciles() {
    for answer in ["fullSyncRequired", "gone-without-reason", "updatedMinTooLongAgo"] {
        let case = Case::linked().await;
        case.add_far();
        case.catch_up().await;
        case.simulator.clear_requests();
        case.add(single("two", 4));
        case.end_far_silently();
        let gone = case.fault(expanded_feed().times(1), Then::Error(answer.to_owned()));
        case.catch_up().await;
        assert_eq!(case.hits(gone), 1);
        assert_eq!(live(&case.expanded().await), ["one", "two"], "{answer}");
        let listings = case.listings();
        assert!(listings.contains(&"events full".to_owned()), "{answer}: {listings:?}");
        assert!(!listings.contains(&"source full".to_owned()), "{answer}: {listings:?}");
    }
}

#[tokio::test]
async fn expired_tokens_of_every_listing_are_replaced() {
    let case = Case::linked().await;
    case.add_far();
    case.catch_up().await;
    case.add(single("two", 4));
    case.end_far_silently();
    case.simulator.model().expire_sync_tokens(&TokenScope::All).unwrap();
    case.catch_up().await;
    case.matches().await;
    assert_eq!(live(&case.expanded().await), ["one", "two"]);
}

#[tokio::test]
async fn a_410_amid_pages_sweeps_only_after_a_complete_list() {
    let case = Case::linked().await;
    add_many(&case, 25);
    case.add_far();
    case.catch_up().await;
    case.end_far_silently();
    case.simulator.model().expire_sync_tokens(&TokenScope::All).unwrap();
    case.fault(expanded_feed(), Then::ShortPage(10));
    // The full listing breaks off at its second page, over and over.
    let gone = case.fault(later(expanded_feed()), Then::Error("fullSyncRequired".to_owned()));
    case.refresh(&case.tree, OWNER, ANA).await;
    case.until("it broke off", async || case.hits(gone) >= 2).await;
    assert_eq!(case.expanded().await[FAR], "confirmed", "nothing is swept by half a listing");
    case.simulator.clear_faults(Some(gone));
    case.settle().await;
    case.matches().await;
    assert_eq!(case.expanded().await[FAR], "cancelled");
}

#[tokio::test]
async fn a_410_amid_the_pages_of_a_delta_reads_in_full() {
    let case = Case::linked().await;
    add_many(&case, 25);
    case.fault(expanded_feed(), Then::ShortPage(10));
    let gone = case.fault(later(expanded_feed()).times(1), Then::Error("fullSyncRequired".into()));
    case.catch_up().await;
    assert_eq!(case.hits(gone), 1);
    case.matches().await;
    assert!(case.listings().contains(&"events full".to_owned()));
}

#[tokio::test]
async fn a_listing_whose_page_token_died_begins_again() {
    let case = Case::unlinked().await;
    add_many(&case, 25);
    case.fault(expanded_feed(), Then::ShortPage(10));
    let bad = case.fault(later(expanded_feed()).times(1), Then::Error("badRequest".into()));
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    assert_eq!(case.hits(bad), 1);
    case.matches().await;
}

#[tokio::test]
async fn broken_transport_is_tried_again_and_loses_nothing() {
    let case = Case::unlinked().await;
    add_many(&case, 25);
    case.fault(When::path("*/events"), Then::ShortPage(10));
    let faults = [
        Then::NoAnswer,
        Then::TruncatedJson,
        Then::ResetMidBody,
        Then::Error("html-502".into()),
        Then::Error("empty-503".into()),
        Then::Error("backendError".into()),
    ]
    .map(|then| case.fault(later(When::path("*/events")).times(1), then));
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    case.matches().await;
    for fault in faults {
        assert_eq!(case.hits(fault), 1);
    }
}

#[tokio::test]
async fn a_page_that_is_too_large_is_asked_for_smaller() {
    let case = Case::unlinked().await;
    let too_large = Then::Answer { status: 200, body: " ".repeat(33 << 20) };
    let full_size = When {
        query: Some("*singleEvents=true*maxResults=2000*".into()),
        ..first(expanded_feed())
    };
    let fault = case.fault(full_size, too_large);
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    case.matches().await;
    assert_eq!(case.hits(fault), 1);
    let requests = case.simulator.requests();
    let smaller =
        |query: &str| query.contains("singleEvents=true") && query.contains("maxResults=1000");
    assert!(requests.iter().any(|seen| smaller(&seen.query)));
    // The smaller size stays: a sync token is bound to it.
    case.simulator.clear_requests();
    case.catch_up().await;
    assert!(case.listings().contains(&"events delta".to_owned()));
    assert!(case.simulator.requests().iter().any(|seen| smaller(&seen.query)));
}
