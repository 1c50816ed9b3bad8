//! A table of a manifest with everything resolved: columns in order, who writes each, keys, indexes.

use std::collections::HashSet;

use rowgate_manifest::{ColumnType, Manifest, PerRow, Table};

use super::index::{IndexSpec, indexes};
use super::name::is_identifier;
use super::stale::{self, StaleSpec};

/// The table of one integration.
#[derive(Clone, Debug, PartialEq)]
pub struct TableSpec {
    /// The service whose table this is: how guests name it.
    pub service: String,
    /// The table's name in the database.
    pub table_name: String,
    /// In the table's order: `pk`, computed columns, owner column, declared columns,
    /// `row_created_at`, `row_updated_at`, `data`.
    pub columns: Vec<ColumnSpec>,
    /// Column with the external owner id. None: all rows are the integration's.
    pub owner: Option<usize>,
    /// Natural key beside the owner. Empty: one row an owner.
    pub key: Vec<usize>,
    /// The column that is unique in the whole table; text or int.
    pub unique_key: usize,
    /// A strictly older value of this column doesn't replace a newer one.
    pub newer: Option<usize>,
    /// Plain and partial indexes; the unique key has its own.
    pub indexes: Vec<IndexSpec>,
    /// Which rows go when they are old. None: none.
    pub stale: Option<StaleSpec>,
}

/// One column.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct ColumnSpec {
    pub name: String,
    pub kind: ColumnType,
    pub role: Role,
}

/// Who writes a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The database, once.
    Pk,
    /// The host, from these columns joined by `-`.
    Computed(Vec<usize>),
    /// The host.
    Owner,
    /// The guest, once: it is part of the natural key.
    Key,
    /// The guest.
    Guest,
    /// The host, outside of calls, without moving `row_updated_at` or the feed.
    Bookkeeping,
    /// The host, at insert.
    CreatedAt,
    /// The host, at each real change.
    UpdatedAt,
    /// The guest. Never null: `{}` where the guest has nothing.
    Data,
}

/// A manifest's table that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("table of service {service}: {reason}")]
pub struct SpecError {
    /// The service.
    pub service: String,
    /// What is wrong.
    pub reason: String,
}

impl TableSpec {
    /// Resolves the table of `service`, to be called `table_name` in the database.
    pub fn new(manifest: &Manifest, service: &str, table_name: &str) -> Result<Self, SpecError> {
        resolve(manifest, service, table_name)
            .map_err(|reason| SpecError { service: service.to_owned(), reason })
    }

    /// Position of a column.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The unique key's column.
    pub fn unique_column(&self) -> &ColumnSpec {
        &self.columns[self.unique_key]
    }
}

impl ColumnSpec {
    /// May a guest use it in conditions and read it? `pk` and the row timestamps differ between a
    /// run and its replay.
    pub fn visible(&self) -> bool {
        !matches!(self.role, Role::Pk | Role::CreatedAt | Role::UpdatedAt)
    }

    /// Can it hold null?
    pub fn nullable(&self) -> bool {
        matches!(self.role, Role::Key | Role::Guest | Role::Bookkeeping)
    }
}

fn resolve(manifest: &Manifest, service: &str, table_name: &str) -> Result<TableSpec, String> {
    let Some(table) = manifest.table(service) else { return Err("there is none".to_owned()) };
    if !is_identifier(table_name) {
        return Err(format!("`{table_name}` is no table name"));
    }
    let columns = columns(manifest, service, table)?;
    let position = |name: &str| {
        let found = columns.iter().position(|column| column.name == *name);
        found.ok_or_else(|| format!("there is no column {name}"))
    };
    let owner = table.owner.as_deref().map(position).transpose()?;
    let key: Vec<usize> = table.key.iter().map(|name| position(name)).collect::<Result<_, _>>()?;
    let unique_key = unique_key(&columns, owner, &key)?;
    let newer = table.newer.as_deref().map(position).transpose()?;
    if newer.is_some_and(|newer| columns[newer].role != Role::Guest) {
        return Err("`newer` must name a column of `columns`".to_owned());
    }
    let mut spec = TableSpec {
        service: service.to_owned(),
        table_name: table_name.to_owned(),
        owner,
        key,
        unique_key,
        newer,
        indexes: Vec::new(),
        stale: None,
        columns,
    };
    spec.stale = stale::resolve(manifest, service, &spec)?;
    spec.indexes = indexes(&spec, table)?;
    Ok(spec)
}

fn columns(manifest: &Manifest, service: &str, table: &Table) -> Result<Vec<ColumnSpec>, String> {
    let column = |name: &str, kind, role| ColumnSpec { name: name.to_owned(), kind, role };
    let mut columns = vec![column("pk", ColumnType::Int, Role::Pk)];
    for name in table.computed.keys() {
        columns.push(column(name, ColumnType::Text, Role::Computed(Vec::new())));
    }
    if let Some(owner) = &table.owner {
        columns.push(column(owner, ColumnType::Text, Role::Owner));
    }
    let filled = filled_by_push(manifest, service);
    for (name, kind) in &table.columns {
        let role = if table.key.contains(name) {
            Role::Key
        } else if table.never_written.contains(name) || filled.contains(name.as_str()) {
            Role::Bookkeeping
        } else {
            Role::Guest
        };
        columns.push(column(name, *kind, role));
    }
    columns.push(column("row_created_at", ColumnType::Timestamptz, Role::CreatedAt));
    columns.push(column("row_updated_at", ColumnType::Timestamptz, Role::UpdatedAt));
    columns.push(column("data", ColumnType::Json, Role::Data));
    check_names(table, &columns)?;
    for (at, template) in table.computed.values().enumerate() {
        columns[1 + at].role = Role::Computed(parts(template, &columns)?);
    }
    Ok(columns)
}

fn check_names(table: &Table, columns: &[ColumnSpec]) -> Result<(), String> {
    let mut seen = HashSet::new();
    for column in columns {
        if !is_identifier(&column.name) {
            return Err(format!("`{}` is no column name", column.name));
        }
        if !seen.insert(column.name.as_str()) {
            return Err(format!("column {} is there twice", column.name));
        }
    }
    let declared = table.key.iter().chain(&table.never_written);
    for name in declared {
        if !table.columns.contains_key(name) {
            return Err(format!("{name} isn't in `columns`"));
        }
    }
    let distinct: HashSet<&String> = table.key.iter().collect();
    if distinct.len() < table.key.len() {
        return Err("`key` names a column twice".to_owned());
    }
    Ok(())
}

/// Columns of the service's rows that show a push channel.
fn filled_by_push<'a>(manifest: &'a Manifest, service: &str) -> HashSet<&'a str> {
    let rows = |row: &PerRow| row.table == service;
    let pushes = manifest.push.values().filter(|push| rows(&push.row));
    let names = |fills: &'a rowgate_manifest::PushColumns| {
        [fills.channel.as_str(), &fills.vendor, &fills.expires]
    };
    pushes.flat_map(|push| names(&push.fills)).collect()
}

/// `{a}-{b}`: each part the owner or a key column, so that the value never changes.
fn parts(template: &str, columns: &[ColumnSpec]) -> Result<Vec<usize>, String> {
    let part = |part: &str| {
        let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        let name = name.ok_or_else(|| format!("`{template}` isn't like `{{a}}-{{b}}`"))?;
        let fits = |column: &ColumnSpec| {
            column.name == name
                && matches!(column.role, Role::Owner | Role::Key)
                && matches!(column.kind, ColumnType::Text | ColumnType::Int)
        };
        let position = columns.iter().position(fits);
        position.ok_or_else(|| {
            format!("`{template}`: {name} isn't the owner or a text or int column of `key`")
        })
    };
    template.split('-').map(part).collect()
}

fn unique_key(
    columns: &[ColumnSpec],
    owner: Option<usize>,
    key: &[usize],
) -> Result<usize, String> {
    let unique = match (key, &columns[1].role) {
        ([], _) => owner.ok_or_else(|| "it has neither an owner nor a key".to_owned())?,
        (_, Role::Computed(parts)) if key.iter().all(|column| parts.contains(column)) => 1,
        (_, Role::Computed(_)) => {
            return Err(format!("{} doesn't hold the whole `key`", columns[1].name));
        }
        ([column], _) => *column,
        _ => return Err("a `key` of several columns needs a computed column".to_owned()),
    };
    if !matches!(columns[unique].kind, ColumnType::Text | ColumnType::Int) {
        return Err(format!("{} is the unique key and neither text nor int", columns[unique].name));
    }
    Ok(unique)
}

#[cfg(test)]
#[path = "spec/tests.rs"]
mod tests;
