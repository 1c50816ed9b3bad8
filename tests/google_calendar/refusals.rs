//! Grants, clients and quotas: who stops, who goes on, and what stays.

use simulator::model::account::Rotation;
use simulator::{Then, When};
use tests::Settings;

use crate::setup::{ANA, BO, Case, OWNER, expanded_feed, live, single};

const OTHER: &str = "customer-2";

/// Linked, and a second owner with Bo's account and the event `bos`.
async fn two_owners() -> Case {
    beside_another(Case::linked().await).await
}

/// The same, where whoever must wait waits long.
async fn two_patient_owners() -> Case {
    let settings = Settings::default().env("ROWGATE_RUN_BACK_OFF_BASE_MS", "600000");
    let case = Case::unlinked_with(settings.env("ROWGATE_RUN_BACK_OFF_MAX_MS", "600000")).await;
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    beside_another(case).await
}

async fn beside_another(case: Case) -> Case {
    case.simulator.model().create_user(BO);
    case.simulator.model().add_event(BO, &single("bos", 5)).unwrap();
    case.link(&case.tree, OTHER, BO).await;
    case.settle().await;
    case.matches().await;
    case.simulator.clear_requests();
    case
}

fn of_user(user: &str) -> When {
    When { user: Some(user.to_owned()), ..When::default() }
}

/// A user is asked nothing while the other owner catches up.
async fn stays_quiet(case: &Case, user: &str) {
    let count =
        || case.simulator.requests().iter().filter(|s| s.user.as_deref() == Some(user)).count();
    let before = count();
    case.catch_up_of(OTHER, BO).await;
    assert_eq!(count(), before, "{user} is asked for though it must rest");
}

impl Case {
    async fn catch_up_of(&self, owner: &str, email: &str) {
        self.refresh(&self.tree, owner, email).await;
        self.idle().await;
    }
}

#[tokio::test]
async fn a_revoked_grant_stops_the_owner_and_keeps_its_rows() {
    let case = two_owners().await;
    let rows = case.row_count(&case.tree, OWNER).await;
    case.dead_token().await;
    let owner = case.owner(OWNER).await;
    assert_eq!(owner["state"], "grant dead");
    let reason = owner["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("invalid_grant"), "{reason}");
    assert_eq!(case.token_requests(), 1, "it isn't asked again");
    assert_eq!(case.row_count(&case.tree, OWNER).await, rows);
    assert_eq!(live(&case.expanded().await), ["one"]);
    // Another owner of the tree goes on.
    case.simulator.model().add_event(BO, &single("more", 6)).unwrap();
    case.catch_up_of(OTHER, BO).await;
    assert_eq!(live(&case.statuses(case.tree.events(), BO).await), ["bos", "more"]);
    assert_eq!(case.integration_state(&case.tree.list).await.0, "ok");
    case.catch_up().await;
    case.matches().await;
}

#[tokio::test]
async fn a_grant_revoked_amid_a_run_stops_the_owner() {
    let case = Case::linked().await;
    case.host.refresh(&case.tree, OWNER, ANA).await;
    case.settle().await;
    // Access and refresh token die; the next call gets 401 and then invalid_grant.
    let hold =
        case.fault(When::path("*/calendarList").times(1), Then::Hold(simulator::Moment::Before));
    case.host.refresh(&case.tree, OWNER, ANA).await;
    case.simulator.await_held(1).await;
    assert!(case.simulator.model().revoke_grant(ANA));
    case.simulator.clear_faults(Some(hold));
    case.settle().await;
    assert_eq!(case.owner(OWNER).await["state"], "grant dead");
    assert_eq!(live(&case.expanded().await), ["one"]);
    case.add(single("two", 4));
    case.catch_up().await;
    case.matches().await;
}

#[tokio::test]
async fn every_way_a_grant_can_be_dead() {
    for answer in [
        "invalid_grant-bad-request",
        "invalid_grant-deleted",
        "invalid_grant-rapt",
        "invalid_grant",
        "admin_policy_enforced",
        "org_internal",
        "access_denied",
    ] {
        let case = Case::unlinked().await;
        let fault = case.fault(When::path("/token"), Then::Error(answer.into()));
        case.link(&case.tree, OWNER, ANA).await;
        case.settle().await;
        assert_eq!(case.owner(OWNER).await["state"], "grant dead", "{answer}");
        assert_eq!(case.hits(fault), 1, "{answer}");
    }
}

#[tokio::test]
async fn scopes_that_are_too_narrow_need_another_link() {
    let case = Case::unlinked().await;
    case.simulator.model().set_scopes(ANA, vec!["openid".into()]).unwrap();
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    let owner = case.owner(OWNER).await;
    assert_eq!(owner["state"], "grant dead", "{owner}");
    let wide = vec!["https://www.googleapis.com/auth/calendar.readonly".into()];
    case.simulator.model().set_scopes(ANA, wide).unwrap();
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    case.matches().await;
}

#[tokio::test]
async fn a_broken_client_marks_the_integration_and_keeps_grants() {
    let case = two_owners().await;
    let fault = case.fault(When::path("/token"), Then::Error("invalid_client-secret".into()));
    case.add(single("two", 4));
    case.refresh(&case.tree, OWNER, ANA).await;
    case.until("the integration is marked", async || {
        case.integration_state(&case.tree.list).await.0 == "misconfigured"
    })
    .await;
    let reason = case.integration_state(&case.tree.list).await.1;
    assert!(reason.as_str().unwrap_or_default().contains("invalid_client"), "{reason}");
    for owner in [OWNER, OTHER] {
        assert_ne!(case.owner(owner).await["state"], "grant dead", "{owner}");
    }
    assert_eq!(live(&case.expanded().await), ["one"], "rows stay");
    // The client works again: a probe finds out, with the grant that was there.
    case.simulator.clear_faults(Some(fault));
    case.until("a probe got through", async || live(&case.expanded().await).len() == 2).await;
    case.settle().await;
    case.matches().await;
    assert_eq!(case.integration_state(&case.tree.list).await.0, "ok");
}

#[tokio::test]
async fn a_quota_of_a_user_pauses_that_owner_alone() {
    for answer in ["quotaExceeded", "quota-per-user", "userRateLimitExceeded"] {
        let case = two_patient_owners().await;
        let when = When { path: Some("/calendar/*".into()), ..of_user(ANA) };
        let fault = case.fault(when.times(1), Then::Error(answer.into()));
        case.add(single("two", 4));
        case.catch_up_of(OWNER, ANA).await;
        assert_eq!(case.hits(fault), 1, "{answer}");
        let owner = case.owner(OWNER).await;
        let error = owner["last_error"].as_str().unwrap_or_default();
        assert!(error.contains("Google answered 403"), "{owner}");
        assert_eq!(live(&case.expanded().await), ["one"]);
        case.simulator.model().add_event(BO, &single("more", 6)).unwrap();
        stays_quiet(&case, ANA).await;
        assert_eq!(live(&case.statuses(case.tree.events(), BO).await), ["bos", "more"], "{answer}");
    }
}

#[tokio::test]
async fn a_quota_of_the_project_pauses_every_owner() {
    for answer in [
        "dailyLimitExceeded",
        "quota-per-project",
        "rateLimitExceeded",
        "too-many-requests",
        "resource-exhausted",
    ] {
        let case = two_patient_owners().await;
        let when = When { path: Some("/calendar/*".into()), ..of_user(ANA) };
        let fault = case.fault(when.times(1), Then::Error(answer.into()));
        case.catch_up_of(OWNER, ANA).await;
        assert_eq!(case.hits(fault), 1, "{answer}");
        case.simulator.clear_requests();
        case.catch_up_of(OTHER, BO).await;
        assert_eq!(case.simulator.requests(), [], "{answer}: the other owner rests as well");
        for owner in [OWNER, OTHER] {
            assert_ne!(case.owner(owner).await["state"], "grant dead", "{answer}");
        }
    }
}

#[tokio::test]
async fn short_quota_answers_are_tried_again() {
    for answer in
        ["quota-per-user", "quota-per-project", "userRateLimitExceeded", "too-many-requests"]
    {
        let case = Case::linked().await;
        let fault = case.fault(expanded_feed().times(2), Then::Error(answer.into()));
        case.add(single("two", 4));
        case.host.refresh(&case.tree, OWNER, ANA).await;
        case.until("it came through", async || live(&case.expanded().await).len() == 2).await;
        case.settle().await;
        case.matches().await;
        assert_eq!(case.hits(fault), 2, "{answer}");
    }
}

#[tokio::test]
async fn an_access_token_that_expired_amid_pages_is_replaced() {
    let case = Case::unlinked().await;
    for n in 0..25 {
        case.add(single(&format!("many{n}"), 1 + n));
    }
    case.fault(When::path("*/events"), Then::ShortPage(10));
    let expired =
        case.fault(crate::setup::later(expanded_feed()).times(1), Then::Error("authError".into()));
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    case.matches().await;
    assert_eq!(case.hits(expired), 1);
    assert_eq!(case.token_requests(), 2, "one more exchange");
    assert_eq!(case.owner(OWNER).await["state"], "current");
}

#[tokio::test]
async fn a_refresh_token_that_rotates_is_kept() {
    let case = Case::unlinked().await;
    case.simulator.model().set_rotation(ANA, Rotation::KillOld).unwrap();
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    case.matches().await;
    // The posted token is dead by now; only the new one can get another access token.
    case.simulator.model().expire_access_tokens(Some(ANA));
    case.add(single("two", 4));
    case.read_again().await;
    case.matches().await;
    assert_eq!(case.token_requests(), 2);
}
