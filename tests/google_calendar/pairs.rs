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

/// Where an owner stands before its pair of verbs.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Unknown,
    Linked,
    GrantDead,
}

/// 16 pairs, each with an owner of its own.
async fn every_pair(before: Before) {
    let case = Case::unlinked().await;
    case.simulator.set_limits(false);
    let pairs: Vec<_> = VERBS.iter().flat_map(|a| VERBS.map(|b| (*a, b))).collect();
    let owner = |(a, b): (&str, &str)| format!("{a}-{b}");
    if before != Before::Unknown {
        for pair in &pairs {
            case.link(&case.tree, &owner(*pair), ANA).await;
        }
        case.settle().await;
        case.matches().await;
    }
    if before == Before::GrantDead {
        for pair in &pairs {
            case.post_with(&case.tree, "REFRESHED", &owner(*pair), ANA, "1//dead").await;
        }
        case.settle().await;
        assert!(case.owners().await.iter().all(|owner| owner["state"] == "grant dead"));
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
        let was_linked = before != Before::Unknown;
        let linked = is_linked_after(is_linked_after(was_linked, first), second);
        let expected = if linked { 4 } else { 0 };
        assert_eq!(case.row_count(&case.tree, &owner).await, expected, "{owner}");
        let brings = [first, second].iter().any(|verb| matches!(**verb, "LINKED" | "REFRESHED"));
        let state = match linked {
            true if before == Before::GrantDead && !brings => "grant dead",
            true => "current",
            false => "unlinked",
        };
        assert_eq!(case.owner(&owner).await["state"], state, "{owner}");
    }
}

#[tokio::test]
async fn every_pair_of_verbs_on_unknown_owners() {
    every_pair(Before::Unknown).await;
}

#[tokio::test]
async fn every_pair_of_verbs_on_linked_owners() {
    every_pair(Before::Linked).await;
}

#[tokio::test]
async fn every_pair_of_verbs_on_owners_whose_grant_is_dead() {
    every_pair(Before::GrantDead).await;
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
