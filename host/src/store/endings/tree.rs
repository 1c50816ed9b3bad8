//! A tree, or a part of it, that ends: its tables go, then of a whole tree the vendor is asked to stop its
//! push channels, as after an UNLINK of all its owners; then all that the control database has of it goes.

use std::collections::BTreeSet;

use super::owners::{Beside, delete_owners, delete_slice, let_owners_go, stays_as_it_is};
use super::receivers::{delete_receivers, forget_told};
use super::{DROPPED, Ending, NO_ROOT, Progress, for_update, mark};
use crate::failpoint;
use crate::model::{Micros, OrganizationId};
use crate::store::integrations::{COLUMNS, Integration, telling};
use crate::store::{Connection, Database, Error, Store, channels, moves, organizations, tables};
use crate::store::{query, query_as, query_scalar};

/// What belongs to the tree itself.
const OF_TREES: [&str; 3] = ["orphans", "push_pauses", "grants"];

/// So long an answer to the question for a channel may still come. Without it nobody can stop the channel.
const ANSWERS_LIFE: Micros = 60_000_000;

impl Store {
    /// Ends an integration and all that depend on it; answers which. Nobody sees them from then on.
    ///
    /// # Errors
    /// [`Error::Refused`]: its organization's tables are being moved.
    pub async fn end_integration(&self, id: &str) -> Result<Vec<Integration>, Error> {
        if let Some(integration) = self.integration(id).await? {
            self.refuse_while_moving(integration.organization_id).await?;
            let all = self.integrations(integration.organization_id).await?;
            for member in below(all, id) {
                forget_told(&self.control, &member.id).await?;
            }
        }
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
    let root =
        "select root_id, organization_id from integrations where id = $1 and ended_at is null";
    let root: Option<(String, OrganizationId)> =
        query_as(root).bind(id).fetch_optional(&mut *connection).await?;
    let Some((root_id, of)) = root else { return Ok(Vec::new()) };
    organizations::hold(connection, of).await?;
    moves::refuse_while_moving(&mut *connection, of).await?;
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
pub(super) struct Ended {
    pub(super) members: Vec<Integration>,
    /// The root too.
    pub(super) whole: bool,
}

pub(super) async fn work(store: &Store, ending: &Ending) -> Result<Progress, Error> {
    let sql = format!(
        "select {COLUMNS} from integrations i where i.root_id = $1 and i.ended_at is not null
         order by i.number desc, i.id desc"
    );
    let reader = store.control.readers();
    let members: Vec<Integration> = query_as(&sql).bind(&ending.root_id).fetch_all(reader).await?;
    let whole = members.iter().any(|member| member.id == ending.root_id);
    let ended = Ended { members, whole };
    if ended.members.iter().any(|member| !member.table_name.starts_with(DROPPED)) {
        let beside = beside(store, ending).await?;
        if let Some(Beside { database, stays: false }) = &beside {
            drop_tables(store, ending, &ended, database).await?;
        }
        failpoint::reach("ended_tables_dropped");
        let_owners_go(store, ending, &ended, beside).await?;
        free_names(store, ending).await?;
        failpoint::reach("ended_owners_let_go");
    }
    if whole {
        if are_channels_left(store, ending).await? {
            return Ok(Progress::Waits);
        }
        while delete_owners(store, ending).await? {}
    }
    delete_rest(store, ending, ended).await?;
    if !whole {
        store.tell_owners_soon(&ending.root_id).await;
    }
    Ok(Progress::Done)
}

/// Where its tables lie. None: in a database of a closed organization's own, which isn't there.
async fn beside(store: &Store, ending: &Ending) -> Result<Option<Beside>, Error> {
    let of = ending.organization_id;
    let stay = query_scalar(
        "select closing_at is not null and database_id is not null from organizations where id = $1",
    );
    let stays: bool = stay.bind(of).fetch_one(store.control.readers()).await?;
    match store.replication(of).await {
        Ok(database) => Ok(Some(Beside { database, stays })),
        Err(error) if stays => {
            stays_as_it_is(ending, &error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What there may be much of goes in slices: others write meanwhile.
async fn drop_tables(
    store: &Store,
    ending: &Ending,
    ended: &Ended,
    replication: &Database,
) -> Result<(), Error> {
    let names: Vec<String> = ended
        .members
        .iter()
        .map(|member| member.table_name.clone())
        .filter(|name| !name.starts_with(DROPPED))
        .collect();
    for name in &names {
        while tables::forget_changes(replication, name).await? {
            hold(store, ending).await?;
        }
    }
    loop {
        // Whoever has gone on with this meanwhile has dropped them, and others may have their names.
        let layout = tables::layout(replication).await?;
        hold(store, ending).await?;
        match tables::drop_all(replication, names.clone(), layout).await {
            Err(Error::Superseded(_)) => {}
            dropped => return dropped,
        }
    }
}

async fn hold(store: &Store, ending: &Ending) -> Result<(), Error> {
    let (ending, now) = (ending.clone(), store.clock.now());
    let held = store
        .control
        .write(move |connection| Box::pin(async move { ending.hold(connection, now).await }));
    held.await
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

/// It is asked again and again, also where a million channels were stopped before. What is to be stopped is
/// due.
pub(super) const LEFT: &str = "
select exists (select 1 from channels where root_id = $1 and state = 'stopping' and due_at >= 0)
  or $2 and exists (
    select 1 from channels
    where root_id = $1 and state = 'stopping' and due_at is null and vendor_id is null)";

/// Whether the vendor is still to be asked to stop channels, or may still say which it made. Their secrets
/// are kept no longer than after an UNLINK.
async fn are_channels_left(store: &Store, ending: &Ending) -> Result<bool, Error> {
    let age = store.clock.now().saturating_sub(ending.begun_at);
    if age >= channels::RETIRED_LIFE {
        return Ok(false);
    }
    let left = query_scalar(LEFT).bind(&ending.root_id).bind(age < ANSWERS_LIFE);
    Ok(left.fetch_one(store.control.readers()).await?)
}

/// Deletes integrations and, of a whole tree, what else belongs to it; with that the deletion is done.
async fn delete_rest(store: &Store, ending: &Ending, ended: Ended) -> Result<(), Error> {
    let (ending, now) = (ending.clone(), store.clock.now());
    let deleted = store.control.write(move |connection| {
        Box::pin(async move {
            ending.hold(connection, now).await?;
            if ended.whole {
                delete_tree(connection, &ending.root_id).await?;
            }
            for member in &ended.members {
                delete_member(connection, &member.id).await?;
            }
            if !ended.whole {
                telling::begin(connection, &ending.root_id).await?;
            }
            ending.delete(connection).await?;
            // The organization may have waited for this.
            query("update endings set due_at = $1 where organization_id = $2 and root_id = $3")
                .bind(now)
                .bind(ending.organization_id)
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
