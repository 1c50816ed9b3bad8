//! Conditions and assignments of a guest: checked, and as values. Whether they hold for a row.

use std::borrow::Cow;
use std::cmp::Ordering;

use rowgate_manifest::ColumnType;

use super::value::{date_text, timestamp_text};
use super::{ColumnSpec, Rejected, Role, TableSpec, Value, json, number};
use crate::model::{Condition, Op, Scalar};

/// More conditions than a sane plugin writes.
const CONDITIONS_MAX: usize = 32;
/// A value that goes into any number of rows at once, bytes.
const SET_BYTES_MAX: usize = 65_536;

/// A checked condition. The value is never null except with `Equal` and `NotEqual`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Test<'a> {
    pub column: usize,
    pub op: Op,
    pub value: Value<'a>,
}

impl Test<'_> {
    /// Does it hold for a row with this value? As SQL has it, but never unknown.
    pub fn holds(&self, value: &Value<'_>) -> bool {
        match self.op {
            Op::Equal => *value == self.value,
            Op::NotEqual => *value != self.value,
            Op::StartsWith => match (value, &self.value) {
                (Value::Text(value), Value::Text(prefix)) => value.starts_with(prefix.as_ref()),
                _ => false,
            },
            Op::Less => self.order(value).is_some_and(Ordering::is_lt),
            Op::LessOrEqual => self.order(value).is_some_and(Ordering::is_le),
            Op::Greater => self.order(value).is_some_and(Ordering::is_gt),
            Op::GreaterOrEqual => self.order(value).is_some_and(Ordering::is_ge),
        }
    }

    /// The same, owned.
    pub fn into_owned(self) -> Test<'static> {
        Test { column: self.column, op: self.op, value: self.value.into_owned() }
    }

    fn order(&self, value: &Value<'_>) -> Option<Ordering> {
        order(value, &self.value)
    }
}

/// Order of two values of one type, bytewise for text; none with null.
pub(super) fn order(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    match (a, b) {
        (Value::Boolean(a), Value::Boolean(b)) => Some(a.cmp(b)),
        (Value::Integer(a), Value::Integer(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// The least text above all that begin with `prefix`, in byte order; none if there is none.
pub fn upper_bound(prefix: &str) -> Option<String> {
    let mut bound = prefix.to_owned();
    while let Some(last) = bound.pop() {
        // Steps over the surrogates, which are no characters.
        if let Some(next) = (last..=char::MAX).nth(1) {
            bound.push(next);
            return Some(bound);
        }
    }
    None
}

/// Checks the conditions of an update, a delete or a scope.
pub fn tests<'a>(spec: &TableSpec, conditions: &'a [Condition]) -> Result<Vec<Test<'a>>, Rejected> {
    if conditions.len() > CONDITIONS_MAX {
        let text = format!("table {}: more than {CONDITIONS_MAX} conditions", spec.service);
        return Err(Rejected::Limit(text));
    }
    conditions.iter().map(|condition| test(spec, condition)).collect()
}

fn test<'a>(spec: &TableSpec, condition: &'a Condition) -> Result<Test<'a>, Rejected> {
    let position = visible(spec, &condition.column)?;
    let column = &spec.columns[position];
    let place = || format!("table {}: condition on {}", spec.service, column.name);
    let value = scalar(column, &condition.value)
        .map_err(|wrong| Rejected::WrongType(format!("{}: {wrong}", place())))?;
    let null = matches!(condition.value, Scalar::Null);
    let equality = matches!(condition.op, Op::Equal | Op::NotEqual);
    let ordered = !matches!(column.kind, ColumnType::Json | ColumnType::Decimal);
    let fits = match condition.op {
        Op::Equal | Op::NotEqual => true,
        Op::StartsWith => column.kind == ColumnType::Text,
        _ => ordered,
    };
    if !fits {
        return Err(Rejected::WrongType(format!("{}: its type has no such comparison", place())));
    }
    if null && !equality {
        return Err(Rejected::Other(format!("{}: null can only be (not) equal", place())));
    }
    if value.is_null() && !null {
        let what = "no value of the column (NaN, or beyond the years 0001 to 9999)";
        return Err(Rejected::Other(format!("{}: {what}", place())));
    }
    Ok(Test { column: position, op: condition.op, value })
}

/// Checks the assignments of an update or of a sweep.
pub fn assignments<'a>(
    spec: &TableSpec,
    set: &'a [(String, Scalar)],
) -> Result<Vec<(usize, Value<'a>)>, Rejected> {
    values_of(spec, set, &[Role::Guest, Role::Data])
}

/// Checks the values of bookkeeping columns, which no guest may set.
pub fn bookkeeping<'a>(
    spec: &TableSpec,
    set: &'a [(String, Scalar)],
) -> Result<Vec<(usize, Value<'a>)>, Rejected> {
    values_of(spec, set, &[Role::Bookkeeping])
}

fn values_of<'a>(
    spec: &TableSpec,
    set: &'a [(String, Scalar)],
    roles: &[Role],
) -> Result<Vec<(usize, Value<'a>)>, Rejected> {
    let mut values: Vec<(usize, Value<'a>)> = Vec::with_capacity(set.len());
    for (name, scalar_value) in set {
        let position = visible(spec, name)?;
        let column = &spec.columns[position];
        let place = || format!("table {}: column {name}", spec.service);
        if !roles.contains(&column.role) {
            return Err(Rejected::UnknownColumn(format!("{} can't be set", place())));
        }
        if values.iter().any(|(other, _)| *other == position) {
            return Err(Rejected::Other(format!("{} is set twice", place())));
        }
        let value = scalar(column, scalar_value)
            .map_err(|wrong| Rejected::WrongType(format!("{}: {wrong}", place())))?;
        if matches!(&value, Value::Text(text) if text.len() > SET_BYTES_MAX)
            || matches!(&value, Value::Bytes(bytes) if bytes.len() > SET_BYTES_MAX)
        {
            let text = format!("{}: set to more than {SET_BYTES_MAX} bytes; upsert it", place());
            return Err(Rejected::Limit(text));
        }
        values.push((position, or_empty(column, value)));
    }
    if values.is_empty() {
        return Err(Rejected::Other(format!("table {}: nothing to set", spec.service)));
    }
    Ok(values)
}

/// `data` is never null.
pub(super) fn or_empty<'a>(column: &ColumnSpec, value: Value<'a>) -> Value<'a> {
    if column.role == Role::Data && value.is_null() {
        return Value::Text(Cow::Borrowed("{}"));
    }
    value
}

/// A column that guests may name.
pub(super) fn visible(spec: &TableSpec, name: &str) -> Result<usize, Rejected> {
    let position = spec.position(name).filter(|position| spec.columns[*position].visible());
    position.ok_or_else(|| {
        let shown: String = name.chars().take(64).collect();
        Rejected::UnknownColumn(format!("table {}: {shown:?}", spec.service))
    })
}

/// One value as its column stores it. Err: what is wrong with it.
pub(super) fn scalar<'a>(column: &ColumnSpec, scalar: &'a Scalar) -> Result<Value<'a>, String> {
    let text = |text: Option<String>| text.map_or(Value::Null, |text| Value::Text(text.into()));
    let value = match (scalar, column.kind) {
        (Scalar::Null, _) => Value::Null,
        (Scalar::Boolean(value), ColumnType::Bool) => Value::Boolean(*value),
        (Scalar::Integer(value), ColumnType::Int) => Value::Integer(*value),
        (Scalar::Double(value), ColumnType::Double) => double(*value),
        (Scalar::Text(value), ColumnType::Text) => Value::Text(without_nul(value)),
        (Scalar::Date(value), ColumnType::Date) => text(date_text(*value)),
        (Scalar::Timestamp(value), ColumnType::Timestamptz) => text(timestamp_text(*value)),
        (Scalar::Decimal(value), ColumnType::Decimal) => decimal(value)?,
        (Scalar::Json(value), ColumnType::Json) => json(value)?,
        (Scalar::Bytes(value), ColumnType::Bytes) => Value::Bytes(Cow::Borrowed(value)),
        _ => return Err(format!("the column's type is {}", kind_name(column.kind))),
    };
    Ok(value)
}

pub(super) fn kind_name(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Bool => "bool",
        ColumnType::Int => "int",
        ColumnType::Double => "double",
        ColumnType::Decimal => "decimal",
        ColumnType::Text => "text",
        ColumnType::Json => "json",
        ColumnType::Date => "date",
        ColumnType::Timestamptz => "timestamptz",
        ColumnType::Bytes => "bytes",
    }
}

/// NaN is null: SQLite can't store it.
pub(super) fn double(value: f64) -> Value<'static> {
    if value.is_nan() { Value::Null } else { Value::Double(value) }
}

pub(super) fn without_nul(text: &str) -> Cow<'_, str> {
    if text.as_bytes().contains(&0) {
        return Cow::Owned(text.replace('\0', ""));
    }
    Cow::Borrowed(text)
}

/// An endless one is null: PostgreSQL can't store it.
pub(super) fn decimal(text: &str) -> Result<Value<'_>, String> {
    if number::scan(text.as_bytes()) != Some(text.len()) {
        return Err("no decimal number".to_owned());
    }
    let mut canonical = String::with_capacity(text.len());
    number::push_canonical(text, &mut canonical);
    Ok(if number::is_storable(&canonical) { Value::Text(canonical.into()) } else { Value::Null })
}

pub(super) fn json(text: &str) -> Result<Value<'_>, String> {
    let canonical = json::canonical(text).map_err(|error| format!("no JSON: {error}"))?;
    Ok(Value::Text(canonical))
}
