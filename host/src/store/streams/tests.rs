use super::*;
use crate::clock::Clock;
use crate::store::fixture::{self, on_both};
use crate::store::leases::{self, Claimant};

on_both! { a_size_that_was_set_meanwhile_stands }

async fn a_size_that_was_set_meanwhile_stands(dialect: Dialect) {
    let store = fixture::open(dialect, Clock::simulated(0)).await;
    fixture::root(&store, "svi_1").await;
    let filled = "
        insert into owners (organization_id, root_id, external_owner_id, due_at, state)
          values (1, 'svi_1', 'ana', 0, 'linked');
        insert into streams (owner_id, service, kind, key, due_at, page_limit)
          values (1, 's', 'k', 'a', 0, 100), (1, 's', 'k', 'b', 0, 100)";
    fixture::run(&store, filled.to_owned()).await;
    let control = store.control();
    let by = Claimant { host: "host".into(), ttl: 1_000, organization_leases_max: 1 };
    let lease = leases::claim(control, &by, 1, 0).await.unwrap().unwrap();
    take(control, &lease, vec![1]).await.unwrap();
    let sizes = async || {
        let limit = async |stream| page_limit(control, stream).await.unwrap();
        (limit(1).await, limit(2).await)
    };
    let resized = async |from, to| resize(control, &lease, 1, from, to).await.unwrap();
    resized(100, 50).await;
    assert_eq!(sizes().await, (Some(50), Some(100)), "this stream's alone");
    // It is to be read in full.
    fixture::run(&store, "update streams set page_limit = 100 where id = 1".to_owned()).await;
    resized(50, 25).await;
    assert_eq!(sizes().await, (Some(100), Some(100)));
    put_back(control, &lease, 1, Ended::default()).await.unwrap();
    assert_eq!(sizes().await, (Some(100), Some(100)));
    assert_eq!(page_limit(control, 3).await.unwrap(), None);
    fixture::run(&store, "update owners set fence = fence + 1".to_owned()).await;
    let late = resize(control, &lease, 1, 100, 50).await;
    assert!(matches!(late, Err(Error::Superseded(_))), "{late:?}");
}
