//! A batch as values: one spelling per value, computed columns, and rows in an order that applies
//! a repeated key one row after the other.

use std::borrow::Cow;
use std::collections::HashMap;
use std::panic::resume_unwind;
use std::thread;

use super::reader::Reader;
use super::{Rejected, Role, TableSpec, Test, Value, check};
use crate::model::{Batch, Existing};

/// Of a unique key, in UTF-8. An entry of PostgreSQL's indexes ends at 2,704 bytes, and that of a deleted
/// row holds the name of its table (63 bytes) beside the key: what can be stored can be deleted.
const KEY_BYTES_MAX: usize = 2_500;

/// From so many rows on two threads read a batch: of a page that comes as one it is the longest part that one core
/// does while the other waits for it. Smaller batches are read two at a time.
const HALVED_ROWS: usize = 1_024;

/// What an error shows of a key that is too long.
const KEY_SHOWN_CHARS: usize = 60;

/// A batch, normalised.
#[derive(Debug)]
pub struct Rows<'a> {
    /// Number of rows.
    pub rows: usize,
    /// In the table's order: what the guest presents, the owner, computed columns.
    pub columns: Vec<Presented<'a>>,
    /// Which rows go together; one part after the other.
    pub parts: Vec<Part>,
    key: usize,
}

/// A column of [`Rows`].
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Presented<'a> {
    /// Position in the table.
    pub column: usize,
    pub existing: Existing,
    pub cells: Cells<'a>,
}

/// Values of a column.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Cells<'a> {
    Each(Vec<Value<'a>>),
    Same(Value<'a>),
}

/// Rows with distinct keys that share one statement.
#[derive(Debug, PartialEq)]
pub struct Part {
    /// Ascending.
    pub rows: Vec<usize>,
    /// These rows present no `data`: it stays as it is.
    pub without_data: bool,
}

impl Rows<'static> {
    /// Normalises a batch for an owner. Err: what [`check::check_batch`] refuses, a value that is no
    /// JSON or no decimal, or a unique key of more than 2,500 bytes.
    pub fn new(spec: &TableSpec, batch: &Batch, owner: Option<&str>) -> Result<Self, Rejected> {
        let readers = check::readers(spec, batch, usize::MAX)?;
        let rows = Vec::from_iter(0..batch.rows);
        let select = |rows: &[usize]| -> Result<Self, Rejected> {
            Ok(Rows::select(spec, &readers, owner, rows)?.into_owned())
        };
        let mut all = match rows.len() < HALVED_ROWS {
            true => select(&rows)?,
            false => {
                let (first, second) = rows.split_at(rows.len() / 2);
                let (first, second) = thread::scope(|threads| {
                    let other = thread::Builder::new().spawn_scoped(threads, || select(second));
                    let first = select(first);
                    let second = match other {
                        Ok(other) => other.join().unwrap_or_else(|panic| resume_unwind(panic)),
                        // There are too many already.
                        Err(_) => select(second),
                    };
                    (first, second)
                });
                first?.followed_by(second?)
            }
        };
        all.parts = all.split(spec);
        Ok(all)
    }

    /// These rows and then others of their batch.
    fn followed_by(mut self, others: Self) -> Self {
        self.rows += others.rows;
        for (presented, other) in self.columns.iter_mut().zip(others.columns) {
            if let (Cells::Each(values), Cells::Each(others)) = (&mut presented.cells, other.cells)
            {
                values.extend(others);
            }
        }
        self
    }
}

impl<'a> Rows<'a> {
    /// Some rows of a batch, not in parts yet.
    pub(super) fn select(
        spec: &'a TableSpec,
        readers: &[Reader<'a>],
        owner: Option<&'a str>,
        rows: &[usize],
    ) -> Result<Self, Rejected> {
        let mut columns = Vec::with_capacity(spec.columns.len());
        for (position, column) in spec.columns.iter().enumerate() {
            let host =
                |cells| Some(Presented { column: position, existing: Existing::Keep, cells });
            let presented = match &column.role {
                Role::Owner => {
                    let owner = owner.ok_or_else(|| no_owner(spec))?;
                    host(Cells::Same(Value::Text(Cow::Borrowed(owner))))
                }
                Role::Computed(parts) => {
                    host(Cells::Each(computed(spec, parts, readers, owner, rows)?))
                }
                _ => match readers.iter().find(|reader| reader.position == position) {
                    Some(reader) => Some(reader.presented(rows)?),
                    None => None,
                },
            };
            columns.extend(presented);
        }
        let key = columns.iter().position(|presented| presented.column == spec.unique_key);
        let key = key.ok_or_else(|| Rejected::Other("a batch without its key".to_owned()))?;
        let selected = Self { rows: rows.len(), columns, parts: Vec::new(), key };
        selected.check_keys(spec)?;
        Ok(selected)
    }

    fn into_owned(self) -> Rows<'static> {
        let columns = self.columns.into_iter().map(Presented::into_owned).collect();
        Rows { rows: self.rows, columns, parts: self.parts, key: self.key }
    }

    /// The unique key of a row: text or an integer.
    pub fn key(&self, row: usize) -> &Value<'a> {
        self.columns[self.key].cell(row)
    }

    /// Is a row in a bracket's scope? What it doesn't say counts as in scope: better a ghost than a
    /// row swept by mistake.
    pub fn in_scope(&self, spec: &TableSpec, scope: &[Test<'_>], row: usize) -> bool {
        scope.iter().all(|test| {
            let presented = self.columns.iter().find(|presented| presented.column == test.column);
            let Some(presented) = presented else { return true };
            let value = presented.cell(row);
            let guest = matches!(spec.columns[test.column].role, Role::Guest | Role::Data);
            let unsaid = match presented.existing {
                Existing::Replace => false,
                Existing::Merge => guest && value.is_null(),
                Existing::Keep => guest,
            };
            unsaid || test.holds(value)
        })
    }

    fn check_keys(&self, spec: &TableSpec) -> Result<(), Rejected> {
        let mut keys = (0..self.rows).filter_map(|row| match self.key(row) {
            Value::Text(key) => Some(key),
            _ => None,
        });
        let Some(long) = keys.find(|key| key.len() > KEY_BYTES_MAX) else {
            return Ok(());
        };
        let shown: String = long.chars().take(KEY_SHOWN_CHARS).collect();
        Err(Rejected::Limit(format!(
            "table {}: the key that begins with {shown:?} has {} bytes, not {KEY_BYTES_MAX} at most",
            spec.service,
            long.len(),
        )))
    }

    fn split(&self, spec: &TableSpec) -> Vec<Part> {
        let data = self.columns.iter().find(|presented| {
            presented.existing == Existing::Merge
                && spec.columns[presented.column].role == Role::Data
        });
        let mut rounds: Vec<[Vec<usize>; 2]> = Vec::new();
        let mut seen: HashMap<Cow<'_, str>, usize> = HashMap::with_capacity(self.rows);
        for row in 0..self.rows {
            let key = match self.key(row) {
                Value::Text(key) => Cow::Borrowed(key.as_ref()),
                Value::Integer(key) => Cow::Owned(key.to_string()),
                _ => Cow::Borrowed(""),
            };
            let round = *seen.entry(key).and_modify(|round| *round += 1).or_default();
            if round == rounds.len() {
                rounds.push([Vec::new(), Vec::new()]);
            }
            let without_data = data.is_some_and(|data| data.cell(row).is_null());
            rounds[round][usize::from(without_data)].push(row);
        }
        let parts = rounds.into_iter().flat_map(|[with, without]| {
            [Part { rows: with, without_data: false }, Part { rows: without, without_data: true }]
        });
        parts.filter(|part| !part.rows.is_empty()).collect()
    }
}

impl<'a> Presented<'a> {
    fn into_owned(self) -> Presented<'static> {
        let cells = match self.cells {
            Cells::Each(values) => Cells::Each(values.into_iter().map(Value::into_owned).collect()),
            Cells::Same(value) => Cells::Same(value.into_owned()),
        };
        Presented { column: self.column, existing: self.existing, cells }
    }

    /// The value of a row.
    pub fn cell(&self, row: usize) -> &Value<'a> {
        match &self.cells {
            Cells::Each(values) => &values[row],
            Cells::Same(value) => value,
        }
    }
}

pub(super) fn no_owner(spec: &TableSpec) -> Rejected {
    let text = format!("table {}: its rows belong to owners, the call has none", spec.service);
    Rejected::Other(text)
}

/// The values of a computed column.
fn computed<'a>(
    spec: &TableSpec,
    parts: &[usize],
    readers: &[Reader<'a>],
    owner: Option<&str>,
    rows: &[usize],
) -> Result<Vec<Value<'a>>, Rejected> {
    let mut texts = vec![String::new(); rows.len()];
    for (at, part) in parts.iter().enumerate() {
        let last = at + 1 == parts.len();
        if Some(*part) == spec.owner {
            let owner = owner.ok_or_else(|| no_owner(spec))?;
            texts.iter_mut().for_each(|text| push_part(owner, last, text));
            continue;
        }
        let reader = readers.iter().find(|reader| reader.position == *part);
        let reader = reader.ok_or_else(|| Rejected::Other("a batch without its key".to_owned()))?;
        for (text, row) in texts.iter_mut().zip(rows) {
            push_part(&key_text(&reader.value(*row)?), last, text);
        }
    }
    Ok(texts.into_iter().map(|text| Value::Text(text.into())).collect())
}

/// Text of a key column's value.
pub(super) fn key_text<'v>(value: &'v Value<'_>) -> Cow<'v, str> {
    match value {
        Value::Text(text) => Cow::Borrowed(text),
        Value::Integer(number) => Cow::Owned(number.to_string()),
        _ => Cow::Borrowed(""),
    }
}

/// Appends one part and the `-` after it. `%` and `-` are escaped in all but the last part, so two
/// keys never join to one.
pub(super) fn push_part(part: &str, last: bool, text: &mut String) {
    if last {
        text.push_str(part);
        return;
    }
    for piece in part.split_inclusive(['%', '-']) {
        match piece.as_bytes().last() {
            Some(b'%') => text.extend([&piece[..piece.len() - 1], "%25"]),
            Some(b'-') => text.extend([&piece[..piece.len() - 1], "%2D"]),
            _ => text.push_str(piece),
        }
    }
    text.push('-');
}

#[cfg(test)]
#[path = "batch/tests.rs"]
mod tests;
