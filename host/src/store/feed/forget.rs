//! Takes old tombstones away, and commits that nothing refers to any more.

use crate::store::{Database, Dialect, Error, query};

/// Forgets tombstones of commits up to a number, at most `limit` of them and as many commits; answers
/// how many rows went. Readers whose bookmark lies below get a copy of the whole table. Zero: done.
pub async fn forget(database: &Database, upto: i64, limit: u32) -> Result<u64, Error> {
    // Before anything is gone, so that no reader misses it unawares.
    let raise = query("update rowgate_feed_head set floor = $1 where floor < $1").bind(upto);
    database.execute(raise).await?;
    let (number, of, skip) = match database.dialect() {
        Dialect::Sqlite => ("feed.commit_id", "rowgate_feed as feed", ""),
        // A row that is coming back this moment is left alone: no writer waits here, nor do we.
        Dialect::Postgres => (
            "one.number",
            "rowgate_feed as feed join rowgate_commits as one on one.id = feed.commit_id",
            "for update of feed skip locked",
        ),
    };
    let tombstones = format!(
        "delete from rowgate_feed where deleted and (table_name, pk, commit_id) in (
           select feed.table_name, feed.pk, feed.commit_id from {of}
           where feed.deleted and {number} <= $1 limit $2 {skip})"
    );
    let tombstones = query(tombstones).bind(upto).bind(limit);
    let gone = database.execute(tombstones).await?.rows_affected();
    // The last one stays: it says how far the numbers have come.
    let number = match database.dialect() {
        Dialect::Sqlite => "one.id",
        Dialect::Postgres => "one.number",
    };
    let commits = format!(
        "delete from rowgate_commits where id in (
           select one.id from rowgate_commits as one
           where {number} <= $1 and one.id < (select max(id) from rowgate_commits)
             and not exists (select 1 from rowgate_feed as feed where feed.commit_id = one.id)
           order by {number} limit $2)"
    );
    let commits = query(commits).bind(upto).bind(limit);
    Ok(gone + database.execute(commits).await?.rows_affected())
}
