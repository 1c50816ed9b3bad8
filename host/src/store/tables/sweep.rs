//! Changes of many rows at once: update, delete, what a full listing didn't show, a whole owner.

use super::dialect::{key_text, quoted};
use super::feed;
use super::filter::push_where;
use super::query::Query;
use super::read::push_key;
use super::{ApplyError, ApplyScope, Moved};
use crate::model::Scalar;
use crate::rows::{Overlay, TableSpec, Test, Value, bookkeeping, timestamp_text};
use crate::store::{Connection, Dialect};

/// The part of what a full listing didn't show that one transaction takes.
#[derive(Clone, Copy)]
pub(super) struct Slice {
    pub(super) bracket: i64,
    pub(super) limit: u32,
}

/// Sets columns of the owner's rows that meet all tests; of a full listing's only a slice of those not
/// seen. Fewer than its limit: none is left.
pub(super) async fn update(
    conn: &mut Connection,
    scope: &ApplyScope,
    spec: &TableSpec,
    set: &[(usize, Value<'_>)],
    tests: &[Test<'_>],
    slice: Option<Slice>,
) -> sqlx::Result<Moved> {
    let query = update_query(conn.dialect(), scope, spec, set, tests, slice);
    Ok(Moved::Upserted(query.move_rows(conn, &spec.table_name).await?))
}

pub(super) fn update_query<'q>(
    dialect: Dialect,
    scope: &'q ApplyScope,
    spec: &'q TableSpec,
    set: &'q [(usize, Value<'q>)],
    tests: &'q [Test<'q>],
    slice: Option<Slice>,
) -> Query<'q> {
    let table = quoted(&spec.table_name);
    let name = |column: usize| quoted(&spec.columns[column].name);
    let mut query = Query::new(dialect, format!("update {table} set "));
    for (column, value) in set {
        query.push_fmt(format_args!("{} = ", name(*column)));
        query.push_value(value, spec.columns[*column].kind);
        query.push(", ");
    }
    query.push("row_updated_at = ");
    query.push_timestamp(timestamp_text(scope.now).unwrap_or_default());
    push_choice(&mut query, spec, slice);
    push_where(&mut query, spec, scope.external_owner_id.as_deref(), tests);
    query.push("\nand (");
    for (at, (column, value)) in set.iter().enumerate() {
        query.push(if at == 0 { "" } else { " or " });
        query.push_fmt(format_args!("{table}.{} is distinct from ", name(*column)));
        query.push_value(value, spec.columns[*column].kind);
    }
    query.push(")");
    if let Some((column, value)) = set.iter().find(|(column, _)| Some(*column) == spec.newer) {
        query.push(" and (");
        query.push_value(value, spec.columns[*column].kind);
        query.push_fmt(format_args!(" < {table}.{}) is not true", name(*column)));
    }
    push_unseen(&mut query, spec, slice);
    query.push_moved();
    query
}

/// Deletes the owner's rows that meet all tests; of a full listing's only a slice of those not seen.
/// Fewer than its limit: none is left.
pub(super) async fn delete(
    conn: &mut Connection,
    scope: &ApplyScope,
    spec: &TableSpec,
    tests: &[Test<'_>],
    slice: Option<Slice>,
) -> sqlx::Result<Moved> {
    let query = delete_query(conn.dialect(), scope, spec, tests, slice);
    Ok(Moved::Deleted(query.fetch_keys(conn).await?))
}

pub(super) fn delete_query<'q>(
    dialect: Dialect,
    scope: &'q ApplyScope,
    spec: &'q TableSpec,
    tests: &'q [Test<'q>],
    slice: Option<Slice>,
) -> Query<'q> {
    let table = quoted(&spec.table_name);
    let mut query = Query::new(dialect, format!("delete from {table}"));
    push_choice(&mut query, spec, slice);
    push_where(&mut query, spec, scope.external_owner_id.as_deref(), tests);
    push_unseen(&mut query, spec, slice);
    query.push_fmt(format_args!("\nreturning pk, {}", key_text(spec, "")));
    query
}

/// Begins the choice of a slice's rows; [`push_unseen`] ends it.
fn push_choice(query: &mut Query<'_>, spec: &TableSpec, slice: Option<Slice>) {
    if slice.is_some() {
        let table = quoted(&spec.table_name);
        query.push_fmt(format_args!("\nwhere pk in (select pk from {table}"));
    }
}

fn push_unseen(query: &mut Query<'_>, spec: &TableSpec, slice: Option<Slice>) {
    let Some(Slice { bracket, limit }) = slice else { return };
    let column = spec.unique_column();
    let key = format!("{}.{}", quoted(&spec.table_name), quoted(&column.name));
    query.push_fmt(format_args!(
        "\nand {} not in (select seen.value from rowgate_bracket_keys as page, {} \
         where page.bracket_id = ",
        query.dialect.key_of_bracket(column, &key),
        query.dialect.bracket_keys(),
    ));
    query.push_integer(bracket);
    query.push(")\nlimit ");
    query.push_integer(i64::from(limit));
    query.push(")");
}

/// Deletes at most `limit` rows of the owner, with tombstones; returns how many. Fewer than `limit`:
/// none is left.
pub async fn delete_owner_rows(
    conn: &mut Connection,
    scope: &ApplyScope,
    spec: &TableSpec,
    limit: u32,
) -> Result<u64, ApplyError> {
    if spec.owner.is_some() && scope.external_owner_id.is_none() {
        // Its rows belong to owners, of whom this is none.
        return Ok(0);
    }
    let table = quoted(&spec.table_name);
    let sql = format!("delete from {table} where pk in (select pk from {table}");
    let mut query = Query::new(conn.dialect(), sql);
    push_where(&mut query, spec, scope.external_owner_id.as_deref(), &[]);
    query.push(" limit ");
    query.push_integer(i64::from(limit));
    query.push_fmt(format_args!(") returning pk, {}", key_text(spec, "")));
    let rows = query.fetch_keys(conn).await?;
    let count = rows.len() as u64;
    feed::record(conn, spec, scope.commit_id, &Moved::Deleted(rows)).await?;
    Ok(count)
}

/// Sets bookkeeping columns of one row (natural key in manifest order), without moving
/// `row_updated_at` or the feed. False: there is no such row.
pub async fn set_bookkeeping(
    conn: &mut Connection,
    spec: &TableSpec,
    owner: Option<&str>,
    key: &[Scalar],
    values: &[(String, Scalar)],
) -> Result<bool, ApplyError> {
    let overlay = Overlay::new(spec, owner, key)?;
    let (values, key) = (bookkeeping(spec, values)?, overlay.unique_key());
    let sql = format!("update {} set ", quoted(&spec.table_name));
    let mut query = Query::new(conn.dialect(), sql);
    for (at, (column, value)) in values.iter().enumerate() {
        query.push(if at == 0 { "" } else { ", " });
        query.push_fmt(format_args!("{} = ", quoted(&spec.columns[*column].name)));
        query.push_value(value, spec.columns[*column].kind);
    }
    push_key(&mut query, spec, owner, &key);
    Ok(query.execute(conn).await? > 0)
}
