use super::*;
use crate::clock::Clock;
use crate::rows::fixture::google_calendar;
use crate::store::fixture;
use crate::store::tables::ddl::{create_index, create_table};

fn sql(dialect: Dialect, service: &str) -> String {
    let spec = spec(service);
    let mut sql = create_table(dialect, &spec);
    for index in &spec.indexes {
        sql.push_str(";\n");
        sql.push_str(&create_index(&spec, index));
    }
    sql.push_str(";\n");
    sql
}

#[test]
fn sql_of_the_google_tables() {
    for service in [
        "google_calendar_list_v1",
        "google_calendar_v1",
        "google_calendar_event_v1",
        "google_calendar_source_event_v1",
    ] {
        for (dialect, directory) in [(Dialect::Sqlite, "sqlite"), (Dialect::Postgres, "postgres")] {
            assert_snapshot(&format!("ddl/{directory}/{service}.sql"), &sql(dialect, service));
        }
    }
}

#[tokio::test]
async fn creating_twice_changes_nothing() {
    let mut fixture = Fixture::with_services(Dialect::Sqlite, &["google_calendar_event_v1"]).await;
    let schema = fixture.rows("select sql from sqlite_schema order by name").await;
    let spec = spec("google_calendar_event_v1");
    create(&mut fixture.conn, &spec).await.unwrap();
    assert!(add_missing_columns(&mut fixture.conn, &spec).await.unwrap().is_empty());
    assert_eq!(fixture.rows("select sql from sqlite_schema order by name").await, schema);
}

#[tokio::test]
async fn a_new_column_is_added_with_its_index() {
    let mut fixture = Fixture::new(Dialect::Sqlite).await;
    let mut manifest = google_calendar();
    let event = &mut manifest.tables["event"];
    event.columns.shift_remove("recurring_event_id");
    event.partial.retain(|partial| partial.on[0] != "recurring_event_id");
    let service = "google_calendar_event_v1";
    let old = TableSpec::new(&manifest, service, service).unwrap();
    create(&mut fixture.conn, &old).await.unwrap();
    let new = spec(service);
    create(&mut fixture.conn, &new).await.unwrap();
    let columns = "select type from pragma_table_info('google_calendar_event_v1') \
                   where name = 'recurring_event_id'";
    assert_eq!(fixture.rows(columns).await, ["TEXT"]);
    let index = "select count(*) from sqlite_schema where name like '%recurring_event_id_idx'";
    assert_eq!(fixture.rows(index).await, ["1"]);
    fixture.tables.insert(service.to_owned(), Arc::new(new));
    let row = vec![
        texts("google_id", &[Some("e")]),
        texts("google_calendar_id", &[Some("c")]),
        texts("recurring_event_id", &[Some("m")]),
    ];
    fixture.apply("a", &[Write::Upsert(batch(service, 1, row))]).await.unwrap();
}

/// A version of the plugin that declares stale rows meets tables of one that didn't.
#[tokio::test]
async fn the_index_of_stale_rows_comes_to_a_table_that_is_there() {
    let service = "google_calendar_event_v1";
    for dialect in [Dialect::Sqlite, Dialect::Postgres] {
        let mut fixture = Fixture::with_services(dialect, &[]).await;
        let mut manifest = google_calendar();
        manifest.services[service].stale = None;
        let old = TableSpec::new(&manifest, service, service).unwrap();
        create(&mut fixture.conn, &old).await.unwrap();
        let indexes = match dialect {
            Dialect::Sqlite => "select name from pragma_index_list('google_calendar_event_v1')",
            Dialect::Postgres => "select indexname from pg_indexes",
        };
        let stale = stale_index(&spec(service));
        assert!(!fixture.rows(indexes).await.contains(&stale));
        create(&mut fixture.conn, &spec(service)).await.unwrap();
        assert!(fixture.rows(indexes).await.contains(&stale));
    }
}

#[tokio::test]
async fn a_table_that_cannot_fit_is_refused() {
    let mut fixture = Fixture::new(Dialect::Sqlite).await;
    let ticket =
        "create table t (pk integer primary key, number bigint, owner_id text, title blob)";
    fixture.conn.run(ticket).await.unwrap();
    let mut spec = spec("ticket_v1");
    spec.table_name = "t".to_owned();
    let error = create(&mut fixture.conn, &spec).await.unwrap_err();
    assert!(
        error.to_string().starts_with("table t: column title has type blob, not text"),
        "{error}"
    );
}

/// Each change of the configuration has hosts look whether all is there. A commit that has one table and
/// waits for the next would wait for whoever looks, who waits for it.
#[tokio::test]
async fn tables_that_stand_are_looked_at_beside_writers() {
    let store = fixture::open(Dialect::Postgres, Clock::System).await;
    let organization = store.organization("default").await.unwrap().id;
    let database = store.replication(organization).await.unwrap();
    let specs = ["thing_v1", "ticket_v1"].map(|service| Arc::new(spec(service)));
    let layout = layout(&database).await.unwrap();
    create_all(&database, specs.to_vec(), layout).await.unwrap();
    let lock = "lock table thing_v1, ticket_v1 in row exclusive mode";
    let writing = fixture::begin(&database, lock).await;
    // Else it ends when it has waited for a lock for as long as a session may.
    create_all(&database, specs.to_vec(), layout).await.unwrap();
    writing.commit("").await;
}
