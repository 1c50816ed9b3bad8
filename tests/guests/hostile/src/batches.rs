//! Batches as they should be; the attacks bend them.

use crate::bindings::rowgate::plugin::db::{self, Batch, Column, Existing, Scalar, Utf8, Values};
use crate::{ACCOUNTS, ITEMS};

/// The row that makes the owner's stream.
pub(crate) fn write_account() -> Result<(), String> {
    let columns = vec![constant("data", Scalar::Json("{}".to_owned()))];
    write(&Batch { table: ACCOUNTS.to_owned(), rows: 1, columns })
}

pub(crate) fn write_item(id: &str, note: &str) -> Result<(), String> {
    write(&item(id, note))
}

/// One item.
pub(crate) fn item(id: &str, note: &str) -> Batch {
    items([(id, note)])
}

/// Some items.
pub(crate) fn items<'a>(items: impl IntoIterator<Item = (&'a str, &'a str)>) -> Batch {
    let (ids, notes): (Vec<_>, Vec<_>) = items.into_iter().unzip();
    let rows = u32::try_from(ids.len()).unwrap_or(u32::MAX);
    let columns = vec![
        text("item_id", &ids),
        text("note", &notes),
        constant("data", Scalar::Json("{}".to_owned())),
    ];
    Batch { table: ITEMS.to_owned(), rows, columns }
}

/// The batch's column of that name, made if it has none.
pub(crate) fn column<'a>(batch: &'a mut Batch, name: &str) -> &'a mut Column {
    let at = batch.columns.iter().position(|column| column.name == name);
    let at = at.unwrap_or_else(|| {
        batch.columns.push(constant(name, Scalar::Null));
        batch.columns.len() - 1
    });
    &mut batch.columns[at]
}

pub(crate) fn constant(name: &str, value: Scalar) -> Column {
    let values = Values::Constant(value);
    Column { name: name.to_owned(), validity: Vec::new(), values, existing: Existing::Replace }
}

pub(crate) fn one_text(text: &str) -> Utf8 {
    utf8(&[text])
}

fn text(name: &str, texts: &[&str]) -> Column {
    let values = Values::Text(utf8(texts));
    Column { name: name.to_owned(), validity: Vec::new(), values, existing: Existing::Replace }
}

fn utf8(texts: &[&str]) -> Utf8 {
    let data = texts.concat().into_bytes();
    let ends = texts.iter().scan(0_u32, |end, text| {
        *end = end.saturating_add(u32::try_from(text.len()).unwrap_or(u32::MAX));
        Some(*end)
    });
    Utf8 { offsets: std::iter::once(0).chain(ends).collect(), data }
}

fn write(batch: &Batch) -> Result<(), String> {
    db::upsert(batch).map_err(|error| format!("{error:?}"))
}
