//! Copies a file's log into the file (a checkpoint), beside its writer. A checkpoint waits for the
//! disk: in the writer's own connection everybody would wait for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use futures_util::FutureExt as _;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, Executor as _};
use tokio::task::JoinHandle;

use crate::failpoint::{self, SyncedLog};

/// How long logs become.
pub(super) const LENGTHS: Lengths =
    Lengths { kept_bytes: 16 << 20, copied_bytes: 64 << 20, awaited_bytes: 256 << 20 };

/// See [`LENGTHS`].
#[derive(Clone, Copy)]
pub(super) struct Lengths {
    /// A log that begins anew is cut to this.
    pub(super) kept_bytes: u64,
    /// So much is copied at a time. Pages of indexes change in every commit of a full listing: copied less
    /// often, they are copied less in all.
    copied_bytes: u64,
    /// From here on the writer waits for the copy, so that the log can begin anew. It can't while commits
    /// follow each other closely.
    awaited_bytes: u64,
}

/// The log of one file.
pub(super) struct Log {
    path: PathBuf,
    /// Tells whether commits that SQLite left to the disk are on it. Open before the disk is asked for a long
    /// one: an error is told once, to each descriptor that was open then. (`fsync(2)`)
    file: Option<Arc<fs::File>>,
    /// Commits may be gone that could be read.
    has_failed: bool,
    lengths: Lengths,
    options: SqliteConnectOptions,
    copying: Option<JoinHandle<()>>,
    syncing: Option<JoinHandle<()>>,
    /// How long it was when the latest copy began, and the latest that was waited for.
    copied_bytes: u64,
    awaited_bytes: u64,
}

impl Log {
    /// `options`: of a connection that may write.
    pub(super) fn of(database: &Path, options: SqliteConnectOptions, lengths: Lengths) -> Self {
        Self {
            path: log_path(database),
            file: None,
            has_failed: false,
            lengths,
            // The file may be deleted meanwhile.
            options: options.create_if_missing(false),
            copying: None,
            syncing: None,
            copied_bytes: 0,
            awaited_bytes: 0,
        }
    }

    /// Answers when all is on disk that is in the log of a database.
    pub(super) async fn sync(database: &Path) -> io::Result<()> {
        let log = log_path(database);
        let synced = blocking(|| match fs::File::open(log) {
            Ok(log) => log.sync_data(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        });
        synced.await?;
        SyncedLog::of(database).synced();
        failpoint::reach("log_synced");
        Ok(())
    }

    /// Answers when all is on disk that was committed. Once it has failed it does so until the file is opened
    /// again: what is there then is what can be read.
    pub(super) async fn synced(&mut self) -> io::Result<()> {
        if self.has_failed {
            return Err(io::Error::other("an earlier sync failed"));
        }
        let log = self.file()?;
        let synced = blocking(move || log.sync_data()).await;
        self.has_failed = synced.is_err();
        synced
    }

    fn file(&mut self) -> io::Result<Arc<fs::File>> {
        if let Some(log) = &self.file {
            return Ok(Arc::clone(log));
        }
        let log = Arc::new(fs::File::open(&self.path)?);
        Ok(Arc::clone(self.file.insert(log)))
    }

    /// To be called after a long commit that wasn't synced. The disk takes it meanwhile: whoever must be sure of a
    /// later one would wait for all of them.
    pub(super) fn begin_sync(&mut self) {
        let is_syncing = self.syncing.as_ref().is_some_and(|syncing| !syncing.is_finished());
        if is_syncing || self.file().is_err() {
            return;
        }
        let path = self.path.clone();
        // Whether it has worked is asked by whoever must be sure.
        let synced = blocking(|| fs::File::open(path)?.sync_data());
        self.syncing = Some(tokio::spawn(synced.map(drop)));
    }

    /// To be called between two transactions. Reads a length, and seldom does more.
    pub(super) async fn grown(&mut self) {
        let bytes = self.bytes();
        if bytes < self.lengths.copied_bytes {
            (self.copied_bytes, self.awaited_bytes) = (0, 0);
            return;
        }
        // Who reads for long keeps the log from beginning anew: that must not hold up each commit.
        if bytes >= self.awaited_bytes + self.lengths.awaited_bytes {
            self.copied().await;
            self.copy(bytes);
            self.copied().await;
            self.awaited_bytes = bytes;
            return;
        }
        if bytes >= self.copied_bytes + self.lengths.copied_bytes && !self.is_copying() {
            self.copy(bytes);
        }
    }

    /// To be called when no commit has come for a while: the copy is whole then, and with the next commit the
    /// log begins anew.
    pub(super) fn quiet(&mut self) {
        let bytes = self.bytes();
        if bytes > self.lengths.kept_bytes && !self.is_copying() {
            self.copy(bytes);
        }
    }

    fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |log| log.len())
    }

    fn is_copying(&self) -> bool {
        self.copying.as_ref().is_some_and(|copying| !copying.is_finished())
    }

    /// Waits for the copy that is being made.
    pub(super) async fn copied(&mut self) {
        if let Some(copying) = self.copying.take() {
            let _ = copying.await;
        }
    }

    fn copy(&mut self, bytes: u64) {
        self.copied_bytes = bytes;
        let options = self.options.clone();
        self.copying = Some(tokio::spawn(async move {
            if let Err(error) = checkpoint(&options).await {
                tracing::warn!(%error, "the log of a database file could not be copied into it");
            }
        }));
    }
}

async fn blocking(operation: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let done = tokio::task::spawn_blocking(operation).await;
    done.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

fn log_path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

/// Passive: waits for nobody, and copies what no reader needs as it was.
/// (<https://www.sqlite.org/pragma.html#pragma_wal_checkpoint>)
async fn checkpoint(options: &SqliteConnectOptions) -> sqlx::Result<()> {
    let mut connection = options.connect().await?;
    connection.execute("pragma wal_checkpoint(passive)").await?;
    connection.close().await
}

#[cfg(test)]
mod tests;
