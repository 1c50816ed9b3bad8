//! The one that writes: takes what waits into one transaction, and sees to it that what must be is on disk
//! before it answers.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sqlx::Connection as _;
use tokio::sync::{mpsc, oneshot};

use super::checkpoint::Log;
use crate::failpoint::SyncedLog;
use crate::store::database::{Connection, Error};

/// Writes that one transaction takes in at most; more wait for the next one.
const BATCH_MAX: usize = 256;
/// So long without a write, and the disk is asked for what it wasn't yet, and a log that has become long is copied.
const QUIET: Duration = Duration::from_secs(1);

/// What is on disk when a write is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store::database) enum OnDisk {
    /// Perhaps nothing: a loss of power may take it back.
    Nothing,
    /// Perhaps nothing yet, but it is on its way there.
    Soon,
    /// What it wrote, and all before it. One that wrote nothing syncs nothing.
    Itself,
    /// All that was committed before it.
    All,
}

/// The one connection that writes.
pub(super) struct Writer {
    connection: Connection,
    /// Are its commits synced at present? None: unknown.
    is_synced: Option<bool>,
    is_behind: Arc<AtomicBool>,
    log: Log,
    synced_log: SyncedLog,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        is_behind: Arc<AtomicBool>,
        log: Log,
        synced_log: SyncedLog,
    ) -> Self {
        Self { connection, is_synced: None, is_behind, log, synced_log }
    }

    /// It needs nobody to begin it again: what may panic is an operation, and `Pending::run` contains that.
    pub(super) async fn write_batches(mut self, mut waiting: mpsc::Receiver<Box<dyn Write>>) {
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
        if self.is_behind.load(Ordering::SeqCst) {
            self.log.begin_sync();
        }
        self.log.quiet();
        waiting.recv().await
    }

    async fn write_batch(
        &mut self,
        batch: &mut [Box<dyn Write>],
        on_disk: OnDisk,
    ) -> Result<(), sqlx::Error> {
        let synced = on_disk > OnDisk::Soon;
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
            OnDisk::Nothing | OnDisk::Itself => {}
            OnDisk::Soon => self.log.begin_sync(),
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

/// A write on its way; type-erased so that one queue holds them all.
pub(super) trait Write: Send {
    fn on_disk(&self) -> OnDisk;
    /// Runs it; false: it failed and its savepoint must be rolled back.
    fn run<'c>(&'c mut self, connection: &'c mut Connection) -> BoxFuture<'c, bool>;
    fn answer(&mut self, committed: Result<(), Error>);
}

pub(super) struct Pending<T, F> {
    on_disk: OnDisk,
    operation: Option<F>,
    result: Option<Result<T, Error>>,
    answer: Option<oneshot::Sender<Result<T, Error>>>,
}

impl<T, F> Pending<T, F> {
    pub(super) fn new(
        on_disk: OnDisk,
        operation: F,
        answer: oneshot::Sender<Result<T, Error>>,
    ) -> Self {
        Self { on_disk, operation: Some(operation), result: None, answer: Some(answer) }
    }
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

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;

    use crate::clock::Clock;
    use crate::store::database::{Connection, Error, query_scalar};
    use crate::store::{Dialect, fixture};

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
}
