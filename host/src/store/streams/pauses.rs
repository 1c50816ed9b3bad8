//! What holds the streams of an owner, or of a whole tree, back: pauses, dead grants, a configuration that
//! vendors refuse.

use serde_json::json;
use sqlx::FromRow;

use crate::model::{Micros, OwnerId};
use crate::store::alerts::{self, Raised};
use crate::store::leases::Lease;
use crate::store::{Database, Error, query, query_as};

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
