//! Channels of owners that are unlinked.

use simulator::{Fault, Then, When};

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

/// The vendor goes on telling through channels that it has stopped. Nobody has their secrets any more.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_stopped_channel_tells_after_an_unlink_is_answered() {
    let case = Case::timed().await.linked().await;
    case.rules(|rules| rules.late_s = DAY_S);
    let old = case.channel(ANA).id;
    case.host.unlink(&case.tree, OWNER).await;
    case.watched(&[]).await;
    case.until("no secret is left", async || case.secrets().await == 0).await;
    case.rest().await;
    case.simulator.clear_requests();
    case.simulator.clear_pushes();

    case.add(ANA, "late");
    let pushes = case.simulator.await_pushes(1).await;
    let told: Vec<_> = pushes.iter().map(|push| (&push.channel, &push.answers[..])).collect();
    assert_eq!(told, [(&old, &[Some(202)][..])]);
    case.rest().await;
    let requests = case.simulator.requests();
    assert!(requests.is_empty(), "nothing can be done about it: {requests:?}");
    assert!(case.row_counts(&case.tree, OWNER).await.values().all(|rows| *rows == 0));

    // With a new link, too, it is no channel of ours any more; the new one tells as well.
    case.host.link(&case.tree, OWNER, ANA).await;
    case.watched(&[LIST, ANA]).await;
    case.rest().await;
    case.simulator.clear_requests();
    case.simulator.clear_pushes();
    case.add(ANA, "later");
    let pushes = case.simulator.await_pushes(2).await;
    let answered = pushes.iter().filter(|push| push.answers == [Some(202)]);
    assert_eq!(answered.count(), 2, "{pushes:?}");
    assert!(pushes.iter().any(|push| push.channel == old), "{pushes:?}");
    case.arrives(ANA, "later").await;
    case.rest().await;
    assert!(case.asked("/stop").is_empty(), "only its own grant could stop it");
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

const BOB: &str = "bob@example.com";
const OTHER: &str = "customer-2";

/// The vendor fails as told for an hour, in which Ana's owner is unlinked and Bob's is linked.
async fn an_hour_of_failure(outage: When, bob_is_served: bool) {
    let case = Case::timed().await.linked().await;
    let unavailable = Then::Answer { status: 503, body: String::new() };
    let fault = case.simulator.add_fault(Fault::when(outage, unavailable));
    let failed = || {
        let faults = case.simulator.faults().into_iter();
        faults.filter(|armed| armed.id == fault).map(|armed| armed.hit).sum::<u64>()
    };
    case.host.unlink(&case.tree, OWNER).await;
    case.simulator.model().create_user(BOB);
    case.add(BOB, "bobs");
    for minute in 0..60 {
        if minute == 20 {
            case.host.link(&case.tree, OTHER, BOB).await;
        }
        let before = failed();
        case.advance(60);
        case.nothing_is_due().await;
        assert!(failed() > before, "minute {minute}: nothing was tried");
    }
    assert!(case.row_counts(&case.tree, OWNER).await.values().all(|rows| *rows == 0));
    assert_eq!(case.watches().iter().filter(|name| *name == ANA).count(), 1, "not stopped yet");
    assert!(case.secrets().await > 0, "they are kept to stop the channels with");
    if bob_is_served {
        assert!(case.watches().contains(&BOB.to_owned()), "{:?}", case.watches());
        case.arrives(BOB, "bobs").await;
    }
    case.simulator.clear_faults(Some(fault));
    case.advance(60);
    case.watched(&[LIST, BOB]).await;
    case.arrives(BOB, "bobs").await;
    case.add(BOB, "later");
    case.arrives(BOB, "later").await;
    let anas = format!(
        "select (select count(*) from channels c join owners o on o.id = c.owner_id
                 where o.external_owner_id = '{OWNER}' and c.state <> 'gone')
              + (select count(*) from owner_secrets s join owners o on o.id = s.owner_id
                 where o.external_owner_id = '{OWNER}' and s.sealed is not null)"
    );
    case.until("nothing of Ana's is left", async || case.number(&anas).await == 0).await;
    case.host.unlink(&case.tree, OTHER).await;
    case.watched(&[]).await;
    case.until("no secret is left", async || case.secrets().await == 0).await;
    assert_eq!(case.number("select count(*) from channels where state <> 'gone'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_in_which_the_vendor_fails_for_the_unlinked_user_alone() {
    an_hour_of_failure(When { user: Some(ANA.to_owned()), ..When::default() }, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_in_which_the_vendor_fails_for_everybody() {
    an_hour_of_failure(When::default(), false).await;
}

#[tokio::test]
async fn a_closed_organization_leaves_no_channel_behind() {
    let case = Case::unlinked().await.linked().await;
    case.watched(&[LIST, ANA]).await;
    let closed = case.command(&["orgs", "close", "--confirm", "default"]).await;
    assert!(closed.status.success(), "{closed:?}");
    // Each was stopped by then, not only forgotten.
    assert_eq!(case.watches(), [] as [String; 0]);
    for table in ["channels", "owner_secrets", "owners", "integrations", "organizations"] {
        assert_eq!(case.number(&format!("select count(*) from {table}")).await, 0, "{table}");
    }
}
