//! One SQLite file: a single writer that puts many small transactions under one sync to disk, and
//! a few readers beside it.

mod checkpoint;

use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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

use super::{Connection, Error, UpdateHook, count, migration_error};
use crate::failpoint::SyncedLog;
use crate::metrics::Connections;

use checkpoint::{LENGTHS, Log};

/// Writes that one transaction takes in at most; more wait for the next one.
const BATCH_MAX: usize = 256;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// So long without a write, and a log that has become long is copied.
const QUIET: Duration = Duration::from_secs(1);

/// One database file.
#[derive(Clone, Debug)]
pub struct SqliteDatabase {
    writes: mpsc::Sender<Box<dyn Write>>,
    readers: SqlitePool,
    /// Commits that can be read may not be on disk yet. The writer alone says so: before they can be read.
    is_behind: Arc<AtomicBool>,
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
            // The log is copied beside the writer.
            .pragma("wal_autocheckpoint", "0")
            .pragma("journal_size_limit", LENGTHS.kept_bytes.to_string())
            .pragma("temp_store", "memory");
        // A process that was killed may have left commits that aren't on disk yet, and what is read of them
        // may be acted upon (R5).
        Log::sync(path).await.map_err(io)?;
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
            .connect_with(options.clone().read_only(true).create_if_missing(false))
            .await
            .map_err(unavailable)?;
        let (sender, receiver) = mpsc::channel(1024);
        let hook = UpdateHook::of(&mut writer).await.map_err(unavailable)?;
        let is_behind = Arc::<AtomicBool>::default();
        let synced_log = SyncedLog::of(path);
        synced_log.synced();
        let writer = Writer {
            connection: Connection::SqliteWriter(writer, hook),
            is_synced: None,
            is_behind: Arc::clone(&is_behind),
            log: Log::of(path, options, LENGTHS),
            synced_log,
        };
        tokio::spawn(writer.write_batches(receiver));
        Ok(Self { writes: sender, readers, is_behind })
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

    /// Answers when all is on disk that could be read.
    pub(super) async fn sync(&self) -> Result<(), Error> {
        if !self.is_behind() {
            return Ok(());
        }
        self.write(OnDisk::All, |_| Box::pin(async { Ok(()) })).await
    }

    pub(super) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::SeqCst)
    }

    /// Operations run one after the other; what is waiting shares one sync.
    pub(super) async fn write<T, F>(&self, on_disk: OnDisk, operation: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, Error>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let operation = Some(operation);
        let pending = Pending { on_disk, operation, result: None, answer: Some(answer) };
        let gone = || Error::Unavailable("the writer has stopped".into());
        self.writes.send(Box::new(pending)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// What is on disk when a write is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OnDisk {
    /// Perhaps nothing: a loss of power may take it back.
    Nothing,
    /// What it wrote, and all before it. One that wrote nothing syncs nothing.
    Itself,
    /// All that was committed before it.
    All,
}

/// A write on its way; type-erased so that one queue holds them all.
trait Write: Send {
    fn on_disk(&self) -> OnDisk;
    /// Runs it; false: it failed and its savepoint must be rolled back.
    fn run<'c>(&'c mut self, connection: &'c mut Connection) -> BoxFuture<'c, bool>;
    fn answer(&mut self, committed: Result<(), Error>);
}

struct Pending<T, F> {
    on_disk: OnDisk,
    operation: Option<F>,
    result: Option<Result<T, Error>>,
    answer: Option<oneshot::Sender<Result<T, Error>>>,
}

impl<T, F> Write for Pending<T, F>
where
    T: Send,
    F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, Error>> + Send,
{
    fn on_disk(&self) -> OnDisk {
        self.on_disk
    }

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

/// The one connection that writes.
struct Writer {
    connection: Connection,
    /// Are its commits synced at present? None: unknown.
    is_synced: Option<bool>,
    is_behind: Arc<AtomicBool>,
    log: Log,
    synced_log: SyncedLog,
}

impl Writer {
    /// It needs nobody to begin it again: what may panic is an operation, and `Pending::run` contains that.
    async fn write_batches(mut self, mut waiting: mpsc::Receiver<Box<dyn Write>>) {
        while let Some(first) = self.next(&mut waiting).await {
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX {
                let Ok(next) = waiting.try_recv() else { break };
                batch.push(next);
            }
            let on_disk = batch.iter().map(|write| write.on_disk()).max();
            let committed = self.write_batch(&mut batch, on_disk.unwrap_or(OnDisk::All)).await;
            for write in &mut batch {
                write.answer(match &committed {
                    Ok(()) => Ok(()),
                    Err(error) => Err(Error::Unavailable(error.to_string())),
                });
            }
            self.log.grown().await;
        }
        // Who closes the file last copies the whole log, and removes it.
        self.log.copied().await;
        if let Connection::SqliteWriter(writer, _) = self.connection {
            let _ = writer.close().await;
        }
    }

    async fn next(
        &mut self,
        waiting: &mut mpsc::Receiver<Box<dyn Write>>,
    ) -> Option<Box<dyn Write>> {
        if let Ok(next) = tokio::time::timeout(QUIET, waiting.recv()).await {
            return next;
        }
        self.log.quiet();
        waiting.recv().await
    }

    async fn write_batch(
        &mut self,
        batch: &mut [Box<dyn Write>],
        on_disk: OnDisk,
    ) -> Result<(), sqlx::Error> {
        let synced = on_disk > OnDisk::Nothing;
        if !synced {
            self.is_behind.store(true, Ordering::SeqCst);
        }
        let done = self.commit_batch(batch, synced).await;
        self.is_synced = done.is_ok().then_some(synced);
        if done.is_err() {
            // Fails harmlessly where SQLite has rolled back by itself (disk full).
            let _ = self.connection.run("rollback").await;
            return done;
        }
        self.synced_log.committed(synced);
        match on_disk {
            OnDisk::Nothing => self.log.unsynced(),
            OnDisk::Itself => {}
            OnDisk::All => {
                self.log.synced().await?;
                self.synced_log.synced();
                self.is_behind.store(false, Ordering::SeqCst);
            }
        }
        Ok(())
    }

    async fn commit_batch(
        &mut self,
        batch: &mut [Box<dyn Write>],
        synced: bool,
    ) -> Result<(), sqlx::Error> {
        // With NORMAL a commit isn't synced; one with FULL syncs those before it, too.
        // (https://www.sqlite.org/pragma.html#pragma_synchronous)
        let begin = match (self.is_synced == Some(synced), synced) {
            (true, _) => "begin immediate",
            (false, true) => "pragma synchronous = full; begin immediate",
            (false, false) => "pragma synchronous = normal; begin immediate",
        };
        match batch {
            [alone] => write_alone(&mut self.connection, begin, alone).await,
            several => write_all(&mut self.connection, begin, several).await,
        }
    }
}

/// Without a savepoint SQLite needs no copy of each page that it changes.
async fn write_alone(
    connection: &mut Connection,
    begin: &str,
    write: &mut Box<dyn Write>,
) -> Result<(), sqlx::Error> {
    connection.run(begin).await?;
    let end = if write.run(connection).await { "commit" } else { "rollback" };
    connection.run(end).await
}

/// Each `execute` is a way to SQLite's thread and back, so what follows one another goes together.
async fn write_all(
    connection: &mut Connection,
    begin: &str,
    batch: &mut [Box<dyn Write>],
) -> Result<(), sqlx::Error> {
    connection.run(begin).await?;
    let mut before = "savepoint item";
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::database::query_scalar;
    use crate::store::{Dialect, feed, fixture};

    fn level(connection: &mut Connection, worked: bool) -> BoxFuture<'_, Result<i64, Error>> {
        Box::pin(async move {
            let asked = query_scalar("pragma synchronous");
            let level: i64 = asked.fetch_one(connection).await?;
            if worked { Ok(level) } else { Err(Error::Refused(level.to_string())) }
        })
    }

    #[tokio::test]
    async fn only_who_must_be_sure_waits_for_the_disk() {
        let store = fixture::open(Dialect::Sqlite, Clock::simulated(0)).await;
        // 1: normal, 2: full.
        let ask = async |synced: bool, worked: bool| match synced {
            true => store.control().write(move |c| level(c, worked)).await,
            false => store.control().write_unsynced(move |c| level(c, worked)).await,
        };
        for synced in [false, false, true, true, false, true] {
            let level = if synced { 2 } else { 1 };
            assert_eq!(ask(synced, true).await.unwrap(), level);
            let refused = ask(synced, false).await;
            assert!(matches!(&refused, Err(Error::Refused(was)) if *was == level.to_string()));
        }
    }

    /// Of what is read somebody may keep a number elsewhere.
    #[tokio::test]
    async fn the_end_of_a_feed_is_on_disk() {
        let store = fixture::open(Dialect::Sqlite, Clock::simulated(0)).await;
        let organization = store.organization("default").await.unwrap().id;
        let replication = store.replication(organization).await.unwrap();
        let commit = "insert into rowgate_commits (owner_id, committed_at) values (1, 0)";
        replication.sync().await.unwrap();
        for _ in 0..2 {
            let unsynced = replication.write_unsynced(move |connection| {
                Box::pin(async move { Ok(connection.run(commit).await?) })
            });
            unsynced.await.unwrap();
            assert!(replication.is_behind());
            feed::head(&replication).await.unwrap();
            assert!(!replication.is_behind());
        }
    }
}
