//! A connection to either database.

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Executor as _, Postgres, Sqlite, Transaction};

use super::{Dialect, UpdateHook};

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
