//! One column of a batch, checked: from here on reading it can't panic.

use std::borrow::Cow;

use rowgate_manifest::ColumnType;

use super::batch::{Cells, Presented};
use super::condition::{decimal, double, json, kind_name, or_empty, scalar, without_nul};
use super::{Rejected, TableSpec, Value, date_text, timestamp_text};
use crate::model::{Column, Existing, Scalar, Utf8, Values};

/// A column of a batch whose shape was checked.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) position: usize,
    spec: &'a TableSpec,
    column: &'a Column,
    rows: usize,
    /// The data of text, decimal and JSON columns.
    text: &'a str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        spec: &'a TableSpec,
        position: usize,
        column: &'a Column,
        rows: usize,
    ) -> Result<Self, Rejected> {
        let mut reader = Self { position, spec, column, rows, text: "" };
        let validity = column.validity.len();
        if validity != 0 && validity != rows.div_ceil(8) {
            return Err(reader.other(&format!("{validity} bytes of validity for {rows} rows")));
        }
        reader.check_type()?;
        let length = match &column.values {
            Values::Boolean(values) => values.len(),
            Values::Integer(values) => values.len(),
            Values::Double(values) => values.len(),
            Values::Date(values) => values.len(),
            Values::Timestamp(values) => values.len(),
            Values::Constant(_) => rows,
            Values::Decimal(values)
            | Values::Text(values)
            | Values::Json(values)
            | Values::Bytes(values) => reader.check_offsets(values)?,
        };
        if length != rows {
            return Err(reader.other(&format!("{length} values for {rows} rows")));
        }
        match &column.values {
            Values::Decimal(values) | Values::Text(values) | Values::Json(values) => {
                reader.text = reader.check_text(values)?;
            }
            Values::Boolean(values) => {
                if let Some(row) = values.iter().position(|value| *value > 1) {
                    return Err(reader.wrong(row, "neither 0 nor 1"));
                }
            }
            _ => {}
        }
        Ok(reader)
    }

    fn check_type(&self) -> Result<(), Rejected> {
        let column = &self.spec.columns[self.position];
        let given = match &self.column.values {
            Values::Boolean(_) => ColumnType::Bool,
            Values::Integer(_) => ColumnType::Int,
            Values::Double(_) => ColumnType::Double,
            Values::Decimal(_) => ColumnType::Decimal,
            Values::Text(_) => ColumnType::Text,
            Values::Json(_) => ColumnType::Json,
            Values::Date(_) => ColumnType::Date,
            Values::Timestamp(_) => ColumnType::Timestamptz,
            Values::Bytes(_) => ColumnType::Bytes,
            Values::Constant(value) => {
                return scalar(column, value).map(drop).map_err(|wrong| self.wrong(0, &wrong));
            }
        };
        if given != column.kind {
            let (given, kind) = (kind_name(given), kind_name(column.kind));
            let text = format!("{}: {given} for a column of type {kind}", self.place());
            return Err(Rejected::WrongType(text));
        }
        Ok(())
    }

    /// The first row without a value.
    pub(super) fn first_null(&self) -> Option<usize> {
        if matches!(self.column.values, Values::Constant(Scalar::Null)) && self.rows > 0 {
            return Some(0);
        }
        (0..self.rows).find(|row| !self.present(*row))
    }

    /// One value. Err: it is no JSON or no decimal.
    pub(super) fn value(&self, row: usize) -> Result<Value<'a>, Rejected> {
        if !self.present(row) {
            return Ok(Value::Null);
        }
        let text = |text: Option<String>| text.map_or(Value::Null, |text| Value::Text(text.into()));
        let value = match &self.column.values {
            Values::Boolean(values) => Ok(Value::Boolean(values[row] == 1)),
            Values::Integer(values) => Ok(Value::Integer(values[row])),
            Values::Double(values) => Ok(double(values[row])),
            Values::Date(values) => Ok(text(date_text(values[row]))),
            Values::Timestamp(values) => Ok(text(timestamp_text(values[row]))),
            Values::Bytes(values) => {
                Ok(Value::Bytes(Cow::Borrowed(&values.data[range(values, row)])))
            }
            Values::Text(values) => Ok(Value::Text(without_nul(&self.text[range(values, row)]))),
            Values::Decimal(values) => decimal(&self.text[range(values, row)]),
            Values::Json(values) => json(&self.text[range(values, row)]),
            Values::Constant(value) => scalar(&self.spec.columns[self.position], value),
        };
        value.map_err(|wrong| self.wrong(row, &wrong))
    }

    pub(super) fn presented(&self, rows: &[usize]) -> Result<Presented<'a>, Rejected> {
        let column = &self.spec.columns[self.position];
        let existing = self.column.existing;
        // A missing `data` under `merge` is left out of the statement instead (`Part`).
        let fill = existing != Existing::Merge;
        let filled = |value: Value<'a>| if fill { or_empty(column, value) } else { value };
        let constant = matches!(self.column.values, Values::Constant(_));
        let cells = if constant && self.column.validity.is_empty() && self.rows > 0 {
            Cells::Same(filled(self.value(0)?))
        } else {
            let values = rows.iter().map(|row| Ok(filled(self.value(*row)?)));
            Cells::Each(values.collect::<Result<_, Rejected>>()?)
        };
        Ok(Presented { column: self.position, existing, cells })
    }

    fn present(&self, row: usize) -> bool {
        self.column.validity.get(row / 8).is_none_or(|byte| byte >> (row % 8) & 1 == 1)
    }

    fn place(&self) -> String {
        format!("table {}: column {}", self.spec.service, self.spec.columns[self.position].name)
    }

    fn other(&self, text: &str) -> Rejected {
        Rejected::Other(format!("{}: {text}", self.place()))
    }

    fn wrong(&self, row: usize, wrong: &str) -> Rejected {
        Rejected::WrongType(format!("{}, row {row}: {wrong}", self.place()))
    }

    /// The number of values.
    fn check_offsets(&self, values: &Utf8) -> Result<usize, Rejected> {
        let Some(last) = values.offsets.last() else { return Err(self.other("no offsets")) };
        if values.offsets[0] != 0 {
            return Err(self.other("offsets don't begin with 0"));
        }
        if let Some(row) = values.offsets.windows(2).position(|pair| pair[0] > pair[1]) {
            return Err(self.other(&format!("row {row}: offsets go backwards")));
        }
        if *last as usize > values.data.len() {
            let length = values.data.len();
            return Err(self.other(&format!("offsets reach beyond {length} bytes")));
        }
        Ok(values.offsets.len() - 1)
    }

    fn check_text(&self, values: &'a Utf8) -> Result<&'a str, Rejected> {
        let cut =
            |at: usize| values.offsets.iter().filter(|offset| **offset as usize <= at).count();
        let text = std::str::from_utf8(&values.data)
            .map_err(|error| self.wrong(cut(error.valid_up_to()).saturating_sub(1), "not UTF-8"))?;
        let broken = |offset: &u32| !text.is_char_boundary(*offset as usize);
        if let Some(row) = values.offsets.iter().position(broken) {
            return Err(self.wrong(row.saturating_sub(1), "an offset inside a character"));
        }
        Ok(text)
    }
}

fn range(values: &Utf8, row: usize) -> std::ops::Range<usize> {
    values.offsets[row] as usize..values.offsets[row + 1] as usize
}
