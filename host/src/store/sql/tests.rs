use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac as _};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::*;
use crate::clock::Clock;
use crate::config::Isolation;
use crate::rows::fixture::spec;
use crate::store::fixture::{self, Opened, on_both, open, open_with};
use crate::store::{Dialect, query_scalar, tables};

on_both! { values_keep_their_types, more_rows_than_wanted_are_cut }

const LIMITS: QueryLimits = QueryLimits {
    rows: 10,
    bytes: 1_000,
    time: Duration::from_secs(10),
    memory_bytes: 0,
    cut_rows: false,
};

const SQLITE: &str =
    "create table t (n bigint, deleted boolean, data json text, plain text, b blob);
    insert into t values (1, true, '{\"a\":[1]}', '{}', x'00ff'),
      (2, false, 'null', 'x', null), (3, null, null, null, null)";
const POSTGRES: &str =
    "create table t (n bigint, deleted boolean, data jsonb, plain text, b bytea);
    insert into t values (1, true, '{\"a\":[1]}', '{}', '\\x00ff'),
      (2, false, 'null', 'x', null), (3, null, null, null, null)";

async fn filled(dialect: Dialect) -> (Opened, OrganizationId) {
    let store = open(dialect, Clock::System).await;
    let organization = store.organization("default").await.unwrap().id;
    fill(&store, organization).await;
    (store, organization)
}

async fn fill(store: &Store, organization: OrganizationId) {
    let database = store.replication(organization).await.unwrap();
    let sql = match database.dialect() {
        Dialect::Sqlite => SQLITE,
        Dialect::Postgres => POSTGRES,
    };
    let fill =
        database.write(move |connection| Box::pin(async move { Ok(connection.run(sql).await?) }));
    fill.await.unwrap();
}

/// What [`Store::query`] does, here instead of in a process of its own: this program is none that answers.
async fn ask(
    store: &Store,
    organization: OrganizationId,
    text: &str,
    limits: QueryLimits,
) -> Result<Rows, Error> {
    let (place, _) = store.place(organization).await?;
    Asked { place, text: text.to_owned(), limits }.answer(&store.clock, || Ok(())).await
}

async fn values_keep_their_types(dialect: Dialect) {
    let (store, organization) = filled(dialect).await;
    let sql =
        "select n, deleted, data, plain, b, cast(1.5 as double precision) as f from t order by n";
    let answer = ask(&store, organization, sql, LIMITS).await.unwrap();
    assert_eq!(answer.columns, ["n", "deleted", "data", "plain", "b", "f"]);
    assert_eq!(
        answer.rows,
        [
            [json!(1), json!(true), json!({"a": [1]}), json!("{}"), json!("AP8="), json!(1.5)],
            [json!(2), json!(false), json!(null), json!("x"), json!(null), json!(1.5)],
            [json!(3), json!(null), json!(null), json!(null), json!(null), json!(1.5)],
        ]
    );
    let empty = ask(&store, organization, "select n, data from t where n > 9", LIMITS).await;
    assert_eq!(
        empty.unwrap(),
        Rows { columns: vec!["n".into(), "data".into()], ..Rows::default() }
    );
}

#[tokio::test]
async fn limits_hold_and_nothing_is_written() {
    let (store, organization) = filled(Dialect::Sqlite).await;
    let endless = "with recursive c(x) as (select 1 union all select x + 1 from c) ";
    for (sql, limits, reason) in [
        ("select * from nowhere".to_owned(), LIMITS, "no such table: nowhere"),
        (format!("{endless} select x from c"), LIMITS, "more than 10 rows"),
        ("select hex(zeroblob(900))".into(), LIMITS, "larger than 1000 bytes"),
        (format!("select '[0{}]' as data", ",0".repeat(16)), LIMITS, "larger than 1000 bytes"),
        ("select cast(x'ff' as text)".into(), LIMITS, "can't be read"),
        (
            format!("{endless} select count(*) from c"),
            QueryLimits { time: Duration::from_millis(50), ..LIMITS },
            "longer than 0.05 s",
        ),
        ("with x as (select 1) delete from t".into(), LIMITS, "readonly"),
        ("select load_extension('x')".into(), LIMITS, "not authorized"),
    ] {
        let refusal = ask(&store, organization, &sql, limits).await.unwrap_err().to_string();
        assert!(refusal.contains(reason), "{sql}: {refusal}");
    }
    let count = ask(&store, organization, "select count(*) from t", LIMITS).await.unwrap();
    assert_eq!(count.rows, [[json!(3)]]);
}

/// As long as it ran it would keep the log of the file from being taken over.
#[tokio::test]
async fn a_statement_that_nobody_waits_for_ends() {
    let (store, organization) = filled(Dialect::Sqlite).await;
    let endless = "with recursive c(x) as (select 1 union all select x + 1 from c)
                   select n from t where n < 3 union all select count(*) from c";
    let first = QueryLimits { rows: 1, cut_rows: true, ..LIMITS };
    let answer = ask(&store, organization, endless, first).await.unwrap();
    assert!(answer.cut, "{answer:?}");
    let file = store.data_dir.replication("default");
    let options = SqliteConnectOptions::new().filename(file).busy_timeout(Duration::from_secs(30));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let (is_busy, ..): (bool, i64, i64) =
        sqlx::query_as("pragma wal_checkpoint(truncate)").fetch_one(&mut connection).await.unwrap();
    assert!(!is_busy);
}

#[tokio::test]
async fn limits_hold_and_nothing_is_written_on_postgres() {
    let (store, organization) = filled(Dialect::Postgres).await;
    let endless = "with recursive c(x) as (select 1 union all select x + 1 from c) ";
    for (sql, limits, reason) in [
        ("select * from nowhere".to_owned(), LIMITS, "relation \"nowhere\" does not exist"),
        ("select * from generate_series(1, 99)".into(), LIMITS, "more than 10 rows"),
        ("select repeat('x', 1100)".into(), LIMITS, "larger than 1000 bytes"),
        (
            format!("{endless} select count(*) from c"),
            QueryLimits { time: Duration::from_millis(50), ..LIMITS },
            "longer than 0.05 s",
        ),
        ("with x as (delete from t returning 1) select 1".into(), LIMITS, "read-only transaction"),
        ("delete from t".into(), LIMITS, "only reading statements"),
        ("select 1; delete from t".into(), LIMITS, "cannot insert multiple commands"),
        ("select 1; commit".into(), LIMITS, "cannot insert multiple commands"),
    ] {
        let refusal = ask(&store, organization, &sql, limits).await.unwrap_err().to_string();
        assert!(refusal.contains(reason), "{sql}: {refusal}");
    }
    let count = ask(&store, organization, "select count(*) from t", LIMITS).await.unwrap();
    assert_eq!(count.rows, [[json!(3)]]);
}

/// What a role of a customer tries.
#[tokio::test]
async fn nothing_but_the_organizations_own_is_reached() {
    for isolation in [Isolation::Schema, Isolation::Database] {
        let store = open_with(Dialect::Postgres, Clock::System, isolation).await;
        let mine = store.organization("default").await.unwrap();
        let other = store.create_organization("other").await.unwrap();
        fill(&store, mine.id).await;
        fill(&store, other.id).await;
        for sql in [
            "select * from org_other.t",
            "select * from rowgate_default.rowgate_cursors",
            "select * from rowgate_other.rowgate_owners",
            "select * from rowgate.rowgate_owners",
            "select pg_read_file('/etc/passwd')",
            "select pg_ls_dir('/')",
            "select lo_import('/etc/passwd')",
            "select * from pg_authid",
            "select set_config('role', 'postgres', false)",
            "select set_config('session_authorization', 'postgres', false)",
            "select dblink('dbname=postgres', 'select 1')",
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rowgate'",
            "select nextval('rowgate_default.rowgate_pk')",
            "select pg_reload_conf()",
            "table org_other.t",
            "copy t to program 'true'",
            "do $$ begin end $$",
            "set role postgres",
            "create table x ()",
        ] {
            let answer = ask(&store, mine.id, sql, LIMITS).await;
            assert!(answer.is_err(), "{isolation:?}: {sql}: {answer:?}");
        }
        let count = ask(&store, mine.id, "select count(*) from t", LIMITS).await.unwrap();
        assert_eq!(count.rows, [[json!(3)]], "{isolation:?}");
        let schema = ask(&store, mine.id, "select current_schema()", LIMITS).await.unwrap();
        let tables = if isolation == Isolation::Schema { "org_default" } else { "public" };
        assert_eq!(schema.rows, [[json!(tables)]]);
    }
}

/// Before PostgreSQL 16 a transaction that only reads makes them; the functions are a superuser's.
#[tokio::test]
async fn where_the_host_is_a_superuser_a_reader_makes_no_large_objects() {
    let store = fixture::open_as_superuser().await;
    let organization = store.organization("default").await.unwrap().id;
    for sql in ["select lo_create(0)", "select lo_creat(-1)", "select lo_from_bytea(0, '')"] {
        let answer = ask(&store, organization, sql, LIMITS).await;
        assert!(answer.is_err(), "{sql}: {answer:?}");
    }
    ask(&store, organization, "select 1", LIMITS).await.unwrap();
}

/// PostgreSQL lets everybody connect to each database.
#[tokio::test]
async fn a_reader_doesnt_get_into_the_control_database() {
    let (store, organization) = filled(Dialect::Postgres).await;
    let control: String =
        query_scalar("select current_database()::text").fetch_one(store.control()).await.unwrap();
    let url = store.connection_url(organization).await.unwrap();
    let mut url = url::Url::parse(&url).unwrap();
    assert!(reads(url.as_str()).await);
    url.set_path(&control);
    let refused = sqlx::PgConnection::connect(url.as_str()).await.unwrap_err().to_string();
    assert!(refused.contains("permission denied for database"), "{refused}");
}

/// Whoever reads may take advisory locks of the whole database.
#[tokio::test]
async fn a_reader_keeps_nobody_from_making_tables() {
    let (store, organization) = filled(Dialect::Postgres).await;
    let url = store.connection_url(organization).await.unwrap();
    let mut reader = sqlx::PgConnection::connect(&url).await.unwrap();
    let name: String =
        sqlx::query_scalar("select current_database()").fetch_one(&mut reader).await.unwrap();
    let migrations = fixture::migrations_key(&name).to_string();
    for key in ["hashtext('rowgate_tables')", "hashtext('rowgate roles')", &migrations] {
        let lock = format!("select pg_advisory_lock({key})");
        sqlx::query(&lock).execute(&mut reader).await.unwrap();
    }
    let other = store.create_organization("other").await.unwrap().id;
    for organization in [organization, other] {
        let opened = tokio::time::timeout(PATIENCE, store.replication(organization)).await;
        let database = opened.expect("it waits for the reader").unwrap();
        let layout = tables::layout(&database).await.unwrap();
        let specs = vec![Arc::new(spec("thing_v1"))];
        tables::create_all(&database, specs, layout).await.unwrap();
    }
    reader.close().await.unwrap();
}

/// Longer than it takes to make an organization's part.
const PATIENCE: Duration = Duration::from_secs(60);

async fn more_rows_than_wanted_are_cut(dialect: Dialect) {
    let (store, organization) = filled(dialect).await;
    let limits = QueryLimits { rows: 3, cut_rows: true, ..LIMITS };
    let sql = |rows: usize| format!("select n from t order by n limit {rows}");
    let whole = ask(&store, organization, &sql(3), limits).await.unwrap();
    assert_eq!((whole.rows.len(), whole.cut), (3, false));
    let limits = QueryLimits { rows: 2, ..limits };
    let cut = ask(&store, organization, &sql(3), limits).await.unwrap();
    assert_eq!((cut.rows, cut.cut), (vec![vec![json!(1)], vec![json!(2)]], true));
}

#[tokio::test]
async fn rolled_credentials_end_the_old_ones() {
    let (store, organization) = filled(Dialect::Postgres).await;
    let old = store.connection_url(organization).await.unwrap();
    assert!(reads(&old).await && opens(&old));
    store.roll_reader(organization).await.unwrap();
    let new = store.connection_url(organization).await.unwrap();
    assert!(reads(&new).await && opens(&new) && !opens(&old));
    let count = ask(&store, organization, "select count(*) from t", LIMITS).await.unwrap();
    assert_eq!(count.rows, [[json!(3)]]);
    assert_eq!(store.secret_connection_url(organization).await.unwrap(), Some(new));
    let (store, organization) = filled(Dialect::Sqlite).await;
    assert_eq!(store.secret_connection_url(organization).await.unwrap(), None);
    assert!(store.roll_reader(organization).await.is_err());
    let url = store.connection_url(organization).await.unwrap();
    assert!(url.starts_with("file:/") && url.ends_with("/default.db?mode=ro"), "{}", *url);
}

/// Whether a program that knows nothing but the URL reads the table.
async fn reads(url: &str) -> bool {
    let Ok(mut connection) = sqlx::PgConnection::connect(url).await else { return false };
    let count: Result<i64, _> =
        sqlx::query_scalar("select count(*) from t").fetch_one(&mut connection).await;
    count.is_ok_and(|count| count == 3)
}

/// Whether the server keeps this URL's password (RFC 5803): the cluster of the tests lets anybody in.
fn opens(url: &str) -> bool {
    let url = url::Url::parse(url).unwrap();
    let kept = fixture::kept(url.username());
    let parts: Vec<&str> = kept.split(['$', ':']).collect();
    let [_, rounds, salt, stored_key, _] = parts.as_slice() else { panic!("{kept}") };
    let base64 = |text: &str| BASE64_STANDARD.decode(text).unwrap();
    let mac = |key: &[u8], text: &[u8]| {
        let mac = <Hmac<Sha256>>::new_from_slice(key).unwrap().chain_update(text);
        mac.finalize().into_bytes().to_vec()
    };
    let password = url.password().unwrap().as_bytes();
    let mut last = mac(password, &[&base64(salt), &[0, 0, 0, 1][..]].concat());
    let mut salted = last.clone();
    for _ in 1..rounds.parse::<u32>().unwrap() {
        last = mac(password, &last);
        salted.iter_mut().zip(&last).for_each(|(sum, byte)| *sum ^= byte);
    }
    let client_key = mac(&salted, b"Client Key");
    Sha256::digest(&client_key).to_vec() == base64(stored_key)
}
