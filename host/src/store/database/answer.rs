//! What becomes of the rows of a statement, whichever database has answered.

use std::marker::PhantomData;

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row as _};

/// A row that either database can answer with.
pub trait Record:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> Record for T where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

/// One column that either database can answer with.
pub trait Cell:
    Send
    + Unpin
    + sqlx::Type<sqlx::Sqlite>
    + sqlx::Type<sqlx::Postgres>
    + for<'r> sqlx::Decode<'r, sqlx::Sqlite>
    + for<'r> sqlx::Decode<'r, sqlx::Postgres>
{
}

impl<T> Cell for T where
    T: Send
        + Unpin
        + sqlx::Type<sqlx::Sqlite>
        + sqlx::Type<sqlx::Postgres>
        + for<'r> sqlx::Decode<'r, sqlx::Sqlite>
        + for<'r> sqlx::Decode<'r, sqlx::Postgres>
{
}

/// What becomes of a row.
pub trait Answer {
    /// What is handed out.
    type Item: Send;
    /// Reads a row of SQLite.
    fn sqlite(row: SqliteRow) -> sqlx::Result<Self::Item>;
    /// Reads a row of PostgreSQL.
    fn postgres(row: PgRow) -> sqlx::Result<Self::Item>;
}

/// A row whose columns are asked for by name.
#[allow(missing_debug_implementations, reason = "a row of SQLite has none")]
pub enum Row {
    #[allow(missing_docs)]
    Sqlite(SqliteRow),
    #[allow(missing_docs)]
    Postgres(PgRow),
}

impl Row {
    /// A column that the statement has, of the type that it has there.
    ///
    /// # Panics
    /// If it isn't so: the statement and this are written together.
    pub fn get<T: Cell>(&self, name: &str) -> T {
        match self {
            Self::Sqlite(row) => row.get(name),
            Self::Postgres(row) => row.get(name),
        }
    }
}

impl Answer for Row {
    type Item = Self;

    fn sqlite(row: SqliteRow) -> sqlx::Result<Self> {
        Ok(Self::Sqlite(row))
    }

    fn postgres(row: PgRow) -> sqlx::Result<Self> {
        Ok(Self::Postgres(row))
    }
}

/// See [`super::query_as`].
#[derive(Debug)]
pub struct As<T>(PhantomData<T>);

impl<T: Record> Answer for As<T> {
    type Item = T;

    fn sqlite(row: SqliteRow) -> sqlx::Result<T> {
        T::from_row(&row)
    }

    fn postgres(row: PgRow) -> sqlx::Result<T> {
        T::from_row(&row)
    }
}

/// See [`super::query_scalar`].
#[derive(Debug)]
pub struct Scalar<T>(PhantomData<T>);

impl<T: Cell> Answer for Scalar<T> {
    type Item = T;

    fn sqlite(row: SqliteRow) -> sqlx::Result<T> {
        row.try_get(0)
    }

    fn postgres(row: PgRow) -> sqlx::Result<T> {
        row.try_get(0)
    }
}
