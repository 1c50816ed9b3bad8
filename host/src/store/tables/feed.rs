//! The change feed: the latest change of each row (R12).

use serde::Serialize;

use super::Moved;
use super::dialect::literal;
use super::query::Query;
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
        Moved::Upserted(pks) if pks.is_empty() => {}
        Moved::Upserted(pks) => {
            live(dialect, spec, commit_id, pks).execute(conn).await?;
        }
        Moved::Deleted(rows) if rows.is_empty() => {}
        Moved::Deleted(rows) => {
            deleted(dialect, spec, commit_id, rows).execute(conn).await?;
        }
    }
    Ok(())
}

/// Entries of rows that were inserted or updated.
fn live<'q>(dialect: Dialect, spec: &TableSpec, commit_id: i64, pks: &[i64]) -> Query<'q> {
    let mut query = Query::new(dialect, "with moved (pk, unique_key) as (select ");
    match dialect {
        // One text for any number of rows, and one argument: a placeholder each takes twice the time.
        Dialect::Sqlite => {
            query.push("value, null from json_each(");
            query.push_text(json_array(pks));
        }
        Dialect::Postgres => {
            query.push("live, null::text from unnest(");
            query.push_argument(Argument::Integers(pks.iter().copied().map(Some).collect()));
            query.push("::bigint[]");
        }
    }
    query.push(") as live");
    push_entries(&mut query, spec, commit_id, false);
    query
}

fn json_array<T: Serialize>(rows: &[T]) -> String {
    serde_json::to_string(rows).expect("integers and texts are always JSON")
}

/// Entries of deleted rows, given as pk and unique key.
fn deleted<'q>(
    dialect: Dialect,
    spec: &TableSpec,
    commit_id: i64,
    rows: &'q [(i64, String)],
) -> Query<'q> {
    let mut query = Query::new(dialect, "with moved (pk, unique_key) as (");
    match dialect {
        Dialect::Sqlite => {
            query.push(
                "select json_extract(value, '$[0]'), json_extract(value, '$[1]') from json_each(",
            );
            query.push_text(json_array(rows));
            query.push(")");
        }
        Dialect::Postgres => {
            query.push("select * from unnest(");
            query.push_argument(Argument::Integers(rows.iter().map(|(pk, _)| Some(*pk)).collect()));
            query.push("::bigint[], ");
            let keys = rows.iter().map(|(_, key)| Some(key.as_str())).collect();
            query.push_argument(Argument::Texts(keys));
            query.push("::text[])");
        }
    }
    push_entries(&mut query, spec, commit_id, true);
    query
}

fn push_entries(query: &mut Query<'_>, spec: &TableSpec, commit_id: i64, deleted: bool) {
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
}

#[test]
fn a_json_array_of_integers() {
    assert_eq!(json_array(&[1, -2, 30]), "[1,-2,30]");
    assert_eq!(json_array::<i64>(&[]), "[]");
}
