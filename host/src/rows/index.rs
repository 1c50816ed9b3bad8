//! The indexes of a table, and the conditions of those that hold a part of its rows.

use std::collections::HashSet;

use indexmap::IndexMap;
use rowgate_manifest::{PartialCondition, Table};

use super::name::{hash, index_name};
use super::{Role, StaleSpec, TableSpec};

/// One index.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct IndexSpec {
    pub name: String,
    pub columns: Vec<usize>,
    /// Only rows where all of these hold.
    pub partial: Vec<(usize, PartialCondition)>,
}

impl IndexSpec {
    /// Does it lead to all rows in which this column has a given value? (Not null.)
    pub fn finds(&self, column: usize) -> bool {
        let not_null = PartialCondition::Null(false);
        self.columns[0] == column
            && self.partial.iter().all(|(at, test)| *at == column && *test == not_null)
    }
}

pub(super) fn indexes(spec: &TableSpec, table: &Table) -> Result<Vec<IndexSpec>, String> {
    let mut indexes = Vec::new();
    for columns in &table.indexes {
        indexes.push(index(spec, columns, Vec::new())?);
    }
    for partial in &table.partial {
        indexes.push(index(spec, &partial.on, conditions(spec, &partial.conditions)?)?);
    }
    indexes.extend(spec.stale.as_ref().map(|stale| stale_index(spec, stale)));
    // Deleting an owner, sweeps and updates begin with the owner: it needs an index of its own.
    if let Some(owner) = spec.owner
        && owner != spec.unique_key
        && !indexes.iter().any(|index| index.partial.is_empty() && index.columns[0] == owner)
    {
        indexes.push(index(spec, std::slice::from_ref(&spec.columns[owner].name), Vec::new())?);
    }
    let names: HashSet<&str> = indexes.iter().map(|index| index.name.as_str()).collect();
    if names.len() < indexes.len() {
        return Err("two indexes of one name".to_owned());
    }
    Ok(indexes)
}

fn index(
    spec: &TableSpec,
    columns: &[String],
    partial: Vec<(usize, PartialCondition)>,
) -> Result<IndexSpec, String> {
    if columns.is_empty() {
        return Err("an index without columns".to_owned());
    }
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    Ok(IndexSpec {
        name: index_name(&spec.table_name, &names),
        columns: names.iter().map(|name| position(spec, name)).collect::<Result<_, _>>()?,
        partial,
    })
}

/// Of an owner's stale rows the oldest first; the others stand in it nowhere. A version for which other rows are
/// stale needs another index, so the name says which.
fn stale_index(spec: &TableSpec, stale: &StaleSpec) -> IndexSpec {
    let conditions = stale.conditions.iter();
    let which: Vec<_> = conditions.map(|(at, test)| (&spec.columns[*at].name, test)).collect();
    let which = hash(&serde_json::to_vec(&which).unwrap_or_default(), 4);
    let updated_at = spec.columns.iter().position(|column| column.role == Role::UpdatedAt);
    IndexSpec {
        name: index_name(&spec.table_name, &["stale", &which]),
        columns: spec.owner.into_iter().chain(updated_at).collect(),
        partial: stale.conditions.clone(),
    }
}

pub(super) fn position(spec: &TableSpec, name: &str) -> Result<usize, String> {
    spec.position(name)
        .ok_or_else(|| format!("an index or `stale` names {name}, which is no column"))
}

pub(super) fn conditions(
    spec: &TableSpec,
    conditions: &IndexMap<String, PartialCondition>,
) -> Result<Vec<(usize, PartialCondition)>, String> {
    let resolved = conditions.iter().map(|(name, condition)| {
        let column = position(spec, name)?;
        let kind = spec.columns[column].kind;
        let asked = condition.kind().unwrap_or(kind);
        match asked == kind {
            true => Ok((column, condition.clone())),
            false => Err(format!("a condition on {name} compares {asked:?} with {kind:?}")),
        }
    });
    resolved.collect()
}
