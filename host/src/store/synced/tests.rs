use super::*;
use crate::clock::Clock;
use crate::store::feed::Bookmark;
use crate::store::fixture::{self, Opened, on_both};
use crate::store::leases::{self, Claimant};
use crate::store::subscriptions::NewSubscription;
use crate::store::{Dialect, targets};

on_both! { each_link_is_told_of_once, only_who_asked_is_told }

const NOW: Micros = 1_000_000_000;

/// A linked owner with two streams, and who is told of what in its tree.
async fn filled(dialect: Dialect) -> (Opened, Lease) {
    let store = fixture::open(dialect, Clock::simulated(NOW)).await;
    fixture::root(&store, "svi_1").await;
    let owner = "insert into owners (organization_id, root_id, external_owner_id, due_at)
                 values (1, 'svi_1', 'ana', 0)";
    fixture::run(&store, owner.to_owned()).await;
    let by = Claimant { host: "host".into(), ttl: 30_000_000, organization_leases_max: 9 };
    let lease = leases::claim(store.control(), &by, 1, NOW).await.unwrap().unwrap();
    (store, lease)
}

async fn subscribe(store: &Opened, tells_rows: bool, tells_synced: bool) -> String {
    let integration = store.integration("svi_1").await.unwrap().unwrap();
    let new = NewSubscription {
        organization: integration.organization_id,
        integration_id: Some(integration.id.clone()),
        url: "https://a.example/".to_owned().into(),
        shown_url: "https://a.example/".into(),
        secret: "hush".to_owned().into(),
        tells_rows,
        tells_synced,
        deletions: false,
    };
    let behind = Bookmark::behind("e", 1);
    store.create_subscription(new, behind).await.unwrap().id + ".svi_1"
}

async fn link(store: &Opened) {
    let write = store.control().write(|connection| {
        Box::pin(async move {
            begin(connection, 1).await?;
            query("update owners set state = 'linked'").execute(connection).await?;
            Ok(())
        })
    });
    write.await.unwrap();
}

async fn run(store: &Opened, sql: &str) {
    fixture::run(store, sql.to_owned()).await;
}

async fn told_of(store: &Opened, target: &str) -> Vec<SyncedOwner> {
    waiting(store.control(), target, 10).await.unwrap()
}

const STREAMS: &str = "
insert into streams (owner_id, service, kind, key, page_limit)
values (1, 's', 'k', 'a', 10), (1, 's', 'k', 'b', 10)";

async fn each_link_is_told_of_once(dialect: Dialect) {
    let (store, lease) = filled(dialect).await;
    let control = store.control();
    let target = subscribe(&store, true, true).await;
    assert!(!is_complete(control, 1).await.unwrap(), "it isn't linked");
    link(&store).await;
    run(&store, STREAMS).await;
    assert!(!is_complete(control, 1).await.unwrap());
    run(&store, "update streams set unsynced = false where key = 'a'").await;
    assert!(!settle(control, &lease, NOW).await.unwrap(), "one is left");
    assert_eq!(told_of(&store, &target).await, []);
    run(&store, "update streams set unsynced = false").await;
    assert!(is_complete(control, 1).await.unwrap());
    let next_due = targets::next_due(control).await.unwrap();
    assert_eq!(next_due, Some(NOW + 60_000_000), "nothing was to be told");
    assert!(settle(control, &lease, NOW).await.unwrap());
    let owner = SyncedOwner { owner_id: 1, external_owner_id: "ana".into(), synced_at: NOW };
    assert_eq!(told_of(&store, &target).await, std::slice::from_ref(&owner));
    assert_eq!(targets::next_due(control).await.unwrap(), Some(NOW));
    assert!(!settle(control, &lease, NOW + 1).await.unwrap(), "it is told already");
    // A new token of who is linked is no link.
    link(&store).await;
    assert!(!settle(control, &lease, NOW + 1).await.unwrap());
    // After a dead grant all streams have to run again; what wasn't told then is told once.
    run(&store, "update owners set state = 'grant_dead'").await;
    link(&store).await;
    assert!(!is_complete(control, 1).await.unwrap());
    run(&store, "update streams set unsynced = false").await;
    assert!(settle(control, &lease, NOW + 2).await.unwrap());
    told(control, &target, &owner).await.unwrap();
    let again = SyncedOwner { synced_at: NOW + 2, ..owner };
    assert_eq!(told_of(&store, &target).await, std::slice::from_ref(&again), "another one");
    told(control, &target, &again).await.unwrap();
    assert_eq!(told_of(&store, &target).await, []);
    let stale = Lease { fence: lease.fence - 1, ..lease };
    let refused = settle(control, &stale, NOW).await;
    assert!(matches!(refused, Err(Error::Superseded(_))), "{refused:?}");
}

async fn only_who_asked_is_told(dialect: Dialect) {
    let (store, lease) = filled(dialect).await;
    let control = store.control();
    let (rows, synced) =
        (subscribe(&store, true, false).await, subscribe(&store, false, true).await);
    link(&store).await;
    assert!(settle(control, &lease, NOW).await.unwrap(), "no stream is none that is left");
    assert_eq!(told_of(&store, &rows).await, []);
    assert_eq!(told_of(&store, &synced).await.len(), 1);
    // Rows mark who is told of rows.
    let roots = std::collections::BTreeSet::from(["svi_1".to_owned()]);
    run(&store, "update targets set due_at = 2000000000").await;
    targets::mark_due(control, &roots, NOW).await.unwrap();
    let due: Vec<String> = query_scalar("select id from targets where due_at = 1000000000")
        .fetch_all(control)
        .await
        .unwrap();
    assert_eq!(due, [rows]);
    // What waits goes with the subscription.
    store.delete_subscription(synced.split('.').next().unwrap()).await.unwrap();
    let left: i64 =
        query_scalar("select count(*) from synced_owners").fetch_one(control).await.unwrap();
    assert_eq!(left, 0);
}
