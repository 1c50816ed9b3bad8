//! Series that end without a word about most of their instances: the expanded feed reports those
//! within 180 days of now.

use std::sync::Arc;
use std::time::Duration;

use rowgate::clock::Clock;
use serde_json::json;
use simulator::{Fault, Options, Simulator, Then, When};
use tests::{Settings, TestHost};

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

/// The source feed may say of a deleted series no more than that.
#[tokio::test]
async fn exceptions_go_with_their_series_though_nobody_says_so() {
    let case = with_series().await;
    let exception = "abc_20261105T100000Z";
    {
        let mut model = case.simulator.model();
        model.quirks.cancel_exceptions_with_series = false;
        model.patch_event(ANA, exception, &json!({ "summary": "an exception" })).unwrap();
    }
    case.catch_up().await;
    case.matches().await;
    assert_eq!(live(&case.sources().await), ["abc", exception, "one"]);
    case.simulator.model().delete_series(ANA, "abc").unwrap();
    case.catch_up().await;
    case.matches().await;
    assert_eq!(case.sources().await[exception], "cancelled");
    assert_eq!(live(&case.sources().await), ["one"]);
}

#[tokio::test]
async fn a_series_that_cannot_be_had_holds_up_nothing_else() {
    let case = with_series().await;
    let refused = case.fault(When::path("*/events/abc"), Then::Error("badRequest".into()));
    case.simulator.model().delete_series(ANA, "abc").unwrap();
    for (n, id) in ["two", "three"].into_iter().enumerate() {
        case.add(single(id, 4));
        case.catch_up().await;
        assert!(live(&case.expanded().await).contains(&id), "{id} waits for the series");
        assert!(case.hits(refused) > n as u64, "it is asked for again");
    }
    let told_as_gone = 731 + 2 - live(&case.expanded().await).len();
    assert!((100..730).contains(&told_as_gone), "{told_as_gone}");
    case.simulator.clear_faults(Some(refused));
    case.catch_up().await;
    case.matches().await;
    assert_eq!(live(&case.expanded().await), ["one", "three", "two"]);
}

/// No instance is near, so no delta of the expanded feed tells of the end. The first series ends
/// before the source feed is asked for the first time, the second between two times.
#[tokio::test(flavor = "multi_thread")]
async fn a_far_series_is_gone_within_a_day_of_its_deletion() {
    let (host, clock) = timed().await;
    let tree = host.integrations().await;
    let look = async || {
        host.refresh(&tree, OWNER, ANA).await;
        host.settle().await;
        live(&host.statuses(tree.events(), ANA).await).len()
    };
    host.link(&tree, OWNER, ANA).await;
    host.settle().await;
    for id in ["far", "farther"] {
        let mut far = series(id, 3, "FREQ=YEARLY;COUNT=3");
        far["start"] = json!({ "dateTime": "2027-08-01T10:00:00Z" });
        far["end"] = json!({ "dateTime": "2027-08-01T11:00:00Z" });
        host.simulator.model().add_event(ANA, &far).unwrap();
        assert_eq!(look().await, 1 + 3, "{id}");
        host.assert_matches_model(&tree).await;
        host.simulator.model().delete_series(ANA, id).unwrap();
        assert_eq!(look().await, 1 + 3, "{id}: a delta is silent about it");
        a_day_passes(&host, &clock);
        assert_eq!(look().await, 1, "{id}");
        host.assert_matches_model(&tree).await;
    }
}

/// What is asked of the source feed once a day is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_feed_that_fails_keeps_no_delta_from_coming() {
    let (host, clock) = timed().await;
    let tree = host.integrations().await;
    host.link(&tree, OWNER, ANA).await;
    host.settle().await;
    let answers = [
        Then::Answer { status: 503, body: String::new() },
        Then::Error("badRequest".into()),
        Then::Answer { status: 410, body: String::new() },
        Then::TruncatedJson,
    ];
    for (n, then) in answers.into_iter().enumerate() {
        let of_source = When { query: Some("*fields=*".into()), ..When::path("*/events") };
        let fault = host.simulator.add_fault(Fault::when(of_source, then));
        a_day_passes(&host, &clock);
        // The first run meets the refusal, the second one comes after it.
        for when in ["with", "after"] {
            let id = format!("{when}{n}");
            host.simulator.model().add_event(ANA, &single(&id, 4)).unwrap();
            host.refresh(&tree, OWNER, ANA).await;
            host.settle().await;
            host.assert_matches_model(&tree).await;
        }
        let armed = host.simulator.faults();
        assert!(armed.iter().any(|armed| armed.id == fault && armed.hit > 0), "{armed:?}");
        host.simulator.clear_faults(Some(fault));
    }
}

/// A host on a clock of its own; Ana's calendar has `one`.
async fn timed() -> (TestHost, Clock) {
    let simulator = Arc::new(Simulator::start(Options::default()).unwrap());
    let clock = Clock::simulated(simulator.model().now_us);
    let settings = Settings::default().simulator(simulator).clock(clock.clone());
    let host = settings.start().await;
    host.simulator.model().create_user(ANA);
    host.simulator.model().add_event(ANA, &single("one", 3)).unwrap();
    (host, clock)
}

fn a_day_passes(host: &TestHost, clock: &Clock) {
    const DAY_S: i64 = 86_400;
    host.simulator.advance(DAY_S);
    clock.advance(Duration::from_secs(DAY_S.unsigned_abs()));
}
