//! The relay (R4): what commits of the replication database say to the control database, told in
//! the order of the commits, each once. A host may die between the two: whoever holds the owner
//! next tells the rest first.

use super::channels;
use super::commit::{Message, StreamKey};
use super::leases::Lease;
use super::streams::holds;
use super::{Connection, Database, Error, items, query, query_as, query_scalar, synced};
use crate::failpoint;
use crate::model::{InboxId, Micros, OwnerId};

/// Relays everything that waits. The lease then carries the new `relayed_no`.
pub async fn relay(
    control: &Database,
    replication: &Database,
    lease: &mut Lease,
    now: Micros,
) -> Result<(), Error> {
    let waiting = query(
        "select commit_no, message, (select epoch from rowgate_feed_head) as epoch
         from rowgate_outbox where owner_id = $1 and commit_no > $2 order by commit_no",
    )
    .bind(lease.owner_id)
    .bind(lease.relayed_no)
    .fetch_all(replication.readers())
    .await?;
    let Some(last) = waiting.last() else { return Ok(()) };
    let (last, epoch): (i64, String) = (last.get("commit_no"), last.get("epoch"));
    lease.relayed_epoch = Some(epoch.clone());
    let mut messages = Vec::with_capacity(waiting.len());
    for row in &waiting {
        let text: String = row.get("message");
        let message: Message = serde_json::from_str(&text)
            .map_err(|error| Error::Inconsistent(format!("outbox message: {error}")))?;
        messages.push((row.get::<i64>("commit_no"), message));
    }
    let (owner_id, fence) = (lease.owner_id, lease.fence);
    control
        .write(move |connection| {
            Box::pin(async move {
                holds(connection, owner_id, fence).await?;
                // Another process may have told some of it since they were read.
                let relayed: i64 = query("select relayed_no from owners where id = $1")
                    .bind(owner_id)
                    .fetch_one(&mut *connection)
                    .await?
                    .get("relayed_no");
                for (_, message) in messages.iter().filter(|(no, _)| *no > relayed) {
                    tell(connection, owner_id, message, now).await?;
                }
                query(
                    "update owners set relayed_no = $1, relayed_epoch = $3
                     where id = $2 and relayed_no < $1",
                )
                .bind(last)
                .bind(owner_id)
                .bind(epoch)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await?;
    failpoint::reach("relay_told");
    lease.relayed_no = lease.relayed_no.max(last);
    forget(replication, owner_id, last).await
}

/// A replication database that was put back to an older copy has fewer commits than were relayed:
/// what those commits applied since `kept_since` is applied again, and every stream looks again. Of
/// older items the marks may be gone already ([`super::retention`]).
pub async fn drive_again(
    control: &Database,
    replication: &Database,
    lease: &mut Lease,
    commit_no: i64,
    now: Micros,
    kept_since: Micros,
) -> Result<(), Error> {
    let applied: Vec<(i64,)> = query_as("select inbox_id from rowgate_applied where owner_id = $1")
        .bind(lease.owner_id)
        .fetch_all(replication.readers())
        .await?;
    let applied: Vec<String> = applied.into_iter().map(|(id,)| id.to_string()).collect();
    let applied = if applied.is_empty() { "0".to_owned() } else { applied.join(", ") };
    let epoch: String = query_scalar("select epoch from rowgate_feed_head")
        .fetch_one(replication.readers())
        .await?;
    lease.relayed_epoch = Some(epoch.clone());
    let (owner_id, fence) = (lease.owner_id, lease.fence);
    control
        .write(move |connection| {
            Box::pin(async move {
                holds(connection, owner_id, fence).await?;
                let undone = format!(
                    "update inbox set done_at = null where owner_id = $1 and done_at >= $2
                       and id not in ({applied})"
                );
                let undone = query(undone).bind(owner_id).bind(kept_since).persistent(false);
                undone.execute(&mut *connection).await?;
                query(
                    "update streams set due_at = case when due_at < $1 then due_at else $1 end
                     where owner_id = $2",
                )
                .bind(now)
                .bind(owner_id)
                .execute(&mut *connection)
                .await?;
                query("update owners set relayed_no = $1, relayed_epoch = $3 where id = $2")
                    .bind(commit_no)
                    .bind(owner_id)
                    .bind(epoch)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await?;
    lease.relayed_no = commit_no;
    Ok(())
}

/// What comes back after a loss of power is passed over, and forgotten with the next.
async fn forget(replication: &Database, owner_id: OwnerId, upto: i64) -> Result<(), Error> {
    replication
        .write_unsynced(move |connection| {
            Box::pin(async move {
                query("delete from rowgate_outbox where owner_id = $1 and commit_no <= $2")
                    .bind(owner_id)
                    .bind(upto)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
}

async fn tell(
    connection: &mut Connection,
    owner_id: OwnerId,
    message: &Message,
    now: Micros,
) -> Result<(), Error> {
    if let Some(item) = message.unlinked {
        unlinked(connection, owner_id, item, now).await?;
    }
    for (stream, page_limit) in &message.added {
        query(
            "insert into streams (owner_id, service, kind, key, due_at, page_limit)
             values ($1, $2, $3, $4, $5, $6)
             on conflict (owner_id, service, kind, key) do update
             set due_at = excluded.due_at, unreadable = null, taken = null",
        )
        .bind(owner_id)
        .bind(&stream.0)
        .bind(&stream.1)
        .bind(&stream.2)
        .bind(now)
        .bind(*page_limit)
        .execute(&mut *connection)
        .await?;
    }
    read_again(connection, owner_id, message).await?;
    for stream in &message.removed {
        on_stream(connection, "delete from streams", owner_id, stream).await?;
    }
    if message.linked {
        linked(connection, owner_id, message.grant_id, now).await?;
        let (generation, grant_id) = (message.generation, message.grant_id);
        channels::carry_over(connection, owner_id, generation, grant_id, now).await?;
    }
    if message.all_due {
        // Only another grant ends what a vendor asked to be waited for (R6).
        let pauses = match message.linked {
            true => ", not_before = 0, attempts = 0, failing_since = null, failing_told = false",
            false => "",
        };
        query(format!(
            "update streams set due_at = case when due_at < $1 then due_at else $1 end,
                    unreadable = null{pauses}
             where owner_id = $2"
        ))
        .bind(now)
        .bind(owner_id)
        .execute(&mut *connection)
        .await?;
    }
    for (stream, at) in &message.due {
        // What was due long ago must not come before everybody else.
        let at = at.unwrap_or(now).max(now);
        let sql = format!(
            "update streams set due_at = case when due_at < {at} then due_at else {at} end, unreadable = null"
        );
        on_stream(connection, &sql, owner_id, stream).await?;
    }
    if let Some(item) = message.item {
        items::done(item, now).execute(connection).await?;
    }
    Ok(())
}

/// A page that was too large or too slow once isn't so for ever.
async fn read_again(
    connection: &mut Connection,
    owner_id: OwnerId,
    message: &Message,
) -> Result<(), Error> {
    for (service, kind, key, page_limit) in &message.read_again {
        query(
            "update streams set page_limit = $1
             where owner_id = $2 and service = $3 and kind = $4 and ($5 is null or key = $5)",
        )
        .bind(*page_limit)
        .bind(owner_id)
        .bind(service)
        .bind(kind)
        .bind(key)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// The grant's sealed values move from the inbox item to the owner's secrets; an older grant's go.
async fn linked(
    connection: &mut Connection,
    owner_id: OwnerId,
    grant_id: Option<i64>,
    now: Micros,
) -> Result<(), Error> {
    synced::begin(connection, owner_id).await?;
    query(
        "update owners set state = 'linked', reason = null, not_before = 0, attempts = 0,
                linked_at = coalesce(linked_at, $1)
         where id = $2",
    )
    .bind(now)
    .bind(owner_id)
    .execute(&mut *connection)
    .await?;
    let Some(grant_id) = grant_id else { return Ok(()) };
    delete_older_secrets(connection, owner_id, grant_id).await?;
    let sealed: Option<(String,)> = query_as("select sealed from inbox where id = $1")
        .bind(grant_id)
        .fetch_optional(&mut *connection)
        .await?;
    let sealed = sealed.map_or("{}".to_owned(), |(sealed,)| sealed);
    for (name, value) in sealed_values(&sealed)? {
        query(
            "insert into owner_secrets (owner_id, grant_id, name, version, sealed)
             values ($1, $2, $3, 1, $4) on conflict (owner_id, grant_id, name) do nothing",
        )
        .bind(owner_id)
        .bind(grant_id)
        .bind(name)
        .bind(value)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// A later grant is left alone: an item that is driven again may be older than it.
pub(super) async fn unlinked(
    connection: &mut Connection,
    owner_id: OwnerId,
    item: InboxId,
    now: Micros,
) -> Result<(), Error> {
    channels::retire(connection, owner_id, item, now).await?;
    delete_older_secrets(connection, owner_id, item).await?;
    for sql in [
        "delete from streams where owner_id = $1",
        "delete from synced_owners where owner_id = $1",
        "update owners set state = 'unlinked', unsynced = false, reason = null, linked_at = null,
                not_before = 0, attempts = 0 where id = $1",
    ] {
        query(sql).bind(owner_id).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Secrets of older grants go, but for those that stop the channels of an unlinked one.
async fn delete_older_secrets(
    connection: &mut Connection,
    owner_id: OwnerId,
    grant_id: i64,
) -> Result<(), Error> {
    query(
        "delete from owner_secrets where owner_id = $1 and grant_id < $2 and not exists (
           select 1 from channels c where c.owner_id = owner_secrets.owner_id
             and c.grant_id = owner_secrets.grant_id and c.state = 'stopping'
             and c.retired_until is not null)",
    )
    .bind(owner_id)
    .bind(grant_id)
    .execute(connection)
    .await?;
    Ok(())
}

async fn on_stream(
    connection: &mut Connection,
    sql: &str,
    owner_id: OwnerId,
    stream: &StreamKey,
) -> Result<(), Error> {
    let sql = format!("{sql} where owner_id = $1 and service = $2 and kind = $3 and key = $4");
    query(&sql)
        .bind(owner_id)
        .bind(&stream.0)
        .bind(&stream.1)
        .bind(&stream.2)
        .execute(connection)
        .await?;
    Ok(())
}

fn sealed_values(text: &str) -> Result<Vec<(String, Vec<u8>)>, Error> {
    use base64::Engine as _;
    let broken = |error: String| Error::Inconsistent(format!("sealed fields: {error}"));
    let map: std::collections::BTreeMap<String, String> =
        serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
    map.into_iter()
        .map(|(name, value)| {
            let bytes = base64::prelude::BASE64_STANDARD.decode(value);
            Ok((name, bytes.map_err(|error| broken(error.to_string()))?))
        })
        .collect()
}
