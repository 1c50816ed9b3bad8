//! Rows as columns: what `upsert` and `patch` take.

use std::marker::PhantomData;

use crate::bindings::rowgate::plugin::db::{self as wit, Existing, Scalar, Utf8, Values};
use crate::{Failure, Result, imports};

/// A table of `plugin.toml`; generated.
pub trait Table {
    /// Its rows, which may borrow.
    type Row<'a>: Row;
    /// Name in `plugin.toml`.
    const NAME: &'static str;
    /// Columns that a plugin writes, in the order of [`Row::cells`].
    const COLUMNS: &'static [&'static str];
    /// Columns that every row must have, beside the owner.
    const KEY: &'static [&'static str];
}

/// A row of a table; generated.
pub trait Row {
    /// Calls `set` with each column's place in [`Table::COLUMNS`], unless the cell is absent. `None`
    /// is null.
    fn cells(&self, set: &mut dyn FnMut(usize, Option<Value<'_>>));
}

/// What a row says of a column.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Cell<T> {
    /// Nothing.
    #[default]
    Absent,
    /// Null.
    Null,
    /// This.
    Value(T),
}

impl<T> Cell<T> {
    /// None: nothing is said. `Some(None)`: null.
    #[allow(clippy::option_option, reason = "absent and null are different answers")]
    pub fn said(self) -> Option<Option<T>> {
        match self {
            Self::Absent => None,
            Self::Null => Some(None),
            Self::Value(value) => Some(Some(value)),
        }
    }
}

impl<T> From<Option<T>> for Cell<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Self::Value)
    }
}

/// A value of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Double(f64),
    /// Decimal text.
    Decimal(&'a str),
    /// Text.
    Text(&'a str),
    /// A JSON document.
    Json(&'a str),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since the epoch.
    Timestamp(i64),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// Rows that a large page is best given in at a time: the host makes a batch ready for its database while the
/// component fills the next.
pub const BATCH_ROWS: usize = 512;

/// Rows of one table on their way to the host, held column by column.
#[derive(Debug)]
pub struct Batch<T> {
    service: String,
    rows: u32,
    columns: Vec<Option<Builder>>,
    constants: Vec<(String, Scalar)>,
    existing: Existing,
    kept: Vec<String>,
    room: Room,
    table: PhantomData<fn(T)>,
}

/// What is about to come.
#[derive(Clone, Copy, Debug, Default)]
struct Room {
    rows: usize,
    json_bytes: usize,
}

impl<T: Table> Batch<T> {
    /// An empty batch for the table of a service.
    pub fn new(service: &str) -> Self {
        Self {
            service: service.to_owned(),
            rows: 0,
            columns: T::COLUMNS.iter().map(|_| None).collect(),
            constants: Vec::new(),
            existing: Existing::Replace,
            kept: Vec::new(),
            room: Room::default(),
            table: PhantomData,
        }
    }

    /// Makes room for so many rows, and for so many bytes in each column of JSON: what grows by itself is
    /// copied, and takes twice the memory meanwhile.
    pub fn room(mut self, rows: usize, json_bytes: usize) -> Self {
        self.room = Room { rows, json_bytes };
        self
    }

    /// Gives every row the same value in a column.
    pub fn constant(mut self, column: &str, value: impl Into<Scalar>) -> Self {
        self.constants.push((column.to_owned(), value.into()));
        self
    }

    /// Rows that exist take only the values that are there; what is missing stays as it is.
    pub fn merge(mut self) -> Self {
        self.existing = Existing::Merge;
        self
    }

    /// Rows that exist keep what they have in this column, unless that is null.
    pub fn keep(mut self, column: &str) -> Self {
        self.kept.push(column.to_owned());
        self
    }

    /// Adds a row.
    pub fn push(&mut self, row: &T::Row<'_>) {
        let (at, room, columns) = (self.rows, self.room, &mut self.columns);
        row.cells(&mut |column, value| {
            columns[column].get_or_insert_with(Builder::default).set(at, value, room);
        });
        self.rows += 1;
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows as usize
    }

    /// Is there no row?
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Inserts or updates by the table's key. An empty batch does nothing.
    pub fn upsert(self) -> Result<()> {
        match self.finish()? {
            Some(batch) => Ok(imports::upsert(&batch)?),
            None => Ok(()),
        }
    }

    /// The same, for rows that exist only.
    pub fn patch(self) -> Result<()> {
        match self.finish()? {
            Some(batch) => Ok(imports::patch(&batch)?),
            None => Ok(()),
        }
    }

    fn finish(self) -> Result<Option<wit::Batch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let mode = |name: &str| {
            if self.kept.iter().any(|kept| kept == name) { Existing::Keep } else { self.existing }
        };
        let mut columns = Vec::new();
        for (name, value) in &self.constants {
            columns.push(wit::Column {
                name: name.clone(),
                validity: Vec::new(),
                values: Values::Constant(value.clone()),
                existing: mode(name),
            });
        }
        for (name, builder) in T::COLUMNS.iter().zip(self.columns) {
            let Some(builder) = builder else { continue };
            let existing = mode(name);
            // To replace by what nobody said would erase.
            if existing == Existing::Replace && builder.said < self.rows {
                let text = "is set in some rows of a batch but not in all";
                return Err(Failure::Bug(format!("column `{name}` of `{}` {text}", T::NAME)));
            }
            if let Some(column) = builder.finish(name, self.rows, existing) {
                columns.push(column);
            }
        }
        if let Some(key) = T::KEY.iter().find(|key| columns.iter().all(|c| c.name != **key)) {
            let text = format!("rows of `{}` lack their key column `{key}`", T::NAME);
            return Err(Failure::Bug(text));
        }
        Ok(Some(wit::Batch { table: self.service, rows: self.rows, columns }))
    }
}

/// One column as it grows. `values` is none until the first value tells its type.
#[derive(Debug, Default)]
struct Builder {
    values: Option<Values>,
    /// How many entries `values` has.
    filled: u32,
    validity: Vec<u8>,
    /// Rows that said something, be it null.
    said: u32,
    present: u32,
}

impl Builder {
    fn set(&mut self, row: u32, value: Option<Value<'_>>, room: Room) {
        self.said += 1;
        let Some(value) = value else { return };
        self.present += 1;
        self.validity.resize(row as usize / 8 + 1, 0);
        self.validity[row as usize / 8] |= 1 << (row % 8);
        let values = self.values.get_or_insert_with(|| empty(value, room));
        while self.filled < row {
            append_default(values);
            self.filled += 1;
        }
        append(values, value);
        self.filled += 1;
    }

    /// None: nothing to say, since a merge of nulls does nothing.
    fn finish(mut self, name: &str, rows: u32, existing: Existing) -> Option<wit::Column> {
        let name = name.to_owned();
        let Some(mut values) = self.values else {
            let (validity, values) = (Vec::new(), Values::Constant(Scalar::Null));
            let replaces = existing == Existing::Replace;
            return replaces.then_some(wit::Column { name, validity, values, existing });
        };
        while self.filled < rows {
            append_default(&mut values);
            self.filled += 1;
        }
        let all_present = self.present == rows;
        self.validity.resize(rows.div_ceil(8) as usize, 0);
        let validity = if all_present { Vec::new() } else { self.validity };
        Some(wit::Column { name, validity, values, existing })
    }
}

fn empty(like: Value<'_>, room: Room) -> Values {
    let utf8 = |bytes| {
        let mut offsets = Vec::with_capacity(room.rows + 1);
        offsets.push(0);
        Utf8 { offsets, data: Vec::with_capacity(bytes) }
    };
    match like {
        Value::Bool(_) => Values::Boolean(Vec::with_capacity(room.rows)),
        Value::Int(_) => Values::Integer(Vec::with_capacity(room.rows)),
        Value::Double(_) => Values::Double(Vec::with_capacity(room.rows)),
        Value::Decimal(_) => Values::Decimal(utf8(0)),
        Value::Text(_) => Values::Text(utf8(0)),
        Value::Json(_) => Values::Json(utf8(room.json_bytes)),
        Value::Date(_) => Values::Date(Vec::with_capacity(room.rows)),
        Value::Timestamp(_) => Values::Timestamp(Vec::with_capacity(room.rows)),
        Value::Bytes(_) => Values::Bytes(utf8(0)),
    }
}

/// Generated rows give a column one type only; another one would be left out.
fn append(values: &mut Values, value: Value<'_>) {
    match (values, value) {
        (Values::Boolean(list), Value::Bool(value)) => list.push(u8::from(value)),
        (Values::Integer(list), Value::Int(value)) => list.push(value),
        (Values::Double(list), Value::Double(value)) => list.push(value),
        (Values::Date(list), Value::Date(value)) => list.push(value),
        (Values::Timestamp(list), Value::Timestamp(value)) => list.push(value),
        (Values::Decimal(list), Value::Decimal(text))
        | (Values::Text(list), Value::Text(text))
        | (Values::Json(list), Value::Json(text)) => append_bytes(list, text.as_bytes()),
        (Values::Bytes(list), Value::Bytes(bytes)) => append_bytes(list, bytes),
        (values, _) => append_default(values),
    }
}

fn append_default(values: &mut Values) {
    match values {
        Values::Boolean(list) => list.push(0),
        Values::Integer(list) | Values::Timestamp(list) => list.push(0),
        Values::Double(list) => list.push(0.0),
        Values::Date(list) => list.push(0),
        Values::Decimal(list) | Values::Text(list) | Values::Json(list) | Values::Bytes(list) => {
            append_bytes(list, b"");
        }
        Values::Constant(_) => {}
    }
}

fn append_bytes(list: &mut Utf8, bytes: &[u8]) {
    list.data.extend_from_slice(bytes);
    list.offsets.push(list.data.len() as u32);
}

#[cfg(test)]
mod tests;
