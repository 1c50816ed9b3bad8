//! Storage: beside the mirrors of `delivery`, the only module that names sqlx.
//!
//! One control database (who is configured, what is due, what arrived) and one replication
//! database an organization (the replicated tables; beside them cursors, fences, the change feed
//! and an outbox). Each is a SQLite file under the data directory, or lies on a PostgreSQL server.

pub mod accounts;
pub mod alerts;
pub mod backup;
mod changed;
pub mod channels;
pub mod commit;
mod database;
pub mod endings;
pub mod feed;
#[cfg(test)]
pub(crate) mod fixture;
mod held;
pub mod hosts;
pub mod inbox;
pub mod integrations;
pub mod items;
pub mod leases;
pub mod limits;
mod load;
pub mod memberships;
pub mod moves;
mod opened;
pub mod organizations;
pub mod outcomes;
pub mod owner_secrets;
mod owner_slices;
pub mod plugins;
mod reader;
pub mod relay;
pub mod replay;
pub mod restore;
pub mod retention;
pub mod rotation;
pub mod saved_queries;
mod server;
mod server_time;
pub mod sql;
pub mod stats;
pub mod status;
pub mod streams;
pub mod subscriptions;
pub mod synced;
pub mod tables;
pub mod targets;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use rowgate_manifest::Manifest;

pub use changed::Changed;
use database::unstorable;
pub use database::{
    Answer, Argument, Cell, Connection, Database, Dialect, Done, Error, FileSchema,
    PostgresDatabase, Query, Record, Row, SessionLimits, SqliteDatabase, Target, UpdateHook, query,
    query_as, query_scalar, says_unstorable,
};
pub use server::ServerOptions;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::DataDir;
use crate::model::OrganizationId;
use crate::secrets::Keyring;
use moves::Location;
use opened::Opened;
use server::Server;
use watch::Told;
pub use watch::{Heard, Watch};

static CONTROL: FileSchema =
    FileSchema { migrations: sqlx::migrate!("migrations/sqlite/control"), page_bytes: 4_096 };
/// Rows of tables have a KiB and more: on larger pages fewer are split and less of each is empty, which a listing
/// feels. A small commit writes more (ARCHITECTURE, 2026-11-28).
static REPLICATION: FileSchema =
    FileSchema { migrations: sqlx::migrate!("migrations/sqlite/replication"), page_bytes: 8_192 };

/// All databases of one data directory.
pub struct Store {
    control: Database,
    /// None: files in the data directory.
    server: Option<Server>,
    data_dir: DataDir,
    clock: Clock,
    keyring: Keyring,
    chance: Chance,
    /// Owners of whom other hosts are to be told.
    told: Told,
    changed: Changed,
    ended: endings::Signals,
    outcomes: outcomes::Outcomes,
    counted_trees: stats::CountedTrees,
    /// How databases of customers are reached.
    outside: OnceLock<moves::Outside>,
    opened: Opened,
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
        Ok(Self::over(control, None, data_dir, clock, keyring, chance))
    }

    /// Opens the databases of a server, making what is missing. The data directory keeps what can be
    /// had again: components and their compiled forms. Refused while they are put right after a restore.
    pub async fn open_server(
        options: &ServerOptions,
        data_dir: DataDir,
        clock: Clock,
        keyring: Keyring,
        chance: Chance,
    ) -> Result<Self, Error> {
        let store = Self::open_put_back(options, data_dir, clock, keyring, chance).await?;
        store.must_be_right().await?;
        Ok(store)
    }

    /// The same for whoever puts them right.
    pub async fn open_put_back(
        options: &ServerOptions,
        data_dir: DataDir,
        clock: Clock,
        keyring: Keyring,
        chance: Chance,
    ) -> Result<Self, Error> {
        let server = Server::new(options)?;
        let control = server.open_control().await?;
        let store = Self::over(control, Some(server), data_dir, clock, keyring, chance);
        store.begin_by_server_time().await?;
        Ok(store)
    }

    fn over(
        control: Database,
        server: Option<Server>,
        data_dir: DataDir,
        clock: Clock,
        keyring: Keyring,
        chance: Chance,
    ) -> Self {
        let (outside, opened, manifests, told, changed, ended) = Default::default();
        let (outcomes, counted_trees) = Default::default();
        Self {
            control,
            server,
            data_dir,
            clock,
            keyring,
            chance,
            told,
            changed,
            ended,
            outcomes,
            counted_trees,
            outside,
            opened,
            manifests,
        }
    }

    /// Where the databases are.
    pub fn describe(&self) -> String {
        match &self.server {
            Some(server) => server.describe(),
            None => self.data_dir.path().display().to_string(),
        }
    }

    /// The control database.
    pub fn control(&self) -> &Database {
        &self.control
    }

    /// The replication database of an organization, wherever it lies, opened at first use. While one of ours
    /// is opened nobody drops it: it would be made again behind that.
    pub async fn replication(&self, organization: OrganizationId) -> Result<Database, Error> {
        let Location { database_no, is_left, .. } = self.location(organization).await?;
        if is_left {
            return Err(Error::Unavailable(
                "the database of its own couldn't be reached when the host's were put back: a host puts it \
                 right as soon as it answers"
                    .into(),
            ));
        }
        if let Some(database) = self.opened.get(organization, database_no) {
            return Ok(database);
        }
        let _turn = self.opened.begin(organization).await;
        let Location { key, database_id, database_no, .. } = self.location(organization).await?;
        if let Some(database) = self.opened.get(organization, database_no) {
            return Ok(database);
        }
        if let Some(id) = database_id {
            let database = self.open_own(organization, &id).await?;
            self.opened.insert(organization, database_no, database.clone());
            // Dropped meanwhile, it isn't kept: whoever let go of it may have come before it was there.
            if let Err(dropped) = self.location(organization).await {
                self.opened.let_go(organization);
                return Err(dropped);
            }
            return Ok(database);
        }
        let held = self.hold_replication(organization).await?;
        let opened = match self.location(organization).await {
            Ok(_) => self.open_replication(organization, &key).await,
            Err(dropped) => Err(dropped),
        };
        if let Ok(database) = &opened {
            self.opened.insert(organization, database_no, database.clone());
        }
        held.let_go().await;
        opened
    }

    /// The same, each time anew, and whether or not it is dropped meanwhile.
    async fn open_replication(
        &self,
        organization: OrganizationId,
        key: &str,
    ) -> Result<Database, Error> {
        let Some(server) = &self.server else {
            return Database::open(&self.data_dir.replication(key), &REPLICATION).await;
        };
        self.open_part(server, organization, key).await
    }

    /// Moves with every change of what runs how, by whatever process.
    pub async fn config_epoch(&self) -> Result<i64, Error> {
        let epoch = query_scalar("select epoch from configuration");
        Ok(epoch.fetch_one(self.control.readers()).await?)
    }

    /// Trees whose rows this process has changed.
    pub fn changed(&self) -> &Changed {
        &self.changed
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
}

/// Ids between the brackets of an `in (..)`. Such a statement isn't kept prepared.
fn list(ids: impl IntoIterator<Item = i64>) -> String {
    ids.into_iter().map(|id| id.to_string()).collect::<Vec<_>>().join(", ")
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("data_dir", &self.data_dir).finish_non_exhaustive()
    }
}
