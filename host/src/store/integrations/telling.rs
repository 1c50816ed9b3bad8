//! After a tree got or lost a service its owners are told: streams of services that are gone go, and who
//! is linked is due. There may be a million of them, so they are told slice by slice, in an order that the
//! tree's root keeps the place of: whoever comes next goes on, whatever became of whoever began.

use std::sync::Arc;
use std::time::Duration;

use crate::model::Micros;
use crate::store::owner_slices::{self, SlicedOwner};
use crate::store::{Connection, Error, Store, list, query, query_scalar};

/// Owners of one transaction.
const SLICE: i64 = 1_000;

/// So many slices whoever changed the tree tells by itself. The hosts tell the rest.
const AT_ONCE: usize = 10;

/// Goes on with what is begun. Never ends.
pub async fn keep_telling(store: Arc<Store>, poll: Duration) {
    loop {
        if let Err(error) = store.tell_all_owners().await {
            tracing::warn!(%error, "owners are told of changes of their integrations later");
        }
        store.clock().sleep(poll).await;
    }
}

/// From now on the owners of a tree are to be told, all of them.
pub(in crate::store) async fn begin(
    connection: &mut Connection,
    root_id: &str,
) -> Result<(), Error> {
    let begun = query("update integrations set untold_after = '' where id = $1").bind(root_id);
    begun.execute(connection).await?;
    Ok(())
}

impl Store {
    /// Tells the owners of all trees that changed.
    pub(in crate::store) async fn tell_all_owners(&self) -> Result<(), Error> {
        let changed = query_scalar("select id from integrations where untold_after is not null");
        let changed: Vec<String> = changed.fetch_all(self.control.readers()).await?;
        for root_id in changed {
            self.tell_owners(&root_id, usize::MAX).await?;
        }
        Ok(())
    }

    /// Tells the first slices of a tree's owners. What fails is left to the hosts: the change is made.
    pub(in crate::store) async fn tell_owners_soon(&self, root_id: &str) {
        if let Err(error) = self.tell_owners(root_id, AT_ONCE).await {
            tracing::warn!(%error, root_id, "its owners are told of the change later");
        }
    }

    async fn tell_owners(&self, root_id: &str, slices: usize) -> Result<(), Error> {
        for _ in 0..slices {
            let (root_id, now) = (root_id.to_owned(), self.clock.now());
            let told = self.control.write(move |connection| {
                Box::pin(async move { tell_slice(connection, &root_id, now).await })
            });
            if !told.await? {
                break;
            }
        }
        Ok(())
    }
}

/// False: all are told.
async fn tell_slice(
    connection: &mut Connection,
    root_id: &str,
    now: Micros,
) -> Result<bool, Error> {
    // Hosts take turns.
    let lock = connection.dialect().locks(" for no key update");
    let after = query_scalar::<Option<String>>(format!(
        "select untold_after from integrations where id = $1{lock}"
    ));
    let after = after.bind(root_id).fetch_optional(&mut *connection).await?.flatten();
    let Some(after) = after else { return Ok(false) };
    let owners = owner_slices::behind(&mut *connection, root_id, &after, SLICE).await?;
    if !owners.is_empty() {
        tell(connection, root_id, &owners, now).await?;
    }
    let last = owners.last().filter(|_| owners.len() as i64 == SLICE);
    query("update integrations set untold_after = $1 where id = $2")
        .bind(last.map(|owner| owner.external_owner_id.as_str()))
        .bind(root_id)
        .execute(connection)
        .await?;
    Ok(last.is_some())
}

/// Whoever holds one of them next lets go of the push channels that woke nothing else.
async fn tell(
    connection: &mut Connection,
    root_id: &str,
    owners: &[SlicedOwner],
    now: Micros,
) -> Result<(), Error> {
    let ids = list(owners.iter().map(|owner| owner.id));
    query(format!(
        "delete from streams where owner_id in ({ids})
           and service not in (select service from integrations where root_id = $1)"
    ))
    .bind(root_id)
    .persistent(false)
    .execute(&mut *connection)
    .await?;
    query(format!(
        "update owners set due_at = $1
         where id in ({ids}) and state = 'linked' and (due_at is null or due_at > $1)"
    ))
    .bind(now)
    .persistent(false)
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
