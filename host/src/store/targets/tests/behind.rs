//! Since when a target lacks something.

use super::*;

on_both! {
    what_a_target_lacks_is_known_by_time,
}

async fn behind_since(store: &Opened) -> Option<Micros> {
    let since = query_scalar("select behind_since from targets");
    since.fetch_one(store.control().readers()).await.unwrap()
}

async fn what_a_target_lacks_is_known_by_time(dialect: Dialect) {
    let store = filled(dialect).await;
    let (control, roots) = (store.control(), BTreeSet::from(["svi_1".to_owned()]));
    let made = target(&store).await;
    assert_eq!(behind_since(&store).await, Some(NOW), "all of it");
    let held = claim_at(&store, NOW).await.unwrap();
    release(control, &held, NOW + 60_000_000, Some(NOW)).await.unwrap();
    assert_eq!(behind_since(&store).await, None);
    for later in [1, 2] {
        mark_due(control, &roots, NOW + later).await.unwrap();
        assert_eq!(behind_since(&store).await, Some(NOW + 1), "since the first one");
    }
    // What comes while it is held may not be among what is delivered.
    let held = claim_at(&store, NOW + 3).await.unwrap();
    mark_due(control, &roots, NOW + 4).await.unwrap();
    release(control, &held, NOW + 60_000_000, Some(NOW + 5)).await.unwrap();
    assert_eq!(behind_since(&store).await, Some(NOW + 4));
    // Neither a failure nor who gives it back early has delivered all.
    let failed = failed_until(NOW + 100);
    let held = claim_at(&store, NOW + 6).await.unwrap();
    settle_failure(control, &held, failed.clone(), NOW + 7).await.unwrap();
    let held = claim_at(&store, NOW + 100).await.unwrap();
    release(control, &held, NOW + 101, None).await.unwrap();
    assert_eq!(behind_since(&store).await, Some(NOW + 4));
    let held = claim_at(&store, NOW + 101).await.unwrap();
    release(control, &held, NOW + 200, Some(NOW + 101)).await.unwrap();
    assert_eq!(behind_since(&store).await, None);
    // Due by its period, it failed: there was something to deliver.
    let held = claim_at(&store, NOW + 200).await.unwrap();
    settle_failure(control, &held, failed, NOW + 201).await.unwrap();
    assert_eq!(behind_since(&store).await, Some(NOW + 201));
    let held = claim_at(&store, NOW + 300).await.unwrap();
    release(control, &held, NOW + 400, Some(NOW + 300)).await.unwrap();
    store.rewind_target(&made.id, &Bookmark::Start).await.unwrap();
    assert_eq!(behind_since(&store).await, Some(NOW), "by the clock, which stands still here");
    let held = claim_at(&store, NOW + 400).await.unwrap();
    release(control, &held, NOW + 500, Some(NOW + 400)).await.unwrap();
    assert_eq!(behind_since(&store).await, None);
    store.update_target(&made.id, 60, 200, true).await.unwrap();
    assert_eq!(behind_since(&store).await, Some(NOW), "a copy is to come");
}
