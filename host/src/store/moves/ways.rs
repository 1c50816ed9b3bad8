//! Ways to databases that customers named. What checks addresses lies above the store, so whoever wires
//! it hands it in.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use zeroize::Zeroizing;

use crate::store::database::{PostgresDatabase, SessionLimits};
use crate::store::{Database, Error, Store};

/// Opens ways.
pub trait Ways: Send + Sync {
    /// A way to the database of a URL. Nothing is connected to yet; each connection through it goes to an
    /// address that was checked.
    ///
    /// # Errors
    /// What is wrong with the URL, without its secrets.
    fn open(&self, url: &str) -> Result<Way, String>;
}

/// A socket behind which a customer's server stands. It is open for as long as this value lives.
pub struct Way {
    /// Where the socket stands.
    pub directory: PathBuf,
    /// Of which port of a server it is.
    pub port: u16,
    #[allow(missing_docs)]
    pub user: String,
    #[allow(missing_docs)]
    pub password: Zeroizing<String>,
    #[allow(missing_docs)]
    pub database: String,
    /// The URL as it may be shown.
    pub shown: String,
    /// A text that the server sent, without the credentials that it may repeat.
    pub hide: Box<dyn Fn(&str) -> String + Send + Sync>,
    /// What keeps the socket open.
    pub relay: Box<dyn Any + Send + Sync>,
}

/// Ways, and what a session at their ends may take.
#[derive(Clone)]
pub(in crate::store) struct Outside {
    ways: Arc<dyn Ways>,
    pub(in crate::store) limits: SessionLimits,
}

impl Store {
    /// Lets organizations have databases of their own: how they are reached, and what this host's
    /// sessions there may take. Said once, before anything is asked of them.
    pub fn reach_outside(&self, ways: Arc<dyn Ways>, limits: SessionLimits) {
        let _said_before = self.outside.set(Outside { ways, limits });
    }

    pub(in crate::store) fn outside(&self) -> Result<&Outside, Error> {
        let none = || Error::Unavailable("nobody said how customers' databases are reached".into());
        self.outside.get().ok_or_else(none)
    }
}

impl Outside {
    pub(in crate::store) fn way(&self, url: &str) -> Result<Arc<Way>, Error> {
        self.open(url).map_err(|reason| Error::Refused(format!("its URL {reason}")))
    }

    /// The same; what is wrong with the URL as [`Ways::open`] says it.
    pub(super) fn open(&self, url: &str) -> Result<Arc<Way>, String> {
        self.ways.open(url).map(Arc::new)
    }

    /// The database at the end of a way, as it is.
    pub(super) fn database(&self, way: &Arc<Way>) -> Database {
        Database::Postgres(PostgresDatabase::reach(Arc::clone(way), self.limits))
    }
}

impl Way {
    /// Nothing but PGOPTIONS is left to what the environment says of other databases. TLS is the
    /// relay's business.
    pub(in crate::store) fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.directory)
            .port(self.port)
            .username(&self.user)
            .password(&self.password)
            .database(&self.database)
            .ssl_mode(PgSslMode::Disable)
            .disable_statement_logging()
    }
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}
