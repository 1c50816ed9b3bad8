//! The plugin's own tables, and of them only the rows of the call's owner. Buffered until the call
//! returns ok.

pub use crate::bindings::rowgate::plugin::db::{Condition, Existing, Op, Scalar, Unseen};
use crate::{Result, imports};

/// Sets columns of the rows that meet all conditions. What is set and what is null already doesn't
/// move a row.
pub fn update(service: &str, set: &[(&str, Scalar)], conditions: &[Condition]) -> Result<()> {
    Ok(imports::update(service, &owned(set), conditions)?)
}

/// Deletes the rows that meet all conditions.
pub fn delete(service: &str, conditions: &[Condition]) -> Result<()> {
    Ok(imports::delete(service, conditions)?)
}

/// The named columns of one row, by its key without the owner, with this call's own changes.
pub fn lookup(service: &str, key: &[Scalar], columns: &[&str]) -> Result<Option<Vec<Scalar>>> {
    let columns: Vec<_> = columns.iter().map(|&name| name.to_owned()).collect();
    Ok(imports::lookup(service, key, &columns)?)
}

/// A full listing of the rows in `scope` begins, or begins again.
pub fn begin_full(service: &str, scope: &[Condition]) -> Result<()> {
    Ok(imports::begin_full(service, scope)?)
}

/// The full listing of `scope` is complete: rows that it didn't show go. Very many take several transactions,
/// and if the host dies between, the call is made again: what it writes before this may be written twice.
pub fn end_full_delete(service: &str, scope: &[Condition]) -> Result<()> {
    Ok(imports::end_full(service, scope, &Unseen::Delete)?)
}

/// The full listing of `scope` is complete: these columns of the rows that it didn't show are set, as
/// [`end_full_delete`] deletes them.
pub fn end_full_set(service: &str, scope: &[Condition], set: &[(&str, Scalar)]) -> Result<()> {
    Ok(imports::end_full(service, scope, &Unseen::Set(owned(set)))?)
}

/// `column = value`.
pub fn is(column: &str, value: impl Into<Scalar>) -> Condition {
    condition(column, Op::Equal, value)
}

/// `column` is null.
pub fn is_null(column: &str) -> Condition {
    condition(column, Op::Equal, Scalar::Null)
}

/// `column` is not null.
pub fn not_null(column: &str) -> Condition {
    condition(column, Op::NotEqual, Scalar::Null)
}

/// Any condition.
pub fn condition(column: &str, op: Op, value: impl Into<Scalar>) -> Condition {
    Condition { column: column.to_owned(), op, value: value.into() }
}

impl From<&str> for Scalar {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

fn owned(set: &[(&str, Scalar)]) -> Vec<(String, Scalar)> {
    set.iter().map(|(column, value)| ((*column).to_owned(), value.clone())).collect()
}
