//! Tables and batches for tests.

use rowgate_manifest::Manifest;

use super::TableSpec;
use crate::model::{Batch, Column, Condition, Existing, Op, Scalar, Utf8, Values};

pub(crate) fn google_calendar() -> Manifest {
    toml::from_str(include_str!("fixture/google_calendar.toml")).unwrap()
}

pub(crate) fn sample() -> Manifest {
    toml::from_str(include_str!("fixture/sample.toml")).unwrap()
}

/// Table of a service, called like the service.
pub(crate) fn spec(service: &str) -> TableSpec {
    let google = google_calendar();
    let manifest = if google.services.contains_key(service) { google } else { sample() };
    TableSpec::new(&manifest, service, service).unwrap()
}

pub(crate) fn batch(table: &str, rows: usize, columns: Vec<Column>) -> Batch {
    Batch { table: table.to_owned(), rows, columns }
}

/// A column that replaces; none is null.
pub(crate) fn column(name: &str, values: Values) -> Column {
    Column { name: name.to_owned(), validity: Vec::new(), values, existing: Existing::Replace }
}

/// A text column.
pub(crate) fn texts(name: &str, values: &[Option<&str>]) -> Column {
    Column { validity: validity(values), ..column(name, Values::Text(utf8(values))) }
}

/// A JSON column.
pub(crate) fn documents(name: &str, values: &[Option<&str>]) -> Column {
    Column { validity: validity(values), ..column(name, Values::Json(utf8(values))) }
}

pub(crate) fn existing(existing: Existing, column: Column) -> Column {
    Column { existing, ..column }
}

pub(crate) fn utf8(values: &[Option<&str>]) -> Utf8 {
    let mut utf8 = Utf8 { offsets: vec![0], data: Vec::new() };
    for value in values {
        utf8.data.extend_from_slice(value.unwrap_or_default().as_bytes());
        utf8.offsets.push(utf8.data.len() as u32);
    }
    utf8
}

pub(crate) fn validity<T>(values: &[Option<T>]) -> Vec<u8> {
    let mut bits = vec![0; values.len().div_ceil(8)];
    for (row, _) in values.iter().enumerate().filter(|(_, value)| value.is_some()) {
        bits[row / 8] |= 1 << (row % 8);
    }
    bits
}

pub(crate) fn condition(column: &str, op: Op, value: Scalar) -> Condition {
    Condition { column: column.to_owned(), op, value }
}

/// `column = text`.
pub(crate) fn is(column: &str, text: &str) -> Condition {
    condition(column, Op::Equal, Scalar::Text(text.to_owned()))
}
