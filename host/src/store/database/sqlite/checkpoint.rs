//! Copies a file's log into the file (a checkpoint), beside its writer. A checkpoint waits for the
//! disk: in the writer's own connection everybody would wait for it.

use std::path::{Path, PathBuf};
use std::{fs, io};

use futures_util::FutureExt as _;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, Executor as _};
use tokio::task::JoinHandle;

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
        let (path, copying, syncing) = (log_path(database), None, None);
        Self { path, lengths, options, copying, syncing, copied_bytes: 0, awaited_bytes: 0 }
    }

    /// Answers when all is on disk that is in the log of a database.
    pub(super) async fn sync(database: &Path) -> io::Result<()> {
        synced(log_path(database)).await
    }

    /// Answers when all is on disk that was committed.
    pub(super) async fn synced(&self) -> io::Result<()> {
        synced(self.path.clone()).await
    }

    /// To be called after a commit that wasn't synced. The disk takes it meanwhile: whoever must be sure of a later
    /// one would wait for all of them.
    pub(super) fn unsynced(&mut self) {
        if self.syncing.as_ref().is_some_and(|syncing| !syncing.is_finished()) {
            return;
        }
        // Whether it has worked is asked by whoever must be sure.
        self.syncing = Some(tokio::spawn(synced(self.path.clone()).map(drop)));
    }

    /// To be called between two transactions. Reads a length, and seldom does more.
    pub(super) async fn grown(&mut self) {
        let bytes = fs::metadata(&self.path).map_or(0, |log| log.len());
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
        let is_copying = self.copying.as_ref().is_some_and(|copying| !copying.is_finished());
        if bytes >= self.copied_bytes + self.lengths.copied_bytes && !is_copying {
            self.copy(bytes);
        }
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

async fn synced(log: PathBuf) -> io::Result<()> {
    let synced = tokio::task::spawn_blocking(|| match fs::File::open(log) {
        Ok(log) => log.sync_data(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    });
    synced.await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
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
