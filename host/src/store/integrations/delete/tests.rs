//! On a file and on a server.

use super::*;
use crate::clock::Clock;
use crate::store::fixture::{self, on_both};
use crate::store::query_as;

on_both! { a_tree_goes_with_its_owners_slice_by_slice }

async fn a_tree_goes_with_its_owners_slice_by_slice(dialect: Dialect) {
    let store = fixture::open(dialect, Clock::simulated(1_000)).await;
    fixture::root(&store, "svi_1").await;
    let count = SLICE * 2 + 1;
    // The last one is of another tree.
    let filled = format!(
        "insert into integrations (id, organization_id, plugin, service, table_name, root_id,
           created_at, number) values ('svi_2', 1, 'p', 's', 'other', 'svi_2', 0, 2);
         with recursive n (n) as (select 1 union all select n + 1 from n where n <= {count})
         insert into owners (organization_id, root_id, external_owner_id)
         select 1, case when n <= {count} then 'svi_1' else 'svi_2' end, 'o' || n from n;
         insert into inbox (owner_id, integration_id, received_at, method, path, query, headers,
           body, done_at)
         select id, root_id, 0, 'POST', '', '', '[]', '', case when id % 2 = 0 then 1 end
         from owners;
         insert into streams (owner_id, service, kind, key, page_limit)
         select id, 's', 'k', '1', 1 from owners;
         insert into owner_secrets (owner_id, grant_id, name, version)
         select id, 1, 'token', 1 from owners"
    );
    fixture::run(&store, filled).await;
    let replication = store.replication(1).await.unwrap();
    let tables = format!(
        "create table t (pk bigint); create table other (pk bigint);
         with recursive n (n) as (select 1 union all select n + 1 from n where n <= {count})
         insert into rowgate_owners (owner_id, generation) select n, 1 from n;
         with recursive n (n) as (select 1 union all select n + 1 from n where n < 2500)
         insert into rowgate_feed (table_name, pk, deleted, commit_id)
         select case when n < 2500 then 't' else 'other' end, n, false, n from n"
    );
    let made = replication
        .write(move |connection| Box::pin(async move { Ok(connection.run(&tables).await?) }));
    made.await.unwrap();

    let gone = store.delete_integration("svi_1").await.unwrap();
    assert_eq!(gone.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["svi_1"]);
    for table in ["integrations", "owners", "inbox", "streams", "owner_secrets"] {
        let sql = format!("select count(*) from {table}");
        let left: i64 = query_scalar(sql).fetch_one(store.control()).await.unwrap();
        assert_eq!(left, 1, "{table}");
    }
    let feed: Vec<(String, i64)> =
        query_as("select table_name, pk from rowgate_feed").fetch_all(&replication).await.unwrap();
    assert_eq!(feed, [("other".to_owned(), 2500)]);
    // Whatever is in flight for them is refused.
    let as_they_were: Vec<OwnerId> =
        query_scalar("select owner_id from rowgate_owners where generation = 1")
            .fetch_all(&replication)
            .await
            .unwrap();
    assert_eq!(as_they_were, [OwnerId::try_from(count).unwrap() + 1]);
    let tables = async |name: &str| {
        let sql = format!("select count(*) from {name}");
        query_scalar::<i64>(sql).fetch_one(&replication).await.is_ok()
    };
    assert!(!tables("t").await && tables("other").await);
    assert_eq!(store.delete_integration("svi_1").await.unwrap(), []);
}

/// Else each owner that goes costs a look at every webhook that is kept.
#[tokio::test]
async fn what_refers_to_an_owner_is_found_by_it() {
    let store = fixture::open(Dialect::Sqlite, Clock::simulated(0)).await;
    let referring: Vec<(String, String)> = query_as(
        "select m.name, f.\"from\" from sqlite_master m join pragma_foreign_key_list(m.name) f
         where m.type = 'table' and f.\"table\" = 'owners' order by m.name",
    )
    .fetch_all(store.control())
    .await
    .unwrap();
    assert!(referring.len() >= 5, "{referring:?}");
    for (table, column) in referring {
        let sql = format!("explain query plan select 1 from {table} where {column} = 1");
        let plan = query(sql).fetch_all(store.control()).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
        assert!(plan.iter().all(|step| step.starts_with("SEARCH")), "{plan:?}");
    }
}
