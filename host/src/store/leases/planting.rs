//! Fences in the replication databases (R1, R2): what refuses whoever no longer may write there.

use super::Lease;
use crate::model::{Micros, OwnerId};
use crate::store::{Connection, Database, Error, query, query_as};

/// What the replication database says of an owner when a fence is planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planted {
    /// Raised by each link and unlink.
    pub generation: i64,
    /// The inbox item that brought the owner's grant.
    pub grant_id: Option<i64>,
    /// Number of the owner's last commit.
    pub commit_no: i64,
    /// When its stale rows were last gone through; 0: never.
    pub stale_swept_at: Micros,
}

/// Plants the control fence in the replication database. If that one is already as high though the
/// control lease is live, the control fence is lifted above it and planted again; the lease then carries the
/// lifted fence. The control database lacks a claim, then, as a loss of power or a restore leaves it, and
/// with that perhaps word of what its holder committed: the lease counts as not released.
pub async fn plant(
    control: &Database,
    replication: &Database,
    lease: &mut Lease,
) -> Result<Planted, Error> {
    loop {
        match plant_once(replication, lease.owner_id, lease.fence).await? {
            Ok(planted) => return Ok(planted),
            Err(planted_fence) => lift(control, lease, planted_fence + 1).await?,
        }
    }
}

/// After a loss of power nobody holds a lease: the next holder plants a higher fence (R1).
async fn plant_once(
    replication: &Database,
    owner_id: OwnerId,
    fence: i64,
) -> Result<Result<Planted, i64>, Error> {
    replication
        .write_unsynced(move |connection| {
            Box::pin(async move {
                let planted = query(
                    "insert into rowgate_owners (owner_id, fence) values ($1, $2)
                     on conflict (owner_id) do update set fence = $2 where rowgate_owners.fence < $2
                     returning generation, grant_id, commit_no, stale_swept_at",
                )
                .bind(owner_id)
                .bind(fence)
                .fetch_optional(&mut *connection)
                .await?;
                if let Some(row) = planted {
                    return Ok(Ok(Planted {
                        generation: row.get("generation"),
                        grant_id: row.get("grant_id"),
                        commit_no: row.get("commit_no"),
                        stale_swept_at: row.get("stale_swept_at"),
                    }));
                }
                let (fence,): (i64,) =
                    query_as("select fence from rowgate_owners where owner_id = $1")
                        .bind(owner_id)
                        .fetch_one(connection)
                        .await?;
                Ok(Err(fence))
            })
        })
        .await
}

/// Plants the fences of owners that nobody is to hold any more. Waits for a commit in flight, and refuses all
/// behind it.
pub(in crate::store) async fn plant_above(
    connection: &mut Connection,
    fences: &[(OwnerId, i64)],
) -> sqlx::Result<()> {
    for (owner_id, fence) in fences {
        query(
            "insert into rowgate_owners (owner_id, fence) values ($1, $2)
             on conflict (owner_id) do update set fence = $2 where rowgate_owners.fence < $2",
        )
        .bind(*owner_id)
        .bind(*fence)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn lift(control: &Database, lease: &mut Lease, fence: i64) -> Result<(), Error> {
    let (owner_id, held) = (lease.owner_id, lease.fence);
    let lifted = control
        .write(move |connection| {
            Box::pin(async move {
                let done = query("update owners set fence = $1 where id = $2 and fence = $3")
                    .bind(fence)
                    .bind(owner_id)
                    .bind(held)
                    .execute(connection)
                    .await?;
                Ok(done.rows_affected())
            })
        })
        .await?;
    if lifted == 0 {
        return Err(Error::Superseded("the lease has passed on"));
    }
    lease.fence = fence;
    lease.unreleased = true;
    Ok(())
}
