//! Trees as many runs ask for them.

use futures_util::future::join_all;

use super::*;
use crate::clock::Clock;
use crate::plugin::tests::{engine, guest};
use crate::store::Dialect;
use crate::store::fixture;

/// So many runs start at once.
const RUNS: usize = 100;

#[tokio::test]
async fn a_tree_is_loaded_once_however_many_ask() {
    let opened = fixture::open(Dialect::Sqlite, Clock::simulated(0)).await;
    let store = Arc::new(opened.store);
    let (engine, directory) = (engine(), store.data_dir().plugins());
    let wasm = guest::component("", guest::OK);
    let component = engine.load(wasm.clone(), &directory).await.unwrap();
    store.install_plugin(&wasm, &component.digest, &component.manifest).await.unwrap();
    store.activate_plugin(&component.digest).await.unwrap();
    fixture::root(&store, "svi_1").await;
    let of_guest = "update integrations set plugin = 'probe', service = 'item_v1'";
    fixture::run(&store, of_guest.to_owned()).await;
    let trees = Trees::new(Arc::clone(&store), Components::new(engine, store.clone(), directory));
    let all = async || {
        let all = join_all((0..RUNS).map(|_| trees.get("svi_1"))).await;
        let mut all = all.into_iter().map(Result::unwrap);
        let first = all.next().unwrap();
        assert!(all.all(|tree| Arc::ptr_eq(&tree, &first)), "it was loaded more than once");
        first
    };
    let first = all().await;
    assert!(Arc::ptr_eq(&first, &all().await), "nothing has changed");
    let moved = "update integrations set config_version = config_version + 1";
    fixture::run(&store, moved.to_owned()).await;
    let second = all().await;
    assert!(!Arc::ptr_eq(&first, &second), "the configuration has moved");
    // One that fails is tried again.
    fixture::run(&store, "update integrations set plugin = 'none'".to_owned()).await;
    let touched = "update integrations set config_version = config_version + 1";
    fixture::run(&store, touched.to_owned()).await;
    assert!(trees.get("svi_1").await.is_err());
    fixture::run(&store, "update integrations set plugin = 'probe'".to_owned()).await;
    trees.get("svi_1").await.unwrap();
}
