//! Owners of a tree that ends, slice by slice: who works for them is refused, their channels are to be stopped,
//! and in the end they go. There may be a million of them.

use super::tree::Ended;
use super::{Ending, for_update};
use crate::model::{Micros, OwnerId};
use crate::store::leases::plant_above;
use crate::store::{
    Connection, Database, Error, Store, list, owner_slices, query, query_as, query_scalar, relay,
};

/// What belongs to owners of a tree, children before what they refer to.
const OF_OWNERS: [&str; 5] = ["streams", "inbox", "owner_secrets", "topics", "channels"];

/// Owners that one statement names, and one transaction deletes.
const SLICE: i64 = 500;

/// Later than all items of an inbox: whatever grant an owner has, it is over.
const AFTER_ALL: i64 = i64::MAX;

/// What lies beside the tables of a tree that ends.
pub(super) struct Beside {
    pub(super) database: Database,
    /// So do the tables, in a database of a closed organization's own: it holds nobody up.
    pub(super) stays: bool,
}

/// Slice by slice, first beside the tables, where whoever works for an owner is then refused.
pub(super) async fn let_owners_go(
    store: &Store,
    ending: &Ending,
    ended: &Ended,
    mut beside: Option<Beside>,
) -> Result<(), Error> {
    let services: Vec<String> = ended.members.iter().map(|one| one.service.clone()).collect();
    let mut after = String::new();
    loop {
        let owners =
            owner_slices::behind(store.control.readers(), &ending.root_id, &after, SLICE).await?;
        let Some(last) = owners.last() else { return Ok(()) };
        after.clone_from(&last.external_owner_id);
        // One without a name is the first, and would be found again behind itself.
        let last_slice = (owners.len() as i64) < SLICE;
        let owners: Vec<OwnerId> = owners.into_iter().map(|owner| owner.id).collect();
        let fences = match ended.whole {
            true => Vec::new(),
            false => take_leases(store, ending, owners.clone()).await?,
        };
        if let Some(there) = &beside {
            match forget_owners(&there.database, &services, &owners, fences, ended.whole).await {
                Err(error) if there.stays => {
                    stays_as_it_is(ending, &error);
                    beside = None;
                }
                forgotten => forgotten?,
            }
        }
        let (ending, services, whole) = (ending.clone(), services.clone(), ended.whole);
        let now = store.clock.now();
        let let_go = store.control.write(move |connection| {
            Box::pin(async move {
                ending.hold(connection, now).await?;
                match whole {
                    true => retire(connection, &owners, now).await,
                    false => forget_streams(connection, &services, &owners).await,
                }
            })
        });
        let_go.await?;
        if last_slice {
            return Ok(());
        }
    }
}

/// Until the schema of ours there goes, whoever stood still since before may write to the customer's tables yet.
pub(super) fn stays_as_it_is(ending: &Ending, error: &Error) {
    let organization_id = ending.organization_id;
    tracing::warn!(organization_id, %error, "holders aren't refused in a closed organization's database");
}

/// Of a tree that goes on only fences say who is refused: its generation is that of its channels, too. Answers
/// the fences that are to be planted. Who was at it is followed at once.
async fn take_leases(
    store: &Store,
    ending: &Ending,
    owners: Vec<OwnerId>,
) -> Result<Vec<(OwnerId, i64)>, Error> {
    let (ending, now) = (ending.clone(), store.clock.now());
    let taken = store.control.write(move |connection| {
        Box::pin(async move {
            ending.hold(connection, now).await?;
            let ids = list(owners);
            lock_owners(connection, &ids).await?;
            let take = format!(
                "update owners set fence = fence + 1, lease_host = null, lease_until = 0,
                   unreleased = true, due_at = coalesce(due_at, 0)
                 where id in ({ids}) and (lease_host is not null
                                          or unreleased and due_at is not null)
                 returning id, fence"
            );
            Ok(query_as(take).persistent(false).fetch_all(connection).await?)
        })
    });
    taken.await
}

/// Cursors. Owners' rows stay: a call in flight is refused by them.
async fn forget_owners(
    replication: &Database,
    services: &[String],
    owners: &[OwnerId],
    fences: Vec<(OwnerId, i64)>,
    whole: bool,
) -> Result<(), Error> {
    let (services, these) =
        (services.to_vec(), format!("owner_id in ({})", list(owners.iter().copied())));
    let forgotten = replication.write(move |connection| {
        Box::pin(async move {
            plant_above(connection, &fences).await?;
            for service in services {
                query(format!("delete from rowgate_cursors where service = $1 and {these}"))
                    .bind(service)
                    .persistent(false)
                    .execute(&mut *connection)
                    .await?;
            }
            // Their streams are derived anew, should the service come again.
            let mut set = "services = '[]'";
            if whole {
                for table in ["rowgate_outbox", "rowgate_applied"] {
                    let sql = format!("delete from {table} where {these}");
                    query(sql).persistent(false).execute(&mut *connection).await?;
                }
                set = "services = '[]', generation = generation + 1, grant_id = null";
            }
            let sql = format!("update rowgate_owners set {set} where {these}");
            query(sql).persistent(false).execute(connection).await?;
            Ok(())
        })
    });
    forgotten.await
}

/// Ends the grants of owners, as a post that unlinks them does. Whoever holds one has no say any more;
/// who has channels to be stopped is due for that alone.
async fn retire(connection: &mut Connection, owners: &[OwnerId], now: Micros) -> Result<(), Error> {
    let ids = list(owners.iter().copied());
    lock_owners(connection, &ids).await?;
    for owner_id in owners {
        relay::unlinked(connection, *owner_id, AFTER_ALL, now).await?;
    }
    let inbox = format!("delete from inbox where owner_id in ({ids})");
    query(inbox).persistent(false).execute(&mut *connection).await?;
    let let_go = format!(
        "update owners set fence = fence + 1, lease_host = null, lease_until = 0,
           due_at = case when exists (select 1 from channels c where c.owner_id = owners.id
                                        and c.state = 'stopping') then 0 end
         where id in ({ids})"
    );
    query(let_go).persistent(false).execute(connection).await?;
    Ok(())
}

/// As whoever holds one does: its row before what belongs to it. Else each may wait for the other.
async fn lock_owners(connection: &mut Connection, ids: &str) -> Result<(), Error> {
    let lock = for_update(connection);
    let held = format!("select id from owners where id in ({ids}) order by id{lock}");
    query_scalar::<OwnerId>(held).persistent(false).fetch_all(connection).await?;
    Ok(())
}

async fn forget_streams(
    connection: &mut Connection,
    services: &[String],
    owners: &[OwnerId],
) -> Result<(), Error> {
    let sql = format!(
        "delete from streams where service = $1 and owner_id in ({})",
        list(owners.iter().copied())
    );
    for service in services {
        query(&sql).bind(service).persistent(false).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Deletes some owners of the tree with what belongs to them; false: those were the last.
pub(super) async fn delete_owners(store: &Store, ending: &Ending) -> Result<bool, Error> {
    let (ending, now) = (ending.clone(), store.clock.now());
    let deleted = store.control.write(move |connection| {
        Box::pin(async move {
            ending.hold(connection, now).await?;
            delete_slice(connection, &ending.root_id).await
        })
    });
    Ok(deleted.await? == SLICE)
}

/// As their index has them: a slice costs its owners, however many there are.
const FIRST_OWNERS: &str =
    "select id from owners where root_id = $1 order by external_owner_id limit $2";

/// Answers how many there were.
pub(super) async fn delete_slice(connection: &mut Connection, root_id: &str) -> Result<i64, Error> {
    // What is posted for one of them waits, and then makes another one.
    let sql = format!("{FIRST_OWNERS}{}", for_update(connection));
    let owners: Vec<OwnerId> =
        query_scalar(sql).bind(root_id).bind(SLICE).fetch_all(&mut *connection).await?;
    if owners.is_empty() {
        return Ok(0);
    }
    let ids = list(owners.iter().copied());
    for table in OF_OWNERS {
        let sql = format!("delete from {table} where owner_id in ({ids})");
        query(sql).persistent(false).execute(&mut *connection).await?;
    }
    let sql = format!("delete from owners where id in ({ids})");
    query(sql).persistent(false).execute(connection).await?;
    Ok(i64::try_from(owners.len()).unwrap_or(i64::MAX))
}
