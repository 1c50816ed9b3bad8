//! The change feed: the latest change of each row (R12).

use sqlx::SqliteConnection;

use super::Moved;
use super::dialect::literal;
use super::query::{Query, chunks};
use crate::rows::TableSpec;

/// What happened to rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Upserted,
    Deleted,
}

/// Records rows that moved in a commit.
pub(super) async fn record(
    conn: &mut SqliteConnection,
    spec: &TableSpec,
    commit_id: i64,
    moved: &Moved,
) -> sqlx::Result<()> {
    for chunk in chunks(&moved.rows, 2, 2) {
        entries(spec, commit_id, moved.change, chunk)?.execute(conn).await?;
    }
    Ok(())
}

fn entries<'q>(
    spec: &TableSpec,
    commit_id: i64,
    change: Change,
    rows: &'q [(i64, String)],
) -> sqlx::Result<Query<'q>> {
    let mut query = Query::new("with moved (unique_key, pk) as (values ");
    for (at, (pk, key)) in rows.iter().enumerate() {
        query.push(if at == 0 { "(" } else { ", (" });
        query.push_text(key.as_str())?;
        query.push(", ");
        query.push_integer(*pk)?;
        query.push(")");
    }
    query.push(
        ")\ninsert into rowgate_feed (table_name, unique_key, pk, deleted, commit_id)\nselect ",
    );
    query.push(&literal(&spec.table_name));
    query.push(", unique_key, pk, ");
    query.push_integer(i64::from(change == Change::Deleted))?;
    query.push(", ");
    query.push_integer(commit_id)?;
    query.push(
        " from moved where true\non conflict (table_name, unique_key) do update set \
         pk = excluded.pk, deleted = excluded.deleted, commit_id = excluded.commit_id",
    );
    Ok(query)
}
