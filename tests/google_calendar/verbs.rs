//! Each verb on an unknown or unlinked, a linked, and an owner whose grant is dead.

use serde_json::json;

use crate::setup::{ANA, BO, Case, FAR, OWNER, live, single};

const ALL_FULL: [&str; 3] = ["calendars full", "events full", "source full"];
const ALL_DELTA: [&str; 3] = ["calendars delta", "events delta", "source delta"];

#[tokio::test]
async fn linked_unknown_reads_everything() {
    let case = Case::unlinked().await;
    case.add(single("two", 4));
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    case.matches().await;
    assert_eq!(live(&case.expanded().await), ["one", "two"]);
    let counts: Vec<i64> = case.row_counts(&case.tree, OWNER).await.into_values().collect();
    // Tables by name: events, list, source events, calendars.
    assert_eq!(counts.iter().sum::<i64>(), 1 + 1 + 2 + 2);
    assert_eq!(case.listings(), ALL_FULL);
    assert_eq!(case.owner(OWNER).await["state"], "current");
    // The link has no runs to interrupt: what it makes due runs once.
    let metrics = case.get("/metrics").await;
    let runs: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with("rowgate_runs_total")).collect();
    assert_eq!(runs, ["rowgate_runs_total{outcome=\"done\"} 3"]);
}

#[tokio::test]
async fn linked_again_lists_calendars_in_full_and_events_from_where_they_stood() {
    let case = Case::linked().await;
    case.add(single("two", 4));
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    case.matches().await;
    assert_eq!(case.listings(), ["calendars full", "events delta", "source delta"]);
    assert_eq!(case.token_requests(), 1, "the cached access token is dropped");
}

#[tokio::test]
async fn linked_with_another_account_takes_its_calendars() {
    let case = Case::linked().await;
    case.simulator.model().create_user(BO);
    case.simulator.model().add_event(BO, &single("bos", 5)).unwrap();
    case.link(&case.tree, OWNER, BO).await;
    case.settle().await;
    case.matches().await;
    assert_eq!(live(&case.statuses(case.tree.events(), BO).await), ["bos"]);
    assert_eq!(case.expanded().await["one"], "cancelled");
    let calendars = case.calendars(&case.tree, OWNER).await;
    let seen: Vec<_> = calendars.iter().map(|c| (&c["google_id"], &c["deleted"])).collect();
    assert_eq!(seen, [(&json!(ANA), &json!(true)), (&json!(BO), &json!(false))]);
    let requests = case.simulator.requests();
    let users = requests.iter().filter(|seen| seen.path != "/token");
    assert!(users.clone().count() > 0);
    assert!(users.clone().all(|seen| seen.user.as_deref() == Some(BO)), "an old token was used");
}

#[tokio::test]
async fn linked_revives_a_dead_grant() {
    let case = Case::grant_dead().await;
    case.add(single("two", 4));
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    case.matches().await;
    assert_eq!(case.listings(), ["calendars full", "events delta", "source delta"]);
    assert_eq!(case.owner(OWNER).await["state"], "current");
}

#[tokio::test]
async fn refreshed_unknown_is_as_linked() {
    let case = Case::unlinked().await;
    case.refresh(&case.tree, OWNER, ANA).await;
    case.settle().await;
    case.matches().await;
    assert_eq!(case.listings(), ALL_FULL);
}

#[tokio::test]
async fn refreshed_catches_up_with_a_new_token() {
    let case = Case::linked().await;
    case.add(single("two", 4));
    case.simulator.model().cancel_event(ANA, "one").unwrap();
    case.catch_up().await;
    case.matches().await;
    assert_eq!(live(&case.expanded().await), ["two"]);
    assert_eq!(case.listings(), ALL_DELTA);
    assert_eq!(case.token_requests(), 1, "the cached access token is dropped");
}

#[tokio::test]
async fn refreshed_revives_a_dead_grant_where_it_stood() {
    let case = Case::grant_dead().await;
    case.add(single("two", 4));
    case.catch_up().await;
    case.matches().await;
    assert_eq!(case.listings(), ALL_DELTA);
    assert_eq!(case.owner(OWNER).await["state"], "current");
}

#[tokio::test]
async fn resync_of_the_unknown_does_nothing() {
    let case = Case::unlinked().await;
    case.read_again().await;
    assert_eq!(case.row_count(&case.tree, OWNER).await, 0);
    assert_eq!(case.simulator.requests(), []);
    // An owner that was linked once is as unknown.
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    case.unlink(&case.tree, OWNER).await;
    case.settle().await;
    case.simulator.clear_requests();
    case.read_again().await;
    assert_eq!(case.row_count(&case.tree, OWNER).await, 0);
    assert_eq!(case.simulator.requests(), []);
}

#[tokio::test]
async fn resync_reads_again_and_sweeps() {
    let case = Case::linked().await;
    case.add_far();
    case.catch_up().await;
    case.end_far_silently();
    case.catch_up().await;
    assert_eq!(case.expanded().await[FAR], "confirmed", "no delta tells");
    case.simulator.clear_requests();
    case.read_again().await;
    case.matches().await;
    assert_eq!(case.expanded().await[FAR], "cancelled");
    assert_eq!(live(&case.expanded().await), ["one"]);
    assert_eq!(case.listings(), ALL_FULL);
}

#[tokio::test]
async fn resync_with_a_dead_grant_waits_for_the_next_token() {
    let case = Case::grant_dead().await;
    case.read_again().await;
    assert_eq!(case.simulator.requests(), [], "nothing is asked with a dead grant");
    assert_eq!(live(&case.expanded().await), ["one"], "rows stay");
    case.catch_up().await;
    case.matches().await;
    assert_eq!(case.listings(), ALL_FULL);
}

#[tokio::test]
async fn unlinked_unknown_does_nothing() {
    let case = Case::unlinked().await;
    case.unlink(&case.tree, OWNER).await;
    case.settle().await;
    assert_eq!(case.row_count(&case.tree, OWNER).await, 0);
    assert_eq!(case.simulator.requests(), []);
}

#[tokio::test]
async fn unlinked_deletes_everywhere_and_the_feed_says_so() {
    let case = Case::linked().await;
    case.link(&case.tree, "other", ANA).await;
    case.settle().await;
    let before = case.feed().await;
    assert_eq!(before.len(), 8);
    assert!(before.iter().all(|(_, deleted, _)| !deleted), "{before:?}");
    let newest = before.iter().map(|(_, _, commit_id)| *commit_id).max();

    case.unlink(&case.tree, OWNER).await;
    case.settle().await;
    assert_eq!(case.row_count(&case.tree, OWNER).await, 0);
    case.matches().await;
    let after = case.feed().await;
    assert_eq!(after.len(), 8);
    for (entry, earlier) in after.iter().zip(&before) {
        let (_, deleted, commit_id) = entry;
        match deleted {
            true => assert!(Some(*commit_id) > newest, "{entry:?}"),
            false => assert_eq!(entry, earlier, "another owner's entries don't move"),
        }
    }
    assert_eq!(after.iter().filter(|(_, deleted, _)| *deleted).count(), 4);
    assert_eq!(case.owner(OWNER).await["state"], "unlinked");
}

#[tokio::test]
async fn unlinked_deletes_although_the_grant_is_dead() {
    let case = Case::grant_dead().await;
    assert!(case.row_count(&case.tree, OWNER).await > 0);
    case.unlink(&case.tree, OWNER).await;
    case.settle().await;
    assert_eq!(case.row_count(&case.tree, OWNER).await, 0);
    assert_eq!(case.simulator.requests(), []);
}
