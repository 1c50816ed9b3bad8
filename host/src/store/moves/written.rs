//! Rows that a move writes at the destination, and how far it has come: each time under its fence, in a
//! transaction.

use super::Claimed;
use super::table::{Slice, Table};
use crate::store::feed::Head;
use crate::store::{Connection, Database, Error, query, query_as, query_scalar};

/// How far a table has come.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct State {
    /// JSON: the key of the last row. None: no row is copied.
    pub(super) after_key: Option<String>,
    pub(super) row_count: i64,
    pub(super) is_complete: bool,
}

pub(super) async fn state(destination: &Database, name: &str) -> Result<State, Error> {
    let sql = "select after_key, row_count, is_complete from rowgate_copied where table_name = $1";
    let state: Option<State> = query_as(sql).bind(name).fetch_optional(destination).await?;
    Ok(state.unwrap_or(State { after_key: None, row_count: 0, is_complete: false }))
}

/// Rows and how far that is, in one transaction. Whoever was faster has gone on from there.
pub(super) async fn write(
    destination: &Database,
    of: &Claimed,
    name: &str,
    table: Option<Table>,
    slice: Slice,
    state: State,
    is_last: bool,
) -> Result<(), Error> {
    let (of, name) = (of.clone(), name.to_owned());
    let broken = |error| Error::Inconsistent(format!("a key as JSON: {error}"));
    let last = slice.last.as_ref().map(serde_json::to_string).transpose().map_err(broken)?;
    let count = state.row_count + slice.rows.len() as i64;
    destination
        .write(move |connection| {
            Box::pin(async move {
                still_held(connection, &of).await?;
                let moved = query(
                    "insert into rowgate_copied (table_name, after_key, row_count, is_complete)
                     values ($1, $2, $3, $4)
                     on conflict (table_name) do update
                       set after_key = coalesce(excluded.after_key, rowgate_copied.after_key),
                           row_count = excluded.row_count, is_complete = excluded.is_complete
                       where rowgate_copied.row_count = $5 and not rowgate_copied.is_complete",
                )
                .bind(name)
                .bind(last)
                .bind(count)
                .bind(is_last)
                .bind(state.row_count)
                .execute(&mut *connection)
                .await?;
                if moved.rows_affected() == 0 {
                    return Err(Error::Superseded("another host copies this table"));
                }
                match table.filter(|_| !slice.rows.is_empty()) {
                    Some(table) => table.write(connection, &slice.rows).await,
                    None => Ok(()),
                }
            })
        })
        .await
}

/// What is no row: the end of the feed, and from where numbers go on.
pub(super) async fn finish(
    destination: &Database,
    of: &Claimed,
    head: Head,
    row_number: i64,
) -> Result<(), Error> {
    let of = of.clone();
    destination
        .write(move |connection| {
            Box::pin(async move {
                still_held(connection, &of).await?;
                query("update rowgate_feed_head set epoch = $1, number = $2, floor = $3")
                    .bind(head.epoch)
                    .bind(head.number)
                    .bind(head.floor)
                    .execute(&mut *connection)
                    .await?;
                query_scalar::<i64>("select setval('rowgate_pk', $1) where $1 > 0")
                    .bind(row_number)
                    .fetch_optional(&mut *connection)
                    .await?;
                query_scalar::<i64>(
                    "select setval(pg_get_serial_sequence('rowgate_commits', 'id'), last.id)
                     from (select max(id) as id from rowgate_commits) as last
                     where last.id is not null",
                )
                .fetch_optional(connection)
                .await?;
                Ok(())
            })
        })
        .await
}

/// The first statement wherever rows and numbers are written there: whoever stood still for longer than the
/// lease has a lower fence than the one that went on, or another move's mark.
async fn still_held(connection: &mut Connection, of: &Claimed) -> Result<(), Error> {
    let planted = query("update rowgate_moved set fence = $2 where move_id = $1 and fence <= $2");
    let planted = planted.bind(&of.id).bind(of.fence).execute(connection).await?;
    match planted.rows_affected() {
        0 => Err(Error::Superseded("another host goes on with this move")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::{Dialect, fixture};

    #[tokio::test]
    async fn whoever_stood_still_writes_nothing_there() {
        let store = fixture::open(Dialect::Postgres, Clock::simulated(0)).await;
        let organization_id = store.organization("default").await.unwrap().id;
        let there = store.replication(organization_id).await.unwrap();
        let made =
            "create table rowgate_moved (move_id text not null, fence bigint not null default 0);
                    insert into rowgate_moved (move_id) values ('dbm_1')";
        let made = there.write(|connection| Box::pin(async { Ok(connection.run(made).await?) }));
        made.await.unwrap();
        for (id, fence, holds) in [
            ("dbm_1", 1, true),
            ("dbm_1", 1, true),
            ("dbm_0", 1, false),
            ("dbm_1", 2, true),
            ("dbm_1", 1, false),
        ] {
            let of = Claimed { id: id.into(), organization_id, fence };
            let held = there
                .write(|connection| Box::pin(async move { still_held(connection, &of).await }));
            assert_eq!(held.await.is_ok(), holds, "{id} {fence}");
        }
    }
}
