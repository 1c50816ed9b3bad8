//! On a file and on a server.

use super::*;
use crate::clock::Clock;
use crate::rows::fixture::{sample, spec};
use crate::store::fixture::{self, on_both};
use crate::store::{Database, Dialect};

on_both! { old_names_of_tables_are_forgotten }

async fn notes(replication: &Database) -> i64 {
    let notes = query_scalar("select count(*) from rowgate_renames");
    notes.fetch_one(replication).await.unwrap()
}

async fn old_names_of_tables_are_forgotten(dialect: Dialect) {
    let store = fixture::open(dialect, Clock::simulated(1_000)).await;
    fixture::root(&store, "svi_1").await;
    fixture::run(&store, "update integrations set table_name = 'thing_v1'".to_owned()).await;
    let replication = store.replication(1).await.unwrap();
    let called = |name| TableSpec::new(&sample(), "thing_v1", name).unwrap();
    let read_before = tables::layout(&replication).await.unwrap();
    tables::create_all(&replication, vec![Arc::new(spec("thing_v1"))], read_before).await.unwrap();
    store.rename_table(1, called("thing_v1"), called("second")).await.unwrap();
    assert_eq!(notes(&replication).await, 0);
    // A host that has read the old name before makes no table of that name.
    let again = tables::create_all(&replication, vec![Arc::new(called("thing_v1"))], read_before);
    let again = again.await;
    assert!(matches!(again, Err(Error::Superseded(_))), "{again:?}");
    // One that reads it between the two databases doesn't, either.
    let (old, new) = (called("second"), called("third"));
    let renamed = replication.write(move |connection| {
        Box::pin(async move { tables::rename_table(connection, &old, &new).await })
    });
    renamed.await.unwrap();
    let now = tables::layout(&replication).await.unwrap();
    let between = tables::create_all(&replication, vec![Arc::new(called("second"))], now).await;
    assert!(matches!(between, Err(Error::Refused(_))), "{between:?}");
    store.forget_renames(1).await.unwrap();
    assert_eq!(notes(&replication).await, 1, "the control database has the old name");
    // Whoever renamed it died behind that; a sweep finds what is left.
    fixture::run(&store, "update integrations set table_name = 'third'".to_owned()).await;
    store.forget_feed(1, 0).await.unwrap();
    assert_eq!(notes(&replication).await, 0);
}
