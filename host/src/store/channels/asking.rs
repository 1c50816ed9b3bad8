//! Asking the vendor for a channel: stored as pending before, and what becomes of it without one.

use zeroize::Zeroizing;

use super::place;
use crate::model::{Micros, Topic};
use crate::secrets::Keyring;
use crate::store::leases::Lease;
use crate::store::streams::holds;
use crate::store::{Connection, Database, Error, query, query_as};

/// A channel that the vendor is about to be asked for.
#[allow(missing_docs, reason = "columns of the schema")]
pub struct NewChannel {
    pub id: String,
    pub generation: i64,
    /// 0: the owner has none.
    pub grant_id: i64,
    pub topic: Topic,
    pub token: Zeroizing<String>,
    pub address: String,
    pub expires_at: Micros,
}

/// Stores a pending channel, on disk when this returns. The topic is asked again at `retry_at`, if
/// nothing is heard of this asking.
pub async fn begin(
    control: &Database,
    keyring: &Keyring,
    lease: &Lease,
    new: NewChannel,
    retry_at: Micros,
) -> Result<(), Error> {
    let (lease, keyring) = (lease.clone(), keyring.clone());
    control
        .write(move |connection| {
            Box::pin(async move {
                holds(connection, lease.owner_id, lease.fence).await?;
                query(
                    "insert into channels (id, owner_id, root_id, generation, grant_id, push, key,
                                           token, address, state, expires_at)
                     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'pending', $10)",
                )
                .bind(&new.id)
                .bind(lease.owner_id)
                .bind(&lease.root_id)
                .bind(new.generation)
                .bind(new.grant_id)
                .bind(&new.topic.push)
                .bind(&new.topic.key)
                .bind(keyring.seal(&place(&new.id), new.token.as_bytes()))
                .bind(new.address)
                .bind(new.expires_at)
                .execute(&mut *connection)
                .await?;
                query(
                    "update topics set due_at = $1, attempts = attempts + 1
                     where owner_id = $2 and push = $3 and key = $4",
                )
                .bind(retry_at)
                .bind(lease.owner_id)
                .bind(&new.topic.push)
                .bind(&new.topic.key)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
}

/// The vendor offers no push for a topic; asked again at `recheck_at`.
pub async fn unsupported(
    control: &Database,
    lease: &Lease,
    id: &str,
    topic: &Topic,
    recheck_at: Micros,
    now: Micros,
) -> Result<(), Error> {
    let (lease, id, topic) = (lease.clone(), id.to_owned(), topic.clone());
    control
        .write(move |connection| {
            Box::pin(async move {
                holds(connection, lease.owner_id, lease.fence).await?;
                let gone = "update channels set state = 'gone' where id = $1";
                query(gone).bind(&id).execute(&mut *connection).await?;
                supersede(connection, &lease, &topic, &id, now).await?;
                query(
                    "update topics set due_at = $1, attempts = 0, unsupported = true,
                            unshown = true, last_error = null
                     where owner_id = $2 and push = $3 and key = $4",
                )
                .bind(recheck_at)
                .bind(lease.owner_id)
                .bind(&topic.push)
                .bind(&topic.key)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
}

/// Asking failed. `refused`: the vendor surely made no channel. Else it may have made one, and a
/// notification from it teaches the id that stops it.
pub async fn failed(
    control: &Database,
    lease: &Lease,
    id: &str,
    topic: &Topic,
    refused: bool,
    (error, retry_at): (String, Micros),
) -> Result<(), Error> {
    let (lease, id, topic) = (lease.clone(), id.to_owned(), topic.clone());
    control
        .write(move |connection| {
            Box::pin(async move {
                holds(connection, lease.owner_id, lease.fence).await?;
                if refused {
                    let gone = "update channels set state = 'gone' where id = $1";
                    query(gone).bind(&id).execute(&mut *connection).await?;
                }
                query(
                    "update topics set due_at = $1, last_error = $2
                     where owner_id = $3 and push = $4 and key = $5",
                )
                .bind(retry_at)
                .bind(error)
                .bind(lease.owner_id)
                .bind(&topic.push)
                .bind(&topic.key)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
}

/// Pauses push for a whole tree; true: nobody was told of this reason yet.
pub async fn pause_push(
    control: &Database,
    root_id: &str,
    base_url: &str,
    not_before: Micros,
    reason: &str,
) -> Result<bool, Error> {
    let (root_id, base_url, reason) = (root_id.to_owned(), base_url.to_owned(), reason.to_owned());
    control
        .write(move |connection| {
            Box::pin(async move {
                let known: Option<(String, String)> =
                    query_as("select base_url, reason from push_pauses where root_id = $1")
                        .bind(&root_id)
                        .fetch_optional(&mut *connection)
                        .await?;
                query(
                    "insert into push_pauses (root_id, base_url, not_before, reason)
                     values ($1, $2, $3, $4)
                     on conflict (root_id) do update set base_url = excluded.base_url,
                       not_before = excluded.not_before, reason = excluded.reason",
                )
                .bind(root_id)
                .bind(&base_url)
                .bind(not_before)
                .bind(&reason)
                .execute(connection)
                .await?;
                Ok(known != Some((base_url, reason)))
            })
        })
        .await
}

/// What came before a channel on its topic is to be stopped.
pub(super) async fn supersede(
    connection: &mut Connection,
    lease: &Lease,
    topic: &Topic,
    id: &str,
    now: Micros,
) -> Result<(), Error> {
    query(
        "update channels
         set state = 'stopping', attempts = 0, due_at = case when vendor_id is null then null else $1 end
         where owner_id = $2 and push = $3 and key = $4 and id <> $5 and state = 'active'",
    )
    .bind(now)
    .bind(lease.owner_id)
    .bind(&topic.push)
    .bind(&topic.key)
    .bind(id)
    .execute(connection)
    .await?;
    Ok(())
}
