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

fn entries<'q>(
    dialect: Dialect,
    spec: &TableSpec,
    commit_id: i64,
    change: Change,
    rows: &'q [(i64, String)],
) -> Query<'q> {
    let mut query = Query::new(dialect, "with moved (unique_key, pk) as (");
    match dialect {
        Dialect::Sqlite => push_values(&mut query, rows),
        Dialect::Postgres => {
            query.push("select * from unnest(");
            let keys = rows.iter().map(|(_, key)| Some(key.as_str()));
            query.push_argument(Argument::Texts(keys.collect()));
            query.push("::text[], ");
            query.push_argument(Argument::Integers(rows.iter().map(|(pk, _)| Some(*pk)).collect()));
            query.push("::bigint[])");
        }
    }
    query.push(
        ")\ninsert into rowgate_feed (table_name, unique_key, pk, deleted, commit_id)\nselect ",
    );
    query.push(&literal(&spec.table_name));
    query.push(", unique_key, pk, ");
    query.push_argument(Argument::Boolean(Some(change == Change::Deleted)));
    query.push(", ");
    query.push_integer(commit_id);
    query.push(
        " from moved where true\non conflict (table_name, unique_key) do update set \
         pk = excluded.pk, deleted = excluded.deleted, commit_id = excluded.commit_id",
    );
    query
}

fn push_values<'q>(query: &mut Query<'q>, rows: &'q [(i64, String)]) {
    query.push("values ");
    for (at, (pk, key)) in rows.iter().enumerate() {
        query.push(if at == 0 { "(" } else { ", (" });
        query.push_text(key.as_str());
        query.push(", ");
        query.push_integer(*pk);
        query.push(")");
    }
}
