//! Inbox items as the holder of their owner handles them.

use sqlx::FromRow;

use super::leases::Lease;
use super::streams::write_held;
use super::{Database, Error, Query, Row, query, query_as};
use crate::model::{InboxId, Micros, OwnerId};

/// An inbox item that its owner's holder handles next.
#[derive(Clone, Debug, PartialEq, FromRow)]
#[allow(missing_docs, reason = "columns of the schema")]
pub struct InboxItem {
    pub id: InboxId,
    pub integration_id: String,
    pub received_at: Micros,
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: String,
    pub body: Vec<u8>,
    /// It brings a grant: sealed fields of its own, or, if it is driven again, the secrets they became.
    pub grants: bool,
    pub attempts: i64,
    pub not_before: Micros,
}

/// The first open inbox item of the owner; later ones wait for it (order of acceptance). What came for a tree
/// that has ended is never handled.
pub async fn next_item(control: &Database, owner_id: OwnerId) -> Result<Option<InboxItem>, Error> {
    let item = query_as(
        "select id, integration_id, received_at, method, path, query, headers, body,
                sealed <> '{}' or exists (
                  select 1 from owner_secrets as kept
                  where kept.owner_id = inbox.owner_id and kept.grant_id = inbox.id
                ) as grants, attempts, not_before
         from inbox where owner_id = $1 and done_at is null and not parked and exists (
           select 1 from owners o join integrations r on r.id = o.root_id
           where o.id = inbox.owner_id and r.ended_at is null)
         order by id limit 1",
    )
    .bind(owner_id)
    .fetch_optional(control.readers())
    .await?;
    Ok(item)
}

/// Keeps a failed inbox item for later, or parks it: later items of the owner then go on (R15).
pub async fn postpone_item(
    control: &Database,
    lease: &Lease,
    item: InboxId,
    not_before: Micros,
    error: String,
    parked: bool,
) -> Result<(), Error> {
    let statement = query(
        "update inbox set attempts = attempts + 1, not_before = $1, last_error = $2,
                            parked = $3
                     where id = $4 and done_at is null",
    )
    .bind(not_before)
    .bind(error)
    .bind(parked)
    .bind(item);
    write_held(control, lease, statement).await
}

/// Is the item's effect committed, though the control database has not heard of it?
pub async fn is_applied(
    replication: &Database,
    owner_id: OwnerId,
    item: InboxId,
) -> Result<bool, Error> {
    let applied: Option<(i64,)> =
        query_as("select inbox_id from rowgate_applied where owner_id = $1 and inbox_id = $2")
            .bind(owner_id)
            .bind(item)
            .fetch_optional(replication.readers())
            .await?;
    Ok(applied.is_some())
}

/// Marks an applied item as done. A holder whose lease has passed on must not: it would take the
/// sealed values away before the next holder has told of the commit that moves them.
pub async fn mark_done(
    control: &Database,
    lease: &Lease,
    item: InboxId,
    now: Micros,
) -> Result<(), Error> {
    write_held(control, lease, done(item, now)).await
}

/// Of an item whose commit stands, whatever became of earlier tries.
pub(super) fn done(item: InboxId, now: Micros) -> Query<'static, Row> {
    let done = "update inbox set done_at = $1, sealed = '{}', last_error = null, parked = false
                where id = $2";
    query(done).bind(now).bind(item)
}
