//! The end of the feed: numbers for commits that have none yet.

use crate::model::Micros;
use crate::store::{Connection, Database, Dialect, Error, Row, query, query_scalar};

/// Where the feed of an organization ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Another one: the numbers before it mean nothing any more.
    pub epoch: String,
    /// The last commit's.
    pub number: i64,
    /// Tombstones up to this number may be gone.
    pub floor: i64,
}

/// The end of the feed. Every commit that was visible before the call has a number then, and none that a loss
/// of power could give to another.
pub async fn head(database: &Database) -> Result<Head, Error> {
    if database.dialect() == Dialect::Sqlite {
        let head = known(database).await?;
        database.sync().await?;
        return Ok(head);
    }
    let row = query(KNOWN_AND_UNNUMBERED).fetch_one(database.readers()).await?;
    let unnumbered: bool = row.get("unnumbered");
    match unnumbered {
        true => database.write(|connection| Box::pin(number_commits(connection))).await,
        false => Ok(of_row(&row)),
    }
}

/// The end of the feed as far as it is numbered.
pub(super) async fn known(database: &Database) -> Result<Head, Error> {
    let sql = match database.dialect() {
        Dialect::Sqlite => KNOWN_SQLITE,
        Dialect::Postgres => KNOWN_POSTGRES,
    };
    Ok(of_row(&query(sql).fetch_one(database.readers()).await?))
}

/// One writer a file: a commit's id is its number.
const KNOWN_SQLITE: &str = "
select epoch, coalesce((select max(id) from rowgate_commits), 0) as number, floor
from rowgate_feed_head";

const KNOWN_POSTGRES: &str = "select epoch, number, floor from rowgate_feed_head";

/// The same, and whether there are commits without a number.
const KNOWN_AND_UNNUMBERED: &str = "
select epoch, number, floor,
  exists (select 1 from rowgate_commits where number is null) as unnumbered
from rowgate_feed_head";

/// Under a lock, and in one transaction: whoever sees a number sees all that are smaller.
async fn number_commits(connection: &mut Connection) -> Result<Head, Error> {
    let head = query(format!("{KNOWN_POSTGRES} for update")).fetch_one(&mut *connection).await?;
    // A statement of its own sees what was committed before the lock was had.
    let numbered = query(
        "with ordered as (
           select id, row_number() over (order by xid, id) as nth
           from rowgate_commits where number is null
         )
         update rowgate_commits as one set number = $1 + ordered.nth
         from ordered where one.id = ordered.id",
    )
    .bind(of_row(&head).number)
    .execute(&mut *connection)
    .await?;
    let moved =
        query("update rowgate_feed_head set number = number + $1 returning epoch, number, floor")
            .bind(i64::try_from(numbered.rows_affected()).unwrap_or(i64::MAX))
            .fetch_one(connection)
            .await?;
    Ok(of_row(&moved))
}

fn of_row(row: &Row) -> Head {
    Head { epoch: row.get("epoch"), number: row.get("number"), floor: row.get("floor") }
}

/// The last number before the first commit of `at` or later, in a feed that ends at `head`.
pub async fn number_before(database: &Database, head: &Head, at: Micros) -> Result<i64, Error> {
    let first = first_since(database, 0, at).await?;
    Ok(first.map_or(head.number, |first| first - 1))
}

/// Number of the first commit of `at` or later, behind a number.
pub(super) async fn first_since(
    database: &Database,
    behind: i64,
    at: Micros,
) -> Result<Option<i64>, Error> {
    let first = query_scalar(first_since_sql(database.dialect())).bind(behind).bind(at);
    Ok(first.fetch_one(database.readers()).await?)
}

/// Arguments: a number, a time.
pub(super) fn first_since_sql(dialect: Dialect) -> String {
    let number = match dialect {
        Dialect::Sqlite => "id",
        Dialect::Postgres => "number",
    };
    format!("select min({number}) from rowgate_commits where {number} > $1 and committed_at >= $2")
}

/// Voids all bookmarks: the database was put back to an older copy, and gives numbers again that
/// readers have seen.
pub async fn new_epoch(database: &Database, epoch: String) -> Result<(), Error> {
    let statement = query("update rowgate_feed_head set epoch = $1").bind(epoch);
    database.execute(statement).await.map(drop)
}
