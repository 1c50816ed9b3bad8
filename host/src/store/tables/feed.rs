//! The change feed: the latest change of each row (R12).

use super::Moved;
use super::dialect::literal;
use super::query::{Query, chunks};
use crate::rows::TableSpec;
use crate::store::{Argument, Connection, Dialect};

/// What happened to rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Upserted,
    Deleted,
}

/// Records rows that moved in a commit.
pub(super) async fn record(
    conn: &mut Connection,
    spec: &TableSpec,
    commit_id: i64,
    moved: &Moved,
) -> sqlx::Result<()> {
    let dialect = conn.dialect();
    for chunk in chunks(dialect, &moved.rows, 2, 2) {
        entries(dialect, spec, commit_id, moved.change, chunk).execute(conn).await?;
    }
    Ok(())
}

/// A live row's key stands in its table: only of a deleted one the feed keeps it.
fn entries<'q>(
    dialect: Dialect,
    spec: &TableSpec,
    commit_id: i64,
    change: Change,
    rows: &'q [(i64, String)],
) -> Query<'q> {
    let deleted = change == Change::Deleted;
    let mut query = Query::new(dialect, "with moved (pk, unique_key) as (");
    match dialect {
        Dialect::Sqlite => push_values(&mut query, rows, deleted),
        Dialect::Postgres => {
            query.push("select * from unnest(");
            query.push_argument(Argument::Integers(rows.iter().map(|(pk, _)| Some(*pk)).collect()));
            query.push("::bigint[], ");
            let keys = rows.iter().map(|(_, key)| deleted.then_some(key.as_str()));
            query.push_argument(Argument::Texts(keys.collect()));
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

fn push_values<'q>(query: &mut Query<'q>, rows: &'q [(i64, String)], deleted: bool) {
    query.push("values ");
    for (at, (pk, key)) in rows.iter().enumerate() {
        query.push(if at == 0 { "(" } else { ", (" });
        query.push_integer(*pk);
        match deleted {
            true => {
                query.push(", ");
                query.push_text(key.as_str());
                query.push(")");
            }
            false => query.push(", null)"),
        }
    }
}
