//! A statement under construction, and the two ways in which it is run here.

use std::borrow::Cow;
use std::fmt::Write as _;

use rowgate_manifest::ColumnType;

use crate::rows::Value;
use crate::store::database::{Answer, Query as Statement};
use crate::store::{Argument, Connection, Dialect, query, query_as, query_scalar};

/// A statement under construction.
pub(super) struct Query<'q> {
    pub(super) dialect: Dialect,
    sql: String,
    arguments: Vec<Argument<'q>>,
}

impl<'q> Query<'q> {
    pub(super) fn new(dialect: Dialect, sql: impl Into<String>) -> Self {
        Self { dialect, sql: sql.into(), arguments: Vec::new() }
    }

    pub(super) fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    pub(super) fn push_fmt(&mut self, sql: std::fmt::Arguments<'_>) {
        let _infallible = self.sql.write_fmt(sql);
    }

    /// Writes a placeholder and binds a value of a column.
    pub(super) fn push_value(&mut self, value: &'q Value<'_>, kind: ColumnType) {
        self.push_argument(argument(value, kind));
        self.sql.push_str(self.dialect.cast(kind));
    }

    pub(super) fn push_text(&mut self, text: impl Into<Cow<'q, str>>) {
        self.push_argument(Argument::Text(Some(text.into())));
    }

    /// A time as [`crate::rows::timestamp_text`] writes it.
    pub(super) fn push_timestamp(&mut self, text: impl Into<Cow<'q, str>>) {
        self.push_text(text);
        self.sql.push_str(self.dialect.cast(ColumnType::Timestamptz));
    }

    pub(super) fn push_integer(&mut self, integer: i64) {
        self.push_argument(Argument::Integer(Some(integer)));
    }

    /// SQLite looks numbered parameters up one by one, which is quadratic in a statement of
    /// thousands; there they go by their place in the text.
    pub(super) fn push_argument(&mut self, argument: Argument<'q>) {
        self.arguments.push(argument);
        match self.dialect {
            Dialect::Sqlite => self.sql.push('?'),
            Dialect::Postgres => {
                let _infallible = write!(self.sql, "${}", self.arguments.len());
            }
        }
    }

    /// Writes rows of placeholders, `padding` more of nulls behind them, all `width` wide, and binds them.
    pub(super) fn push_rows(
        &mut self,
        rows: impl Iterator<Item = impl Iterator<Item = Argument<'q>>>,
        padding: usize,
        width: usize,
    ) {
        let mut before = "(";
        for row in rows {
            for argument in row {
                self.push(std::mem::replace(&mut before, ", "));
                self.push_argument(argument);
            }
            before = "), (";
        }
        for _ in 0..padding {
            for _ in 0..width {
                self.push(std::mem::replace(&mut before, ", "));
                self.push_argument(Argument::Text(None));
            }
            before = "), (";
        }
        self.push(")");
    }

    /// Only the text.
    #[cfg(test)]
    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    pub(super) async fn execute(self, conn: &mut Connection) -> sqlx::Result<u64> {
        Ok(query(self.sql).bind_all(self.arguments).execute(conn).await?.rows_affected())
    }

    /// All rows as `A` says.
    pub(super) async fn fetch<A: Answer>(
        self,
        conn: &mut Connection,
        statement: impl FnOnce(Cow<'q, str>) -> Statement<'q, A>,
    ) -> sqlx::Result<Vec<A::Item>> {
        statement(self.sql.into()).bind_all(self.arguments).fetch_all(conn).await
    }

    /// Ends a statement for [`Query::move_rows`].
    pub(super) fn push_moved(&mut self) {
        if self.dialect == Dialect::Postgres {
            self.push("\nreturning pk");
        }
    }

    /// Inserts or updates rows of a table; the pks of those that really moved.
    pub(super) async fn move_rows(
        self,
        conn: &mut Connection,
        table: &str,
    ) -> sqlx::Result<Vec<i64>> {
        let Some(hook) = conn.update_hook().cloned() else { return self.fetch_pks(conn).await };
        hook.begin(table);
        let done = self.execute(conn).await;
        let pks = hook.end();
        done.map(|_| pks)
    }

    /// For a statement that answers with `pk`.
    pub(super) async fn fetch_pks(self, conn: &mut Connection) -> sqlx::Result<Vec<i64>> {
        self.fetch(conn, query_scalar).await
    }

    /// For `returning` with `pk` and the unique key as text.
    pub(super) async fn fetch_keys(
        self,
        conn: &mut Connection,
    ) -> sqlx::Result<Vec<(i64, String)>> {
        self.fetch(conn, query_as).await
    }
}

/// A value as an argument, typed also where it is null.
pub(super) fn argument<'q>(value: &'q Value<'_>, kind: ColumnType) -> Argument<'q> {
    match (value, kind) {
        (Value::Boolean(value), _) => Argument::Boolean(Some(*value)),
        (Value::Integer(value), _) => Argument::Integer(Some(*value)),
        (Value::Double(value), _) => Argument::Double(Some(*value)),
        (Value::Text(value), _) => Argument::Text(Some(Cow::Borrowed(value))),
        (Value::Bytes(value), _) => Argument::Bytes(Some(Cow::Borrowed(value))),
        (Value::Null, ColumnType::Bool) => Argument::Boolean(None),
        (Value::Null, ColumnType::Int) => Argument::Integer(None),
        (Value::Null, ColumnType::Double) => Argument::Double(None),
        (Value::Null, ColumnType::Bytes) => Argument::Bytes(None),
        (Value::Null, _) => Argument::Text(None),
    }
}

/// A column of values as one argument. Only towards PostgreSQL.
pub(crate) fn array<'q>(
    values: impl Iterator<Item = &'q Value<'q>>,
    kind: ColumnType,
) -> Argument<'q> {
    match kind {
        ColumnType::Bool => Argument::Booleans(
            values
                .map(|value| match value {
                    Value::Boolean(value) => Some(*value),
                    _ => None,
                })
                .collect(),
        ),
        ColumnType::Int => Argument::Integers(
            values
                .map(|value| match value {
                    Value::Integer(value) => Some(*value),
                    _ => None,
                })
                .collect(),
        ),
        ColumnType::Double => Argument::Doubles(
            values
                .map(|value| match value {
                    Value::Double(value) => Some(*value),
                    _ => None,
                })
                .collect(),
        ),
        ColumnType::Bytes => Argument::Bytestrings(
            values
                .map(|value| match value {
                    Value::Bytes(value) => Some(value.as_ref()),
                    _ => None,
                })
                .collect(),
        ),
        _ => Argument::Texts(
            values
                .map(|value| match value {
                    Value::Text(value) => Some(value.as_ref()),
                    _ => None,
                })
                .collect(),
        ),
    }
}

/// The element type of [`array`].
pub(crate) fn array_type(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Bool => "boolean[]",
        ColumnType::Int => "bigint[]",
        ColumnType::Double => "double precision[]",
        ColumnType::Bytes => "bytea[]",
        _ => "text[]",
    }
}

/// Rows that a statement has room for: few distinct texts, so that they stay prepared. A larger one takes
/// longer to prepare than it saves ways to SQLite's thread, and holds all its rows once more.
const SIZES: [usize; 9] = [256, 128, 64, 32, 16, 8, 4, 2, 1];

/// Rows of one statement.
#[derive(Debug, PartialEq)]
pub(super) struct Chunk<'r> {
    pub(super) rows: &'r [usize],
    /// So many rows of nulls come behind them; the statement must pass over those.
    pub(super) padding: usize,
}

/// Cuts a list of rows with `parameters` each (and `fixed` in all) into statements. PostgreSQL takes them
/// whole, as arrays.
pub(super) fn chunks(
    dialect: Dialect,
    mut rows: &[usize],
    parameters: usize,
    fixed: usize,
) -> Vec<Chunk<'_>> {
    let mut chunks = Vec::new();
    let room = super::dialect::PARAMETERS_MAX.saturating_sub(fixed);
    let fits = |size: &usize| size * parameters <= room;
    let largest = SIZES.into_iter().find(fits).unwrap_or(1);
    while !rows.is_empty() {
        let size = match dialect {
            Dialect::Sqlite => SIZES.into_iter().rfind(|size| *size >= rows.len().min(largest)),
            Dialect::Postgres => None,
        };
        let size = size.unwrap_or(rows.len());
        let (some, rest) = rows.split_at(size.min(rows.len()));
        chunks.push(Chunk { rows: some, padding: size - some.len() });
        rows = rest;
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(dialect: Dialect, rows: usize, parameters: usize) -> Vec<(usize, usize)> {
        let rows: Vec<usize> = (0..rows).collect();
        let chunks = chunks(dialect, &rows, parameters, 3);
        let all: Vec<usize> = chunks.iter().flat_map(|chunk| chunk.rows).copied().collect();
        assert_eq!(all, rows);
        chunks.iter().map(|chunk| (chunk.rows.len(), chunk.padding)).collect()
    }

    #[test]
    fn rows_share_a_statement() {
        for (rows, parameters, expected) in [
            (0, 3, vec![]),
            (1, 3, vec![(1, 0)]),
            (3, 3, vec![(3, 1)]),
            (200, 3, vec![(200, 56)]),
            (256, 3, vec![(256, 0)]),
            (515, 3, vec![(256, 0), (256, 0), (3, 1)]),
            // 32 times 1,000 have room, 33 not.
            (70, 1_000, vec![(32, 0), (32, 0), (6, 2)]),
            // No statement has room for one, and SQLite says so.
            (2, 40_000, vec![(1, 0), (1, 0)]),
        ] {
            assert_eq!(sizes(Dialect::Sqlite, rows, parameters), expected, "{rows}");
            let whole = if rows == 0 { vec![] } else { vec![(rows, 0)] };
            assert_eq!(sizes(Dialect::Postgres, rows, parameters), whole);
        }
    }
}
