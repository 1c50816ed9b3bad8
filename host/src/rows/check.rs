//! Checks of what a guest wrote, at the moment it writes. Whether a JSON document is one shows only
//! when the write is normalised: parsing it twice would cost a tenth of the whole path.

use super::condition::{assignments, scalar, tests, visible};
use super::reader::Reader;
use super::{Rejected, Role, TableSpec, Value};
use crate::model::{Batch, Scalar, Unseen, Write};

/// Checks any write. `max_rows` is what the call may still write.
pub fn check_write(spec: &TableSpec, write: &Write, max_rows: usize) -> Result<(), Rejected> {
    match write {
        Write::Upsert(batch) | Write::Patch(batch) => check_batch(spec, batch, max_rows),
        Write::Update { set, conditions, .. } => {
            assignments(spec, set)?;
            tests(spec, conditions).map(drop)
        }
        Write::Delete { conditions, .. } => tests(spec, conditions).map(drop),
        Write::BeginFull { scope, .. } => tests(spec, scope).map(drop),
        Write::EndFull { scope, unseen, .. } => {
            if let Unseen::Set(set) = unseen {
                assignments(spec, set)?;
            }
            tests(spec, scope).map(drop)
        }
    }
}

/// Checks the shape of a batch: columns, types, lengths, UTF-8, keys.
pub fn check_batch(spec: &TableSpec, batch: &Batch, max_rows: usize) -> Result<(), Rejected> {
    readers(spec, batch, max_rows).map(drop)
}

/// Checks a batch and opens its columns.
pub(super) fn readers<'a>(
    spec: &'a TableSpec,
    batch: &'a Batch,
    max_rows: usize,
) -> Result<Vec<Reader<'a>>, Rejected> {
    if batch.rows > max_rows {
        let text = format!("table {}: {} rows, {max_rows} are left", spec.service, batch.rows);
        return Err(Rejected::Limit(text));
    }
    let mut readers: Vec<Reader<'a>> = Vec::with_capacity(batch.columns.len());
    for column in &batch.columns {
        let position = visible(spec, &column.name)?;
        let place = || format!("table {}: column {}", spec.service, column.name);
        if !matches!(spec.columns[position].role, Role::Key | Role::Guest | Role::Data) {
            return Err(Rejected::UnknownColumn(format!("{} is filled by the host", place())));
        }
        if readers.iter().any(|reader| reader.position == position) {
            return Err(Rejected::Other(format!("{} is there twice", place())));
        }
        readers.push(Reader::new(spec, position, column, batch.rows)?);
    }
    for key in &spec.key {
        let name = &spec.columns[*key].name;
        let place = || format!("table {}: key column {name}", spec.service);
        let Some(reader) = readers.iter().find(|reader| reader.position == *key) else {
            return Err(Rejected::Other(format!("{} is missing", place())));
        };
        if let Some(row) = reader.first_null() {
            return Err(Rejected::Other(format!("{} is null in row {row}", place())));
        }
    }
    Ok(readers)
}

/// Checks a `lookup`: the key in manifest order without the owner column, and the columns.
pub fn check_lookup(spec: &TableSpec, key: &[Scalar], columns: &[String]) -> Result<(), Rejected> {
    if key.len() != spec.key.len() {
        let (given, asked) = (key.len(), spec.key.len());
        let text = format!("table {}: lookup with {given} key values, not {asked}", spec.service);
        return Err(Rejected::Other(text));
    }
    key_values(spec, key)?;
    if columns.len() > spec.columns.len() {
        let (given, has) = (columns.len(), spec.columns.len());
        let text = format!("table {}: lookup of {given} columns, it has {has}", spec.service);
        return Err(Rejected::Limit(text));
    }
    columns.iter().try_for_each(|name| visible(spec, name).map(drop))
}

/// The values of a natural key, never null.
pub(super) fn key_values<'a>(
    spec: &TableSpec,
    key: &'a [Scalar],
) -> Result<Vec<Value<'a>>, Rejected> {
    let values = spec.key.iter().zip(key).map(|(position, value)| {
        let column = &spec.columns[*position];
        let place = format!("table {}: key column {}", spec.service, column.name);
        match scalar(column, value) {
            Ok(Value::Null) => Err(Rejected::Other(format!("{place} is null"))),
            Ok(value) => Ok(value),
            Err(wrong) => Err(Rejected::WrongType(format!("{place}: {wrong}"))),
        }
    });
    values.collect()
}

#[cfg(test)]
#[path = "check/tests.rs"]
mod tests;
