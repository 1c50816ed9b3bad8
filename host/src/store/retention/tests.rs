//! On a file and on a server.

use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::store::fixture::{self, on_both};
use crate::store::{Dialect, query_scalar};

on_both! {
    done_items_go_after_a_while,
    parked_items_go_after_a_while,
    one_host_at_a_time_goes_through_it,
    what_is_old_goes_by_itself,
    a_host_that_starts_goes_through_it,
}

async fn done_items_go_after_a_while(dialect: Dialect) {
    let store = fixture::open(dialect, Clock::simulated(0)).await;
    let organization = store.organization("default").await.unwrap();
    let count = SLICE + 2;
    fixture::root(&store, "svi_1").await;
    // Items 1 and 2 are not done, the last was lately.
    let items = format!(
        "insert into owners (organization_id, root_id, external_owner_id)
           values (1, 'svi_1', 'a');
         with recursive n (n) as (select 1 union all select n + 1 from n where n < {count} + 3)
         insert into inbox (owner_id, integration_id, received_at, method, path, query, headers,
           body, parked, done_at)
         select 1, 'svi_1', 0, 'POST', '', '', '[]', '', n = 2, case
           when n <= 2 then null when n = {count} + 3 then 100 else n % 7 end from n"
    );
    fixture::run(&store, items).await;
    let replication = store.replication(organization.id).await.unwrap();
    let marks = format!(
        "with recursive n (n) as (select 3 union all select n + 1 from n where n < {count} + 3)
         insert into rowgate_applied (owner_id, inbox_id) select 1, n from n"
    );
    replication.write(|c| Box::pin(async move { Ok(c.run(&marks).await?) })).await.unwrap();

    let (went, after) = store.forget_inbox(100, Forgotten::default()).await.unwrap();
    assert_eq!(went, SLICE as u64);
    assert!(after.is_some(), "there is another slice");
    assert_eq!(
        store.forget_inbox(100, after.unwrap()).await.unwrap(),
        (count as u64 - SLICE as u64, None)
    );
    let kept: Vec<i64> =
        query_scalar("select id from inbox order by id").fetch_all(store.control()).await.unwrap();
    assert_eq!(kept, [1, 2, count + 3]);
    let marks: Vec<i64> =
        query_scalar("select inbox_id from rowgate_applied").fetch_all(&replication).await.unwrap();
    assert_eq!(marks, [count + 3]);
    assert_eq!(store.forget_inbox(100, Forgotten::default()).await.unwrap(), (0, None));
    store.forget_inbox(101, Forgotten::default()).await.unwrap();
    let left: i64 =
        query_scalar("select count(*) from inbox").fetch_one(store.control()).await.unwrap();
    assert_eq!(left, 2, "what isn't done stays");
}

async fn parked_items_go_after_a_while(dialect: Dialect) {
    let store = fixture::open(dialect, Clock::simulated(0)).await;
    store.organization("default").await.unwrap();
    fixture::root(&store, "svi_1").await;
    let count = SLICE + 5;
    // The first three are open or done, the last one came lately.
    let items = format!(
        "insert into owners (organization_id, root_id, external_owner_id)
           values (1, 'svi_1', 'a');
         with recursive n (n) as (select 1 union all select n + 1 from n where n < {count})
         insert into inbox (owner_id, integration_id, received_at, method, path, query, headers,
           body, parked, done_at)
         select 1, 'svi_1', case when n = {count} then 50 else n % 7 end, 'POST', '', '', '[]', '',
           n > 2, case when n = 3 then 1 else null end from n"
    );
    fixture::run(&store, items).await;
    assert_eq!(store.forget_parked(50).await.unwrap(), count as u64 - 4);
    let kept: Vec<i64> =
        query_scalar("select id from inbox order by id").fetch_all(store.control()).await.unwrap();
    assert_eq!(kept, [1, 2, 3, count]);
    assert_eq!(store.forget_parked(50).await.unwrap(), 0);
}

async fn one_host_at_a_time_goes_through_it(dialect: Dialect) {
    let clock = Clock::simulated(0);
    let store = fixture::open(dialect, clock.clone()).await;
    let (one, other) = (1, 2);
    assert!(store.takes_sweep("feed", one, 1_000, clock.now()).await.unwrap());
    assert!(!store.takes_sweep("feed", one, 1_000, clock.now()).await.unwrap());
    assert!(store.takes_sweep("feed", other, 1_000, clock.now()).await.unwrap());
    assert!(store.takes_sweep("inbox", one, 1_000, clock.now()).await.unwrap());
    clock.advance(Duration::from_micros(1_000));
    assert!(store.takes_sweep("feed", one, 1_000, clock.now()).await.unwrap());
    assert!(!store.takes_sweep("feed", one, 1_000, clock.now()).await.unwrap());
}

/// The sweeper itself, under a clock that is moved.
async fn what_is_old_goes_by_itself(dialect: Dialect) {
    let hour = Duration::from_secs(3_600);
    let clock = Clock::simulated(0);
    let store = fixture::open(dialect, clock.clone()).await;
    let organization = store.organization("default").await.unwrap().id;
    fixture::root(&store, "svi_1").await;
    let replication = store.replication(organization).await.unwrap();
    let deleted =
        "insert into rowgate_commits (owner_id, committed_at) values (1, 0), (1, 1), (1, 2);
        insert into rowgate_feed (table_name, unique_key, pk, deleted, commit_id)
          values ('t', 'gone', 1, true, 1), ('t', 'live', 2, false, 2)";
    replication.write(move |c| Box::pin(async move { Ok(c.run(deleted).await?) })).await.unwrap();
    let (kept, every) = (hour.as_micros() as i64, 1_000_000);
    let kept = Kept { inbox: kept, parked: kept, tombstones: kept, left: kept };
    let metrics = Metrics::default();
    let feed = async || {
        let keys = query_scalar::<String>("select unique_key from rowgate_feed order by 1");
        keys.fetch_all(&replication).await.unwrap()
    };
    store.sweep(kept, every, clock.now(), &metrics).await.unwrap();
    assert_eq!(feed().await, ["gone", "live"]);
    clock.advance(2 * hour);
    store.sweep(kept, every, clock.now(), &metrics).await.unwrap();
    assert_eq!(feed().await, ["live"]);
    let commits: Vec<i64> = query_scalar("select id from rowgate_commits order by id")
        .fetch_all(&replication)
        .await
        .unwrap();
    assert_eq!(commits, [2, 3], "one has a row, one is the last");
    let text = metrics.text(&crate::metrics::Load::default());
    assert!(text.contains("rowgate_forgotten_total{what=\"tombstones\"} 1"), "{text}");
    assert!(text.contains("rowgate_forgotten_total{what=\"commits\"} 1"), "{text}");
}

/// Before any time goes by: it may not live that long.
async fn a_host_that_starts_goes_through_it(dialect: Dialect) {
    let hour = 3_600_000_000;
    let opened = fixture::open(dialect, Clock::simulated(2 * hour)).await;
    fixture::root(&opened, "svi_1").await;
    let parked = "insert into owners (organization_id, root_id, external_owner_id)
           values (1, 'svi_1', 'a');
         insert into inbox (owner_id, integration_id, received_at, method, path, query, headers,
           body, parked)
         values (1, 'svi_1', 0, 'POST', '', '', '[]', '', true)";
    fixture::run(&opened, parked.into()).await;
    let store = Arc::new(opened.store);
    let kept = Kept { inbox: hour, parked: hour, tombstones: hour, left: hour };
    let keeping = tokio::spawn(keep(Arc::clone(&store), kept, Arc::default()));
    let mut left = 1;
    for _ in 0..10_000 {
        left = query_scalar::<i64>("select count(*) from inbox")
            .fetch_one(store.control())
            .await
            .unwrap();
        if left == 0 {
            break;
        }
    }
    keeping.abort();
    assert_eq!(left, 0);
}
