//! On a real SQLite file and a real PostgreSQL server.

use std::collections::HashMap;
use std::sync::Arc;

use postgres_cluster::Cluster;
use sqlx::Row as _;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use tempfile::TempDir;

use super::*;
use crate::model::{Batch, Column, Existing, Scalar, Values};
use crate::rows::fixture::{batch, column, condition, documents, existing, is, spec, texts};
use crate::store::Dialect;
use crate::store::database::{Peer, PostgresDatabase, SessionLimits, UpdateHook};
use crate::store::fixture::on_both;

mod brackets;
mod ddl;
mod feed;
mod lookup;
mod measure;
mod plan;
mod property;
mod stale;
mod statements;
mod sweep;
mod upsert;

const SQLITE: &str = include_str!("../../../migrations/sqlite/replication/0001_init.sql");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres/replication");

/// A call's writes before its lookup.
const NONE: &[Write] = &[];

/// A database with all tables of the fixtures, and the owners `a` and `b`.
struct Fixture {
    conn: Connection,
    tables: HashMap<String, Arc<TableSpec>>,
    commit_id: i64,
    _place: Place,
}

enum Place {
    File(#[allow(dead_code, reason = "removed when dropped")] TempDir),
    Server(
        #[allow(dead_code, reason = "dropped when dropped")] postgres_cluster::Database<'static>,
    ),
}

impl Fixture {
    async fn new(dialect: Dialect) -> Self {
        Self::with_services(dialect, &["thing_v1", "ticket_v1", "account_v1", "issue_v1"]).await
    }

    async fn with_services(dialect: Dialect, services: &[&str]) -> Self {
        let (mut conn, place) = match dialect {
            Dialect::Sqlite => file().await,
            Dialect::Postgres => server().await,
        };
        let mut tables = HashMap::new();
        for service in services {
            let spec = spec(service);
            create(&mut conn, &spec).await.unwrap();
            tables.insert((*service).to_owned(), Arc::new(spec));
        }
        Self { conn, tables, commit_id: 0, _place: place }
    }

    /// The scope of the next commit.
    fn scope(&mut self, owner: &str) -> ApplyScope {
        self.commit_id += 1;
        ApplyScope {
            owner_id: i64::from(owner.as_bytes()[0]),
            external_owner_id: Some(owner.to_owned()),
            now: self.commit_id * 1_000_000,
            commit_id: self.commit_id,
            mapping_version: 1,
            stale_before: None,
        }
    }

    /// One commit; an error rolls it back.
    async fn apply(&mut self, owner: &str, writes: &[Write]) -> Result<Applied, ApplyError> {
        let scope = self.scope(owner);
        self.apply_in(&scope, writes).await
    }

    async fn apply_in(
        &mut self,
        scope: &ApplyScope,
        writes: &[Write],
    ) -> Result<Applied, ApplyError> {
        self.apply_slice(scope, writes, u32::MAX).await
    }

    async fn apply_slice(
        &mut self,
        scope: &ApplyScope,
        writes: &[Write],
        slice: u32,
    ) -> Result<Applied, ApplyError> {
        let writes = self.prepared(scope, writes)?;
        self.conn.run("begin").await?;
        let applied = apply(&mut self.conn, scope, &writes, slice).await;
        let end = if applied.is_ok() { "commit" } else { "rollback" };
        self.conn.run(end).await?;
        applied
    }

    fn prepared(&self, scope: &ApplyScope, writes: &[Write]) -> Result<Vec<Prepared>, Rejected> {
        let owner = scope.external_owner_id.as_deref();
        let prepared = writes.iter().filter_map(|w| prepare(owner, &self.tables, w).transpose());
        prepared.collect()
    }

    /// Rows of a query as text, columns joined by `|`, null as `-`.
    async fn rows(&mut self, sql: &str) -> Vec<String> {
        let cell = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
        match self.conn.peer() {
            Peer::Sqlite(connection) => {
                let rows = sqlx::query(sql).fetch_all(connection).await.unwrap();
                let text = |row: &sqlx::sqlite::SqliteRow| {
                    let cells = (0..row.len()).map(|at| cell(row.try_get_unchecked(at).unwrap()));
                    cells.collect::<Vec<_>>().join("|")
                };
                rows.iter().map(text).collect()
            }
            // In the simple protocol every value is text.
            Peer::Postgres(connection) => {
                let rows = sqlx::raw_sql(sql).fetch_all(connection).await.unwrap();
                let text = |row: &sqlx::postgres::PgRow| {
                    let cells = (0..row.len()).map(|at| cell(as_on_sqlite(row, at)));
                    cells.collect::<Vec<_>>().join("|")
                };
                rows.iter().map(text).collect()
            }
        }
    }
}

async fn file() -> (Connection, Place) {
    use sqlx::ConnectOptions as _;
    let dir = TempDir::new().unwrap();
    let options = SqliteConnectOptions::new()
        .filename(dir.path().join("replication.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .pragma("cache_size", "-8192")
        .row_buffer_size(1_024);
    let mut writer = options.connect().await.unwrap();
    let hook = UpdateHook::of(&mut writer).await.unwrap();
    let mut conn = Connection::SqliteWriter(writer, hook);
    conn.run(SQLITE).await.unwrap();
    (conn, Place::File(dir))
}

async fn server() -> (Connection, Place) {
    let database = Cluster::shared().create_database().unwrap();
    let limits =
        SessionLimits { lease_ttl: std::time::Duration::from_secs(30), connections_max: 2 };
    let schemas = ["rowgate", "public"];
    database.connect().unwrap().query("create schema rowgate").unwrap();
    let options = database.url().parse().unwrap();
    let opened = PostgresDatabase::open(options, schemas, &POSTGRES, limits).await.unwrap();
    let conn = crate::store::Database::Postgres(opened).reader().await.unwrap();
    (conn, Place::Server(database))
}

/// A value of PostgreSQL as SQLite has it.
fn as_on_sqlite(row: &sqlx::postgres::PgRow, at: usize) -> Option<String> {
    use sqlx::{Column as _, TypeInfo as _, ValueRef as _};
    let raw = row.try_get_raw(at).unwrap();
    if raw.is_null() {
        return None;
    }
    let text = raw.as_str().unwrap().to_owned();
    Some(match row.column(at).type_info().name() {
        "BOOL" => i32::from(text == "t").to_string(),
        "TIMESTAMPTZ" => crate::store::sql::timestamp(&text),
        "JSONB" => crate::rows::json::canonical(&text).unwrap().into_owned(),
        _ => text,
    })
}

/// The name of the index of stale rows.
fn stale_index(spec: &TableSpec) -> String {
    let mut names = spec.indexes.iter().map(|index| &index.name);
    names.find(|name| name.contains("_stale_")).unwrap().clone()
}

/// Compares with a file beside the tests; `UPDATE_SNAPSHOTS=1` writes it anew.
fn assert_snapshot(name: &str, text: &str) {
    let path = format!("{}/src/store/tables/tests/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), text, "{path}");
}

/// Things on shelf `s`: id and color.
fn things(rows: &[(&str, Option<&str>)]) -> Batch {
    let ids: Vec<_> = rows.iter().map(|(id, _)| Some(*id)).collect();
    let colors: Vec<_> = rows.iter().map(|(_, color)| *color).collect();
    batch("thing_v1", rows.len(), vec![texts("id", &ids), shelf("s"), texts("color", &colors)])
}

fn shelf(name: &str) -> Column {
    column("shelf", Values::Constant(Scalar::Text(name.to_owned())))
}

fn text(text: &str) -> Scalar {
    Scalar::Text(text.to_owned())
}
