//! An organization's tables were put back to an older copy: their feed begins a new epoch, once.

use super::head::{known, new_epoch};
use crate::store::leases::Lease;
use crate::store::{Connection, Database, Error, query, query_scalar};

/// To be called by the holder of an owner of whom more was relayed than its tables know. The first
/// one voids all bookmarks: numbers are given again that readers have seen. Those after it find that
/// this was done: the epoch is the one that the control database wrote down, and not the one under
/// which theirs was relayed.
pub async fn found_put_back(
    control: &Database,
    replication: &Database,
    lease: &Lease,
    fresh: String,
) -> Result<(), Error> {
    let (lease, replication) = (lease.clone(), replication.clone());
    control
        .write(move |connection| {
            Box::pin(async move {
                let begun = begun(connection, &lease).await?;
                let stands = known(&replication).await?.epoch;
                let since = lease.relayed_epoch.as_ref() != Some(&stands);
                if since && begun.as_ref() == Some(&stands) {
                    return Ok(());
                }
                // If the host dies behind this, the next holder begins another one.
                new_epoch(&replication, fresh.clone()).await?;
                query("update organizations set feed_epoch = $1 where id = $2")
                    .bind(fresh)
                    .bind(lease.organization_id)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
}

/// The epoch that was begun last. Holders of other owners wait here until this one is through.
async fn begun(connection: &mut Connection, lease: &Lease) -> Result<Option<String>, Error> {
    let begun: Option<Option<String>> = query_scalar(
        "update organizations set feed_epoch = feed_epoch where id = $1 returning feed_epoch",
    )
    .bind(lease.organization_id)
    .fetch_optional(connection)
    .await?;
    Ok(begun.flatten())
}
