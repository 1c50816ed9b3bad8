//! A statement with its parameters, and the two ways in which it is run here.

use std::fmt::Write as _;

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, Row as _, SqliteConnection};

use super::dialect::PARAMETER;
use crate::rows::Value;

/// A statement under construction; parameters go by their place in the text.
#[derive(Default)]
pub(super) struct Query<'q> {
    sql: String,
    arguments: SqliteArguments<'q>,
}

impl<'q> Query<'q> {
    pub(super) fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), arguments: SqliteArguments::default() }
    }

    pub(super) fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    pub(super) fn push_fmt(&mut self, sql: std::fmt::Arguments<'_>) {
        let _infallible = self.sql.write_fmt(sql);
    }

    /// Writes a placeholder and binds its value.
    pub(super) fn push_value(&mut self, value: &'q Value<'_>) -> sqlx::Result<()> {
        self.sql.push_str(PARAMETER);
        self.bind(value)
    }

    pub(super) fn push_text(
        &mut self,
        text: impl Into<std::borrow::Cow<'q, str>>,
    ) -> sqlx::Result<()> {
        self.sql.push_str(PARAMETER);
        self.bind_text(text)
    }

    pub(super) fn push_integer(&mut self, integer: i64) -> sqlx::Result<()> {
        self.sql.push_str(PARAMETER);
        self.bind_integer(integer)
    }

    /// Binds the next placeholder of the text.
    pub(super) fn bind(&mut self, value: &'q Value<'_>) -> sqlx::Result<()> {
        let arguments = &mut self.arguments;
        match value {
            Value::Null => arguments.add(None::<i64>),
            Value::Boolean(value) => arguments.add(*value),
            Value::Integer(value) => arguments.add(*value),
            Value::Double(value) => arguments.add(*value),
            Value::Text(value) => arguments.add(value.as_ref()),
            Value::Bytes(value) => arguments.add(value.as_ref()),
        }
        .map_err(sqlx::Error::Encode)
    }

    pub(super) fn bind_text(
        &mut self,
        text: impl Into<std::borrow::Cow<'q, str>>,
    ) -> sqlx::Result<()> {
        self.arguments.add(text.into()).map_err(sqlx::Error::Encode)
    }

    pub(super) fn bind_integer(&mut self, integer: i64) -> sqlx::Result<()> {
        self.arguments.add(integer).map_err(sqlx::Error::Encode)
    }

    /// Only the text.
    #[cfg(test)]
    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    pub(super) async fn execute(self, conn: &mut SqliteConnection) -> sqlx::Result<u64> {
        let Self { sql, arguments } = self;
        Ok(sqlx::query_with(&sql, arguments).execute(conn).await?.rows_affected())
    }

    pub(super) async fn fetch(self, conn: &mut SqliteConnection) -> sqlx::Result<Vec<SqliteRow>> {
        let Self { sql, arguments } = self;
        sqlx::query_with(&sql, arguments).fetch_all(conn).await
    }

    /// For `returning` with `pk` and the unique key as text.
    pub(super) async fn fetch_keys(
        self,
        conn: &mut SqliteConnection,
    ) -> sqlx::Result<Vec<(i64, String)>> {
        let rows = self.fetch(conn).await?;
        rows.iter().map(|row| Ok((row.try_get_unchecked(0)?, row.try_get_unchecked(1)?))).collect()
    }
}

/// So many rows in one statement: few distinct texts, so that they stay prepared.
const CHUNKS: [usize; 4] = [256, 32, 4, 1];

/// Cuts a list of rows with `parameters` each (and `fixed` in all) into chunks of these sizes.
pub(super) fn chunks<T>(mut rows: &[T], parameters: usize, fixed: usize) -> Vec<&[T]> {
    let room = super::dialect::PARAMETERS_MAX.saturating_sub(fixed);
    let mut chunks = Vec::new();
    for size in CHUNKS {
        if size > 1 && size * parameters > room {
            continue;
        }
        while rows.len() >= size {
            let (chunk, rest) = rows.split_at(size);
            chunks.push(chunk);
            rows = rest;
        }
    }
    chunks
}
