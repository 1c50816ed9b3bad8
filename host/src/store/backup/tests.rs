//! Copies of files while they are written, and what becomes of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::clock::Clock;
use crate::secrets::Keyring;
use crate::store::fixture::{self, Opened};
use crate::store::inbox::NewItem;
use crate::store::{Dialect, Store, feed, query_as, query_scalar};

const HOUR: Micros = 3_600_000_000;
const BEGUN_AT: Micros = 1_000 * HOUR;
/// Weeks later.
const NOW: Micros = 2_000 * HOUR;

async fn filled() -> Opened {
    let store = fixture::open(Dialect::Sqlite, Clock::simulated(BEGUN_AT)).await;
    store.organization("default").await.unwrap();
    fixture::root(&store, "svi_1").await;
    let filled = format!(
        "insert into owners (organization_id, root_id, external_owner_id, lease_host, lease_until,
           relayed_no) values (1, 'svi_1', 'a', 'host', {NOW}, 7), (1, 'svi_1', 'b', null, 0, 0);
         insert into streams (owner_id, service, kind, key, due_at, page_limit)
           values (1, 's', 'k', '1', {NOW} + 1, 1), (1, 's', 'k', '2', 5, 1), (1, 's', 'k', '3', null, 1);
         insert into inbox (owner_id, integration_id, received_at, method, path, query, headers, body,
           done_at)
           values (1, 'svi_1', 0, 'POST', '', '', '[]', '', {BEGUN_AT} - 1),
                  (1, 'svi_1', 0, 'POST', '', '', '[]', '', {BEGUN_AT}),
                  (1, 'svi_1', 0, 'POST', '', '', '[]', '', null);
         insert into targets (id, organization_id, integration_id, root_id, kind, to_place, to_schema,
           to_table, url, shown_url, signing_secret, period_s, page_size, deletions, created_at, number, bookmark, fence, due_at,
           lease_host, lease_until)
           values ('syt_1', 1, 'svi_1', 'svi_1', 'http', '', '', '', '', '', '', 60, 1, true, 0, 1, '\"start\"', 12, {NOW} * 2,
                   'host', {NOW} * 2);
         insert into customers (id, opaque_id, email, created_at) values (1, 'cus_1', 'a@b', 0);
         insert into sessions (digest, customer_id, created_at, expires_at)
           values (x'00', 1, 0, {NOW} * 2);"
    );
    fixture::run(&store, filled).await;
    store.replication(1).await.unwrap();
    store
}

/// Copies both databases to another data directory.
async fn copied(store: &Store) -> (tempfile::TempDir, DataDir) {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = DataDir::new(directory.path());
    data_dir.create().unwrap();
    let from = store.data_dir();
    copy(&from.replication("default"), &data_dir.replication("default")).await.unwrap();
    copy(&from.control(), &data_dir.control()).await.unwrap();
    (directory, data_dir)
}

async fn epoch(database: &Database) -> String {
    feed::head(database).await.unwrap().epoch
}

#[tokio::test]
async fn a_copy_goes_on_as_after_a_long_absence() {
    let store = filled().await;
    let before = epoch(&store.replication(1).await.unwrap()).await;
    let (_directory, data_dir) = copied(&store).await;
    let chance = Chance::seeded(3);
    put_right(&data_dir, BEGUN_AT, NOW, &chance, async |_, key| panic!("{key} has none"), |_| ())
        .await
        .unwrap();
    let keyring = Keyring::new([1; 32], chance.clone());
    let restored = Store::open(data_dir, Clock::simulated(NOW), keyring, chance).await.unwrap();
    let control = restored.control();

    let done: Vec<Option<Micros>> =
        query_scalar("select done_at from inbox order by id").fetch_all(control).await.unwrap();
    assert_eq!(done, [Some(BEGUN_AT - 1), Some(NOW), None]);
    let owners: Vec<(Option<Micros>, bool, Option<String>, Micros)> =
        query_as("select due_at, unreleased, lease_host, lease_until from owners order by id")
            .fetch_all(control)
            .await
            .unwrap();
    assert_eq!(owners, [(Some(NOW), true, None, 0), (Some(NOW), true, None, 0)]);
    let streams: Vec<Option<Micros>> =
        query_scalar("select due_at from streams order by id").fetch_all(control).await.unwrap();
    assert_eq!(streams, [Some(NOW), Some(5), Some(NOW)]);
    let targets: Vec<(i64, Micros, Option<String>, Micros)> =
        query_as("select fence, due_at, lease_host, lease_until from targets")
            .fetch_all(control)
            .await
            .unwrap();
    assert_eq!(targets, [(12 + 1_000_000_000, NOW, None, 0)]);
    let sessions: i64 =
        query_scalar("select count(*) from sessions").fetch_one(control).await.unwrap();
    assert_eq!(sessions, 0);
    let after = epoch(&restored.replication(1).await.unwrap()).await;
    assert_ne!(after, before);
    let begun: Vec<Option<String>> =
        query_scalar("select feed_epoch from organizations").fetch_all(control).await.unwrap();
    assert_eq!(begun, [Some(after)], "owners that find their tables older begin no other one");
    // Ids go on behind those that were given.
    let next: i64 = query_scalar("select seq from sqlite_sequence where name = 'inbox'")
        .fetch_one(control)
        .await
        .unwrap();
    assert_eq!(next, 3);
}

/// What was accepted before the copy began is in it; of what comes meanwhile a beginning is.
#[tokio::test]
async fn a_copy_is_of_one_moment() {
    let store = filled().await;
    let item = |nth: usize| NewItem {
        body: vec![b'x'; 2_000],
        ..fixture::item(1, "svi_1", &format!("owner {}", nth % 7))
    };
    for nth in 0..500 {
        store.accept(item(nth)).await.unwrap();
    }
    let accepting = async {
        for nth in 500..1_000 {
            store.accept(item(nth)).await.unwrap();
        }
    };
    let ((), (_directory, data_dir)) = tokio::join!(accepting, copied(&store));
    let seen = inspect(&data_dir.control()).await.unwrap();
    assert_eq!(seen.schema_version, known_schema_versions().0);
    assert_eq!(seen.config_epoch, Some(store.config_epoch().await.unwrap()));
    assert_eq!(inspect(&data_dir.replication("default")).await.unwrap().config_epoch, None);
    let copy = Database::open(&data_dir.control(), &CONTROL).await.unwrap();
    let (count, last): (i64, i64) =
        query_as("select count(*), max(id) from inbox").fetch_one(&copy).await.unwrap();
    assert!((503..=1_003).contains(&count), "{count}");
    assert_eq!(count, last, "none is missing in between");
    let ownerless: i64 = query_scalar(
        "select count(*) from inbox i where not exists (select 1 from owners o where o.id = i.owner_id)",
    )
    .fetch_one(&copy)
    .await
    .unwrap();
    assert_eq!(ownerless, 0);
    // Wherever it lies, it is its owner's.
    let mode = fs::metadata(data_dir.control()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // A file that is there is never written over.
    let before = fs::read(data_dir.control()).unwrap();
    assert!(super::copy(&store.data_dir().control(), &data_dir.control()).await.is_err());
    assert_eq!(fs::read(data_dir.control()).unwrap(), before);
}
