//! What became of attempts to stop channels.

use crate::model::Micros;
use crate::store::leases::Lease;
use crate::store::streams::{holds, write_held};
use crate::store::{Database, Error, query};

/// A channel is stopped. The secrets of a grant that was kept for it alone go.
pub async fn stopped(control: &Database, lease: &Lease, id: &str) -> Result<(), Error> {
    let (lease, id) = (lease.clone(), id.to_owned());
    control
        .write(move |connection| {
            Box::pin(async move {
                holds(connection, lease.owner_id, lease.fence).await?;
                query(
                    "update channels set due_at = null, state = 'gone',
                            attempts = case when state = 'gone' then attempts + 1 else 0 end
                     where id = $1",
                )
                .bind(id)
                .execute(&mut *connection)
                .await?;
                super::drop_secrets(connection, lease.owner_id).await
            })
        })
        .await
}

/// A channel could not be stopped; none: not tried again unless it is heard of.
pub async fn stop_later(
    control: &Database,
    lease: &Lease,
    id: &str,
    at: Option<Micros>,
) -> Result<(), Error> {
    let statement = query("update channels set due_at = $1, attempts = attempts + 1 where id = $2")
        .bind(at)
        .bind(id.to_owned());
    write_held(control, lease, statement).await
}

/// An orphan was tried; none: not again unless it is heard of.
pub async fn orphan_tried(
    control: &Database,
    lease: &Lease,
    id: &str,
    again_at: Option<Micros>,
) -> Result<(), Error> {
    let statement = query(
        "update orphans set due_at = $1, attempts = attempts + 1
                     where root_id = $2 and id = $3",
    )
    .bind(again_at)
    .bind(lease.root_id.clone())
    .bind(id.to_owned());
    write_held(control, lease, statement).await
}
