//! Making an integration.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::{COLUMNS, Grant, Integration, place, telling};
use crate::chance::Chance;
use crate::model::{Micros, OrganizationId};
use crate::secrets::Keyring;
use crate::store::{Connection, Error, Store, moves, organizations, subscriptions};
use crate::store::{query, query_as, query_scalar};

/// An integration that is to be made; values are checked already.
pub struct NewIntegration {
    /// Whose.
    pub organization: OrganizationId,
    /// Name of the plugin that offers the service.
    pub plugin: String,
    /// The service.
    pub service: String,
    /// The integration it hangs under; none: it is a root.
    pub depends_on: Option<String>,
    /// Given values that aren't secret; defaults stay with the manifest. Only on a root.
    pub config: BTreeMap<String, String>,
    /// Secret values. Only on a root.
    pub secrets: Vec<(String, Zeroizing<String>)>,
    /// Origins beyond what the manifest's defaults name. Only on a root.
    pub grants: Vec<Grant>,
}

/// Suffixes are 4 hex digits, so some of these may be taken.
const TABLE_NAMES_TRIED: usize = 64;

impl Store {
    /// Makes an integration. A dependent one makes the linked owners of its tree due, so that they
    /// get its rows with no new post: the first ones before this returns.
    pub async fn create_integration(&self, new: NewIntegration) -> Result<Integration, Error> {
        self.create_integration_as(self.new_integration_id(), new).await
    }

    /// An id that no integration has.
    pub fn new_integration_id(&self) -> String {
        format!("svi_{}", self.chance.base36(16))
    }

    /// The same with an id that is chosen already; a draft of this id is done with.
    pub async fn create_integration_as(
        &self,
        id: String,
        new: NewIntegration,
    ) -> Result<Integration, Error> {
        let (keyring, chance, now) = (self.keyring.clone(), self.chance.clone(), self.clock.now());
        let made = self
            .control
            .write(move |connection| {
                Box::pin(async move {
                    organizations::hold(connection, new.organization).await?;
                    moves::refuse_while_moving(&mut *connection, new.organization).await?;
                    let integration = insert(connection, id, &new, &chance, now).await?;
                    super::drafts::delete(connection, &integration.id).await?;
                    insert_secrets(connection, &integration.id, &new, &keyring).await?;
                    insert_grants(connection, &integration.id, &new.grants).await?;
                    subscriptions::follow(connection, &integration, now).await?;
                    if integration.depends_on.is_some() {
                        telling::begin(connection, &integration.root_id).await?;
                    }
                    Ok(integration)
                })
            })
            .await?;
        if made.depends_on.is_some() {
            self.tell_owners_soon(&made.root_id).await;
        }
        Ok(made)
    }
}

async fn insert(
    connection: &mut Connection,
    id: String,
    new: &NewIntegration,
    chance: &Chance,
    now: Micros,
) -> Result<Integration, Error> {
    let root_id = match &new.depends_on {
        None => id.clone(),
        Some(parent) => root_under(connection, new, parent).await?,
    };
    let table_name = free_table_name(connection, new, chance).await?;
    let config = serde_json::to_string(&new.config)
        .map_err(|error| Error::Inconsistent(format!("a configuration as JSON: {error}")))?;
    query(
        "insert into integrations
           (id, organization_id, plugin, service, table_name, depends_on, root_id, config,
            created_at, number)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9,
                 (select coalesce(max(number), 0) + 1 from integrations))",
    )
    .bind(&id)
    .bind(new.organization)
    .bind(&new.plugin)
    .bind(&new.service)
    .bind(&table_name)
    .bind(&new.depends_on)
    .bind(&root_id)
    .bind(config)
    .bind(now)
    .execute(&mut *connection)
    .await?;
    let sql = format!("select {COLUMNS} from integrations i where i.id = $1");
    Ok(query_as(&sql).bind(id).fetch_one(connection).await?)
}

/// The root of the tree under `parent`, where the service must not stand yet.
async fn root_under(
    connection: &mut Connection,
    new: &NewIntegration,
    parent: &str,
) -> Result<String, Error> {
    let root_id: Option<String> = query_scalar(
        "select root_id from integrations
         where id = $1 and organization_id = $2 and plugin = $3 and ended_at is null",
    )
    .bind(parent)
    .bind(new.organization)
    .bind(&new.plugin)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(root_id) = root_id else {
        return Err(Error::Refused(format!("there is no integration {parent} to depend on")));
    };
    if !super::hold(&mut *connection, &root_id).await? {
        return Err(Error::Refused(format!("the tree of {parent} is being deleted")));
    }
    let sibling: Option<(String, bool)> = query_as(
        "select id, ended_at is not null from integrations where root_id = $1 and service = $2",
    )
    .bind(&root_id)
    .bind(&new.service)
    .fetch_optional(connection)
    .await?;
    match sibling {
        None => Ok(root_id),
        Some((sibling, true)) => Err(Error::Refused(format!(
            "{sibling}, the {} of this tree, is still being deleted: try again in a while",
            new.service
        ))),
        Some((sibling, false)) => Err(Error::Refused(format!(
            "the tree of {root_id} has a {} already: {sibling}",
            new.service
        ))),
    }
}

async fn free_table_name(
    connection: &mut Connection,
    new: &NewIntegration,
    chance: &Chance,
) -> Result<String, Error> {
    for _ in 0..TABLE_NAMES_TRIED {
        let name = format!("{}_{:04x}", new.service, chance.below(0x1_0000));
        let taken: i64 = query_scalar(
            "select count(*) from integrations where organization_id = $1 and table_name = $2",
        )
        .bind(new.organization)
        .bind(&name)
        .fetch_one(&mut *connection)
        .await?;
        if taken == 0 {
            return Ok(name);
        }
    }
    Err(Error::Refused(format!("there are too many integrations of {}", new.service)))
}

async fn insert_secrets(
    connection: &mut Connection,
    id: &str,
    new: &NewIntegration,
    keyring: &Keyring,
) -> Result<(), Error> {
    for (name, secret) in &new.secrets {
        query("insert into integration_secrets (integration_id, name, sealed) values ($1, $2, $3)")
            .bind(id)
            .bind(name)
            .bind(keyring.seal(&place(id, name), secret.as_bytes()))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

impl Store {
    /// Lets a tree reach an origin.
    pub async fn grant(&self, root_id: &str, grant: Grant) -> Result<(), Error> {
        let root_id = root_id.to_owned();
        self.control
            .write(move |connection| {
                Box::pin(async move { insert_grants(connection, &root_id, &[grant]).await })
            })
            .await
    }
}

pub(super) async fn insert_grants(
    connection: &mut Connection,
    root_id: &str,
    grants: &[Grant],
) -> Result<(), Error> {
    for grant in grants {
        query(
            "insert into grants (root_id, origin, private_addresses) values ($1, $2, $3)
             on conflict (root_id, origin) do update
               set private_addresses = grants.private_addresses or excluded.private_addresses",
        )
        .bind(root_id)
        .bind(&grant.origin)
        .bind(grant.private_addresses)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
