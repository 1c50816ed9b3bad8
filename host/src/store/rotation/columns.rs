//! Where sealed values lie in the control database. What is missing here could not be opened any more
//! once the old key is gone: a test looks through all tables for it.

use serde::{Deserialize, Serialize};

use crate::store::reader::reader_place;
use crate::store::{
    Argument, Dialect, Query, Row, channels, inbox, integrations, moves, query, targets,
};

/// A column with sealed values.
pub(super) struct SealedColumn {
    pub(super) table: &'static str,
    pub(super) column: &'static str,
    pub(super) shape: Shape,
    /// Primary key.
    pub(super) key: &'static [(&'static str, Kind)],
    /// Further columns that `place` needs.
    also: &'static [(&'static str, Kind)],
    /// Rows that have a value.
    only: &'static str,
    /// By the values of `key` and `also`, and the name of a value among several.
    place: fn(&[Part], &str) -> String,
}

/// How the values of a column are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Value,
    /// A JSON object, of values in base64.
    Map,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Integer,
    Text,
}

/// A value of a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Part {
    Integer(i64),
    Text(String),
}

const ID: &[(&str, Kind)] = &[("id", Kind::Text)];
const NUMBER: &[(&str, Kind)] = &[("id", Kind::Integer)];

/// In the order in which they are sealed again.
pub(super) const COLUMNS: [SealedColumn; 13] = [
    SealedColumn {
        shape: Shape::Map,
        also: &[("owner_id", Kind::Integer)],
        only: "done_at is null",
        ..column("inbox", "sealed", NUMBER, |parts, name| inbox::place(parts[1].integer(), name))
    },
    column(
        "owner_secrets",
        "sealed",
        &[("owner_id", Kind::Integer), ("grant_id", Kind::Integer), ("name", Kind::Text)],
        |parts, _| inbox::place(parts[0].integer(), parts[2].text()),
    ),
    column(
        "integration_secrets",
        "sealed",
        &[("integration_id", Kind::Text), ("name", Kind::Text)],
        |parts, _| integrations::place(parts[0].text(), parts[1].text()),
    ),
    column("integration_drafts", "sealed", ID, |parts, _| {
        integrations::draft_place(parts[0].text())
    }),
    column("channels", "token", ID, |parts, _| channels::place(parts[0].text())),
    column("targets", "url", ID, |parts, _| targets::place(parts[0].text(), "url")),
    column("targets", "signing_secret", ID, |parts, _| {
        targets::place(parts[0].text(), "signing_secret")
    }),
    column("subscriptions", "url", ID, |parts, _| targets::place(parts[0].text(), "url")),
    column("subscriptions", "secret", ID, |parts, _| {
        targets::place(parts[0].text(), "signing_secret")
    }),
    column("error_handlers", "url", ID, |parts, _| targets::place(parts[0].text(), "url")),
    column("moves", "admin_url", ID, |parts, _| moves::place(parts[0].text(), "admin_url")),
    column("moves", "readonly_url", ID, |parts, _| moves::place(parts[0].text(), "readonly_url")),
    column("organizations", "reader_sealed", NUMBER, |parts, _| reader_place(parts[0].integer())),
];

const fn column(
    table: &'static str,
    column: &'static str,
    key: &'static [(&'static str, Kind)],
    place: fn(&[Part], &str) -> String,
) -> SealedColumn {
    SealedColumn { table, column, shape: Shape::Value, key, also: &[], only: "true", place }
}

impl SealedColumn {
    /// Files have no reading roles.
    pub(super) fn is_in(&self, dialect: Dialect) -> bool {
        dialect == Dialect::Postgres || self.column != "reader_sealed"
    }

    /// Rows in the order of the key, with the value as `sealed_value`. Arguments: the key behind which
    /// they begin, how many.
    pub(super) fn select(&self, after: bool) -> String {
        let key: Vec<&str> = self.key.iter().map(|(name, _)| *name).collect();
        let key = key.join(", ");
        let also: String = self.also.iter().map(|(name, _)| format!(", {name}")).collect();
        let Self { table, column, only, .. } = self;
        let count = if after { self.key.len() } else { 0 };
        let numbers: Vec<String> = (1..=count).map(|number| format!("${number}")).collect();
        let behind = match after {
            true => format!(" and ({key}) > ({})", numbers.join(", ")),
            false => String::new(),
        };
        format!(
            "select {key}{also}, {column} as sealed_value from {table}
             where {column} is not null and {only}{behind} order by {key} limit ${}",
            count + 1
        )
    }

    /// Puts another value in the place of the one that was read, if it still is there.
    pub(super) fn update(
        &self,
        parts: &[Part],
        fresh: Argument<'static>,
        stored: Argument<'static>,
    ) -> Query<'static, Row> {
        let Self { table, column, .. } = self;
        let is_it: String = (self.key.iter().enumerate())
            .map(|(at, (name, _))| format!(" and {name} = ${}", at + 3))
            .collect();
        let sql = format!("update {table} set {column} = $1 where {column} = $2{is_it}");
        let statement = query(sql).bind(fresh).bind(stored);
        let key = parts.iter().take(self.key.len());
        key.fold(statement, |statement, part| statement.bind(part.argument()))
    }

    /// Of a row: its key, and what `place` needs beside.
    pub(super) fn parts(&self, row: &Row) -> Vec<Part> {
        let columns = self.key.iter().chain(self.also);
        let parts = columns.map(|(name, kind)| match kind {
            Kind::Integer => Part::Integer(row.get(name)),
            Kind::Text => Part::Text(row.get(name)),
        });
        parts.collect()
    }

    /// For what a value of the row was sealed.
    pub(super) fn place(&self, parts: &[Part], name: &str) -> String {
        (self.place)(parts, name)
    }
}

impl Part {
    pub(super) fn argument(&self) -> Argument<'static> {
        match self {
            Self::Integer(number) => (*number).into(),
            Self::Text(text) => text.clone().into(),
        }
    }

    fn integer(&self) -> i64 {
        match self {
            Self::Integer(number) => *number,
            Self::Text(_) => 0,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Integer(_) => "",
            Self::Text(text) => text,
        }
    }
}
