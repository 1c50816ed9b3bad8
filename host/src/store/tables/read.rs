//! Reading rows back: one row for a `lookup`, counts.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;

use rowgate_manifest::ColumnType;

use super::dialect::quoted;
use super::query::Query;
use super::{ApplyError, ApplyScope, brackets, table};
use crate::model::{Scalar, Write};
use crate::rows::json;
use crate::rows::{
    Overlay, TableSpec, Value, canonical_decimal, check_lookup, text_date, text_timestamp,
    timestamp_text,
};
use crate::store::{Connection, Dialect, Row, query, query_scalar};

/// One row by its natural key (manifest order, without the owner column), with the call's own
/// buffered writes on top: the values of `columns`, or none if there is no such row.
pub async fn lookup(
    conn: &mut Connection,
    scope: &ApplyScope,
    spec: &TableSpec,
    key: &[Scalar],
    columns: &[String],
    pending: &[impl Borrow<Write>],
) -> Result<Option<Vec<Scalar>>, ApplyError> {
    check_lookup(spec, key, columns)?;
    let owner = scope.external_owner_id.as_deref();
    let mut overlay = Overlay::new(spec, owner, key)?;
    let pending = pending.iter().map(Borrow::borrow);
    let pending: Vec<&Write> = pending.filter(|write| table(write) == spec.service).collect();
    let key = overlay.unique_key();
    let row = committed(conn, spec, owner, &key).await?;
    let stale_before = scope.stale_before.filter(|_| spec.stale.is_some());
    // To sweep, a listing must know what it has seen; to pass over, only what it lists.
    let sweeps = pending.iter().any(|write| matches!(write, Write::EndFull { .. }));
    let upserts = pending.iter().any(|write| matches!(write, Write::Upsert(_)));
    let open = match sweeps || (upserts && stale_before.is_some()) {
        true => brackets::open(conn, scope, spec, sweeps.then_some(&key)).await?,
        false => BTreeMap::new(),
    };
    overlay.begin(row, open, stale_before.and_then(timestamp_text));
    pending.into_iter().try_for_each(|write| overlay.apply(write))?;
    let Some(row) = overlay.row() else { return Ok(None) };
    let values = columns.iter().filter_map(|name| {
        let column = spec.position(name)?;
        Some(scalar(spec.columns[column].kind, &row[column]))
    });
    Ok(Some(values.collect()))
}

/// How many rows the owner has; without owners, how many there are.
pub async fn count_rows(
    conn: &mut Connection,
    spec: &TableSpec,
    owner: Option<&str>,
) -> sqlx::Result<u64> {
    let sql = format!("select count(*) from {}", quoted(&spec.table_name));
    let mut query = Query::new(conn.dialect(), sql);
    if let (Some(owner), Some(column)) = (owner, spec.owner) {
        query.push_fmt(format_args!(" where {} = ", quoted(&spec.columns[column].name)));
        query.push_text(owner);
    }
    let counts = query.fetch(conn, query_scalar::<i64>).await?;
    Ok(counts.first().map_or(0, |count| count.unsigned_abs()))
}

/// Appends ` where` for one row of an owner.
pub(super) fn push_key<'q>(
    query: &mut Query<'q>,
    spec: &TableSpec,
    owner: Option<&'q str>,
    key: &'q Value<'_>,
) {
    let unique = spec.unique_column();
    query.push_fmt(format_args!(" where {} = ", quoted(&unique.name)));
    query.push_value(key, unique.kind);
    if let (Some(owner), Some(column)) = (owner, spec.owner) {
        query.push_fmt(format_args!(" and {} = ", quoted(&spec.columns[column].name)));
        query.push_text(owner);
    }
}

async fn committed(
    conn: &mut Connection,
    spec: &TableSpec,
    owner: Option<&str>,
    key: &Value<'static>,
) -> sqlx::Result<Option<Vec<Value<'static>>>> {
    let rows = committed_query(conn.dialect(), spec, owner, key).fetch(conn, query).await?;
    Ok(rows.first().map(|row| values(row, spec)))
}

pub(super) fn committed_query<'q>(
    dialect: Dialect,
    spec: &TableSpec,
    owner: Option<&'q str>,
    key: &'q Value<'static>,
) -> Query<'q> {
    let columns = select_list(dialect, spec, "");
    let sql = format!("select {columns} from {}", quoted(&spec.table_name));
    let mut select = Query::new(dialect, sql);
    push_key(&mut select, spec, owner, key);
    select
}

/// All columns of a table in the form of [`Value`], to be read by [`values`]. `table`: a name and its
/// dot, or nothing.
pub(in crate::store) fn select_list(dialect: Dialect, spec: &TableSpec, table: &str) -> String {
    let columns = spec.columns.iter().map(|column| {
        let name = quoted(&column.name);
        format!("{} as {name}", dialect.as_value(&format!("{table}{name}"), column.kind))
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// A row, in the order of the table's columns.
pub(in crate::store) fn values(row: &Row, spec: &TableSpec) -> Vec<Value<'static>> {
    spec.columns.iter().map(|column| value(row, &column.name, column.kind)).collect()
}

/// One column of a row, selected as [`Dialect::as_value`] says.
pub(in crate::store) fn value(row: &Row, name: &str, kind: ColumnType) -> Value<'static> {
    let value = match kind {
        ColumnType::Bool => row.get::<Option<bool>>(name).map(Value::Boolean),
        ColumnType::Int => row.get::<Option<i64>>(name).map(Value::Integer),
        ColumnType::Double => row.get::<Option<f64>>(name).map(Value::Double),
        ColumnType::Bytes => {
            row.get::<Option<Vec<u8>>>(name).map(|bytes| Value::Bytes(Cow::Owned(bytes)))
        }
        kind => {
            let text = row.get::<Option<String>>(name);
            text.map(|text| Value::Text(Cow::Owned(spelled(text, kind))))
        }
    };
    value.unwrap_or(Value::Null)
}

/// PostgreSQL spells documents and decimals in its own way.
fn spelled(text: String, kind: ColumnType) -> String {
    let normal = match kind {
        ColumnType::Json => json::canonical(&text).map(Cow::into_owned),
        ColumnType::Decimal => return canonical_decimal(&text),
        _ => return text,
    };
    normal.unwrap_or(text)
}

fn scalar(kind: ColumnType, value: &Value<'_>) -> Scalar {
    match (value, kind) {
        (Value::Null, _) => Scalar::Null,
        (Value::Boolean(value), _) => Scalar::Boolean(*value),
        (Value::Integer(value), _) => Scalar::Integer(*value),
        (Value::Double(value), _) => Scalar::Double(*value),
        (Value::Bytes(value), _) => Scalar::Bytes(value.to_vec()),
        (Value::Text(text), ColumnType::Date) => text_date(text).map_or(Scalar::Null, Scalar::Date),
        (Value::Text(text), ColumnType::Timestamptz) => {
            text_timestamp(text).map_or(Scalar::Null, Scalar::Timestamp)
        }
        (Value::Text(text), ColumnType::Decimal) => Scalar::Decimal(text.to_string()),
        (Value::Text(text), ColumnType::Json) => Scalar::Json(text.to_string()),
        (Value::Text(text), _) => Scalar::Text(text.to_string()),
    }
}
