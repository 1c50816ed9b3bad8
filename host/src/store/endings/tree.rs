//! A tree, or a part of it, that ends: its tables go, then of a whole tree the vendor is asked to stop its
//! push channels, as after an UNLINK of all its owners; then all that the control database has of it goes.

use std::collections::BTreeSet;

use super::{Ending, NO_ROOT, Progress, for_update, mark};
use crate::failpoint;
use crate::model::{Micros, OrganizationId, OwnerId};
use crate::store::integrations::{COLUMNS, Integration, make_linked_due};
use crate::store::{Connection, Database, Error, Store, channels, query, query_as, query_scalar};
use crate::store::{relay, tables};

/// What belongs to owners of a tree, children before what they refer to.
const OF_OWNERS: [&str; 5] = ["streams", "inbox", "owner_secrets", "topics", "channels"];
/// What belongs to the tree itself.
const OF_TREES: [&str; 3] = ["orphans", "push_pauses", "grants"];

/// Owners that one statement names, and one transaction deletes.
const SLICE: i64 = 500;

/// Later than all items of an inbox: whatever grant an owner has, it is over.
const AFTER_ALL: i64 = i64::MAX;

/// So long an answer to the question for a channel may still come. Without it nobody can stop the channel.
const ANSWERS_LIFE: Micros = 60_000_000;

/// Begins the name of a table that was dropped, so that another may be called as it was. No table's name
/// has it.
const DROPPED: char = '/';

impl Store {
    /// Ends an integration and all that depend on it; answers which. Nobody sees them from then on.
    pub async fn end_integration(&self, id: &str) -> Result<Vec<Integration>, Error> {
        let (id, now) = (id.to_owned(), self.clock.now());
        let ended = self.control.write(move |connection| {
            Box::pin(async move { end_members(connection, &id, now).await })
        });
        let ended = ended.await?;
        self.look_for_endings();
        Ok(ended)
    }
}

async fn end_members(
    connection: &mut Connection,
    id: &str,
    now: Micros,
) -> Result<Vec<Integration>, Error> {
    let root = "select root_id from integrations where id = $1 and ended_at is null";
    let root: Option<String> = query_scalar(root).bind(id).fetch_optional(&mut *connection).await?;
    let Some(root_id) = root else { return Ok(Vec::new()) };
    // Whoever makes a dependent one waits, and then finds nothing to depend on.
    let root = format!("select id from integrations where id = $1{}", for_update(connection));
    query_scalar::<String>(root).bind(&root_id).fetch_all(&mut *connection).await?;
    let members = format!(
        "select {COLUMNS} from integrations i where i.root_id = $1 and i.ended_at is null
         order by i.number, i.id"
    );
    let members: Vec<Integration> =
        query_as(&members).bind(&root_id).fetch_all(&mut *connection).await?;
    let members = below(members, id);
    for member in &members {
        query("update integrations set ended_at = $1 where id = $2")
            .bind(now)
            .bind(&member.id)
            .execute(&mut *connection)
            .await?;
        delete_receivers(connection, &member.id).await?;
    }
    if let Some(member) = members.first() {
        mark(connection, member.organization_id, &root_id, now).await?;
    }
    Ok(members)
}

/// The integration and what hangs under it, the lowest first.
fn below(all: Vec<Integration>, id: &str) -> Vec<Integration> {
    let mut ids = BTreeSet::from([id.to_owned()]);
    let mut members: Vec<Integration> = Vec::new();
    // Parents stand before their children.
    for member in all {
        if ids.contains(&member.id)
            || member.depends_on.as_ref().is_some_and(|parent| ids.contains(parent))
        {
            ids.insert(member.id.clone());
            members.insert(0, member);
        }
    }
    members
}

/// What has ended of a tree, the lowest first.
struct Ended {
    organization_id: OrganizationId,
    root_id: String,
    members: Vec<Integration>,
    /// The root too.
    whole: bool,
}

pub(super) async fn work(store: &Store, ending: &Ending) -> Result<Progress, Error> {
    let sql = format!(
        "select {COLUMNS} from integrations i where i.root_id = $1 and i.ended_at is not null
         order by i.number desc, i.id desc"
    );
    let reader = store.control.readers();
    let members: Vec<Integration> = query_as(&sql).bind(&ending.root_id).fetch_all(reader).await?;
    let whole = members.iter().any(|member| member.id == ending.root_id);
    let (organization_id, root_id) = (ending.organization_id, ending.root_id.clone());
    let ended = Ended { organization_id, root_id, members, whole };
    if ended.members.iter().any(|member| !member.table_name.starts_with(DROPPED)) {
        drop_tables(store, ending, &ended).await?;
        failpoint::reach("ended_tables_dropped");
        let_owners_go(store, ending, &ended).await?;
        free_names(store, ending).await?;
        failpoint::reach("ended_owners_let_go");
    }
    if whole {
        if are_channels_left(store, ending).await? {
            return Ok(Progress::Waits);
        }
        while delete_owners(store, ending).await? {}
        failpoint::reach("ended_owners_deleted");
    }
    delete_rest(store, ending, ended).await?;
    Ok(Progress::Done)
}

/// What there may be much of goes in slices: others write meanwhile.
async fn drop_tables(store: &Store, ending: &Ending, ended: &Ended) -> Result<(), Error> {
    let replication = store.replication(ended.organization_id).await?;
    let names: Vec<String> = ended
        .members
        .iter()
        .map(|member| member.table_name.clone())
        .filter(|name| !name.starts_with(DROPPED))
        .collect();
    for name in &names {
        while tables::forget_changes(&replication, name).await? {
            hold(store, ending).await?;
        }
    }
    let dropped = replication.write(move |connection| {
        Box::pin(async move {
            for name in &names {
                tables::drop_table(connection, name).await?;
            }
            Ok(())
        })
    });
    dropped.await
}

async fn hold(store: &Store, ending: &Ending) -> Result<(), Error> {
    let (ending, now) = (ending.clone(), store.clock.now());
    let held = store
        .control
        .write(move |connection| Box::pin(async move { ending.hold(connection, now).await }));
    held.await
}

/// Slice by slice, first beside the tables, where whoever works for an owner is then refused.
async fn let_owners_go(store: &Store, ending: &Ending, ended: &Ended) -> Result<(), Error> {
    let replication = store.replication(ended.organization_id).await?;
    let services: Vec<String> = ended.members.iter().map(|one| one.service.clone()).collect();
    // Ids begin at 1, and an owner's name may be empty.
    let mut after = Some((0, String::new()));
    while let Some((id, name)) = after {
        let owners: Vec<(OwnerId, String)> = query_as(
            "select id, external_owner_id from owners
             where root_id = $1 and (external_owner_id, id) > ($2, $3)
             order by external_owner_id, id limit $4",
        )
        .bind(&ended.root_id)
        .bind(name)
        .bind(id)
        .bind(SLICE)
        .fetch_all(store.control.readers())
        .await?;
        after = owners.last().cloned();
        let owners: Vec<OwnerId> = owners.into_iter().map(|(id, _)| id).collect();
        if owners.is_empty() {
            break;
        }
        forget_owners(&replication, &services, &owners, ended.whole).await?;
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
    }
    Ok(())
}

/// Positions. Owners' rows stay: a call in flight is refused by them.
async fn forget_owners(
    replication: &Database,
    services: &[String],
    owners: &[OwnerId],
    whole: bool,
) -> Result<(), Error> {
    let (services, these) = (services.to_vec(), format!("owner_id in ({})", ids(owners)));
    let forgotten = replication.write(move |connection| {
        Box::pin(async move {
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
    for owner_id in owners {
        relay::unlinked(connection, *owner_id, AFTER_ALL, now).await?;
        for sql in [
            "delete from inbox where owner_id = $1",
            "update owners set fence = fence + 1, lease_host = null, lease_until = 0, due_at = null
             where id = $1",
            "update owners set due_at = 0 where id = $1 and exists (
               select 1 from channels where owner_id = $1 and state = 'stopping')",
        ] {
            query(sql).bind(*owner_id).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

async fn forget_streams(
    connection: &mut Connection,
    services: &[String],
    owners: &[OwnerId],
) -> Result<(), Error> {
    let sql = format!("delete from streams where service = $1 and owner_id in ({})", ids(owners));
    for service in services {
        query(&sql).bind(service).persistent(false).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Other tables may have their names from now on.
async fn free_names(store: &Store, ending: &Ending) -> Result<(), Error> {
    let (ending, now) = (ending.clone(), store.clock.now());
    let freed = store.control.write(move |connection| {
        Box::pin(async move {
            ending.hold(connection, now).await?;
            let sql = format!(
                "update integrations set table_name = '{DROPPED}' || id
                 where root_id = $1 and ended_at is not null"
            );
            query(sql).bind(ending.root_id).execute(connection).await?;
            Ok(())
        })
    });
    freed.await
}

/// Whether the vendor is still to be asked to stop channels, or may still say which it made. Their secrets
/// are kept no longer than after an UNLINK.
async fn are_channels_left(store: &Store, ending: &Ending) -> Result<bool, Error> {
    let age = store.clock.now().saturating_sub(ending.begun_at);
    if age >= channels::RETIRED_LIFE {
        return Ok(false);
    }
    let left = query_scalar(
        "select exists (select 1 from channels where root_id = $1 and state = 'stopping'
                          and (due_at is not null or vendor_id is null and $2))",
    );
    let left = left.bind(&ending.root_id).bind(age < ANSWERS_LIFE);
    Ok(left.fetch_one(store.control.readers()).await?)
}

/// Deletes some owners of the tree with what belongs to them; false: those were the last.
async fn delete_owners(store: &Store, ending: &Ending) -> Result<bool, Error> {
    let (ending, now) = (ending.clone(), store.clock.now());
    let deleted = store.control.write(move |connection| {
        Box::pin(async move {
            ending.hold(connection, now).await?;
            delete_slice(connection, &ending.root_id).await
        })
    });
    Ok(deleted.await? == SLICE)
}

/// Answers how many there were.
async fn delete_slice(connection: &mut Connection, root_id: &str) -> Result<i64, Error> {
    // What is posted for one of them waits, and then makes another one.
    let sql = format!(
        "select id from owners where root_id = $1 order by id limit $2{}",
        for_update(connection)
    );
    let owners: Vec<OwnerId> =
        query_scalar(sql).bind(root_id).bind(SLICE).fetch_all(&mut *connection).await?;
    if owners.is_empty() {
        return Ok(0);
    }
    let ids = ids(&owners);
    for table in OF_OWNERS {
        let sql = format!("delete from {table} where owner_id in ({ids})");
        query(sql).persistent(false).execute(&mut *connection).await?;
    }
    let sql = format!("delete from owners where id in ({ids})");
    query(sql).persistent(false).execute(connection).await?;
    Ok(i64::try_from(owners.len()).unwrap_or(i64::MAX))
}

/// Deletes integrations and, of a whole tree, what else belongs to it; with that the deletion is done.
async fn delete_rest(store: &Store, ending: &Ending, ended: Ended) -> Result<(), Error> {
    let (ending, now) = (ending.clone(), store.clock.now());
    let deleted = store.control.write(move |connection| {
        Box::pin(async move {
            ending.hold(connection, now).await?;
            if ended.whole {
                delete_tree(connection, &ended.root_id).await?;
            }
            for member in &ended.members {
                delete_member(connection, &member.id).await?;
            }
            if !ended.whole {
                // Whoever holds them next lets go of the push channels that woke nothing else.
                make_linked_due(connection, &ended.root_id, now).await?;
            }
            ending.delete(connection).await?;
            // The organization may have waited for this.
            query("update endings set due_at = $1 where organization_id = $2 and root_id = $3")
                .bind(now)
                .bind(ended.organization_id)
                .bind(NO_ROOT)
                .execute(connection)
                .await?;
            Ok(())
        })
    });
    deleted.await
}

async fn delete_tree(connection: &mut Connection, root_id: &str) -> Result<(), Error> {
    // Who posts for the first time waits, and then finds nothing to post to.
    let sql = format!("select id from integrations where root_id = $1{}", for_update(connection));
    query_scalar::<String>(sql).bind(root_id).fetch_all(&mut *connection).await?;
    while delete_slice(connection, root_id).await? > 0 {}
    for table in OF_TREES {
        let sql = format!("delete from {table} where root_id = $1");
        query(sql).bind(root_id).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn delete_member(connection: &mut Connection, id: &str) -> Result<(), Error> {
    delete_receivers(connection, id).await?;
    for sql in [
        "delete from integration_secrets where integration_id = $1",
        "delete from integrations where id = $1",
    ] {
        query(sql).bind(id).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Whom an integration's table was told to.
async fn delete_receivers(connection: &mut Connection, id: &str) -> Result<(), Error> {
    for table in ["targets", "subscriptions"] {
        let sql = format!("delete from {table} where integration_id = $1");
        query(sql).bind(id).execute(&mut *connection).await?;
    }
    Ok(())
}

fn ids(owners: &[OwnerId]) -> String {
    let ids: Vec<String> = owners.iter().map(OwnerId::to_string).collect();
    ids.join(", ")
}
