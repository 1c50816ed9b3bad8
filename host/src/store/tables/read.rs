//! Reading rows back: one row for a `lookup`, counts.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rowgate_manifest::ColumnType;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::dialect::quoted;
use super::query::Query;
use super::{ApplyError, ApplyScope, brackets, table};
use crate::model::{Scalar, Write};
use crate::rows::{Overlay, TableSpec, Value, check_lookup, text_date, text_timestamp};

/// One row by its natural key (manifest order, without the owner column), with the call's own
/// buffered writes on top: the values of `columns`, or none if there is no such row.
pub async fn lookup(
    conn: &mut SqliteConnection,
    scope: &ApplyScope,
    spec: &TableSpec,
    key: &[Scalar],
    columns: &[String],
    pending: &[Write],
) -> Result<Option<Vec<Scalar>>, ApplyError> {
    check_lookup(spec, key, columns)?;
    let owner = scope.external_owner_id.as_deref();
    let mut overlay = Overlay::new(spec, owner, key)?;
    let pending: Vec<&Write> =
        pending.iter().filter(|write| table(write) == spec.service).collect();
    let key = overlay.unique_key();
    let row = committed(conn, spec, owner, &key).await?;
    let swept = pending.iter().any(|write| matches!(write, Write::EndFull { .. }));
    let open = match swept {
        true => brackets::seen(conn, scope, spec, &key).await?,
        false => BTreeMap::new(),
    };
    overlay.begin(row, open);
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
    conn: &mut SqliteConnection,
    spec: &TableSpec,
    owner: Option<&str>,
) -> sqlx::Result<u64> {
    let mut query = Query::new(format!("select count(*) from {}", quoted(&spec.table_name)));
    if let (Some(owner), Some(column)) = (owner, spec.owner) {
        query.push_fmt(format_args!(" where {} = ", quoted(&spec.columns[column].name)));
        query.push_text(owner)?;
    }
    let rows = query.fetch(conn).await?;
    rows.first().map_or(Ok(0), |row| row.try_get::<i64, _>(0)).map(|count| count as u64)
}

/// Appends ` where` for one row of an owner.
pub(super) fn push_key<'q>(
    query: &mut Query<'q>,
    spec: &TableSpec,
    owner: Option<&'q str>,
    key: &'q Value<'_>,
) -> sqlx::Result<()> {
    query.push_fmt(format_args!(" where {} = ", quoted(&spec.unique_column().name)));
    query.push_value(key)?;
    if let (Some(owner), Some(column)) = (owner, spec.owner) {
        query.push_fmt(format_args!(" and {} = ", quoted(&spec.columns[column].name)));
        query.push_text(owner)?;
    }
    Ok(())
}

async fn committed(
    conn: &mut SqliteConnection,
    spec: &TableSpec,
    owner: Option<&str>,
    key: &Value<'static>,
) -> sqlx::Result<Option<Vec<Value<'static>>>> {
    let table = quoted(&spec.table_name);
    let names = spec.columns.iter().map(|column| format!("{table}.{}", quoted(&column.name)));
    let names: Vec<String> = names.collect();
    let mut query = Query::new(format!("select {} from {table}", names.join(", ")));
    push_key(&mut query, spec, owner, key)?;
    let rows = query.fetch(conn).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let kinds = spec.columns.iter().map(|column| column.kind).enumerate();
    kinds.map(|(at, kind)| value(row, at, kind)).collect::<sqlx::Result<_>>().map(Some)
}

fn value(row: &SqliteRow, at: usize, kind: ColumnType) -> sqlx::Result<Value<'static>> {
    let value = match kind {
        ColumnType::Bool => row.try_get_unchecked::<Option<bool>, _>(at)?.map(Value::Boolean),
        ColumnType::Int => row.try_get_unchecked::<Option<i64>, _>(at)?.map(Value::Integer),
        ColumnType::Double => row.try_get_unchecked::<Option<f64>, _>(at)?.map(Value::Double),
        ColumnType::Bytes => {
            let bytes = row.try_get_unchecked::<Option<Vec<u8>>, _>(at)?;
            bytes.map(|bytes| Value::Bytes(Cow::Owned(bytes)))
        }
        ColumnType::Decimal
        | ColumnType::Text
        | ColumnType::Json
        | ColumnType::Date
        | ColumnType::Timestamptz => {
            let text = row.try_get_unchecked::<Option<String>, _>(at)?;
            text.map(|text| Value::Text(Cow::Owned(text)))
        }
    };
    Ok(value.unwrap_or(Value::Null))
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
