//! Deleting an integration with all that hangs under it, its tables included.

use std::collections::BTreeSet;

use super::create::make_linked_due;
use super::{Integration, Tree};
use crate::model::{Micros, OwnerId};
use crate::store::{Connection, Database, Dialect, Error, Store, query, query_scalar, tables};

/// What belongs to owners of a tree, children before what they refer to.
const OF_OWNERS: [&str; 5] = ["streams", "inbox", "owner_secrets", "topics", "channels"];
/// What belongs to the tree itself.
const OF_TREES: [&str; 3] = ["orphans", "push_pauses", "grants"];

/// Owners that one statement names, and one transaction deletes.
const SLICE: usize = 500;

/// What becomes of the tables of integrations that are deleted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tables {
    Go,
    Stay,
}

impl Store {
    /// Deletes an integration and all that depend on it; answers which.
    ///
    /// The tables go first, while the integrations still name them: if the host dies between, the
    /// same call goes on. They go once more at the end, since a call that was in flight may have made
    /// them again. What there may be much of goes in slices: others write meanwhile.
    pub async fn delete_integration(&self, id: &str) -> Result<Vec<Integration>, Error> {
        self.delete(id, Tables::Go).await
    }

    /// The same of one whose tables stay: they lie in a database of its organization's own.
    pub async fn leave_integration(&self, id: &str) -> Result<Vec<Integration>, Error> {
        self.delete(id, Tables::Stay).await
    }

    async fn delete(&self, id: &str, tables: Tables) -> Result<Vec<Integration>, Error> {
        let Some(integration) = self.integration(id).await? else { return Ok(Vec::new()) };
        let of = integration.organization_id;
        self.refuse_while_moving(of).await?;
        let tree = self.tree(&integration.root_id).await?;
        let members = below(&tree, id);
        let whole = integration.root_id == integration.id;
        let mut owners: BTreeSet<OwnerId> =
            query_scalar("select id from owners where root_id = $1")
                .bind(&integration.root_id)
                .fetch_all(self.control.readers())
                .await?
                .into_iter()
                .collect();
        if tables == Tables::Go {
            let replication = self.replication(of).await?;
            for member in &members {
                tables::forget_changes(&replication, &member.table_name).await?;
            }
            forget(&replication, &members, &owners, whole).await?;
        }
        if whole {
            owners.extend(self.delete_owners(&integration.root_id).await?);
        }
        let now = self.clock.now();
        let (root_id, gone) = (integration.root_id, members.clone());
        let late = self.control.write(move |connection| {
            Box::pin(delete_members(connection, root_id, gone, whole, now))
        });
        owners.extend(late.await?);
        if tables == Tables::Go {
            // Wherever they lie by now.
            forget(&self.replication(of).await?, &members, &owners, whole).await?;
        }
        Ok(members)
    }

    /// Deletes the owners of a tree; answers which.
    async fn delete_owners(&self, root_id: &str) -> Result<Vec<OwnerId>, Error> {
        let mut gone = Vec::new();
        loop {
            let root_id = root_id.to_owned();
            let slice = self.control.write(move |connection| {
                Box::pin(async move { delete_slice(connection, &root_id).await })
            });
            let slice = slice.await?;
            gone.extend(&slice);
            if slice.len() < SLICE {
                return Ok(gone);
            }
        }
    }
}

/// The integration and what hangs under it, the lowest first.
fn below(tree: &Tree, id: &str) -> Vec<Integration> {
    let mut ids = BTreeSet::from([id]);
    let mut members: Vec<Integration> = Vec::new();
    // Parents stand before their children.
    for member in &tree.members {
        if ids.contains(member.id.as_str())
            || member.depends_on.as_deref().is_some_and(|parent| ids.contains(parent))
        {
            ids.insert(&member.id);
            members.insert(0, member.clone());
        }
    }
    members
}

/// Deletes some owners of a tree with what belongs to them; answers which.
async fn delete_slice(connection: &mut Connection, root_id: &str) -> Result<Vec<OwnerId>, Error> {
    // What is posted for one of them waits, and then makes another one.
    let sql = format!(
        "select id from owners where root_id = $1 order by id limit $2{}",
        for_update(connection)
    );
    let limit = i64::try_from(SLICE).unwrap_or(i64::MAX);
    let owners: Vec<OwnerId> =
        query_scalar(sql).bind(root_id).bind(limit).fetch_all(&mut *connection).await?;
    if owners.is_empty() {
        return Ok(owners);
    }
    let ids = ids(&owners);
    for table in OF_OWNERS {
        let sql = format!("delete from {table} where owner_id in ({ids})");
        query(sql).persistent(false).execute(&mut *connection).await?;
    }
    let sql = format!("delete from owners where id in ({ids})");
    query(sql).persistent(false).execute(connection).await?;
    Ok(owners)
}

/// Deletes integrations and, of a whole tree, what else belongs to it; answers the owners that came
/// meanwhile.
async fn delete_members(
    connection: &mut Connection,
    root_id: String,
    members: Vec<Integration>,
    whole: bool,
    now: Micros,
) -> Result<Vec<OwnerId>, Error> {
    let late = match whole {
        true => delete_tree(connection, &root_id).await?,
        false => Vec::new(),
    };
    for member in &members {
        delete_member(connection, &root_id, member).await?;
    }
    // Whoever holds them next lets go of the push channels that woke nothing else.
    make_linked_due(connection, &root_id, now).await?;
    Ok(late)
}

async fn delete_tree(connection: &mut Connection, root_id: &str) -> Result<Vec<OwnerId>, Error> {
    // Who posts for the first time waits, and then finds nothing to post to.
    let sql = format!("select id from integrations where root_id = $1{}", for_update(connection));
    query_scalar::<String>(sql).bind(root_id).fetch_all(&mut *connection).await?;
    let mut late = Vec::new();
    loop {
        let slice = delete_slice(connection, root_id).await?;
        if slice.is_empty() {
            break;
        }
        late.extend(slice);
    }
    for table in OF_TREES {
        let sql = format!("delete from {table} where root_id = $1");
        query(sql).bind(root_id).execute(&mut *connection).await?;
    }
    Ok(late)
}

async fn delete_member(
    connection: &mut Connection,
    root_id: &str,
    member: &Integration,
) -> Result<(), Error> {
    query(
        "delete from streams where service = $1
         and owner_id in (select id from owners where root_id = $2)",
    )
    .bind(&member.service)
    .bind(root_id)
    .execute(&mut *connection)
    .await?;
    for sql in [
        "delete from targets where integration_id = $1",
        "delete from subscriptions where integration_id = $1",
        "delete from integration_secrets where integration_id = $1",
        "delete from integrations where id = $1",
    ] {
        query(sql).bind(&member.id).execute(&mut *connection).await?;
    }
    Ok(())
}

/// A file has one writer.
fn for_update(connection: &Connection) -> &'static str {
    match connection.dialect() {
        Dialect::Sqlite => "",
        Dialect::Postgres => " for update",
    }
}

/// Tables and positions. Owners' rows stay: a call in flight is refused by them.
async fn forget(
    replication: &Database,
    members: &[Integration],
    owners: &BTreeSet<OwnerId>,
    whole: bool,
) -> Result<(), Error> {
    let names: Vec<String> = members.iter().map(|member| member.table_name.clone()).collect();
    let dropped = replication.write(move |connection| {
        Box::pin(async move {
            for name in &names {
                tables::drop_table(connection, name).await?;
            }
            Ok(())
        })
    });
    dropped.await?;
    let owners: Vec<OwnerId> = owners.iter().copied().collect();
    for some in owners.chunks(SLICE) {
        let (members, ids) = (members.to_vec(), ids(some));
        let forgotten = replication.write(move |connection| {
            Box::pin(async move { forget_owners(connection, &members, &ids, whole).await })
        });
        forgotten.await?;
    }
    Ok(())
}

async fn forget_owners(
    connection: &mut Connection,
    members: &[Integration],
    ids: &str,
    whole: bool,
) -> Result<(), Error> {
    let these = format!("owner_id in ({ids})");
    for member in members {
        query(format!("delete from rowgate_cursors where service = $1 and {these}"))
            .bind(&member.service)
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
}

fn ids(owners: &[OwnerId]) -> String {
    let ids: Vec<String> = owners.iter().map(OwnerId::to_string).collect();
    ids.join(", ")
}

#[cfg(test)]
mod tests;
