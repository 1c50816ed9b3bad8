//! Series that end without a word about most of their instances: the expanded feed reports those
//! within 180 days of now.

use serde_json::json;
use tests::TestHost;

use crate::setup::{ANA, Case, OWNER, live, series, single};

/// Ana's calendar with an endless daily series `abc` (730 instances) beside `one`, linked.
async fn with_series() -> Case {
    let case = Case::unlinked().await;
    case.add(series("abc", 3, "FREQ=DAILY"));
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    case.matches().await;
    assert_eq!(live(&case.expanded().await).len(), 731);
    case
}

#[tokio::test]
async fn a_deleted_series_leaves_no_live_instance() {
    let case = with_series().await;
    case.simulator.model().delete_series(ANA, "abc").unwrap();
    case.catch_up().await;
    case.matches().await;
    assert_eq!(live(&case.expanded().await), ["one"]);
    assert_eq!(case.expanded().await.len(), 731, "rows stay, cancelled");
    assert_eq!(live(&case.sources().await), ["one"]);
}

#[tokio::test]
async fn a_shortened_series_leaves_no_live_instance_beyond_its_end() {
    let case = with_series().await;
    case.simulator.model().trim_series(ANA, "abc", "20261105T100000Z").unwrap();
    case.catch_up().await;
    case.matches().await;
    let left = ["abc_20261103T100000Z", "abc_20261104T100000Z", "abc_20261105T100000Z", "one"];
    assert_eq!(live(&case.expanded().await), left);
}

#[tokio::test]
async fn also_without_the_source_integration() {
    for shortened in [false, true] {
        let host = TestHost::start().await;
        host.simulator.model().create_user(ANA);
        for event in [single("one", 3), series("abc", 3, "FREQ=DAILY")] {
            host.simulator.model().add_event(ANA, &event).unwrap();
        }
        let tree = host.integrations().await;
        host.link(&tree, OWNER, ANA).await;
        host.settle().await;
        host.assert_matches_model(&tree).await;
        match shortened {
            false => host.simulator.model().delete_series(ANA, "abc").unwrap(),
            true => host.simulator.model().trim_series(ANA, "abc", "20261103T100000Z").unwrap(),
        }
        host.refresh(&tree, OWNER, ANA).await;
        host.settle().await;
        host.assert_matches_model(&tree).await;
        let statuses = host.statuses(tree.events(), ANA).await;
        let left: &[&str] = if shortened { &["abc_20261103T100000Z", "one"] } else { &["one"] };
        assert_eq!(live(&statuses), left);
    }
}

#[tokio::test]
async fn a_series_never_touches_its_name_sake() {
    let case = with_series().await;
    let changes = json!({ "summary": "from here on" });
    let at = "abc_20261110T100000Z";
    let following = case.simulator.model().split_series(ANA, "abc", at, &changes).unwrap();
    assert_eq!(following, "abc_R20261110T100000");
    case.catch_up().await;
    case.matches().await;
    let all = case.expanded().await;
    let of_following = |id: &&&str| id.starts_with("abc_R");
    assert_eq!(live(&all).iter().filter(of_following).count(), 730);
    assert_eq!(live(&all).len(), 7 + 730 + 1);
    // The first part goes, the second stays, in both tables.
    case.simulator.model().delete_series(ANA, "abc").unwrap();
    case.catch_up().await;
    case.matches().await;
    assert_eq!(live(&case.expanded().await).len(), 730 + 1);
    assert_eq!(live(&case.sources().await), [following.as_str(), "one"]);
}

#[tokio::test]
async fn a_series_moved_to_another_time_has_only_its_new_instances() {
    let case = with_series().await;
    let moved = json!({
        "start": { "dateTime": "2026-11-03T15:00:00Z" },
        "end": { "dateTime": "2026-11-03T16:00:00Z" },
    });
    case.simulator.model().patch_event(ANA, "abc", &moved).unwrap();
    case.catch_up().await;
    case.matches().await;
    assert_eq!(live(&case.expanded().await).len(), 731);
}
