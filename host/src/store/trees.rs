//! An integration tree as a run needs it: the root's configuration and grants, and which services
//! are configured, with their tables.

use std::collections::{BTreeMap, HashMap};

use sqlx::Row;

use super::{Database, Error};
use crate::model::OrganizationId;

/// An integration tree as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTree {
    /// The root's `svi_...`.
    pub root_id: String,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// The plugin that all of the tree's services belong to.
    pub plugin: String,
    /// Configuration without secrets, as given; defaults are the manifest's.
    pub config: BTreeMap<String, String>,
    /// Moves with every change of the configuration.
    pub config_version: i64,
    /// Secret configuration by name, sealed.
    pub sealed: BTreeMap<String, Vec<u8>>,
    /// Service to (integration id, table name).
    pub services: HashMap<String, (String, String)>,
    /// Granted origins; true: private addresses too.
    pub grants: Vec<(String, bool)>,
}

/// Loads a tree by its root.
pub async fn load(control: &Database, root_id: &str) -> Result<Option<StoredTree>, Error> {
    let readers = control.readers();
    let rows = sqlx::query(
        "select id, organization_id, plugin, service, table_name, config, config_version
         from integrations where root_id = $1",
    )
    .bind(root_id)
    .fetch_all(readers)
    .await?;
    let Some(root) = rows.iter().find(|row| row.get::<&str, _>("id") == root_id) else {
        return Ok(None);
    };
    let config: &str = root.get("config");
    let config = serde_json::from_str(config).map_err(|error| {
        Error::Inconsistent(format!("configuration of {root_id}: {error}"))
    })?;
    let service = |row: &sqlx::sqlite::SqliteRow| {
        (row.get("service"), (row.get("id"), row.get("table_name")))
    };
    let sealed = sqlx::query("select name, sealed from integration_secrets where integration_id = $1")
        .bind(root_id)
        .fetch_all(readers)
        .await?;
    let grants = sqlx::query("select origin, private_addresses from grants where root_id = $1")
        .bind(root_id)
        .fetch_all(readers)
        .await?;
    Ok(Some(StoredTree {
        root_id: root_id.to_owned(),
        organization_id: root.get("organization_id"),
        plugin: root.get("plugin"),
        config,
        config_version: root.get("config_version"),
        sealed: sealed.iter().map(|row| (row.get("name"), row.get("sealed"))).collect(),
        services: rows.iter().map(service).collect(),
        grants: grants.iter().map(|row| (row.get("origin"), row.get("private_addresses"))).collect(),
    }))
}
