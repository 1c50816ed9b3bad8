//! Stale rows that have been kept long enough, found by the index that the host makes for them.

use super::ddl::test;
use super::dialect::{key_text, quoted};
use super::feed;
use super::query::Query;
use super::{ApplyError, ApplyScope, Moved};
use crate::model::Micros;
use crate::rows::{TableSpec, timestamp_text};
use crate::store::Connection;

/// Has the owner stale rows that last moved before a time?
pub async fn has_stale_rows(
    conn: &mut Connection,
    scope: &ApplyScope,
    spec: &TableSpec,
    before: Micros,
) -> Result<bool, ApplyError> {
    let Some(before) = sought(scope, spec, before) else { return Ok(false) };
    let mut query = Query::new(conn.dialect(), "");
    push_stale(&mut query, scope, spec, before, 1);
    Ok(!query.fetch_pks(conn).await?.is_empty())
}

/// Deletes at most `limit` of them, the oldest first, with tombstones; returns how many. Fewer than
/// `limit`: none is left.
pub async fn delete_stale_rows(
    conn: &mut Connection,
    scope: &ApplyScope,
    spec: &TableSpec,
    before: Micros,
    limit: u32,
) -> Result<u64, ApplyError> {
    let Some(before) = sought(scope, spec, before) else { return Ok(0) };
    let sql = format!("delete from {} where pk in (", quoted(&spec.table_name));
    let mut query = Query::new(conn.dialect(), sql);
    push_stale(&mut query, scope, spec, before, limit);
    query.push_fmt(format_args!(") returning pk, {}", key_text(spec, "")));
    let rows = query.fetch_keys(conn).await?;
    let count = rows.len() as u64;
    feed::record(conn, spec, scope.commit_id, &Moved::Deleted(rows)).await?;
    Ok(count)
}

/// The time as the database has it. None: there can be no such rows.
fn sought(scope: &ApplyScope, spec: &TableSpec, before: Micros) -> Option<String> {
    let nobodys = spec.owner.is_some() && scope.external_owner_id.is_none();
    if spec.stale.is_none() || nobodys {
        return None;
    }
    timestamp_text(before)
}

pub(super) fn push_stale<'q>(
    query: &mut Query<'q>,
    scope: &'q ApplyScope,
    spec: &TableSpec,
    before: String,
    limit: u32,
) {
    let name = |column: usize| quoted(&spec.columns[column].name);
    query.push_fmt(format_args!("select pk from {} where ", quoted(&spec.table_name)));
    if let (Some(owner), Some(column)) = (scope.external_owner_id.as_deref(), spec.owner) {
        query.push_fmt(format_args!("{} = ", name(column)));
        query.push_text(owner);
        query.push(" and ");
    }
    for (column, condition) in spec.stale.iter().flat_map(|stale| &stale.conditions) {
        query.push_fmt(format_args!("{} and ", test(&name(*column), condition)));
    }
    query.push("row_updated_at < ");
    query.push_timestamp(before);
    query.push(" order by row_updated_at limit ");
    query.push_integer(i64::from(limit));
}
