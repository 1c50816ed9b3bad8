use std::sync::Arc;

use super::*;
use crate::clock::Clock;
use crate::store::Store;
use crate::store::fixture::{self, Opened, on_both};

on_both! {
    caps_count_live_leases,
    one_at_its_cap_is_not_ready,
    buckets_travel,
    a_fence_in_the_way_is_lifted_over,
    one_that_rests_is_left_alone,
}

const TTL: Micros = 1_000;
/// Leases of an organization at once.
const CAP: i64 = 2;

/// Five owners in each of two organizations; all are due.
async fn filled(dialect: Dialect) -> Opened {
    let store = fixture::open(dialect, Clock::simulated(0)).await;
    fixture::root(&store, "svi_1").await;
    store.create_organization("other").await.unwrap();
    fixture::run(
        &store,
        "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 5)
         insert into owners (organization_id, root_id, external_owner_id, state, due_at)
         select o.id, 'svi_1', o.key || n, 'linked', 0 from numbers, organizations o"
            .to_owned(),
    )
    .await;
    store
}

fn claimant(host: &str) -> Claimant {
    Claimant { host: host.to_owned(), ttl: TTL, organization_leases_max: CAP }
}

/// How many of the organization's owners the host gets.
async fn claimed(store: &Store, host: &str, organization: &str, now: Micros) -> Vec<Lease> {
    let organization = store.organization(organization).await.unwrap().id;
    let by = claimant(host);
    let mut leases = Vec::new();
    while let Some(lease) = claim(store.control(), &by, organization, now).await.unwrap() {
        leases.push(lease);
    }
    leases
}

async fn caps_count_live_leases(dialect: Dialect) {
    let store = filled(dialect).await;
    let control = store.control();
    // This host is killed: it neither renews nor gives back.
    assert_eq!(claimed(&store, "dies", "default", 0).await.len(), 2);
    assert_eq!(claimed(&store, "lives", "default", TTL - 1).await.len(), 0, "the cap is reached");
    assert_eq!(claimed(&store, "lives", "other", TTL - 1).await.len(), 2, "each has its own");
    let leases = claimed(&store, "lives", "default", TTL).await;
    assert_eq!(leases.len(), 2, "what ran out counts no more");
    assert_eq!(claimed(&store, "comes", "default", TTL).await.len(), 0);
    // What is given back counts no more either; what is renewed does.
    release(control, &leases[0]).await.unwrap();
    let kept = [leases[1].owner_id];
    renew(control, "lives", &kept, 3 * TTL).await.unwrap();
    assert_eq!(claimed(&store, "comes", "default", TTL).await.len(), 1);
    assert_eq!(claimed(&store, "comes", "default", 2 * TTL).await.len(), 1);
    abandon(control, &leases[1], 0).await.unwrap();
    give_back(control, "comes").await.unwrap();
    assert_eq!(claimed(&store, "comes", "default", 2 * TTL).await.len(), 2);
}

/// Three of its owners are due still, and nobody may have one.
async fn one_at_its_cap_is_not_ready(dialect: Dialect) {
    let store = filled(dialect).await;
    let control = store.control();
    let [default, other] = ["default", "other"].map(|key| store.organization(key));
    let (default, other) = (default.await.unwrap().id, other.await.unwrap().id);
    let by = claimant("here");
    let held = claimed(&store, "there", "default", 0).await;
    assert_eq!(ready_organizations(control, &by, 0).await.unwrap(), [other]);
    assert_eq!(next_due(control, &by, 0).await.unwrap(), Some(0), "of the other one");
    fixture::run(&store, format!("delete from owners where organization_id = {other}")).await;
    assert!(ready_organizations(control, &by, 0).await.unwrap().is_empty());
    let renewed = [held[1].owner_id];
    renew(control, "there", &renewed, 5 * TTL).await.unwrap();
    assert_eq!(next_due(control, &by, 0).await.unwrap(), Some(TTL), "when the first runs out");
    // One that was given back, and one that ran out.
    let mut given_back = claimed(&store, "there", "default", TTL).await;
    assert_eq!(next_due(control, &by, TTL).await.unwrap(), Some(2 * TTL));
    release(control, &given_back.remove(0)).await.unwrap();
    assert_eq!(next_due(control, &by, TTL).await.unwrap(), Some(0));
    assert_eq!(ready_organizations(control, &by, TTL).await.unwrap(), [default]);
    claimed(&store, "there", "default", TTL).await;
    assert_eq!(ready_organizations(control, &by, 2 * TTL).await.unwrap(), [default]);
}

/// What a holder tells of an owner's requests reaches the next one.
async fn buckets_travel(dialect: Dialect) {
    let store = filled(dialect).await;
    let mut lease = claimed(&store, "first", "default", 0).await.remove(0);
    assert_eq!((lease.buckets.as_deref(), lease.unreleased), (None, false));
    lease.buckets = Some("[]".to_owned());
    release(store.control(), &lease).await.unwrap();
    // Only an owner with something due is claimed.
    let again = format!("update owners set due_at = -1 where id = {}", lease.owner_id);
    fixture::run(&store, again).await;
    let next = claimed(&store, "next", "default", 0).await;
    let next = next.iter().find(|next| next.owner_id == lease.owner_id).unwrap();
    assert_eq!((next.buckets.as_deref(), next.unreleased), (Some("[]"), false));
    // This one dies.
    let last = claimed(&store, "last", "default", TTL).await;
    let last = last.iter().find(|last| last.owner_id == lease.owner_id).unwrap();
    assert!(last.unreleased, "what came with it is out of date");
}

/// Tables that are newer than the control database hold nobody up (R1).
async fn a_fence_in_the_way_is_lifted_over(dialect: Dialect) {
    let store = filled(dialect).await;
    let mut lease = claimed(&store, "host", "default", 0).await.remove(0);
    let replication = store.replication(lease.organization_id).await.unwrap();
    let newer = "insert into rowgate_owners (owner_id, fence, commit_no) values ($1, 70, 9)";
    replication.execute(query(newer).bind(lease.owner_id)).await.unwrap();
    let planted = plant(store.control(), &replication, &mut lease).await.unwrap();
    assert_eq!((lease.fence, planted.commit_no), (71, 9));
    assert!(lease.unreleased, "what was committed there may not have been told");
    let fence = query_scalar("select fence from owners where id = $1").bind(lease.owner_id);
    let fence: i64 = fence.fetch_one(store.control()).await.unwrap();
    assert_eq!(fence, 71, "the holder's writes still count");
    // A lease that has passed on lifts nothing.
    let mut old = Lease { fence: 1, ..lease };
    let refused = plant(store.control(), &replication, &mut old).await;
    assert!(matches!(refused, Err(Error::Superseded(_))), "{refused:?}");
}

async fn one_that_rests_is_left_alone(dialect: Dialect) {
    let store = filled(dialect).await;
    let control = store.control();
    let rests = "update organizations set rests_until = 500 where key = 'default'";
    fixture::run(&store, rests.to_owned()).await;
    let [default, other] = ["default", "other"].map(|key| store.organization(key));
    let (default, other) = (default.await.unwrap().id, other.await.unwrap().id);
    let by = claimant("host");
    assert_eq!(ready_organizations(control, &by, 499).await.unwrap(), [other]);
    assert_eq!(claimed(&store, "host", "default", 499).await, []);
    assert_eq!(next_due(control, &by, 499).await.unwrap(), Some(0), "of the other one");
    fixture::run(&store, format!("delete from owners where organization_id = {other}")).await;
    assert_eq!(next_due(control, &by, 499).await.unwrap(), Some(500), "when it is awake");
    assert_eq!(ready_organizations(control, &by, 500).await.unwrap(), [default]);
    assert_eq!(claimed(&store, "host", "default", 500).await.len(), 2);
}

/// An item is being accepted, and its owner given back: one waits for the other's row.
#[tokio::test]
async fn what_comes_while_an_owner_is_given_back_makes_it_due() {
    let store = Arc::new(filled(Dialect::Postgres).await);
    let lease = claimed(&store, "host", "default", 0).await.remove(0);
    let owner_id = lease.owner_id;
    let due = format!("update owners set due_at = due_at where id = {owner_id}");
    let accepting = fixture::begin(store.control(), &due).await;
    let given_back = tokio::spawn({
        let store = Arc::clone(&store);
        async move { release(store.control(), &lease).await }
    });
    // Until it waits for the row.
    while fixture::waiting(&store).await == 0 {}
    let item = format!(
        "insert into inbox (owner_id, integration_id, received_at, method, path, query, headers, body)
         values ({owner_id}, 'svi_1', 0, 'POST', '', '', '[]', '')"
    );
    accepting.commit(&item).await;
    given_back.await.unwrap().unwrap();
    let due = format!("select due_at from owners where id = {owner_id}");
    let due: Option<Micros> = query_scalar(due).fetch_one(store.control()).await.unwrap();
    assert_eq!(due, Some(0));
}
