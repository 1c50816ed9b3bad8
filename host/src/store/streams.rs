//! The schedule of streams (R6) in the control database. Every write of a holder says under which
//! fence; a write whose fence has passed on changes nothing and is reported as superseded.

mod pauses;
#[cfg(test)]
mod tests;

use futures_util::future::BoxFuture;
use sqlx::FromRow;

use super::leases::Lease;
use super::{Connection, Database, Dialect, Error, Query, Row, query, query_as, query_scalar};
use crate::model::{Micros, OwnerId, StreamId};

pub use pauses::{
    Pauses, grant_is_dead, owner_works, pause_owner, pause_tree, pauses, probe_tree,
    tree_is_misconfigured, tree_works,
};

/// A stream that may run now.
#[derive(Clone, Debug, PartialEq, FromRow)]
#[allow(missing_docs, reason = "columns of the schema")]
pub struct DueStream {
    pub id: i64,
    pub service: String,
    pub kind: String,
    pub key: String,
    pub page_limit: i64,
    pub slow_count: i64,
    pub attempts: i64,
}

impl DueStream {
    /// Which stream it is.
    pub fn stream(&self) -> StreamId {
        StreamId { service: self.service.clone(), kind: self.kind.clone(), key: self.key.clone() }
    }
}

/// Streams of the owner that are due, the longest due first. One that another fence took and never
/// released counts as due.
pub async fn due(
    control: &Database,
    lease: &Lease,
    now: Micros,
    limit: u32,
) -> Result<Vec<DueStream>, Error> {
    let streams = query_as(
        "select id, service, kind, key, page_limit, slow_count, attempts from streams
         where owner_id = $1 and not_before <= $2
           and ((taken is null and due_at <= $2) or taken <> $3)
         order by coalesce(due_at, 0), id limit $4",
    )
    .bind(lease.owner_id)
    .bind(now)
    .bind(lease.fence)
    .bind(limit)
    .fetch_all(control.readers())
    .await?;
    Ok(streams)
}

/// Marks streams as running under the lease. Committed before the first request to the vendor, so
/// that an activation during the run finds `due_at` empty and sets it again. Where a loss of power takes it
/// back, they are due as before.
pub async fn take(control: &Database, lease: &Lease, streams: Vec<i64>) -> Result<(), Error> {
    let (owner_id, fence) = (lease.owner_id, lease.fence);
    control
        .write_unsynced(move |connection| {
            Box::pin(async move {
                holds(connection, owner_id, fence).await?;
                for id in streams {
                    query("update streams set taken = $1, due_at = null where id = $2")
                        .bind(fence)
                        .bind(id)
                        .execute(&mut *connection)
                        .await?;
                }
                Ok(())
            })
        })
        .await
}

/// The size of a stream's next page; none: the stream is gone.
pub async fn page_limit(control: &Database, stream: i64) -> Result<Option<i64>, Error> {
    let limit = query_scalar("select page_limit from streams where id = $1").bind(stream);
    Ok(limit.fetch_optional(control.readers()).await?)
}

/// Makes the pages of a stream as large as `to`, if they are still as large as `from`: what a wish
/// to read the stream in full has set meanwhile stands.
pub async fn resize(
    control: &Database,
    lease: &Lease,
    stream: i64,
    from: u32,
    to: u32,
) -> Result<(), Error> {
    let statement = query("update streams set page_limit = $1 where id = $2 and page_limit = $3")
        .bind(to)
        .bind(stream)
        .bind(from);
    write_held(control, lease, statement).await
}

/// How a stream's run ended, as the schedule keeps it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ended {
    /// When it is due again; none: not before it is activated.
    pub next_at: Option<Micros>,
    /// A back-off, which no activation shortens.
    pub not_before: Micros,
    /// Failed attempts in a row.
    pub attempts: i64,
    /// Timeouts in a row.
    pub slow_count: i64,
    /// Why the stream stopped alone.
    pub unreadable: Option<String>,
    /// The failure, without secrets.
    pub error: Option<String>,
    /// When it ended.
    pub at: Micros,
    /// The run reached the stream's end.
    pub succeeded: bool,
    /// It ended a full listing.
    pub full: bool,
}

/// Gives a taken stream back. Where a loss of power takes that back, it is still taken under a fence that
/// nobody holds any more, and so due: what has been committed isn't lost, it is looked at once more. What a
/// vendor asked to be waited for is on disk.
pub async fn put_back(
    control: &Database,
    lease: &Lease,
    stream: i64,
    ended: Ended,
) -> Result<(), Error> {
    let waits = ended.not_before > 0;
    let statement = query(PUT_BACK)
        .bind(stream)
        .bind(ended.next_at)
        .bind(ended.not_before)
        .bind(ended.attempts)
        .bind(ended.slow_count)
        .bind(ended.unreadable)
        .bind(ended.error)
        .bind(ended.at)
        .bind(ended.succeeded)
        .bind(ended.full)
        .bind(lease.fence);
    if waits {
        return write_held(control, lease, statement).await;
    }
    let (owner_id, fence) = (lease.owner_id, lease.fence);
    control.write_unsynced(move |connection| held(connection, owner_id, fence, statement)).await
}

const PUT_BACK: &str = "
update streams set taken = null,
  due_at = case when due_at < $2 or $2 is null then due_at else $2 end,
  not_before = $3, attempts = $4, slow_count = $5, unreadable = $6,
  last_error = $7, last_error_at = case when $7 is null then last_error_at else $8 end,
  last_success_at = case when $9 then $8 else last_success_at end,
  last_full_at = case when $10 then $8 else last_full_at end,
  unsynced = unsynced and not $9 and $6 is null,
  failing_since = case when $9 then null when $6 is null and $7 is null then failing_since
                       else coalesce(failing_since, $8) end,
  failing_told = failing_told and not $9
where id = $1 and taken = $11";

/// Runs one statement if the lease still stands.
pub(super) async fn write_held(
    control: &Database,
    lease: &Lease,
    statement: Query<'static, Row>,
) -> Result<(), Error> {
    let (owner_id, fence) = (lease.owner_id, lease.fence);
    control.write(move |connection| held(connection, owner_id, fence, statement)).await
}

fn held<'c>(
    connection: &'c mut Connection,
    owner_id: OwnerId,
    fence: i64,
    statement: Query<'static, Row>,
) -> BoxFuture<'c, Result<(), Error>> {
    Box::pin(async move {
        holds(connection, owner_id, fence).await?;
        statement.execute(connection).await?;
        Ok(())
    })
}

/// Fails unless the fence is still the owner's.
pub(super) async fn holds(
    connection: &mut Connection,
    owner_id: OwnerId,
    fence: i64,
) -> Result<(), Error> {
    // SQLite has one writer. Elsewhere a claim waits until this transaction has ended.
    let sql = match connection.dialect() {
        Dialect::Sqlite => "select fence from owners where id = $1 and fence = $2",
        Dialect::Postgres => {
            "select fence from owners where id = $1 and fence = $2 for no key update"
        }
    };
    let held: Option<i64> =
        query_scalar(sql).bind(owner_id).bind(fence).fetch_optional(connection).await?;
    held.map(drop).ok_or(Error::Superseded("the lease has passed on"))
}

/// Gives back whatever is still taken under this lease; it is due at once.
pub async fn put_back_all(control: &Database, lease: &Lease) -> Result<(), Error> {
    let (owner_id, fence) = (lease.owner_id, lease.fence);
    let statement = query(
        "update streams set taken = null, due_at = coalesce(due_at, 0)
                     where owner_id = $1 and taken = $2",
    )
    .bind(owner_id)
    .bind(fence);
    control.execute(statement).await.map(drop)
}

/// Takes a stream off the schedule.
pub async fn forget(control: &Database, lease: &Lease, stream: i64) -> Result<(), Error> {
    // One that came back meanwhile isn't taken.
    let statement =
        query("delete from streams where id = $1 and taken = $2").bind(stream).bind(lease.fence);
    write_held(control, lease, statement).await
}
