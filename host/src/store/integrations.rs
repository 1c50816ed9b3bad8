//! Integrations: services configured in an organization, in trees of one root and its dependents.

pub mod change;
mod create;
mod drafts;
pub(super) mod telling;

use std::collections::BTreeMap;
use std::sync::Arc;

use rowgate_manifest::Manifest;
use zeroize::Zeroizing;

use super::{Connection, Error, Store, query_as, query_scalar};
use crate::model::{Micros, OrganizationId};

pub use create::NewIntegration;
pub use drafts::StoredDraft;
pub(super) use drafts::place as draft_place;
pub use telling::keep_telling;

/// A service configured in an organization.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
#[allow(missing_docs)]
pub struct Integration {
    /// `svi_...`
    pub id: String,
    pub organization_id: OrganizationId,
    pub plugin: String,
    pub service: String,
    pub table_name: String,
    pub depends_on: Option<String>,
    /// The top of the tree; its own id for a root.
    pub root_id: String,
    pub created_at: Micros,
}

/// An integration as its endpoint sees it.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Endpoint {
    pub integration: Integration,
    /// Of the version that runs.
    pub digest: String,
    pub manifest: Arc<Manifest>,
}

/// A root integration with all that hangs under it.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Tree {
    pub root: Integration,
    /// The root too, in the order of creation; each service stands here once.
    pub members: Vec<Integration>,
    /// Without secrets, the active manifest's defaults filled in.
    pub config: BTreeMap<String, String>,
    pub config_version: i64,
    pub grants: Vec<Grant>,
    /// The reason; none: all well.
    pub misconfigured: Option<String>,
    /// It is being deleted: all that is still to be done for it is to stop its push channels. Its members are
    /// as they were, but have no tables.
    pub ended: bool,
}

/// An origin that the operator granted to a tree.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Grant {
    /// `scheme://host:port`, as the `url` crate writes it (a default port is left out).
    pub origin: String,
    /// Loopback and private ranges too.
    pub private_addresses: bool,
}

pub(super) const COLUMNS: &str = "i.id, i.organization_id, i.plugin, i.service, i.table_name, i.depends_on, \
                       i.root_id, i.created_at";

/// Where a secret configuration value lives.
pub(super) fn place(root_id: &str, name: &str) -> String {
    format!("integration_secrets/{root_id}/{name}")
}

/// Until the transaction ends nobody ends the integration. False: it has ended, or there is none.
pub(super) async fn hold(connection: &mut Connection, id: &str) -> Result<bool, Error> {
    let lock = connection.dialect().locks(" for share");
    let there = format!("select id from integrations where id = $1 and ended_at is null{lock}");
    let there: Option<String> = query_scalar(there).bind(id).fetch_optional(connection).await?;
    Ok(there.is_some())
}

impl Store {
    /// The integration with this opaque id, for its endpoint.
    ///
    /// One indexed read: rows aren't cached, because every accepted webhook moves `data_version`
    /// and would void the cache. Manifests are, by digest.
    pub async fn endpoint(&self, id: &str) -> Result<Option<Endpoint>, Error> {
        let Some(integration) = self.integration(id).await? else { return Ok(None) };
        let Some(plugin) = self.active_plugin(&integration.plugin).await? else { return Ok(None) };
        Ok(Some(Endpoint { integration, digest: plugin.digest, manifest: plugin.manifest }))
    }

    /// The integration with this opaque id. One that has ended isn't there, here as below.
    pub async fn integration(&self, id: &str) -> Result<Option<Integration>, Error> {
        let sql =
            format!("select {COLUMNS} from integrations i where i.id = $1 and i.ended_at is null");
        Ok(query_as(&sql).bind(id).fetch_optional(self.control.readers()).await?)
    }

    /// All integrations of an organization, oldest first.
    pub async fn integrations(&self, of: OrganizationId) -> Result<Vec<Integration>, Error> {
        let sql = format!(
            "select {COLUMNS} from integrations i where i.organization_id = $1 and i.ended_at is null
             order by i.number, i.id"
        );
        Ok(query_as(&sql).bind(of).fetch_all(self.control.readers()).await?)
    }

    /// Whose the tree with this root is, also one that has ended.
    pub async fn organization_of(&self, root_id: &str) -> Result<OrganizationId, Error> {
        let of = query_scalar("select organization_id from integrations where id = $1");
        let of = of.bind(root_id).fetch_optional(self.control.readers()).await?;
        of.ok_or_else(|| Error::Inconsistent(format!("there is no integration {root_id}")))
    }

    /// The tree with this root.
    pub async fn tree(&self, root_id: &str) -> Result<Tree, Error> {
        let sql = format!(
            "select {COLUMNS} from integrations i join integrations r on r.id = i.root_id
             where i.root_id = $1 and (i.ended_at is null or r.ended_at is not null)
             order by i.number, i.id"
        );
        let reader = self.control.readers();
        let members: Vec<Integration> = query_as(&sql).bind(root_id).fetch_all(reader).await?;
        let root = members.iter().find(|member| member.id == root_id).cloned();
        let root = root.ok_or_else(|| {
            Error::Inconsistent(format!("{root_id} is not the root of an integration tree"))
        })?;
        type OfRoot = (String, i64, Option<String>, bool);
        let (config, config_version, misconfigured, ended): OfRoot = query_as(
            "select config, config_version, misconfigured, ended_at is not null
             from integrations where id = $1",
        )
        .bind(root_id)
        .fetch_one(reader)
        .await?;
        let grants = query_as(
            "select origin, private_addresses from grants where root_id = $1 order by origin",
        )
        .bind(root_id)
        .fetch_all(reader)
        .await?;
        let mut resolved = self.config_defaults(&root).await?;
        let given: BTreeMap<String, String> = serde_json::from_str(&config)
            .map_err(|error| Error::Inconsistent(format!("configuration of {root_id}: {error}")))?;
        resolved.extend(given);
        Ok(Tree { root, members, config: resolved, config_version, grants, misconfigured, ended })
    }

    /// A secret configuration value of a tree.
    pub async fn tree_secret(
        &self,
        root_id: &str,
        name: &str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let sealed: Option<Vec<u8>> = query_scalar(
            "select sealed from integration_secrets where integration_id = $1 and name = $2",
        )
        .bind(root_id)
        .bind(name)
        .fetch_optional(self.control.readers())
        .await?;
        let Some(sealed) = sealed else { return Ok(None) };
        let opened = self.keyring.open(&place(root_id, name), &sealed);
        opened.map(Some).map_err(|error| Error::Inconsistent(error.to_string()))
    }

    /// Names of the secret configuration values of a tree.
    pub async fn tree_secret_names(&self, root_id: &str) -> Result<Vec<String>, Error> {
        let names = "select name from integration_secrets where integration_id = $1 order by name";
        Ok(query_scalar(names).bind(root_id).fetch_all(self.control.readers()).await?)
    }

    async fn config_defaults(&self, root: &Integration) -> Result<BTreeMap<String, String>, Error> {
        let Some(plugin) = self.active_plugin(&root.plugin).await? else {
            return Ok(BTreeMap::new());
        };
        let Some(service) = plugin.manifest.services.get(&root.service) else {
            return Ok(BTreeMap::new());
        };
        let fields = service.config.iter().filter(|(_, field)| !field.secret);
        Ok(fields
            .filter_map(|(name, field)| Some((name.clone(), field.default.clone()?)))
            .collect())
    }
}

#[cfg(test)]
mod tests;
