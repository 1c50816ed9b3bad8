//! Storage: the only module that names sqlx.
//!
//! One control database (who is configured, what is due, what arrived) and one replication
//! database an organization (the replicated tables; beside them cursors, fences, the change feed
//! and an outbox). On SQLite each is a file under the data directory.

pub mod commit;
mod database;
pub mod inbox;
pub mod integrations;
pub mod items;
pub mod leases;
mod load;
pub mod organizations;
pub mod owner_secrets;
pub mod plugins;
pub mod relay;
pub mod sql;
pub mod status;
pub mod streams;
pub mod tables;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rowgate_manifest::Manifest;
use sqlx::migrate::Migrator;

pub use database::{Database, Error};

use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::DataDir;
use crate::model::OrganizationId;
use crate::secrets::Keyring;

static CONTROL: Migrator = sqlx::migrate!("migrations/sqlite/control");
static REPLICATION: Migrator = sqlx::migrate!("migrations/sqlite/replication");

/// All databases of one data directory.
pub struct Store {
    control: Database,
    data_dir: DataDir,
    clock: Clock,
    keyring: Keyring,
    chance: Chance,
    replication: tokio::sync::Mutex<HashMap<OrganizationId, Database>>,
    /// By digest, so they never go stale.
    manifests: Mutex<HashMap<String, Arc<Manifest>>>,
}

impl Store {
    /// Opens or creates the databases of a data directory that exists.
    pub async fn open(
        data_dir: DataDir,
        clock: Clock,
        keyring: Keyring,
        chance: Chance,
    ) -> Result<Self, Error> {
        let control = Database::open(&data_dir.control(), &CONTROL).await?;
        let (replication, manifests) = Default::default();
        Ok(Self { control, data_dir, clock, keyring, chance, replication, manifests })
    }

    /// The control database.
    pub fn control(&self) -> &Database {
        &self.control
    }

    /// The replication database of an organization, opened at first use.
    pub async fn replication(&self, organization: OrganizationId) -> Result<Database, Error> {
        let mut open = self.replication.lock().await;
        if let Some(database) = open.get(&organization) {
            return Ok(database.clone());
        }
        let path = self.replication_path(organization).await?;
        let database = Database::open(&path, &REPLICATION).await?;
        open.insert(organization, database.clone());
        Ok(database)
    }

    /// Moves with every change of what runs how, by whatever process.
    pub async fn config_epoch(&self) -> Result<i64, Error> {
        let epoch = sqlx::query_scalar("select epoch from configuration");
        Ok(epoch.fetch_one(self.control.readers()).await?)
    }

    /// Where the time of this store comes from.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What seals and opens this store's secrets.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Where this store's chance comes from.
    pub fn chance(&self) -> &Chance {
        &self.chance
    }

    /// Where the files lie.
    pub fn data_dir(&self) -> &DataDir {
        &self.data_dir
    }

    async fn replication_path(
        &self,
        organization: OrganizationId,
    ) -> Result<std::path::PathBuf, Error> {
        let key: Option<String> = sqlx::query_scalar("select key from organizations where id = $1")
            .bind(organization)
            .fetch_optional(self.control.readers())
            .await?;
        match key {
            Some(key) => Ok(self.data_dir.replication(&key)),
            None => Err(Error::Inconsistent(format!("there is no organization {organization}"))),
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("data_dir", &self.data_dir).finish_non_exhaustive()
    }
}
