//! Tables: names, keys and everything that refers to a column.

use indexmap::IndexMap;

use super::{Check, RESERVED_COLUMNS, references};
use crate::{ColumnType, PartialCondition, PartialIndex, Stale, Table};

const COLUMNS_MAX: usize = 256;

impl Check<'_> {
    pub(super) fn tables(&mut self) {
        for (name, table) in &self.manifest.tables {
            let path = format!("tables.{name}");
            self.identifier(&path, name);
            let used = self.manifest.services.values().any(|service| service.table == *name);
            self.require(used, &path, || "no service has this table; remove it".into());
            self.names(&path, table);
            self.key(&path, table);
            self.computed(&path, table);
            self.references_to_columns(&path, table);
        }
    }

    fn names(&mut self, path: &str, table: &Table) {
        self.require(table.columns.len() <= COLUMNS_MAX, &format!("{path}.columns"), || {
            format!("more than {COLUMNS_MAX} columns")
        });
        let columns = table.columns.keys().map(|name| ("columns", name));
        let computed = table.computed.keys().map(|name| ("computed", name));
        for (part, name) in columns.chain(computed) {
            let path = format!("{path}.{part}.{name}");
            self.column_name(&path, name);
            self.require(table.owner.as_ref() != Some(name), &path, || {
                "is the `owner` column, which the host adds; leave it out here".into()
            });
            let twice = part == "computed" && table.columns.contains_key(name);
            self.require(!twice, &path, || "is in `columns` too; leave it out there".into());
        }
        if let Some(owner) = &table.owner {
            self.column_name(&format!("{path}.owner"), owner);
        }
    }

    fn column_name(&mut self, path: &str, name: &str) {
        self.identifier(path, name);
        let reserved = RESERVED_COLUMNS.iter().any(|(reserved, _)| *reserved == name);
        self.require(!reserved, path, || {
            format!("every table has `{name}` by itself; leave it out or rename it")
        });
    }

    fn key(&mut self, path: &str, table: &Table) {
        for (i, column) in table.key.iter().enumerate() {
            self.require(table.columns.contains_key(column), &format!("{path}.key[{i}]"), || {
                no_column(column)
            });
        }
        self.require(!(table.key.is_empty() && table.owner.is_none()), path, || {
            "neither `key` nor `owner` tells rows apart; give one".into()
        });
    }

    fn computed(&mut self, path: &str, table: &Table) {
        for (i, (name, template)) in table.computed.iter().enumerate() {
            let path = format!("{path}.computed.{name}");
            let parts: Vec<_> = template.split("}-{").collect();
            let joined = template.starts_with('{') && template.ends_with('}');
            let (true, Some(names)) = (joined, references(template)) else {
                self.problem(path, joined_by_dashes(template));
                continue;
            };
            self.require(names.len() == parts.len(), &path, || joined_by_dashes(template));
            for name in &names {
                let known =
                    table.columns.contains_key(*name) || table.owner.as_deref() == Some(name);
                self.require(known, &path, || no_column(name));
            }
            let parts_of_key = table.owner.iter().chain(&table.key);
            let missing: Vec<_> =
                parts_of_key.filter(|column| !names.contains(&column.as_str())).collect();
            self.require(i > 0 || missing.is_empty(), &path, || {
                format!("the first computed column is the unique key; {missing:?} isn't in it")
            });
        }
    }

    fn references_to_columns(&mut self, path: &str, table: &Table) {
        for (i, column) in table.never_written.iter().enumerate() {
            let path = format!("{path}.never_written[{i}]");
            self.require(table.columns.contains_key(column), &path, || no_column(column));
            self.require(!table.key.contains(column), &path, || {
                format!("`{column}` is part of the key, so it must be written")
            });
        }
        if let Some(newer) = &table.newer {
            let ordered = matches!(
                table.columns.get(newer),
                Some(ColumnType::Timestamptz | ColumnType::Date | ColumnType::Int)
            );
            self.require(ordered, &format!("{path}.newer"), || {
                format!("`{newer}` is no column of type timestamptz, date or int")
            });
        }
        for (i, index) in table.indexes.iter().enumerate() {
            self.index(&format!("{path}.indexes[{i}]"), table, index);
        }
        for (i, partial) in table.partial.iter().enumerate() {
            self.partial(&format!("{path}.partial[{i}]"), table, partial);
        }
    }

    fn partial(&mut self, path: &str, table: &Table, partial: &PartialIndex) {
        self.index(&format!("{path}.on"), table, &partial.on);
        self.require(!partial.conditions.is_empty(), &format!("{path}.where"), || {
            "without a condition it is a plain index; move it to `indexes`".into()
        });
        self.conditions(&format!("{path}.where"), table, &partial.conditions);
    }

    /// The host compares what a plugin writes, too: so only what a plugin writes can be meant.
    pub(super) fn stale(&mut self, path: &str, table: &Table, stale: &Stale) {
        self.require(!stale.conditions.is_empty(), &format!("{path}.where"), || {
            "without a condition every row would be stale; give one".into()
        });
        self.conditions(&format!("{path}.where"), table, &stale.conditions);
        for column in stale.conditions.keys().filter(|column| table.has_column(column)) {
            let written = table.columns.contains_key(column);
            self.require(written, &format!("{path}.where.{column}"), || {
                format!("the host fills `{column}`; name one of `columns`")
            });
        }
        if let Some(since) = &stale.since {
            let time = table.columns.get(since) == Some(&ColumnType::Timestamptz);
            self.require(time, &format!("{path}.since"), || {
                format!("`{since}` is no column of type timestamptz")
            });
        }
    }

    fn conditions(
        &mut self,
        path: &str,
        table: &Table,
        conditions: &IndexMap<String, PartialCondition>,
    ) {
        for (column, condition) in conditions {
            let path = format!("{path}.{column}");
            let Some(kind) = table.column_type(column) else {
                self.problem(path, no_column(column));
                continue;
            };
            let asked = condition.kind().unwrap_or(kind);
            self.require(asked == kind, &path, || {
                format!("compares {asked:?} with a column of type {kind:?}").to_lowercase()
            });
        }
    }

    fn index(&mut self, path: &str, table: &Table, columns: &[String]) {
        self.require(!columns.is_empty(), path, || "an index needs a column".into());
        for column in columns {
            self.require(table.has_column(column), path, || no_column(column));
        }
    }
}

impl Table {
    /// Is there such a column, counting those that the host adds?
    pub fn has_column(&self, name: &str) -> bool {
        self.column_type(name).is_some()
    }

    fn column_type(&self, name: &str) -> Option<ColumnType> {
        if let Some(kind) = self.columns.get(name) {
            return Some(*kind);
        }
        if self.computed.contains_key(name) || self.owner.as_deref() == Some(name) {
            return Some(ColumnType::Text);
        }
        RESERVED_COLUMNS.iter().find(|(reserved, _)| *reserved == name).map(|(_, kind)| *kind)
    }
}

pub(super) fn no_column(name: &str) -> String {
    format!("the table has no column `{name}`; add it to `columns` or correct the name")
}

fn joined_by_dashes(template: &str) -> String {
    format!("`{template}` must be columns in braces joined by `-`, as in \"{{a}}-{{b}}\"")
}
