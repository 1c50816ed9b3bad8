//! Channels where their owner is linked again or unlinked (R9). Inside the relay's transaction.

use crate::model::{InboxId, Micros, OwnerId};
use crate::store::{Connection, Error, query};

/// Longest time that the secrets of a retired grant are kept to stop channels with.
pub(in crate::store) const RETIRED_LIFE: Micros = 24 * 3_600 * 1_000_000;

/// The owner is linked (again): its channels go on under the new grant, and a topic that has none
/// asks at once. Channels of an unlinked grant keep that one.
pub(in crate::store) async fn carry_over(
    connection: &mut Connection,
    owner_id: OwnerId,
    generation: i64,
    grant_id: Option<i64>,
    now: Micros,
) -> Result<(), Error> {
    query(
        "update channels set generation = $1, grant_id = coalesce($2, grant_id)
         where owner_id = $3 and retired_until is null",
    )
    .bind(generation)
    .bind(grant_id)
    .bind(owner_id)
    .execute(&mut *connection)
    .await?;
    query(
        "update topics set due_at = $1, attempts = 0
         where owner_id = $2 and wanted and not unsupported and not exists (
           select 1 from channels c where c.owner_id = topics.owner_id and c.push = topics.push
             and c.key = topics.key and c.state = 'active' and c.expires_at > $1)",
    )
    .bind(now)
    .bind(owner_id)
    .execute(connection)
    .await?;
    Ok(())
}

/// The owner is unlinked by this item: its topics go, and its channels are to be stopped with the
/// secrets of the grant that made them.
pub(in crate::store) async fn retire(
    connection: &mut Connection,
    owner_id: OwnerId,
    item: InboxId,
    now: Micros,
) -> Result<(), Error> {
    query(
        "update channels set
           retired_until = case when expires_at < $1 then expires_at else $1 end,
           due_at = case when state = 'gone' or vendor_id is null then null else $2 end,
           state = case when state = 'gone' then 'gone' else 'stopping' end, attempts = 0
         where owner_id = $3 and grant_id < $4 and retired_until is null",
    )
    .bind(now + RETIRED_LIFE)
    .bind(now)
    .bind(owner_id)
    .bind(item)
    .execute(&mut *connection)
    .await?;
    let topics = "delete from topics where owner_id = $1";
    query(topics).bind(owner_id).execute(connection).await?;
    Ok(())
}

/// Deletes the secrets of grants that were kept to stop channels with and have none left.
pub(in crate::store) async fn drop_secrets(
    connection: &mut Connection,
    owner_id: OwnerId,
) -> Result<(), Error> {
    query(
        "delete from owner_secrets
         where owner_id = $1
           and exists (select 1 from channels r where r.owner_id = owner_secrets.owner_id
                         and r.grant_id = owner_secrets.grant_id and r.retired_until is not null)
           and not exists (select 1 from channels k where k.owner_id = owner_secrets.owner_id
                             and k.grant_id = owner_secrets.grant_id
                             and (k.state = 'stopping' or k.retired_until is null))",
    )
    .bind(owner_id)
    .execute(connection)
    .await?;
    Ok(())
}
