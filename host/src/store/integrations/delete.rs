//! Deleting an integration with all that hangs under it, its tables included.

use std::collections::BTreeSet;

use super::create::make_linked_due;
use super::{Integration, Tree};
use crate::model::OwnerId;
use crate::store::{Connection, Database, Error, Store, query, query_scalar, tables};

/// What belongs to owners of a tree, children before what they refer to.
const OF_OWNERS: [&str; 6] = ["streams", "inbox", "owner_secrets", "topics", "channels", "orphans"];
/// What belongs to the tree itself.
const OF_TREES: [&str; 4] = ["orphans", "push_pauses", "grants", "owners"];

/// Owners that one statement names.
const OWNERS_A_STATEMENT: usize = 500;

impl Store {
    /// Deletes an integration and all that depend on it; answers which.
    ///
    /// The tables go first, while the integrations still name them: if the host dies between, the
    /// same call goes on. They go once more at the end, since a call that was in flight may have made
    /// them again.
    pub async fn delete_integration(&self, id: &str) -> Result<Vec<Integration>, Error> {
        let Some(integration) = self.integration(id).await? else { return Ok(Vec::new()) };
        let tree = self.tree(&integration.root_id).await?;
        let members = below(&tree, id);
        let whole = integration.root_id == integration.id;
        let owners: Vec<OwnerId> = query_scalar("select id from owners where root_id = $1")
            .bind(&integration.root_id)
            .fetch_all(self.control.readers())
            .await?;
        let replication = self.replication(integration.organization_id).await?;
        forget(&replication, &members, &owners, whole).await?;
        let now = self.clock.now();
        let (root_id, gone) = (integration.root_id.clone(), members.clone());
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    if whole {
                        delete_tree(connection, &root_id).await?;
                    }
                    delete_members(connection, &root_id, &gone).await?;
                    // Whoever holds them next lets go of the push channels that woke nothing else.
                    make_linked_due(connection, &root_id, now).await
                })
            })
            .await?;
        forget(&replication, &members, &owners, whole).await?;
        Ok(members)
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

async fn delete_tree(connection: &mut Connection, root_id: &str) -> Result<(), Error> {
    for table in OF_OWNERS {
        let sql = format!(
            "delete from {table} where owner_id in (select id from owners where root_id = $1)"
        );
        query(sql).bind(root_id).execute(&mut *connection).await?;
    }
    for table in OF_TREES {
        let sql = format!("delete from {table} where root_id = $1");
        query(sql).bind(root_id).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn delete_members(
    connection: &mut Connection,
    root_id: &str,
    members: &[Integration],
) -> Result<(), Error> {
    for member in members {
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
    }
    Ok(())
}

/// Tables and positions. Owners' rows stay: a call in flight is refused by them.
async fn forget(
    replication: &Database,
    members: &[Integration],
    owners: &[OwnerId],
    whole: bool,
) -> Result<(), Error> {
    let (members, owners) = (members.to_vec(), owners.to_vec());
    replication
        .write(move |connection| {
            Box::pin(async move {
                for member in &members {
                    tables::drop_table(connection, &member.table_name).await?;
                }
                for some in owners.chunks(OWNERS_A_STATEMENT) {
                    forget_owners(connection, &members, some, whole).await?;
                }
                Ok(())
            })
        })
        .await
}

async fn forget_owners(
    connection: &mut Connection,
    members: &[Integration],
    owners: &[OwnerId],
    whole: bool,
) -> Result<(), Error> {
    let ids: Vec<String> = owners.iter().map(OwnerId::to_string).collect();
    let these = format!("owner_id in ({})", ids.join(", "));
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
