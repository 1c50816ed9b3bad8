//! What SQLite writes differently: types, placeholders, keys as text. Postgres gets a sibling.

use rowgate_manifest::ColumnType;

use crate::rows::{ColumnSpec, TableSpec};

/// Parameters of one statement. (`SQLITE_MAX_VARIABLE_NUMBER`)
pub(super) const PARAMETERS_MAX: usize = 32_766;

/// Declared type: the logical type stays readable (`db sql` nests JSON by it), and `text` in it
/// keeps SQLite from turning a document or decimal that looks like a number into one.
pub(super) fn column_type(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Bool => "boolean",
        ColumnType::Int => "bigint",
        ColumnType::Double => "double precision",
        ColumnType::Decimal => "decimal text",
        ColumnType::Text => "text",
        ColumnType::Json => "json text",
        ColumnType::Date => "date text",
        ColumnType::Timestamptz => "timestamptz text",
        ColumnType::Bytes => "blob",
    }
}

/// Never used twice, also not after a delete: the feed names rows by it.
pub(super) const PK: &str = "integer primary key autoincrement";

/// The next parameter. SQLite looks numbered ones up one by one, which is quadratic in a statement
/// of thousands; these go by their place in the text.
pub(super) const PARAMETER: &str = "?";

/// A quoted name. Names are checked when a table is resolved.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// A text literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The unique key as the feed stores it.
pub(super) fn key_text(spec: &TableSpec, table: &str) -> String {
    let ColumnSpec { name, kind, .. } = spec.unique_column();
    match kind {
        ColumnType::Text => format!("{table}.{}", quoted(name)),
        _ => format!("cast({table}.{} as text)", quoted(name)),
    }
}

/// A condition on a column that the planner must not look for in an index.
pub(super) fn unindexed(column: &str) -> String {
    format!("+{column}")
}
