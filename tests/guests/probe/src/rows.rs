//! Rows as the host takes them.

use crate::bindings::rowgate::plugin::db::{self, Batch, Column, Existing, Scalar, Utf8, Values};
use crate::bindings::rowgate::plugin::types::Failure;
use crate::{ACCOUNTS, ITEMS};

pub(crate) fn write_account(note: &str) -> Result<(), Failure> {
    let data = constant("data", Scalar::Json("{}".to_owned()));
    let note = constant("note", Scalar::Text(note.to_owned()));
    upsert(&Batch { table: ACCOUNTS.to_owned(), rows: 1, columns: vec![data, note] })
}

pub(crate) fn write_item(id: &str, note: &str) -> Result<(), Failure> {
    upsert(&items(&[(id, note)]))
}

/// Items with their notes.
pub(crate) fn items(items: &[(&str, &str)]) -> Batch {
    let ids: Vec<_> = items.iter().map(|(id, _)| *id).collect();
    let notes: Vec<_> = items.iter().map(|(_, note)| *note).collect();
    let columns = vec![
        column("item_id", Values::Text(utf8(&ids))),
        column("note", Values::Text(utf8(&notes))),
        constant("data", Scalar::Json("{}".to_owned())),
    ];
    Batch { table: ITEMS.to_owned(), rows: count(items), columns }
}

pub(crate) fn upsert(batch: &Batch) -> Result<(), Failure> {
    db::upsert(batch).map_err(refused)
}

/// The host's words are for whoever reads the failure.
pub(crate) fn refused(error: db::Error) -> Failure {
    Failure::Bug(format!("the host refused: {error:?}"))
}

pub(crate) fn column(name: &str, values: Values) -> Column {
    Column { name: name.to_owned(), validity: Vec::new(), values, existing: Existing::Replace }
}

pub(crate) fn constant(name: &str, value: Scalar) -> Column {
    column(name, Values::Constant(value))
}

pub(crate) fn utf8<T: AsRef<[u8]>>(values: &[T]) -> Utf8 {
    let data: Vec<u8> = values.iter().flat_map(AsRef::as_ref).copied().collect();
    let mut offsets = vec![0];
    for value in values {
        offsets.push(offsets[offsets.len() - 1] + count(value.as_ref()));
    }
    Utf8 { offsets, data }
}

fn count<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).expect("a probe writes a few rows")
}
