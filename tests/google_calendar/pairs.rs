//! Verbs back to back, and their spellings.

use serde_json::json;
use tests::{TestHost, Tree};

use crate::setup::{ANA, Case};

const VERBS: [&str; 4] = ["LINKED", "REFRESHED", "RESYNC", "UNLINKED"];

async fn post(host: &TestHost, tree: &Tree, verb: &str, owner: &str) {
    match verb {
        "RESYNC" => host.resync(tree, owner).await,
        "UNLINKED" => host.unlink(tree, owner).await,
        verb => host.post_token(tree, verb, owner, ANA).await,
    }
}

fn is_linked_after(was: bool, verb: &str) -> bool {
    match verb {
        "RESYNC" => was,
        verb => verb != "UNLINKED",
    }
}

/// 16 pairs from an unknown and from a linked owner, each owner with its own pair.
async fn every_pair(from_linked: bool) {
    let case = Case::unlinked().await;
    case.simulator.set_limits(false);
    let pairs: Vec<_> = VERBS.iter().flat_map(|a| VERBS.map(|b| (*a, b))).collect();
    let owner = |(a, b): (&str, &str)| format!("{a}-{b}");
    if from_linked {
        for pair in &pairs {
            case.link(&case.tree, &owner(*pair), ANA).await;
        }
        case.settle().await;
        case.matches().await;
    }
    for (first, second) in &pairs {
        let owner = owner((first, second));
        post(&case.host, &case.tree, first, &owner).await;
        post(&case.host, &case.tree, second, &owner).await;
    }
    case.settle().await;
    case.matches().await;
    for (first, second) in &pairs {
        let owner = owner((first, second));
        let linked = is_linked_after(is_linked_after(from_linked, first), second);
        let expected = if linked { 4 } else { 0 };
        assert_eq!(case.row_count(&case.tree, &owner).await, expected, "{owner}");
    }
}

#[tokio::test]
async fn every_pair_of_verbs_on_unknown_owners() {
    every_pair(false).await;
}

#[tokio::test]
async fn every_pair_of_verbs_on_linked_owners() {
    every_pair(true).await;
}

#[tokio::test]
async fn seven_spellings() {
    let case = Case::unlinked().await;
    for spelling in ["LINK", "LINKED", "REFRESH", "REFRESHED"] {
        case.post_token(&case.tree, spelling, spelling, ANA).await;
    }
    case.settle().await;
    case.matches().await;
    for spelling in ["LINK", "LINKED", "REFRESH", "REFRESHED"] {
        assert_eq!(case.row_count(&case.tree, spelling).await, 4, "{spelling}");
    }
    case.simulator.clear_requests();
    case.resync(&case.tree, "LINK").await;
    case.settle().await;
    assert_eq!(case.listings(), ["calendars full", "events full", "source full"]);
    for (spelling, owner) in [("UNLINK", "LINK"), ("UNLINKED", "REFRESH")] {
        let body = json!({ "type": spelling, "external_owner_id": owner });
        case.accepted(&case.tree, &body).await;
        case.settle().await;
        assert_eq!(case.row_count(&case.tree, owner).await, 0, "{spelling}");
    }
    let body = json!({ "type": "link", "external_owner_id": "x", "refresh_token": "y" });
    assert_eq!(case.post(&case.tree, &body).await.0, 400, "no eighth");
}
