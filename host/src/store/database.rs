//! One database, SQLite or PostgreSQL: writes in transactions, reads beside them.

mod answer;
mod argument;
mod postgres;
mod query;
mod sqlite;
mod update_hook;

use std::panic::AssertUnwindSafe;
use std::path::Path;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Executor as _, Postgres, Sqlite, Transaction};

pub use answer::{Answer, Cell, Record, Row};
pub use argument::Argument;
pub(in crate::store) use postgres::maker;
pub use postgres::{PostgresDatabase, SessionLimits};
pub use query::{Done, Query, Target, query, query_as, query_scalar};
pub use sqlite::SqliteDatabase;
pub use update_hook::UpdateHook;

use crate::metrics::Connections;

use sqlite::OnDisk;

/// Why the store refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Disk full, file gone, server down, locked for too long: try again later.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The statement can't have worked; nothing was written.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// What is stored contradicts itself.
    #[error("inconsistent: {0}")]
    Inconsistent(String),
    /// The lease, generation or cursor this write was made under has moved (R2, R3).
    #[error("superseded: {0}")]
    Superseded(&'static str),
    /// The full listing that a call ends isn't open, so what it didn't see isn't known.
    #[error("{0}")]
    NotListed(String),
    /// Too much at once, or in too short a time; the text says of what.
    #[error("{reason}")]
    Busy {
        /// Of what there is too much.
        reason: String,
        /// When it may work, from now on.
        retry_after_s: u32,
    },
    /// The caller asked for something that isn't possible; the text says what to do.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// The database wasn't reached, or gave no answer: another statement may fare better.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Database(error) => matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::Protocol(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed
            ),
            _ => false,
        }
    }
}

/// What a server has against a row, whenever it comes. None: something else is wrong.
pub(in crate::store) fn unstorable(error: &sqlx::Error) -> Option<&str> {
    let error = error.as_database_error()?;
    says_unstorable(&error.code()?).then(|| error.message())
}

/// By SQLSTATE: a data exception, such as NUL in a text, or what is beyond PostgreSQL's own limits.
pub fn says_unstorable(code: &str) -> bool {
    code.len() == 5 && (code.starts_with("22") || code.starts_with("54"))
}

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
    pub async fn open(path: &Path, migrations: &Migrator) -> Result<Self, Error> {
        SqliteDatabase::open(path, migrations).await.map(Self::Sqlite)
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
        match self {
            Self::Sqlite(database) => {
                let write = database.write(OnDisk::Itself, |connection| {
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
        match self {
            Self::Sqlite(database) => {
                let write = database.write(OnDisk::Itself, |connection| {
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
        match self {
            Self::Sqlite(database) => database.write(OnDisk::Itself, operation).await,
            Self::Postgres(database) => database.write(operation).await,
        }
    }

    /// The same, but on a file a loss of power may take it back as long as no later [`Database::write`] has
    /// been answered.
    pub async fn write_unsynced<T, F>(&self, operation: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, Error>> + Send + 'static,
    {
        match self {
            Self::Sqlite(database) => database.write(OnDisk::Nothing, operation).await,
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

/// A connection, inside a transaction where it was handed to an operation of [`Database::write`].
#[derive(Debug)]
pub enum Connection {
    /// The one writer of a file.
    SqliteWriter(SqliteConnection, UpdateHook),
    /// A connection that only reads.
    SqliteReader(PoolConnection<Sqlite>),
    /// A connection of a server.
    Postgres(PoolConnection<Postgres>),
    /// The same in a transaction.
    Transaction(Transaction<'static, Postgres>),
}

/// A connection as its driver has it.
pub(in crate::store) enum Peer<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl Connection {
    /// What it speaks.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::SqliteWriter(..) | Self::SqliteReader(_) => Dialect::Sqlite,
            Self::Postgres(_) | Self::Transaction(_) => Dialect::Postgres,
        }
    }

    /// Runs a text of any number of statements that isn't kept prepared.
    pub(in crate::store) async fn run(&mut self, sql: &str) -> sqlx::Result<()> {
        match self.peer() {
            Peer::Sqlite(connection) => connection.execute(sql).await.map(drop),
            Peer::Postgres(connection) => connection.execute(sql).await.map(drop),
        }
    }

    /// What tells of the rows that a statement moves. None: the statement has to return them.
    pub(in crate::store) fn update_hook(&self) -> Option<&UpdateHook> {
        match self {
            Self::SqliteWriter(_, hook) => Some(hook),
            Self::SqliteReader(_) | Self::Postgres(_) | Self::Transaction(_) => None,
        }
    }

    pub(in crate::store) fn peer(&mut self) -> Peer<'_> {
        match self {
            Self::SqliteWriter(connection, _) => Peer::Sqlite(connection),
            Self::SqliteReader(connection) => Peer::Sqlite(connection),
            Self::Postgres(connection) => Peer::Postgres(connection),
            Self::Transaction(transaction) => Peer::Postgres(transaction),
        }
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn migration_error(of: &str, error: MigrateError) -> Error {
    match error {
        MigrateError::VersionMissing(version) => Error::Refused(format!(
            "{of} has schema version {version}, which this program doesn't know: start the newer \
             rowgate that wrote it"
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            let error = Error::Database(error);
            match error.is_away() {
                true => Error::Unavailable(format!("{of}: {error}")),
                false => Error::Inconsistent(format!("{of}: {error}")),
            }
        }
        other => Error::Inconsistent(format!("{of}: {other}")),
    }
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
