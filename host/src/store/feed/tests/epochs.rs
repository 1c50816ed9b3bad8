//! Another epoch: the numbers before it mean nothing any more.

use super::*;
use crate::store::leases::Lease;

on_both! { another_epoch_begins_anew, an_epoch_begins_once_for_all_owners }

async fn another_epoch_begins_anew(dialect: Dialect) {
    let fixture = Fixture::new(dialect).await;
    fixture.commit("a", vec![put(&["x"], "red")]).await;
    let bookmark = fixture.bookmark().await;
    assert!(fixture.read(&bookmark, MANY).await.copy.is_none());
    new_epoch(&fixture.database, "later".into()).await.unwrap();
    assert!(fixture.read(&bookmark, MANY).await.copy.is_some());
    // Ahead of the feed: it was put back to an older copy.
    assert!(fixture.read(&Bookmark::behind("later", 2), MANY).await.copy.is_some());
    assert!(fixture.read(&Bookmark::behind("later", 1), MANY).await.copy.is_none());
}

async fn an_epoch_begins_once_for_all_owners(dialect: Dialect) {
    let fixture = Fixture::new(dialect).await;
    let organization_id = fixture.store.organization("default").await.unwrap().id;
    let found = async |relayed_epoch: &str, fresh: &str| {
        let lease = Lease {
            owner_id: 1,
            organization_id,
            root_id: "svi_1".into(),
            external_owner_id: "a".into(),
            fence: 1,
            relayed_no: 1,
            relayed_epoch: Some(relayed_epoch.into()),
            unreleased: true,
            config_epoch: 1,
            buckets: None,
        };
        let control = fixture.store.control();
        found_put_back(control, &fixture.database, &lease, fresh.into()).await.unwrap();
        epoch(&fixture).await
    };
    let first = epoch(&fixture).await;
    assert_eq!(found(&first, "second").await, "second");
    assert_eq!(found(&first, "not begun").await, "second", "another owner of the same database");
    // The same copy is put back once more: some owners had been told of the first time.
    new_epoch(&fixture.database, first.clone()).await.unwrap();
    assert_eq!(found("second", "third").await, "third");
    assert_eq!(found(&first, "not begun").await, "third");
    // A younger copy, of the third epoch.
    assert_eq!(found("third", "fourth").await, "fourth");
    assert_eq!(found("third", "not begun").await, "fourth");
}
