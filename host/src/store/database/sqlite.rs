//! One SQLite file: a single writer that puts many small transactions under one sync to disk, and
//! a few readers beside it.

use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Connection as _, Sqlite};
use tokio::sync::{mpsc, oneshot};

use super::{Connection, Error, count, migration_error};
use crate::failpoint::SyncedLog;
use crate::metrics::Connections;

/// Writes that one transaction takes in at most; more wait for the next one.
const BATCH_MAX: usize = 256;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// One database file.
#[derive(Clone, Debug)]
pub struct SqliteDatabase {
    writes: mpsc::Sender<Box<dyn Write>>,
    readers: SqlitePool,
}

impl SqliteDatabase {
    /// Opens or creates the file and brings its schema up to date. A file with a newer schema than
    /// this program knows is refused.
    pub async fn open(path: &Path, migrations: &Migrator) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(512)
            // Each time this is full, the thread that runs SQLite waits for us.
            .row_buffer_size(2048)
            // KiB. More only repeats what the system keeps in memory anyway.
            .pragma("cache_size", "-8192")
            // Pages of indexes change in every commit of a full listing: written back less often, they are
            // written less in all (SQLite's own 1,000 pages are a single page of a listing).
            .pragma("wal_autocheckpoint", "4096")
            .pragma("temp_store", "memory");
        let mut writer = SqliteConnection::connect_with(&options).await.map_err(unavailable)?;
        {
            // Two processes that migrate at once would both create the bookkeeping table.
            let lock = fs::File::create(path.with_extension("migrate-lock")).map_err(io)?;
            lock.lock().map_err(io)?;
            let migrated = migrations.run_direct(&mut writer).await;
            migrated.map_err(|error| migration_error(&path.display().to_string(), error))?;
        }
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(BUSY_TIMEOUT)
            // A file doesn't hang up; asking whether it has would double the time of a short read.
            .test_before_acquire(false)
            .connect_with(options.read_only(true).create_if_missing(false))
            .await
            .map_err(unavailable)?;
        let (sender, receiver) = mpsc::channel(1024);
        tokio::spawn(write_batches(writer, SyncedLog::of(path), receiver));
        Ok(Self { writes: sender, readers })
    }

    pub(super) async fn reader(&self) -> sqlx::Result<PoolConnection<Sqlite>> {
        self.readers.acquire().await
    }

    /// The writer's own connection isn't among them.
    pub(super) fn connections(&self) -> Connections {
        let (open, idle) = (i64::from(self.readers.size()), count(self.readers.num_idle()));
        let writes_waiting = count(self.writes.max_capacity() - self.writes.capacity());
        Connections { open, busy: (open - idle).max(0), writes_waiting }
    }

    /// Operations run one after the other; what is waiting shares one sync.
    pub(super) async fn write<T, F>(&self, operation: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, Error>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let pending = Pending { operation: Some(operation), result: None, answer: Some(answer) };
        let gone = || Error::Unavailable("the writer has stopped".into());
        self.writes.send(Box::new(pending)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// A write on its way; type-erased so that one queue holds them all.
trait Write: Send {
    /// Runs it; false: it failed and its savepoint must be rolled back.
    fn run<'c>(&'c mut self, connection: &'c mut Connection) -> BoxFuture<'c, bool>;
    fn answer(&mut self, committed: Result<(), Error>);
}

struct Pending<T, F> {
    operation: Option<F>,
    result: Option<Result<T, Error>>,
    answer: Option<oneshot::Sender<Result<T, Error>>>,
}

impl<T, F> Write for Pending<T, F>
where
    T: Send,
    F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, Error>> + Send,
{
    fn run<'c>(&'c mut self, connection: &'c mut Connection) -> BoxFuture<'c, bool> {
        Box::pin(async move {
            let Some(operation) = self.operation.take() else { return false };
            // The writer goes on: it is everybody's. What comes before the operation's future may panic, too.
            let operation = async move { operation(connection).await };
            let result = AssertUnwindSafe(operation).catch_unwind().await;
            let panicked = |_| Err(Error::Inconsistent("the write panicked".into()));
            let result = result.unwrap_or_else(panicked);
            let worked = result.is_ok();
            self.result = Some(result);
            worked
        })
    }

    fn answer(&mut self, committed: Result<(), Error>) {
        let Some(answer) = self.answer.take() else { return };
        let result = match (self.result.take(), committed) {
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(Error::Unavailable("the write was not run".into())),
        };
        // The caller may have given up waiting; the write stands all the same.
        let _ = answer.send(result);
    }
}

/// It needs nobody to begin it again: what may panic is an operation, and `Pending::run` contains that.
async fn write_batches(
    writer: SqliteConnection,
    mut log: SyncedLog,
    mut waiting: mpsc::Receiver<Box<dyn Write>>,
) {
    let mut connection = Connection::SqliteWriter(writer);
    while let Some(first) = waiting.recv().await {
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX {
            let Ok(next) = waiting.try_recv() else { break };
            batch.push(next);
        }
        let committed = write_batch(&mut connection, &mut batch).await;
        if committed.is_ok() {
            log.committed(true);
        }
        for write in &mut batch {
            write.answer(match &committed {
                Ok(()) => Ok(()),
                Err(error) => Err(Error::Unavailable(error.to_string())),
            });
        }
    }
    if let Connection::SqliteWriter(writer) = connection {
        let _ = writer.close().await;
    }
}

async fn write_batch(
    connection: &mut Connection,
    batch: &mut [Box<dyn Write>],
) -> Result<(), sqlx::Error> {
    let done = match batch {
        [alone] => write_alone(connection, alone).await,
        several => write_all(connection, several).await,
    };
    if done.is_err() {
        // Fails harmlessly where SQLite has rolled back by itself (disk full).
        let _ = connection.run("rollback").await;
    }
    done
}

/// Without a savepoint SQLite needs no copy of each page that it changes.
async fn write_alone(
    connection: &mut Connection,
    write: &mut Box<dyn Write>,
) -> Result<(), sqlx::Error> {
    connection.run("begin immediate").await?;
    let end = if write.run(connection).await { "commit" } else { "rollback" };
    connection.run(end).await
}

/// Each `execute` is a way to SQLite's thread and back, so what follows one another goes together.
async fn write_all(
    connection: &mut Connection,
    batch: &mut [Box<dyn Write>],
) -> Result<(), sqlx::Error> {
    let mut before = "begin immediate; savepoint item";
    for write in batch {
        connection.run(before).await?;
        before = match write.run(connection).await {
            true => "release item; savepoint item",
            false => "rollback to item; release item; savepoint item",
        };
    }
    let end = before.replace("savepoint item", "commit");
    connection.run(&end).await
}

fn unavailable(error: sqlx::Error) -> Error {
    Error::Unavailable(error.to_string())
}

fn io(error: std::io::Error) -> Error {
    Error::Unavailable(error.to_string())
}
