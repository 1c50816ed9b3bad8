//! On a SQLite file, opened read-only.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{Column as _, Connection as _, Executor as _, Row as _, TypeInfo as _, ValueRef as _};

use super::{Answer, Error, QueryLimits, Rows, nested, refused, statement, too_long};
use crate::clock::Clock;

/// How many steps of SQLite's machine pass between two looks at the deadline.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

pub(super) async fn query(
    path: &Path,
    text: &str,
    limits: QueryLimits,
    clock: &Clock,
    opened: fn() -> io::Result<()>,
) -> Result<Rows, Error> {
    statement::check(text).map_err(Error::Refused)?;
    let mut connection = connect(path).await?;
    // The first to read, so the log and its index are open, too.
    let json = json_columns(&mut connection).await?;
    // The time zone is read from its file at the first use.
    connection.execute("select datetime(0, 'unixepoch', 'localtime')").await?;
    opened().map_err(|error| Error::Unavailable(error.to_string()))?;
    let out_of_time = Arc::new(AtomicBool::new(false));
    let over = Over(Arc::default());
    let (late, left) = (Arc::clone(&out_of_time), Arc::clone(&over.0));
    let handler = move || !late.load(Ordering::Relaxed) && !left.load(Ordering::Relaxed);
    connection.lock_handle().await?.set_progress_handler(STEPS_BETWEEN_LOOKS, handler);
    let mut reading = std::pin::pin!(read(&mut connection, text, &json, limits));
    let result = tokio::select! {
        result = &mut reading => result,
        () = clock.sleep(limits.time) => {
            out_of_time.store(true, Ordering::Relaxed);
            reading.await.and(Err(Error::Refused(String::new())))
        }
    };
    match result {
        Err(_) if out_of_time.load(Ordering::Relaxed) => Err(too_long(limits)),
        result => result,
    }
}

/// Nobody waits any more: enough rows are there, or whoever asked has gone. The statement runs in a
/// thread of its own, which would go on until it finds another row.
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// As `sqlite3` takes it.
pub(super) fn url(path: &Path) -> Result<String, Error> {
    let path = std::path::absolute(path).map_err(|error| Error::Unavailable(error.to_string()))?;
    let url = url::Url::from_file_path(&path)
        .map_err(|()| Error::Inconsistent(format!("{} is no path", path.display())))?;
    // Without an authority, which older builds don't take.
    Ok(format!("file:{}?mode=ro", url.path()))
}

async fn connect(path: &Path) -> Result<SqliteConnection, Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(Duration::from_secs(5))
        .pragma("query_only", "on")
        // What is sorted counts as memory: files would have to be limited one by one.
        .pragma("temp_store", "memory")
        .pragma("trusted_schema", "off");
    Ok(SqliteConnection::connect_with(&options).await?)
}

async fn read(
    connection: &mut SqliteConnection,
    text: &str,
    json: &BTreeSet<String>,
    limits: QueryLimits,
) -> Result<Rows, Error> {
    let described = (&mut *connection).prepare(text).await.map_err(refused)?;
    let columns = sqlx::Statement::columns(&described);
    let columns = columns.iter().map(|column| column.name().to_owned()).collect();
    let mut answer = Answer::new(columns, limits);
    let mut rows = sqlx::query(text).fetch(connection);
    while let Some(row) = rows.try_next().await.map_err(refused)? {
        let values: Result<Vec<Value>, sqlx::Error> =
            (0..row.len()).map(|at| value(&row, at, json, &mut answer.bytes)).collect();
        if !answer.push(values.map_err(refused)?)? {
            break;
        }
    }
    Ok(answer.rows)
}

/// Names of columns that are declared `json` in any table: sqlx doesn't tell that type.
async fn json_columns(connection: &mut SqliteConnection) -> Result<BTreeSet<String>, Error> {
    let names: Vec<String> = sqlx::query_scalar(
        "select distinct c.name from sqlite_master t, pragma_table_info(t.name) c
         where t.type = 'table' and lower(c.type) in ('json', 'json text')",
    )
    .fetch_all(connection)
    .await?;
    Ok(names.into_iter().collect())
}

fn value(
    row: &SqliteRow,
    at: usize,
    json: &BTreeSet<String>,
    bytes: &mut usize,
) -> Result<Value, sqlx::Error> {
    use base64::Engine as _;
    let raw = row.try_get_raw(at)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let column = row.column(at);
    *bytes += 8;
    Ok(match raw.type_info().name() {
        "INTEGER" if column.type_info().name() == "BOOLEAN" => {
            Value::from(row.try_get_unchecked::<i64, _>(at)? != 0)
        }
        "INTEGER" => Value::from(row.try_get_unchecked::<i64, _>(at)?),
        "REAL" => Value::from(row.try_get_unchecked::<f64, _>(at)?),
        "BLOB" => {
            let blob: Vec<u8> = row.try_get_unchecked(at)?;
            *bytes += blob.len();
            Value::from(base64::prelude::BASE64_STANDARD.encode(blob))
        }
        _ => {
            let text: String = row.try_get_unchecked(at)?;
            *bytes += text.len();
            // By the column's name: text that happens to look like JSON stays text.
            if json.contains(column.name()) { nested(text, bytes) } else { Value::from(text) }
        }
    })
}
