//! One database, SQLite or PostgreSQL: writes in transactions, reads beside them.

mod answer;
mod argument;
mod connection;
mod error;
mod postgres;
mod query;
mod sqlite;
mod update_hook;

use std::panic::AssertUnwindSafe;
use std::path::Path;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

pub use answer::{Answer, Cell, Record, Row};
pub use argument::Argument;
pub use connection::Connection;
pub(in crate::store) use connection::Peer;
pub(in crate::store) use error::unstorable;
pub use error::{Error, says_unstorable};
pub(in crate::store) use postgres::maker;
pub use postgres::{PostgresDatabase, SessionLimits};
pub use query::{Done, Query, Target, query, query_as, query_scalar};
pub use sqlite::{FileSchema, SqliteDatabase};
pub use update_hook::UpdateHook;

use crate::metrics::Connections;

use error::migration_error;
use sqlite::OnDisk;

/// What a database speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// What locks the rows that a statement selects. Nothing on a file: it has one writer.
    pub(in crate::store) fn locks(self, clause: &'static str) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => clause,
        }
    }
}

/// One database. Clones are the same.
#[derive(Clone, Debug)]
pub enum Database {
    /// A file.
    Sqlite(SqliteDatabase),
    /// A database of a server, or a schema in one.
    Postgres(PostgresDatabase),
}

impl Database {
    /// Opens or creates a SQLite file and brings its schema up to date. A file with a newer schema
    /// than this program knows is refused.
    pub async fn open(path: &Path, schema: &FileSchema) -> Result<Self, Error> {
        SqliteDatabase::open(path, schema).await.map(Self::Sqlite)
    }

    /// What it speaks.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Where statements that only read run; each sees what was committed before it began.
    pub fn readers(&self) -> &Self {
        self
    }

    /// A connection for several reads.
    pub async fn reader(&self) -> sqlx::Result<Connection> {
        match self {
            Self::Sqlite(database) => database.reader().await.map(Connection::SqliteReader),
            Self::Postgres(database) => database.connection().await.map(Connection::Postgres),
        }
    }

    /// Runs one statement as a transaction of its own.
    pub async fn execute(&self, statement: Query<'static, Row>) -> Result<Done, Error> {
        self.execute_to(OnDisk::Itself, statement).await
    }

    /// The same, durable as [`Database::write_unsynced`] is.
    pub async fn execute_unsynced(&self, statement: Query<'static, Row>) -> Result<Done, Error> {
        self.execute_to(OnDisk::Nothing, statement).await
    }

    async fn execute_to(
        &self,
        on_disk: OnDisk,
        statement: Query<'static, Row>,
    ) -> Result<Done, Error> {
        match self {
            Self::Sqlite(database) => {
                let write = database.write(on_disk, |connection| {
                    Box::pin(async move { Ok(statement.execute(connection).await?) })
                });
                write.await
            }
            Self::Postgres(_) => Ok(statement.execute(self).await?),
        }
    }

    /// Runs a statement that takes `slice` rows at most, as a transaction of its own each time, until it
    /// takes fewer; answers how many rows went. Nobody waits for more than one of them.
    pub async fn execute_slices(
        &self,
        slice: i64,
        statement: impl Fn() -> Query<'static, Row> + Send + Sync,
    ) -> Result<u64, Error> {
        let mut gone = 0;
        loop {
            let went = self.execute(statement()).await?.rows_affected();
            gone += went;
            if went < slice.unsigned_abs() {
                return Ok(gone);
            }
        }
    }

    /// Runs one statement that writes and answers at most one row, as a transaction of its own.
    pub async fn fetch<A>(&self, statement: Query<'static, A>) -> Result<Option<A::Item>, Error>
    where
        A: Answer + 'static,
        A::Item: 'static,
    {
        self.fetch_to(OnDisk::Itself, statement).await
    }

    /// The same, durable as [`Database::write_unsynced`] is.
    pub async fn fetch_unsynced<A>(
        &self,
        statement: Query<'static, A>,
    ) -> Result<Option<A::Item>, Error>
    where
        A: Answer + 'static,
        A::Item: 'static,
    {
        self.fetch_to(OnDisk::Nothing, statement).await
    }

    async fn fetch_to<A>(
        &self,
        on_disk: OnDisk,
        statement: Query<'static, A>,
    ) -> Result<Option<A::Item>, Error>
    where
        A: Answer + 'static,
        A::Item: 'static,
    {
        match self {
            Self::Sqlite(database) => {
                let write = database.write(on_disk, |connection| {
                    Box::pin(async move { Ok(statement.fetch_optional(connection).await?) })
                });
                write.await
            }
            Self::Postgres(_) => Ok(statement.fetch_optional(self).await?),
        }
    }

    /// A text that it sent, without the credentials that a customer's may repeat.
    pub(in crate::store) fn hide(&self, text: &str) -> String {
        match self {
            Self::Sqlite(_) => text.to_owned(),
            Self::Postgres(database) => database.hide(text),
        }
    }

    /// Commits that can be read may not be on disk yet.
    #[cfg(test)]
    pub(in crate::store) fn is_behind(&self) -> bool {
        match self {
            Self::Sqlite(database) => database.is_behind(),
            Self::Postgres(_) => false,
        }
    }

    /// How much of what it has is in use.
    pub fn connections(&self) -> Connections {
        match self {
            Self::Sqlite(database) => database.connections(),
            Self::Postgres(database) => database.connections(),
        }
    }

    /// Runs `operation` inside a transaction and answers when it is on disk. If it fails, nothing
    /// of it is kept. Who stops waiting doesn't stop it.
    pub async fn write<T, F>(&self, operation: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, Error>> + Send + 'static,
    {
        self.write_to(OnDisk::Itself, operation).await
    }

    /// The same, but on a file a loss of power may take it back as long as no later [`Database::write`] that wrote
    /// something has been answered.
    pub async fn write_unsynced<T, F>(&self, operation: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, Error>> + Send + 'static,
    {
        self.write_to(OnDisk::Nothing, operation).await
    }

    /// The same for what is long: a file's disk begins to take it at once.
    pub async fn write_ahead_of_sync<T, F>(&self, operation: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, Error>> + Send + 'static,
    {
        self.write_to(OnDisk::Soon, operation).await
    }

    async fn write_to<T, F>(&self, on_disk: OnDisk, operation: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, Error>> + Send + 'static,
    {
        match self {
            Self::Sqlite(database) => database.write(on_disk, operation).await,
            Self::Postgres(database) => database.write(operation).await,
        }
    }

    /// Answers when all is on disk that anybody could read.
    pub async fn sync(&self) -> Result<(), Error> {
        match self {
            Self::Sqlite(database) => database.sync().await,
            // A commit is visible when it is.
            Self::Postgres(_) => Ok(()),
        }
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A library panics on answers that no server of its kind gives; a customer's may.
pub(in crate::store) async fn contained<T, E>(
    asked: impl Future<Output = Result<T, E>>,
    error: impl FnOnce(String) -> E,
) -> Result<T, E> {
    let answered = AssertUnwindSafe(asked).catch_unwind().await;
    answered.unwrap_or_else(|_| Err(error("the server's answer has no sense".into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::fixture::{self, on_both};

    on_both! { a_write_that_panics_leaves_nothing_behind }

    async fn a_write_that_panics_leaves_nothing_behind(dialect: Dialect) {
        const WRITE: &str = "create table written (n bigint)";
        let store = fixture::open(dialect, Clock::simulated(0)).await;
        let panics = store.control().write(|connection| {
            Box::pin(async move {
                connection.run(WRITE).await?;
                let none: Vec<i64> =
                    query_scalar("select n from written").fetch_all(connection).await?;
                Ok(none[0])
            })
        });
        assert!(panics.await.is_err());
        let at_once = store.control().write::<(), _>(|_| panic!("before there is a future"));
        assert!(at_once.await.is_err());
        fixture::run(&store, WRITE.to_owned()).await;
    }
}
