//! What becomes of a channel that the vendor has made, for whoever asked for it or behind their back.

use super::asking::supersede;
use crate::model::{Micros, StreamId, Topic};
use crate::store::leases::{Lease, make_due};
use crate::store::streams::holds;
use crate::store::{Connection, Database, Error, query, query_scalar};

/// A channel that the vendor has made.
#[derive(Clone, Debug)]
pub struct Made {
    /// Ours.
    pub id: String,
    /// What it covers.
    pub topic: Topic,
    /// The vendor's id.
    pub vendor_id: Option<String>,
    /// End of its life.
    pub expires_at: Micros,
    /// When it is to be replaced.
    pub renew_at: Micros,
    /// Streams that the topic wakes: changes since their last run may have gone unheard.
    pub wakes: Vec<StreamId>,
}

/// Activates a channel and, in the same commit, marks those before it as to be stopped. False: it was
/// given up meanwhile, so it is to be stopped itself.
pub async fn activate(
    control: &Database,
    lease: &Lease,
    made: Made,
    now: Micros,
) -> Result<bool, Error> {
    let lease = lease.clone();
    control
        .write(move |connection| {
            Box::pin(async move {
                holds(connection, lease.owner_id, lease.fence).await?;
                let activated = query(
                    "update channels
                     set state = 'active', vendor_id = coalesce($1, vendor_id), expires_at = $2,
                         renew_at = $3
                     where id = $4 and state = 'pending'",
                )
                .bind(&made.vendor_id)
                .bind(made.expires_at)
                .bind(made.renew_at)
                .bind(&made.id)
                .execute(&mut *connection)
                .await?;
                if activated.rows_affected() == 0 {
                    make_due(connection, lease.owner_id, now).await?;
                    note(connection, &made.id, made.vendor_id, made.expires_at, now).await?;
                    return Ok(false);
                }
                supersede(connection, &lease, &made.topic, &made.id, now).await?;
                query(
                    "update topics set due_at = $1, attempts = 0, unsupported = false,
                            unshown = true, last_error = null
                     where owner_id = $2 and push = $3 and key = $4",
                )
                .bind(made.renew_at)
                .bind(lease.owner_id)
                .bind(&made.topic.push)
                .bind(&made.topic.key)
                .execute(&mut *connection)
                .await?;
                for stream in &made.wakes {
                    wake(connection, lease.owner_id, stream, now).await?;
                }
                query("delete from push_pauses where root_id = $1")
                    .bind(&lease.root_id)
                    .execute(&mut *connection)
                    .await?;
                adopt_orphans(connection, &lease, made.vendor_id, now).await?;
                Ok(true)
            })
        })
        .await
}

/// What the vendor said of a channel that its holder no longer holds. It becomes nobody's: whoever
/// holds the owner next has given it up, or will, and stops it with this.
pub async fn learn(
    control: &Database,
    id: &str,
    vendor_id: Option<String>,
    expires_at: Micros,
    now: Micros,
) -> Result<(), Error> {
    let id = id.to_owned();
    control
        .write(move |connection| {
            Box::pin(async move {
                let owner_id = "select owner_id from channels where id = $1";
                let owner_id = query_scalar(owner_id).bind(&id).fetch_optional(&mut *connection);
                let Some(owner_id) = owner_id.await? else { return Ok(()) };
                make_due(connection, owner_id, now).await?;
                note(connection, &id, vendor_id, expires_at, now).await
            })
        })
        .await
}

/// Notes what stops a channel that is to be stopped.
async fn note(
    connection: &mut Connection,
    id: &str,
    vendor_id: Option<String>,
    expires_at: Micros,
    now: Micros,
) -> Result<(), Error> {
    query(
        "update channels set vendor_id = coalesce($1, vendor_id), expires_at = $2,
                due_at = case when coalesce($1, vendor_id) is null or state <> 'stopping'
                              then null else $3 end
         where id = $4 and state in ('pending', 'stopping')",
    )
    .bind(vendor_id)
    .bind(expires_at)
    .bind(now)
    .bind(id)
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes a stream due.
pub(super) async fn wake(
    connection: &mut Connection,
    owner_id: i64,
    stream: &StreamId,
    now: Micros,
) -> Result<(), Error> {
    query(
        "update streams set due_at = $1
         where owner_id = $2 and service = $3 and kind = $4 and key = $5
           and (due_at is null or due_at > $1)",
    )
    .bind(now)
    .bind(owner_id)
    .bind(&stream.service)
    .bind(&stream.kind)
    .bind(&stream.key)
    .execute(connection)
    .await?;
    Ok(())
}

/// Orphans with the vendor id of one of the owner's channels are of the same account, which is why
/// this owner can stop them.
async fn adopt_orphans(
    connection: &mut Connection,
    lease: &Lease,
    vendor_id: Option<String>,
    now: Micros,
) -> Result<(), Error> {
    let Some(vendor_id) = vendor_id else { return Ok(()) };
    query(
        "update orphans set owner_id = $1, due_at = $2
         where root_id = $3 and vendor_id = $4 and owner_id is null",
    )
    .bind(lease.owner_id)
    .bind(now)
    .bind(&lease.root_id)
    .bind(vendor_id)
    .execute(connection)
    .await?;
    Ok(())
}
