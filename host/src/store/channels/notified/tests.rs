use std::sync::Arc;

use super::*;
use crate::clock::Clock;
use crate::store::Dialect;
use crate::store::channels::{self, Made, NewChannel};
use crate::store::fixture::{self, Opened};
use crate::store::leases::{self, Claimant, Lease};

const NOW: Micros = 1_000;

/// An owner that is held, with a stream that rests and a channel that wakes it.
async fn held(stream: &StreamId) -> (Opened, Lease) {
    let store = fixture::open(Dialect::Postgres, Clock::simulated(NOW)).await;
    fixture::root(&store, "svi_1").await;
    let owner = "insert into owners (organization_id, root_id, external_owner_id, state, due_at)
                 values (1, 'svi_1', 'o', 'linked', 0)";
    fixture::run(&store, owner.to_owned()).await;
    let by = Claimant { host: "host".into(), ttl: 1_000_000, organization_leases_max: 1 };
    let control = store.control();
    let lease = leases::claim(control, &by, 1, NOW).await.unwrap().unwrap();
    let StreamId { service, kind, key } = stream;
    let row = format!(
        "insert into streams (owner_id, service, kind, key, due_at, page_limit)
         values ({}, '{service}', '{kind}', '{key}', 1000000000, 1)",
        lease.owner_id
    );
    fixture::run(&store, row).await;
    let topic = Topic { push: "p".into(), key: key.clone() };
    let channel = NewChannel {
        id: "c".into(),
        generation: 1,
        grant_id: 0,
        topic: topic.clone(),
        token: Zeroizing::new("t".into()),
        address: String::new(),
        expires_at: 1_000_000_000,
    };
    channels::begin(control, &store.keyring, &lease, channel, NOW).await.unwrap();
    let made = Made {
        id: "c".into(),
        topic,
        vendor_id: Some("v".into()),
        expires_at: 1_000_000_000,
        renew_at: 1_000_000_000,
        wakes: Vec::new(),
    };
    assert!(channels::activate(control, &lease, made, NOW).await.unwrap());
    (store, lease)
}

/// It is taken in while the owner is given back. Its holder takes the owner's row before a channel's: if the
/// notification did otherwise, the two would wait for each other.
#[tokio::test]
async fn one_that_comes_while_an_owner_is_given_back_makes_it_due() {
    let stream = StreamId { service: "s".into(), kind: "k".into(), key: "key".into() };
    let (store, lease) = held(&stream).await;
    let (store, owner_id) = (Arc::new(store), lease.owner_id);
    let held = "update channels set attempts = 0 where id = 'c'";
    let channel_is_held = fixture::begin(store.control(), held).await;
    let known = store.known_channel("svi_1", "c").await.unwrap().unwrap();
    let notified = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.notified(&known, None, vec![stream]).await }
    });
    while fixture::waiting(&store).await < 1 {}
    let given_back = tokio::spawn({
        let store = Arc::clone(&store);
        async move { leases::release(store.control(), &lease).await }
    });
    // Or it has not: then it is too late for what the notification made due.
    while !given_back.is_finished() && fixture::waiting(&store).await < 2 {}
    channel_is_held.commit("").await;
    assert_eq!(notified.await.unwrap().unwrap(), Some(owner_id));
    given_back.await.unwrap().unwrap();
    let due = format!("select due_at from owners where id = {owner_id}");
    let due: Option<Micros> = query_scalar(due).fetch_one(store.control()).await.unwrap();
    assert_eq!(due, Some(0));
}
