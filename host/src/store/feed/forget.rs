//! Takes old tombstones away, and commits that nothing refers to any more.

use super::head::{first_since, head, known};
use crate::model::Micros;
use crate::store::{Database, Dialect, Error, list, query, query_as};

/// Commits that are gone through, and tombstones that go, in one statement.
const SLICE: i64 = 1_000;

/// Commits that were gone through before, and are once more in one call: rows have left them since.
const AGAIN: i64 = SLICE;

/// What went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Gone {
    pub tombstones: u64,
    pub commits: u64,
    /// Commits that were gone through.
    pub looked_at: u64,
}

/// Forgets tombstones that were committed before a time, and commits of which nothing is left. What was gone
/// through once isn't asked for its age again.
pub async fn forget_before(database: &Database, before: Micros) -> Result<Gone, Error> {
    let head = head(database).await?;
    let (swept, _) = swept(database).await?;
    let first = first_since(database, swept, before).await?;
    forget(database, first.map_or(head.number, |first| first - 1)).await
}

/// Forgets tombstones of commits up to a number, and those commits of which nothing is left. Readers
/// whose bookmark lies before a tombstone that went get a copy of the whole table. Bounded slices: no
/// writer waits for more than one of them.
///
/// A call goes through what no call has before, and through a slice of the rest, one behind the other: so it
/// costs what is new, however long the feed.
pub(super) async fn forget(database: &Database, upto: i64) -> Result<Gone, Error> {
    let (swept, swept_again) = swept(database).await?;
    // What comes later is new then.
    let upto = upto.min(known(database).await?.number);
    let (mut gone, mut after) = (Gone::default(), swept);
    while let Some(last) = forget_slice(database, after, upto, SLICE, &mut gone).await? {
        after = last;
        note(database, "swept", after).await?;
    }
    if after < upto {
        note(database, "swept", upto).await?;
    }
    let last = forget_slice(database, swept_again, swept.min(upto), AGAIN, &mut gone).await?;
    // Behind the last one it begins anew.
    let again_from = last.unwrap_or(0);
    if again_from != swept_again {
        note(database, "swept_again", again_from).await?;
    }
    Ok(gone)
}

/// Up to where all commits were gone through, and once more.
async fn swept(database: &Database) -> Result<(i64, i64), Error> {
    let swept = query_as("select swept, swept_again from rowgate_feed_head");
    Ok(swept.fetch_one(database.readers()).await?)
}

/// Goes through commits behind a number; answers the last one's if there may be more.
async fn forget_slice(
    database: &Database,
    after: i64,
    upto: i64,
    limit: i64,
    gone: &mut Gone,
) -> Result<Option<i64>, Error> {
    let slice = slice(database, after, upto, limit).await?;
    gone.looked_at += slice.len() as u64;
    gone.tombstones += forget_tombstones(database, &slice).await?;
    gone.commits += forget_commits(database, &slice).await?;
    let more = slice.len() as i64 == limit;
    Ok(slice.last().filter(|_| more).map(|last| last.number))
}

async fn note(database: &Database, column: &str, number: i64) -> Result<(), Error> {
    let noted = query(format!("update rowgate_feed_head set {column} = $1")).bind(number);
    database.execute(noted).await.map(drop)
}

/// A commit, and what the feed still has of it.
#[derive(sqlx::FromRow)]
struct Old {
    id: i64,
    number: i64,
    has_rows: bool,
    has_tombstones: bool,
}

async fn slice(database: &Database, after: i64, upto: i64, limit: i64) -> Result<Vec<Old>, Error> {
    let number = number(database);
    let sql = format!(
        "select one.id, {number} as number,
           exists (select 1 from rowgate_feed as feed
                   where feed.commit_id = one.id and not feed.deleted) as has_rows,
           exists (select 1 from rowgate_feed as feed
                   where feed.commit_id = one.id and feed.deleted) as has_tombstones
         from rowgate_commits as one where {number} > $1 and {number} <= $2
         order by {number} limit $3"
    );
    let slice = query_as(sql).bind(after).bind(upto).bind(limit);
    Ok(slice.fetch_all(database.readers()).await?)
}

/// One writer a file: a commit's id is its number.
fn number(database: &Database) -> &'static str {
    match database.dialect() {
        Dialect::Sqlite => "one.id",
        Dialect::Postgres => "one.number",
    }
}

async fn forget_tombstones(database: &Database, slice: &[Old]) -> Result<u64, Error> {
    let old: Vec<&Old> = slice.iter().filter(|commit| commit.has_tombstones).collect();
    let Some(last) = old.last() else { return Ok(0) };
    // Before anything is gone, so that no reader misses it unawares.
    let raise = query("update rowgate_feed_head set floor = $1 where floor < $1").bind(last.number);
    database.execute(raise).await?;
    // A row that is coming back this moment is left alone: no writer waits here, nor do we.
    let skip = database.dialect().locks("for update of feed skip locked");
    let sql = format!(
        "delete from rowgate_feed where deleted and (table_name, pk, commit_id) in (
           select feed.table_name, feed.pk, feed.commit_id from rowgate_feed as feed
           where feed.deleted and feed.commit_id in ({}) limit $1 {skip})",
        ids(old)
    );
    database.execute_slices(SLICE, || query(sql.clone()).bind(SLICE).persistent(false)).await
}

async fn forget_commits(database: &Database, slice: &[Old]) -> Result<u64, Error> {
    let old = slice.iter().filter(|commit| !commit.has_rows);
    let ids = ids(old);
    if ids.is_empty() {
        return Ok(0);
    }
    // The last one stays: it says how far the numbers have come. A tombstone that was left alone
    // keeps its commit.
    let sql = format!(
        "delete from rowgate_commits where id in ({ids})
           and id < (select max(last.id) from rowgate_commits as last)
           and not exists (select 1 from rowgate_feed as feed
                           where feed.commit_id = rowgate_commits.id)"
    );
    Ok(database.execute(query(sql).persistent(false)).await?.rows_affected())
}

fn ids<'c>(commits: impl IntoIterator<Item = &'c Old>) -> String {
    list(commits.into_iter().map(|commit| commit.id))
}
