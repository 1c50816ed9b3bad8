//! On a file and on a server.

use super::*;
use crate::clock::Clock;
use crate::store::fixture::{self, Opened, on_both};
use crate::store::integrations::Integration;
use crate::store::{Dialect, endings};

on_both! {
    whoever_comes_next_goes_on,
    a_change_meanwhile_begins_anew,
    who_makes_a_dependent_waits_for_a_part_of_a_large_tree,
    a_dependent_goes_with_its_streams,
}

const NOW: Micros = 1_000;

/// So many owners of one tree, the first without a name, every third unlinked; another one of another
/// tree. Each has a stream of the root, and one of a service that is gone.
async fn filled(dialect: Dialect, count: i64) -> Opened {
    let store = fixture::open(dialect, Clock::simulated(NOW)).await;
    fixture::root(&store, "svi_1").await;
    let filled = format!(
        "insert into integrations (id, organization_id, plugin, service, table_name, root_id,
           created_at, number) values ('svi_2', 1, 'p', 's', 'other', 'svi_2', 0, 2);
         with recursive n (n) as (select 0 union all select n + 1 from n where n < {count})
         insert into owners (organization_id, root_id, external_owner_id, state, due_at)
         select 1, case when n < {count} then 'svi_1' else 'svi_2' end,
           case when n = 0 then '' else 'o' || n end,
           case when n % 3 = 2 then 'unlinked' else 'linked' end,
           case when n = 1 then 7 when n = 3 then 9000 end from n;
         insert into streams (owner_id, service, kind, key, page_limit)
         select id, 's', 'k', '1', 1 from owners;
         insert into streams (owner_id, service, kind, key, page_limit)
         select id, 'gone', 'k', '1', 1 from owners where root_id = 'svi_1'"
    );
    fixture::run(&store, filled).await;
    store
}

async fn number(store: &Store, sql: &str) -> i64 {
    query_scalar(sql.to_owned()).fetch_one(store.control()).await.unwrap()
}

async fn due(store: &Store) -> i64 {
    number(store, "select count(*) from owners where due_at <= 1000").await
}

async fn mark(store: &Store) -> Option<String> {
    let sql = "select untold_after from integrations where id = 'svi_1'";
    query_scalar(sql).fetch_one(store.control()).await.unwrap()
}

async fn begun(store: &Store) {
    let write = store
        .control()
        .write(|connection| Box::pin(async move { begin(connection, "svi_1").await }));
    write.await.unwrap();
}

/// Of so many owners those that are linked, and what a stranger's tree has stays as it is.
fn linked(count: i64) -> i64 {
    (0..count).filter(|n| n % 3 != 2).count() as i64
}

async fn whoever_comes_next_goes_on(dialect: Dialect) {
    let count = 2 * SLICE + 1;
    let store = filled(dialect, count).await;
    store.tell_all_owners().await.unwrap();
    assert_eq!(due(&store).await, 1, "nobody is told of nothing");
    begun(&store).await;
    assert_eq!(mark(&store).await.as_deref(), Some(""));
    // Whoever began dies behind the first slice.
    store.tell_owners("svi_1", 1).await.unwrap();
    let last = mark(&store).await.unwrap();
    assert!(last.starts_with('o'), "{last}");
    let gone = "select count(*) from streams where service = 'gone'";
    assert_eq!(number(&store, gone).await, count - SLICE);
    let behind = format!(
        "select count(*) from streams s join owners o on o.id = s.owner_id
         where s.service = 'gone' and o.external_owner_id <= '{last}'"
    );
    assert_eq!(number(&store, &behind).await, 0);
    assert!(due(&store).await < SLICE);

    store.tell_all_owners().await.unwrap();
    assert_eq!((mark(&store).await, number(&store, gone).await), (None, 0));
    assert_eq!(due(&store).await, linked(count));
    let kept = "select count(*) from streams where service = 's'";
    assert_eq!(number(&store, kept).await, count + 1);
    let earlier = "select due_at from owners where external_owner_id = 'o1'";
    assert_eq!(number(&store, earlier).await, 7, "who was due stays so");
    let others = "select count(*) from owners where root_id = 'svi_2' and due_at is null";
    assert_eq!(number(&store, others).await, 1);
}

async fn a_change_meanwhile_begins_anew(dialect: Dialect) {
    let store = filled(dialect, SLICE + 1).await;
    begun(&store).await;
    store.tell_owners("svi_1", 1).await.unwrap();
    fixture::run(&store, "update owners set due_at = null".to_owned()).await;
    begun(&store).await;
    store.tell_all_owners().await.unwrap();
    assert_eq!(due(&store).await, linked(SLICE + 1));
    assert_eq!(mark(&store).await, None);
}

async fn dependent(store: &Store) -> Integration {
    let new = fixture::integration(1, "d", Some("svi_1"));
    store.create_integration(new).await.unwrap()
}

async fn who_makes_a_dependent_waits_for_a_part_of_a_large_tree(dialect: Dialect) {
    let told_at_once = SLICE * AT_ONCE as i64;
    let store = filled(dialect, told_at_once + SLICE).await;
    dependent(&store).await;
    let left = number(&store, "select count(*) from streams where service = 'gone'").await;
    assert_eq!(left, SLICE, "the hosts tell the rest");
    store.tell_all_owners().await.unwrap();
    assert_eq!(due(&store).await, linked(told_at_once + SLICE));
}

async fn a_dependent_goes_with_its_streams(dialect: Dialect) {
    let count = SLICE + 1;
    let store = filled(dialect, count).await;
    let made = dependent(&store).await;
    let filled = format!(
        "insert into streams (owner_id, service, kind, key, page_limit)
         select id, 'd', 'k', '1', 1 from owners where root_id = 'svi_1';
         insert into targets (id, organization_id, integration_id, root_id, kind, to_place,
           to_schema, to_table, shown_url, period_s, page_size, deletions, created_at, number, bookmark, due_at)
         values ('syt_1', 1, '{0}', 'svi_1', 'http', '', '', '', '', 60, 1, false, 0, 1, '', 0),
                ('syt_2', 1, 'svi_1', 'svi_1', 'http', '', '', '', '', 60, 1, false, 0, 2, '', 0);
         insert into synced_owners (target_id, owner_id, synced_at)
         select t.id, o.id, 0 from owners o, targets t where o.root_id = 'svi_1';
         update owners set due_at = null",
        made.id
    );
    fixture::run(&store, filled).await;
    let gone = store.end_integration(&made.id).await.unwrap();
    assert_eq!(gone.len(), 1);
    endings::work(&store).await.unwrap();
    for (table, left) in [
        ("streams where service = 'd'", 0),
        ("streams where service = 's'", count + 1),
        ("synced_owners where target_id = 'syt_2'", count),
        ("synced_owners", count),
        ("targets", 1),
        ("integrations", 2),
    ] {
        assert_eq!(number(&store, &format!("select count(*) from {table}")).await, left, "{table}");
    }
    assert_eq!((mark(&store).await, due(&store).await), (None, linked(count)));
}
