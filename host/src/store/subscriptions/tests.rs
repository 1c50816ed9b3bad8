use super::*;
use crate::clock::Clock;
use crate::store::fixture::{self, Opened, on_both};
use crate::store::targets::{Kind, Target};
use crate::store::{Dialect, query_scalar, targets};

on_both! {
    secrets_are_sealed,
    all_of_an_organization_means_what_comes_too,
    they_are_not_without_number,
}

const NOW: Micros = 1_000_000_000;

fn new(integration_id: Option<&str>) -> NewSubscription {
    NewSubscription {
        organization: 1,
        integration_id: integration_id.map(str::to_owned),
        url: "https://a.example/?key=hush".to_owned().into(),
        shown_url: "https://a.example/?***".into(),
        secret: "hush-0451".to_owned().into(),
        tells_rows: true,
        tells_synced: false,
        deletions: true,
    }
}

async fn targets_of(store: &Opened, subscription: &str) -> Vec<Target> {
    let mut all = store.targets(1).await.unwrap();
    all.retain(|target| target.subscription_id.as_deref() == Some(subscription));
    all
}

async fn secrets_are_sealed(dialect: Dialect) {
    let store = fixture::open(dialect, Clock::simulated(NOW)).await;
    fixture::root(&store, "svi_1").await;
    let bookmark = Bookmark::behind("e", 7);
    let made = store.create_subscription(new(Some("svi_1")), bookmark.clone()).await.unwrap();
    assert!(!format!("{made:?}").contains("hush"));
    let (url, secret) = store.subscription_secrets(&made.id).await.unwrap();
    assert_eq!((url.as_str(), secret.as_str()), ("https://a.example/?key=hush", "hush-0451"));
    let sealed: Vec<u8> =
        query_scalar("select secret from subscriptions").fetch_one(store.control()).await.unwrap();
    assert!(!sealed.windows(4).any(|part| part == b"hush"));
    // Its target has them from it.
    let [target] = targets_of(&store, &made.id).await.try_into().unwrap();
    assert_eq!(
        (target.kind, target.tells_rows, target.deletions),
        (Kind::Notification, true, true)
    );
    assert_eq!(target.bookmark().unwrap(), bookmark);
    let claimed = store.claimed_target(&target.id).await.unwrap().unwrap();
    let secrets = store.target_secrets(&target.id).await.unwrap();
    assert_eq!((claimed, &secrets.signing_secret, &secrets.url), (target.clone(), &secret, &url));
    assert_eq!(store.subscription(2, &made.id).await.unwrap(), None, "another organization's");
    // Paused, and on again.
    store.pause_target(&target.id, "it failed").await.unwrap();
    assert_eq!(targets::next_due(store.control()).await.unwrap(), None);
    store.resume_subscription(&made.id).await.unwrap();
    assert_eq!(targets::next_due(store.control()).await.unwrap(), Some(NOW));
    store.delete_subscription(&made.id).await.unwrap();
    assert_eq!(targets_of(&store, &made.id).await, []);
    assert_eq!(store.subscriptions(1).await.unwrap(), []);
}

async fn all_of_an_organization_means_what_comes_too(dialect: Dialect) {
    let store = fixture::open(dialect, Clock::simulated(NOW)).await;
    let organization = store.organization("default").await.unwrap().id;
    assert_eq!(organization, 1);
    let all = store.create_subscription(new(None), Bookmark::Start).await.unwrap();
    assert_eq!(targets_of(&store, &all.id).await, []);
    let integration = fixture::integration(organization, "s", None);
    let integration = store.create_integration(integration).await.unwrap();
    let [target] = targets_of(&store, &all.id).await.try_into().unwrap();
    assert_eq!(target.integration_id, integration.id);
    assert_eq!(target.bookmark().unwrap(), Bookmark::Start);
    let behind = Bookmark::behind("e", 7);
    let one = store.create_subscription(new(Some(&integration.id)), behind.clone()).await.unwrap();
    let of_one = targets_of(&store, &one.id).await;
    assert_eq!(of_one.len(), 1);
    let later = store.create_subscription(new(None), behind.clone()).await.unwrap();
    let [target] = targets_of(&store, &later.id).await.try_into().unwrap();
    assert_eq!(target.integration_id, integration.id, "what there is already");
    assert_eq!(target.bookmark().unwrap(), behind);
    store.delete_subscription(&later.id).await.unwrap();
    assert_eq!(store.subscriptions(1).await.unwrap(), [all.clone(), one.clone()]);
    // The one goes with its integration, the other stays.
    store.end_integration(&integration.id).await.unwrap();
    assert_eq!(store.subscriptions(1).await.unwrap(), [all]);
    assert_eq!(store.targets(1).await.unwrap(), []);
}

async fn they_are_not_without_number(dialect: Dialect) {
    let store = fixture::open(dialect, Clock::simulated(NOW)).await;
    fixture::root(&store, "svi_1").await;
    for _ in 0..SUBSCRIPTIONS_MAX {
        store.create_subscription(new(None), Bookmark::Start).await.unwrap();
    }
    let refused = store.create_subscription(new(None), Bookmark::Start).await.unwrap_err();
    assert!(refused.to_string().contains("may have 100 subscriptions"), "{refused}");
}
