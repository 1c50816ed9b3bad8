//! Channels of owners that are unlinked.

use simulator::{Fault, Then};

use crate::setup::{ANA, Case, DAY_S, LIST, OWNER, stops};

fn unavailable() -> Fault {
    Fault::when(stops(), Then::Answer { status: 503, body: String::new() })
}

#[tokio::test]
async fn channels_are_stopped_with_the_old_secrets_and_a_link_meanwhile_is_untouched() {
    let case = Case::unlinked().await.linked().await;
    let old = case.channel(ANA);
    let fault = case.simulator.add_fault(unavailable());
    case.host.unlink(&case.tree, OWNER).await;
    case.simulator.await_request(|seen| seen.path.ends_with("/stop")).await;
    assert!(case.row_counts(&case.tree, OWNER).await.values().all(|rows| *rows == 0));
    assert!(case.secrets().await > 0, "they are kept to stop the channels with");
    case.host.link(&case.tree, OWNER, ANA).await;
    case.arrives(ANA, "one").await;
    case.until("the new link is watched", async || {
        case.watches() == [LIST, LIST, ANA, ANA]
            && case.number("select count(*) from channels where state = 'active'").await == 2
    })
    .await;
    // One of the old generation is answered, and makes nothing due.
    let token = old.token.as_deref();
    assert_eq!(case.notify(&old.id, token, &old.resource_id).await, 202);
    assert_eq!(case.notify(&old.id, Some("wrong"), &old.resource_id).await, 401);
    case.simulator.clear_faults(Some(fault));
    case.watched(&[LIST, ANA]).await;
    assert_ne!(case.channel(ANA).id, old.id);
    case.add(ANA, "after");
    case.arrives(ANA, "after").await;
    // What is left is the new grant's.
    let grants = "select count(distinct grant_id) from owner_secrets where sealed is not null";
    case.until("the old grant is forgotten", async || case.number(grants).await == 1).await;
    case.host.unlink(&case.tree, OWNER).await;
    case.watched(&[]).await;
    case.until("no secret is left", async || case.secrets().await == 0).await;
    // Known until it would have expired.
    assert_eq!(case.notify(&old.id, token, &old.resource_id).await, 202);
    assert_eq!(case.notify(&old.id, Some("wrong"), &old.resource_id).await, 401);
    assert!(case.row_counts(&case.tree, OWNER).await.values().all(|rows| *rows == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_kept_for_a_day_at_most() {
    let case = Case::timed().await.linked().await;
    case.simulator.add_fault(unavailable());
    case.host.unlink(&case.tree, OWNER).await;
    case.simulator.await_request(|seen| seen.path.ends_with("/stop")).await;
    case.until("the host rests", async || {
        case.number("select count(*) from owners where lease_host is not null").await == 0
    })
    .await;
    case.advance(DAY_S - 3_600);
    assert!(case.secrets().await > 0);
    case.advance(3_700);
    case.until("no secret is left", async || case.secrets().await == 0).await;
    let left = "select count(*) from channels where state <> 'gone'";
    assert_eq!(case.number(left).await, 0);
    case.advance(7 * DAY_S);
    case.until("nothing is left", async || case.number("select count(*) from channels").await == 0)
        .await;
}
