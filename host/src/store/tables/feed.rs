//! The change feed: the latest change of each row (R12).

use super::Moved;
use super::dialect::literal;
use super::query::{Query, chunks};
use crate::rows::TableSpec;
use crate::store::{Argument, Connection, Dialect};

/// Records rows that moved in a commit. A live row's key stands in its table: only of a deleted one the feed
/// keeps it.
pub(super) async fn record(
    conn: &mut Connection,
    spec: &TableSpec,
    commit_id: i64,
    moved: &Moved,
) -> sqlx::Result<()> {
    let dialect = conn.dialect();
    match moved {
        Moved::Upserted(pks) => {
            let rows: Vec<_> = pks.iter().map(|pk| (*pk, None)).collect();
            for chunk in chunks(dialect, &rows, 1, 2) {
                entries(dialect, spec, commit_id, false, chunk).execute(conn).await?;
            }
        }
        Moved::Deleted(rows) => {
            let rows: Vec<_> = rows.iter().map(|(pk, key)| (*pk, Some(key.as_str()))).collect();
            for chunk in chunks(dialect, &rows, 2, 2) {
                entries(dialect, spec, commit_id, true, chunk).execute(conn).await?;
            }
        }
    }
    Ok(())
}

/// `rows`: pk and, of a deleted one, unique key.
fn entries<'q>(
    dialect: Dialect,
    spec: &TableSpec,
    commit_id: i64,
    deleted: bool,
    rows: &[(i64, Option<&'q str>)],
) -> Query<'q> {
    let mut query = Query::new(dialect, "with moved (pk, unique_key) as (");
    match dialect {
        Dialect::Sqlite => push_values(&mut query, rows),
        Dialect::Postgres => {
            query.push("select * from unnest(");
            query.push_argument(Argument::Integers(rows.iter().map(|(pk, _)| Some(*pk)).collect()));
            query.push("::bigint[], ");
            let keys = rows.iter().map(|(_, key)| *key).collect();
            query.push_argument(Argument::Texts(keys));
            query.push("::text[])");
        }
    }
    query.push(
        ")\ninsert into rowgate_feed (table_name, pk, unique_key, deleted, commit_id)\nselect ",
    );
    query.push(&literal(&spec.table_name));
    query.push(", pk, unique_key, ");
    query.push_argument(Argument::Boolean(Some(deleted)));
    query.push(", ");
    query.push_integer(commit_id);
    query.push(
        " from moved where true\non conflict (table_name, pk) do update set \
         unique_key = excluded.unique_key, deleted = excluded.deleted, \
         commit_id = excluded.commit_id",
    );
    query
}

fn push_values<'q>(query: &mut Query<'q>, rows: &[(i64, Option<&'q str>)]) {
    query.push("values ");
    for (at, (pk, key)) in rows.iter().enumerate() {
        query.push(if at == 0 { "(" } else { ", (" });
        query.push_integer(*pk);
        match key {
            Some(key) => {
                query.push(", ");
                query.push_text(*key);
                query.push(")");
            }
            None => query.push(", null)"),
        }
    }
}
