//! What SQLite and PostgreSQL write differently: types, placeholders, keys as text.

use rowgate_manifest::ColumnType;

use crate::rows::{ColumnSpec, TableSpec};
use crate::store::Dialect;

/// Parameters of one statement. (`SQLITE_MAX_VARIABLE_NUMBER`)
pub(super) const PARAMETERS_MAX: usize = 32_766;

const KINDS: [ColumnType; 9] = [
    ColumnType::Bool,
    ColumnType::Int,
    ColumnType::Double,
    ColumnType::Decimal,
    ColumnType::Text,
    ColumnType::Json,
    ColumnType::Date,
    ColumnType::Timestamptz,
    ColumnType::Bytes,
];

impl Dialect {
    /// Declared type, as the database's catalog tells it again.
    ///
    /// On SQLite the logical type stays readable (`db sql` nests JSON by it), and `text` in it keeps
    /// SQLite from turning a document or decimal that looks like a number into one.
    pub(super) fn column_type(self, kind: ColumnType) -> &'static str {
        match (self, kind) {
            (_, ColumnType::Bool) => "boolean",
            (_, ColumnType::Int) => "bigint",
            (_, ColumnType::Double) => "double precision",
            (_, ColumnType::Text) => "text",
            (Self::Sqlite, ColumnType::Decimal) => "decimal text",
            (Self::Sqlite, ColumnType::Json) => "json text",
            (Self::Sqlite, ColumnType::Date) => "date text",
            (Self::Sqlite, ColumnType::Timestamptz) => "timestamptz text",
            (Self::Sqlite, ColumnType::Bytes) => "blob",
            (Self::Postgres, ColumnType::Decimal) => "numeric",
            (Self::Postgres, ColumnType::Json) => "jsonb",
            (Self::Postgres, ColumnType::Date) => "date",
            (Self::Postgres, ColumnType::Timestamptz) => "timestamp with time zone",
            (Self::Postgres, ColumnType::Bytes) => "bytea",
        }
    }

    /// The type that the catalogue calls so. None: no column of ours has it.
    pub(in crate::store) fn kind(self, declared: &str) -> Option<ColumnType> {
        // A row's number on SQLite.
        let declared = if declared == "integer" { "bigint" } else { declared };
        KINDS.into_iter().find(|kind| self.column_type(*kind) == declared)
    }

    /// A column without what is asked of its values.
    pub(in crate::store) fn bare_column(self, name: &str, kind: ColumnType) -> String {
        format!("{} {}{}", quoted(name), self.column_type(kind), self.collation(kind))
    }

    /// What follows the type: texts compare by their bytes, so that a prefix is a range of an index.
    fn collation(self, kind: ColumnType) -> &'static str {
        match (self, kind) {
            (Self::Postgres, ColumnType::Text) => " collate \"C\"",
            _ => "",
        }
    }

    /// A row's number, never used twice, also not after a delete: the feed names rows by it.
    pub(super) fn pk(self) -> &'static str {
        match self {
            Self::Sqlite => "integer primary key autoincrement",
            Self::Postgres => "bigint primary key default nextval('rowgate_pk')",
        }
    }

    /// What turns a parameter into a column's type: values travel as text where JSON has no type.
    pub(crate) fn cast(self, kind: ColumnType) -> &'static str {
        match (self, kind) {
            (Self::Postgres, ColumnType::Decimal) => "::numeric",
            (Self::Postgres, ColumnType::Json) => "::jsonb",
            (Self::Postgres, ColumnType::Date) => "::date",
            (Self::Postgres, ColumnType::Timestamptz) => "::timestamptz",
            _ => "",
        }
    }

    /// A column in the form of [`crate::rows::Value`].
    pub(in crate::store) fn as_value(self, column: &str, kind: ColumnType) -> String {
        match (self, kind) {
            (Self::Postgres, ColumnType::Decimal | ColumnType::Json) => format!("{column}::text"),
            (Self::Postgres, ColumnType::Date) => format!("to_char({column}, 'YYYY-MM-DD')"),
            (Self::Postgres, ColumnType::Timestamptz) => {
                format!("to_char({column}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
            }
            _ => column.to_owned(),
        }
    }

    /// A condition on a column that the planner must not look for in an index. SQLite knows nothing
    /// of how selective one is before an `analyze`.
    pub(super) fn unindexed(self, column: &str) -> String {
        match self {
            Self::Sqlite => format!("+{column}"),
            Self::Postgres => column.to_owned(),
        }
    }

    /// The keys of a bracket, one a row, as `seen.value` in the form of [`key_of_bracket`].
    pub(super) fn bracket_keys(self) -> &'static str {
        match self {
            Self::Sqlite => "json_each(page.keys) as seen",
            Self::Postgres => "jsonb_array_elements_text(page.keys::jsonb) as seen (value)",
        }
    }

    /// A column with a key, to be compared with [`Self::bracket_keys`].
    pub(super) fn key_of_bracket(self, column: &ColumnSpec, name: &str) -> String {
        match (self, column.kind) {
            (Self::Postgres, ColumnType::Int) => format!("{name}::text"),
            _ => name.to_owned(),
        }
    }
}

/// A quoted name.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The unique key as the feed stores it. `table`: a name and its dot, or nothing.
pub(in crate::store) fn key_text(spec: &TableSpec, table: &str) -> String {
    let ColumnSpec { name, kind, .. } = spec.unique_column();
    match kind {
        ColumnType::Text => format!("{table}{}", quoted(name)),
        _ => format!("cast({table}{} as text)", quoted(name)),
    }
}
