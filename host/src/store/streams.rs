//! The schedule of streams (R6) in the control database. Every write of a holder says under which
//! fence; a write whose fence has passed on changes nothing and is reported as superseded.

use serde_json::json;
use sqlx::FromRow;

use super::alerts::{self, Raised};
use super::leases::Lease;
use super::{Connection, Database, Dialect, Error, Query, Row, query, query_as, query_scalar};
use crate::model::{Micros, OwnerId, StreamId};

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

/// Pauses that hold for all streams of an owner.
#[derive(Clone, Debug, PartialEq, FromRow)]
#[allow(missing_docs, reason = "columns of the schema")]
pub struct Pauses {
    pub state: String,
    pub attempts: i64,
    pub owner_not_before: Micros,
    pub tree_not_before: Micros,
    pub misconfigured: Option<String>,
    /// The tree is being deleted.
    pub ended: bool,
}

/// Reads what may hold the owner's streams back.
pub async fn pauses(control: &Database, owner_id: OwnerId) -> Result<Pauses, Error> {
    let pauses = query_as(
        "select o.state, o.attempts, o.not_before as owner_not_before,
                i.not_before as tree_not_before, i.misconfigured, i.ended_at is not null as ended
         from owners o join integrations i on i.id = o.root_id where o.id = $1",
    )
    .bind(owner_id)
    .fetch_one(control.readers())
    .await?;
    Ok(pauses)
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
/// that an activation during the run finds `due_at` empty and sets it again.
pub async fn take(control: &Database, lease: &Lease, streams: Vec<i64>) -> Result<(), Error> {
    let (owner_id, fence) = (lease.owner_id, lease.fence);
    control
        .write(move |connection| {
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

/// How a stream's run ended, as the schedule keeps it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ended {
    /// When it is due again; none: not before it is activated.
    pub next_at: Option<Micros>,
    /// A back-off, which no activation shortens.
    pub not_before: Micros,
    /// Failed attempts in a row.
    pub attempts: i64,
    /// Size of the next page.
    pub page_limit: i64,
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

/// Gives a taken stream back.
pub async fn put_back(
    control: &Database,
    lease: &Lease,
    stream: i64,
    ended: Ended,
) -> Result<(), Error> {
    let statement = query(PUT_BACK)
        .bind(stream)
        .bind(ended.next_at)
        .bind(ended.not_before)
        .bind(ended.attempts)
        .bind(ended.page_limit)
        .bind(ended.slow_count)
        .bind(ended.unreadable)
        .bind(ended.error)
        .bind(ended.at)
        .bind(ended.succeeded)
        .bind(ended.full)
        .bind(lease.fence);
    write_held(control, lease, statement).await
}

const PUT_BACK: &str = "
update streams set taken = null,
  due_at = case when due_at < $2 or $2 is null then due_at else $2 end,
  not_before = $3, attempts = $4, page_limit = $5, slow_count = $6, unreadable = $7,
  last_error = $8, last_error_at = case when $8 is null then last_error_at else $9 end,
  last_success_at = case when $10 then $9 else last_success_at end,
  last_full_at = case when $11 then $9 else last_full_at end,
  unsynced = unsynced and not $10 and $7 is null,
  failing_since = case when $10 then null when $7 is null and $8 is null then failing_since
                       else coalesce(failing_since, $9) end,
  failing_told = failing_told and not $10
where id = $1 and taken = $12";

/// Pauses all streams of the owner.
pub async fn pause_owner(
    control: &Database,
    lease: &Lease,
    not_before: Micros,
    reason: String,
) -> Result<(), Error> {
    let (owner_id, fence) = (lease.owner_id, lease.fence);
    let statement = query(
        "update owners set not_before = case when not_before > $1 then not_before else $1 end,
                            attempts = attempts + 1,
                            reason = $2
                     where id = $3 and fence = $4",
    )
    .bind(not_before)
    .bind(reason)
    .bind(owner_id)
    .bind(fence);
    control.execute(statement).await.map(drop)
}

/// Clears the owner's failure count after a success.
pub async fn owner_works(control: &Database, lease: &Lease) -> Result<(), Error> {
    let (owner_id, fence) = (lease.owner_id, lease.fence);
    let statement = query(
        "update owners set attempts = 0, reason = null
                     where id = $1 and fence = $2 and state = 'linked'",
    )
    .bind(owner_id)
    .bind(fence);
    control.execute(statement).await.map(drop)
}

/// Stops the owner until it links again; its rows stay.
pub async fn grant_is_dead(
    control: &Database,
    lease: &Lease,
    reason: String,
    now: Micros,
) -> Result<(), Error> {
    let lease = lease.clone();
    let write = control.write(move |connection| {
        Box::pin(async move {
            let died = query(
                "update owners set state = 'grant_dead', reason = $1
                 where id = $2 and fence = $3 and state = 'linked'",
            )
            .bind(&reason)
            .bind(lease.owner_id)
            .bind(lease.fence)
            .execute(&mut *connection)
            .await?;
            if died.rows_affected() == 0 {
                return Ok(());
            }
            let raised = Raised {
                error_type: "grant_dead",
                integration_id: &lease.root_id,
                subject: &lease.external_owner_id,
                message: &reason,
                details: json!({ "external_owner_id": lease.external_owner_id }),
            };
            alerts::raise(connection, raised, now).await
        })
    });
    write.await
}

/// Pauses a whole tree.
pub async fn pause_tree(
    control: &Database,
    root_id: &str,
    not_before: Micros,
) -> Result<(), Error> {
    let pause = query(PAUSE_TREE).bind(not_before).bind(None::<String>).bind(root_id.to_owned());
    control.execute(pause).await.map(drop)
}

const PAUSE_TREE: &str = "
update integrations set not_before = case when not_before > $1 then not_before else $1 end,
  misconfigured = coalesce($2, misconfigured)
where id = $3";

/// Pauses a whole tree, and marks it as broken until a probe succeeds.
pub async fn tree_is_misconfigured(
    control: &Database,
    root_id: &str,
    not_before: Micros,
    reason: String,
    now: Micros,
) -> Result<(), Error> {
    let root_id = root_id.to_owned();
    let write = control.write(move |connection| {
        Box::pin(async move {
            query(PAUSE_TREE)
                .bind(not_before)
                .bind(&reason)
                .bind(&root_id)
                .execute(&mut *connection)
                .await?;
            let raised = Raised {
                error_type: "integration_misconfigured",
                integration_id: &root_id,
                subject: "",
                message: &reason,
                details: json!({}),
            };
            alerts::raise(connection, raised, now).await
        })
    });
    write.await
}

/// While a tree is misconfigured one owner at a time may probe it; the winner moves the pause on.
pub async fn probe_tree(
    control: &Database,
    root_id: &str,
    now: Micros,
    next: Micros,
) -> Result<bool, Error> {
    let root_id = root_id.to_owned();
    control
        .write(move |connection| {
            Box::pin(async move {
                let done = query(
                    "update integrations set not_before = $1 where id = $2 and not_before <= $3",
                )
                .bind(next)
                .bind(root_id)
                .bind(now)
                .execute(connection)
                .await?;
                Ok(done.rows_affected() > 0)
            })
        })
        .await
}

/// A call of the tree has succeeded: it is not misconfigured (any more).
pub async fn tree_works(control: &Database, root_id: &str) -> Result<(), Error> {
    let root_id = root_id.to_owned();
    let statement = query(
        "update integrations set misconfigured = null, not_before = 0
                     where id = $1 and misconfigured is not null",
    )
    .bind(root_id);
    control.execute(statement).await.map(drop)
}

/// Runs one statement if the lease still stands.
pub(super) async fn write_held(
    control: &Database,
    lease: &Lease,
    statement: Query<'static, Row>,
) -> Result<(), Error> {
    let (owner_id, fence) = (lease.owner_id, lease.fence);
    let write = control.write(move |connection| {
        Box::pin(async move {
            holds(connection, owner_id, fence).await?;
            statement.execute(connection).await?;
            Ok(())
        })
    });
    write.await
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
