//! Single cases that walks have found.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rowgate::store::{Dialect, Error, items, query_scalar};

use crate::host::Host;
use crate::walk::Met;
use crate::world::{LEASE_TTL, Verb, World};
use crate::{disk, rest};

/// It would take the sealed token away before the next holder has told of the commit that moves it
/// to the owner's secrets; or park an item that the next holder is about to apply.
#[tokio::test]
async fn a_stale_holders_word_on_an_item_changes_nothing() {
    let mut world = World::new().await.unwrap();
    world.begin("stale".to_owned(), None);
    world.post(0, Verb::Link(0)).await.unwrap();
    let claim = async |host, name| {
        let lease = world.claim(host, name).await;
        lease.unwrap().expect("the owner is due")
    };
    let stale = claim(0, "stale").await;
    world.advance(LEASE_TTL);
    let live = claim(1, "live").await;

    let control = world.control(0);
    let accepted = items::next_item(control, world.owner_id).await.unwrap();
    let id = accepted.as_ref().expect("an open item").id;
    let done = items::mark_done(control, &stale, id, world.now()).await;
    assert!(matches!(done, Err(Error::Superseded(_))), "{done:?}");
    let parked = items::postpone_item(control, &stale, id, 0, "stale".to_owned(), true).await;
    assert!(matches!(parked, Err(Error::Superseded(_))), "{parked:?}");
    assert_eq!(items::next_item(control, world.owner_id).await.unwrap(), accepted);

    items::mark_done(world.control(1), &live, id, world.now()).await.unwrap();
    assert_eq!(items::next_item(control, world.owner_id).await.unwrap(), None);
}

/// What was applied since is applied again, with the tokens it brought.
#[tokio::test]
async fn an_older_replication_database_is_driven_again() {
    use Verb::{Link, Refresh, Resync, Unlink};
    let mut world = World::new().await.unwrap();
    let lost: [&[Verb]; 7] = [
        &[],
        &[Refresh],
        &[Resync],
        &[Refresh, Refresh],
        &[Link(1), Unlink],
        &[Unlink, Link(1)],
        &[Link(1), Unlink, Link(0), Refresh],
    ];
    for (nth, lost) in lost.iter().enumerate() {
        for is_copy_empty in [false, true] {
            world.begin(format!("restored {nth} {is_copy_empty}"), None);
            restored(&mut world, lost, is_copy_empty).await.unwrap_or_else(|wrong| {
                panic!("{lost:?} lost, copy empty: {is_copy_empty}: {wrong}");
            });
        }
    }
}

async fn restored(world: &mut World, lost: &[Verb], is_copy_empty: bool) -> Result<(), String> {
    let (mut random, mut met) = (ChaCha8Rng::seed_from_u64(0), Met::default());
    let mut hosts = [0, 1].map(|index| Host::new(index, true));
    world.has_faults = false;
    for shelf in ["a", "b"] {
        world.vendor.toggle_shelf(0, shelf);
        world.vendor.change_thing(0, shelf, "a", false);
    }
    world.post(0, Verb::Link(0)).await.unwrap();
    if !is_copy_empty {
        rest::come(world, &mut hosts, &mut random, &mut met).await?;
        disk::save(world).await.unwrap();
    }
    for shelf in ["a", "c"] {
        world.vendor.toggle_shelf(0, shelf);
    }
    world.push("shelf_v1", "").await.unwrap();
    for verb in lost {
        world.post(0, *verb).await.unwrap();
    }
    rest::come(world, &mut hosts, &mut random, &mut met).await?;
    rest::check(world).await?;
    disk::put_back_copy(world).await.unwrap();
    // No poll needs to heal anything here.
    world.is_restored = false;
    hosts.iter_mut().for_each(Host::restart);
    rest::come(world, &mut hosts, &mut random, &mut met).await?;
    rest::check(world).await
}

/// A commit that was answered is on disk (R5); the walks lose none.
#[tokio::test]
async fn every_commit_is_synced() {
    let world = World::new().await.unwrap();
    for database in [world.control(0), &world.replication[0]] {
        let (asked, synced) = match database.dialect() {
            Dialect::Sqlite => ("select cast(synchronous as text) from pragma_synchronous", "2"),
            Dialect::Postgres => ("show synchronous_commit", "on"),
        };
        let synchronous: String = database
            .write(move |connection| {
                Box::pin(async move { Ok(query_scalar(asked).fetch_one(connection).await?) })
            })
            .await
            .unwrap();
        assert_eq!(synchronous, synced);
    }
}
