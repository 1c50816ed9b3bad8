//! One SQLite file: a single writer that puts many small transactions under one sync to disk, and
//! a few readers beside it.

mod checkpoint;
mod writer;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
pub(super) use writer::OnDisk;
use writer::{Pending, Write, Writer};

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What files of a kind are made of.
pub struct FileSchema {
    /// From nothing to its tables.
    pub migrations: Migrator,
    /// Of a page, where a file is made. (<https://www.sqlite.org/pragma.html#pragma_page_size>)
    pub page_bytes: u32,
}

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
    pub async fn open(path: &Path, schema: &FileSchema) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .page_size(schema.page_bytes)
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
            let migrated = schema.migrations.run_direct(&mut writer).await;
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
        let connection = Connection::SqliteWriter(writer, hook);
        let log = Log::of(path, options, LENGTHS);
        let writer = Writer::new(connection, Arc::clone(&is_behind), log, synced_log);
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
        let pending = Pending::new(on_disk, operation, answer);
        let gone = || Error::Unavailable("the writer has stopped".into());
        self.writes.send(Box::new(pending)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

fn unavailable(error: sqlx::Error) -> Error {
    Error::Unavailable(error.to_string())
}

fn io(error: std::io::Error) -> Error {
    Error::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use crate::clock::Clock;
    use crate::store::{Dialect, feed, fixture};

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
