//! Owners whose first sync after a link is complete, and whom that is still to be told.
//!
//! A link marks the owner and its streams, the end of a run takes the mark from its stream. Whoever
//! holds the owner looks when all that was committed is told: streams that a page adds bring their own
//! marks, so none of them can be missing. The owner's mark goes in the transaction that stores whom to
//! tell, so it is told for one link once, whatever dies.

use sqlx::FromRow;

use super::leases::Lease;
use super::streams::holds;
use super::{Connection, Database, Error, query, query_as, query_scalar};
use crate::model::{Micros, OwnerId};

/// An owner that a target is to be told of.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct SyncedOwner {
    /// Which.
    pub owner_id: OwnerId,
    /// As the customer calls it.
    pub external_owner_id: String,
    /// When that was found.
    pub synced_at: Micros,
}

/// Has every stream of the owner come to an end since its link, and is nobody told of it yet?
pub async fn is_complete(control: &Database, owner_id: OwnerId) -> Result<bool, Error> {
    let complete = query_scalar(format!("select exists (select 1 from owners where {COMPLETE})"));
    Ok(complete.bind(owner_id).fetch_one(control.readers()).await?)
}

const COMPLETE: &str = "id = $1 and unsynced and state = 'linked'
  and not exists (select 1 from streams s where s.owner_id = $1 and s.unsynced)";

/// Takes the owner's mark, and stores who is to be told. False: it isn't complete.
pub async fn settle(control: &Database, lease: &Lease, now: Micros) -> Result<bool, Error> {
    let (owner_id, fence, root_id) = (lease.owner_id, lease.fence, lease.root_id.clone());
    control
        .write(move |connection| {
            Box::pin(async move {
                holds(connection, owner_id, fence).await?;
                let done = query(format!("update owners set unsynced = false where {COMPLETE}"))
                    .bind(owner_id)
                    .execute(&mut *connection)
                    .await?;
                if done.rows_affected() == 0 {
                    return Ok(false);
                }
                for sql in [WHOM_TO_TELL, MARK_DUE] {
                    query(sql)
                        .bind(owner_id)
                        .bind(now)
                        .bind(&root_id)
                        .execute(&mut *connection)
                        .await?;
                }
                Ok(true)
            })
        })
        .await
}

const WHOM_TO_TELL: &str = "
insert into synced_owners (target_id, owner_id, synced_at)
select t.id, $1, $2 from targets t join subscriptions n on n.id = t.subscription_id
where t.root_id = $3 and n.tells_synced
on conflict (target_id, owner_id) do update set synced_at = excluded.synced_at";

const MARK_DUE: &str = "
update targets set due_at = $2
where root_id = $3 and due_at > $2
  and id in (select s.target_id from synced_owners s where s.owner_id = $1)";

/// Marks an owner that wasn't linked until now. To be called before its state changes.
pub(super) async fn begin(connection: &mut Connection, owner_id: OwnerId) -> Result<(), Error> {
    let marked = query("update owners set unsynced = true where id = $1 and state <> 'linked'")
        .bind(owner_id)
        .execute(&mut *connection)
        .await?;
    if marked.rows_affected() > 0 {
        query("update streams set unsynced = true where owner_id = $1")
            .bind(owner_id)
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Of whom a target is to be told, the first ones first.
pub async fn waiting(
    control: &Database,
    target_id: &str,
    limit: i64,
) -> Result<Vec<SyncedOwner>, Error> {
    let waiting = query_as(
        "select s.owner_id, o.external_owner_id, s.synced_at
         from synced_owners s join owners o on o.id = s.owner_id
         where s.target_id = $1 order by s.synced_at, s.owner_id limit $2",
    );
    Ok(waiting.bind(target_id).bind(limit).fetch_all(control.readers()).await?)
}

/// A target was told. What came to be told of the same owner since then stays.
pub async fn told(control: &Database, target_id: &str, owner: &SyncedOwner) -> Result<(), Error> {
    let statement = query(
        "delete from synced_owners where target_id = $1 and owner_id = $2 and synced_at = $3",
    );
    let statement = statement.bind(target_id.to_owned()).bind(owner.owner_id);
    control.execute(statement.bind(owner.synced_at)).await.map(drop)
}

#[cfg(test)]
mod tests;
