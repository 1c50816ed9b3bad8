//! UNLINK while a page is in flight.

use simulator::{Moment, Then, When};

use crate::setup::{ANA, Case, OWNER, expanded_feed, first, later, single};

/// Unlinks while a request is held: rows go while it is, and none comes after it is let go.
async fn unlink_while_held(case: &Case) {
    case.unlink(&case.tree, OWNER).await;
    case.until("the rows are gone", async || case.row_count(&case.tree, OWNER).await == 0).await;
    case.simulator.clear_faults(None);
    case.settle().await;
    assert_eq!(case.row_count(&case.tree, OWNER).await, 0);
    case.matches().await;
}

#[tokio::test]
async fn during_a_later_page() {
    for moment in [Moment::Before, Moment::After] {
        let case = Case::unlinked().await;
        for n in 0..30 {
            case.add(single(&format!("many{n}"), 1 + n % 28));
        }
        case.fault(When::path("*/events"), Then::ShortPage(10));
        case.fault(later(expanded_feed()).times(1), Then::Hold(moment));
        case.link(&case.tree, OWNER, ANA).await;
        case.simulator.await_held(1).await;
        case.until("the first page is there", async || !case.expanded().await.is_empty()).await;
        unlink_while_held(&case).await;
    }
}

#[tokio::test]
async fn during_the_very_first_requests() {
    let moments =
        [When::path("/token"), first(When::path("*/calendarList")), first(expanded_feed())];
    for (n, when) in moments.into_iter().enumerate() {
        let case = Case::unlinked().await;
        case.fault(when.times(1), Then::Hold(Moment::After));
        case.link(&case.tree, OWNER, ANA).await;
        case.simulator.await_held(1).await;
        unlink_while_held(&case).await;
        assert_eq!(case.owner(OWNER).await["state"], "unlinked", "case {n}");
    }
}

#[tokio::test]
async fn linked_again_at_once() {
    let case = Case::unlinked().await;
    case.fault(first(expanded_feed()).times(1), Then::Hold(Moment::After));
    case.link(&case.tree, OWNER, ANA).await;
    case.simulator.await_held(1).await;
    case.unlink(&case.tree, OWNER).await;
    case.link(&case.tree, OWNER, ANA).await;
    case.until("the rows are there", async || case.row_count(&case.tree, OWNER).await == 4).await;
    case.simulator.clear_faults(None);
    case.settle().await;
    case.matches().await;
}

#[tokio::test]
async fn a_change_during_a_run_is_not_lost() {
    let case = Case::linked().await;
    case.fault(first(expanded_feed()).times(1), Then::Hold(Moment::After));
    case.refresh(&case.tree, OWNER, ANA).await;
    case.simulator.await_held(1).await;
    // Too late for the answer that is held; the second post makes it due again.
    case.add(single("two", 4));
    case.refresh(&case.tree, OWNER, ANA).await;
    case.simulator.clear_faults(None);
    case.settle().await;
    case.matches().await;
}
