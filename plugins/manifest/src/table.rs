//! Tables.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// A table. `pk`, `row_created_at`, `row_updated_at` and `data` come by themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Column with the external owner id, filled by the host.
    #[serde(default)]
    pub owner: Option<String>,
    /// Natural key beside the owner.
    pub key: Vec<String>,
    /// Columns made of others: `{column}` references joined by `-`, which is escaped in all but
    /// the last part. The first one is the table's unique key.
    #[serde(default)]
    pub computed: IndexMap<String, String>,
    /// Columns and their types, in the table's order.
    pub columns: IndexMap<String, ColumnType>,
    /// Columns that stand for compatibility and stay null.
    #[serde(default)]
    pub never_written: Vec<String>,
    /// An older value of this column never replaces a newer one.
    #[serde(default)]
    pub newer: Option<String>,
    /// Plain indexes.
    #[serde(default)]
    pub indexes: Vec<Vec<String>>,
    /// Partial indexes.
    #[serde(default)]
    pub partial: Vec<PartialIndex>,
}

/// An index over some rows only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartialIndex {
    /// Columns.
    pub on: Vec<String>,
    /// All must hold.
    #[serde(rename = "where")]
    pub conditions: IndexMap<String, PartialCondition>,
}

/// Which rows nobody needs when they are old.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stale {
    /// All must hold.
    #[serde(rename = "where")]
    pub conditions: IndexMap<String, PartialCondition>,
    /// Column with the time of the vendor's last change. A full listing passes over stale rows that are old
    /// by it. None: it brings them back.
    #[serde(default)]
    pub since: Option<String>,
}

/// A condition that picks some of a table's rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it")]
pub enum PartialCondition {
    Equal(Literal),
    DistinctFrom(String),
    Null(bool),
}

impl PartialCondition {
    /// The type of what a column is compared with. None: it is only asked whether it is null.
    pub fn kind(&self) -> Option<ColumnType> {
        match self {
            Self::Equal(value) => Some(value.kind()),
            Self::DistinctFrom(_) => Some(ColumnType::Text),
            Self::Null(_) => None,
        }
    }
}

/// A value of a column of type text, int or bool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a text, a whole number, true or false")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Literal {
    Bool(bool),
    Int(i64),
    Text(String),
}

impl Literal {
    fn kind(&self) -> ColumnType {
        match self {
            Self::Bool(_) => ColumnType::Bool,
            Self::Int(_) => ColumnType::Int,
            Self::Text(_) => ColumnType::Text,
        }
    }
}

/// Type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum ColumnType {
    Bool,
    Int,
    Double,
    Decimal,
    Text,
    Json,
    Date,
    Timestamptz,
    Bytes,
}
