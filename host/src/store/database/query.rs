//! One statement for either database: a text with `$1`, `$2`, .. and its arguments.

use std::borrow::Cow;
use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use sqlx::Arguments as _;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;

use super::answer::{Answer, As, Row, Scalar};
use super::argument::Argument;
use super::{Connection, Database, Peer};

fn contained<'c, T: 'c>(
    asked: impl Future<Output = sqlx::Result<T>> + Send + 'c,
) -> BoxFuture<'c, sqlx::Result<T>> {
    Box::pin(super::contained(asked, sqlx::Error::Protocol))
}

/// On what a statement runs: a connection in a transaction, or whichever is free for reading.
#[derive(Debug)]
pub enum Target<'c> {
    /// This connection.
    Connection(&'c mut Connection),
    /// A connection of its own, for this statement alone.
    Readers(&'c Database),
}

impl<'c> From<&'c mut Connection> for Target<'c> {
    fn from(connection: &'c mut Connection) -> Self {
        Self::Connection(connection)
    }
}

impl<'c> From<&'c Database> for Target<'c> {
    fn from(database: &'c Database) -> Self {
        Self::Readers(database)
    }
}

/// What a statement without an answer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done(u64);

impl Done {
    /// Rows inserted, updated or deleted.
    pub fn rows_affected(self) -> u64 {
        self.0
    }
}

/// A statement whose rows are read by name.
pub fn query<'q>(sql: impl Into<Cow<'q, str>>) -> Query<'q, Row> {
    Query { sql: sql.into(), arguments: Vec::new(), persistent: true, answer: PhantomData }
}

/// A statement whose rows become `T`.
pub fn query_as<'q, T>(sql: impl Into<Cow<'q, str>>) -> Query<'q, As<T>> {
    Query { sql: sql.into(), arguments: Vec::new(), persistent: true, answer: PhantomData }
}

/// A statement of whose rows the first column counts.
pub fn query_scalar<'q, T>(sql: impl Into<Cow<'q, str>>) -> Query<'q, Scalar<T>> {
    Query { sql: sql.into(), arguments: Vec::new(), persistent: true, answer: PhantomData }
}

/// A statement with its arguments. `A`: what becomes of its rows.
#[derive(Debug)]
pub struct Query<'q, A> {
    sql: Cow<'q, str>,
    arguments: Vec<Argument<'q>>,
    persistent: bool,
    answer: PhantomData<fn() -> A>,
}

impl<'q, A: Answer> Query<'q, A> {
    /// Binds the next argument.
    #[must_use]
    pub fn bind(mut self, argument: impl Into<Argument<'q>>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Binds arguments that were collected before.
    #[must_use]
    pub(in crate::store) fn bind_all(mut self, arguments: Vec<Argument<'q>>) -> Self {
        self.arguments.extend(arguments);
        self
    }

    /// False: a text that won't come again is not kept prepared.
    #[must_use]
    pub fn persistent(mut self, persistent: bool) -> Self {
        self.persistent = persistent;
        self
    }

    /// Runs it for what it does.
    ///
    /// These futures are boxed: the compiler can't see of the others that they may be sent.
    pub fn execute<'c>(self, target: impl Into<Target<'c>>) -> BoxFuture<'c, sqlx::Result<Done>>
    where
        'q: 'c,
        A: 'c,
    {
        let target = target.into();
        contained(async move {
            let mut own = None;
            let done = match target.peer(&mut own).await? {
                Peer::Sqlite(connection) => {
                    self.sqlite()?.execute(connection).await?.rows_affected()
                }
                Peer::Postgres(connection) => {
                    self.postgres()?.execute(connection).await?.rows_affected()
                }
            };
            Ok(Done(done))
        })
    }

    /// All rows.
    pub fn fetch_all<'c>(
        self,
        target: impl Into<Target<'c>>,
    ) -> BoxFuture<'c, sqlx::Result<Vec<A::Item>>>
    where
        'q: 'c,
        A: 'c,
    {
        let target = target.into();
        contained(async move {
            let mut own = None;
            match target.peer(&mut own).await? {
                Peer::Sqlite(connection) => {
                    let rows = self.sqlite()?.fetch_all(connection).await?;
                    rows.into_iter().map(A::sqlite).collect()
                }
                Peer::Postgres(connection) => {
                    let rows = self.postgres()?.fetch_all(connection).await?;
                    rows.into_iter().map(A::postgres).collect()
                }
            }
        })
    }

    /// The first row, if there is any.
    pub fn fetch_optional<'c>(
        self,
        target: impl Into<Target<'c>>,
    ) -> BoxFuture<'c, sqlx::Result<Option<A::Item>>>
    where
        'q: 'c,
        A: 'c,
    {
        let target = target.into();
        contained(async move {
            let mut own = None;
            match target.peer(&mut own).await? {
                Peer::Sqlite(connection) => {
                    self.sqlite()?.fetch_optional(connection).await?.map(A::sqlite).transpose()
                }
                Peer::Postgres(connection) => {
                    let row = self.postgres()?.fetch_optional(connection).await?;
                    row.map(A::postgres).transpose()
                }
            }
        })
    }

    /// The first row.
    ///
    /// # Errors
    /// Also [`sqlx::Error::RowNotFound`].
    pub fn fetch_one<'c>(
        self,
        target: impl Into<Target<'c>>,
    ) -> BoxFuture<'c, sqlx::Result<A::Item>>
    where
        'q: 'c,
        A: 'c,
    {
        let row = self.fetch_optional(target);
        Box::pin(async move { row.await?.ok_or(sqlx::Error::RowNotFound) })
    }

    fn sqlite(&self) -> sqlx::Result<SqliteQuery<'_>> {
        let mut arguments = SqliteArguments::default();
        for argument in &self.arguments {
            match argument {
                Argument::Boolean(value) => arguments.add(*value),
                Argument::Integer(value) => arguments.add(*value),
                Argument::Double(value) => arguments.add(*value),
                Argument::Text(value) => arguments.add(value.as_deref()),
                Argument::Bytes(value) => arguments.add(value.as_deref()),
                Argument::Booleans(_)
                | Argument::Integers(_)
                | Argument::Doubles(_)
                | Argument::Texts(_)
                | Argument::Bytestrings(_) => Err("SQLite has no arrays".into()),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(sqlx::query_with(&self.sql, arguments).persistent(self.persistent))
    }

    fn postgres(&self) -> sqlx::Result<PostgresQuery<'_>> {
        let mut arguments = PgArguments::default();
        for argument in &self.arguments {
            argument.add_to(&mut arguments)?;
        }
        Ok(sqlx::query_with(&self.sql, arguments).persistent(self.persistent))
    }
}

type SqliteQuery<'q> = sqlx::query::Query<'q, sqlx::Sqlite, SqliteArguments<'q>>;
type PostgresQuery<'q> = sqlx::query::Query<'q, sqlx::Postgres, PgArguments>;

impl<'c> Target<'c> {
    /// `own` keeps a connection that is taken for this statement.
    async fn peer<'p>(self, own: &'p mut Option<Connection>) -> sqlx::Result<Peer<'p>>
    where
        'c: 'p,
    {
        Ok(match self {
            Self::Connection(connection) => connection.peer(),
            Self::Readers(database) => own.insert(database.reader().await?).peer(),
        })
    }
}
