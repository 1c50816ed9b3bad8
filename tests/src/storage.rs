//! Where a host keeps what it knows: a data directory, and databases of a server if it uses one.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use postgres_cluster::{Client, Cluster, Database};
use tempfile::TempDir;
use tokio::process::Command;

use crate::process::host_binary;

/// What a host's databases are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// Files in its data directory.
    Sqlite,
    /// On the server that the tests of a process share.
    Postgres,
}

impl Engine {
    /// `ROWGATE_TEST_DATABASE`; files without it.
    pub(crate) fn configured() -> Self {
        match std::env::var("ROWGATE_TEST_DATABASE").as_deref() {
            Err(_) | Ok("sqlite") => Self::Sqlite,
            Ok("postgres") => Self::Postgres,
            Ok(other) => panic!("ROWGATE_TEST_DATABASE is sqlite or postgres, not {other}"),
        }
    }
}

/// Whether hosts keep everything on a server unless a test says otherwise.
pub fn is_on_postgres() -> bool {
    Engine::configured() == Engine::Postgres
}

/// Whether runs are long: more seeds, more kills (`ROWGATE_SOAK=1`).
pub fn is_soak() -> bool {
    std::env::var("ROWGATE_SOAK").is_ok_and(|soak| soak == "1")
}

/// The places of one host; several may share the database.
#[derive(Debug)]
pub(crate) struct Storage {
    pub(crate) data_dir: TempDir,
    /// The control database. The host makes another one beside it.
    pub(crate) database: Option<Arc<Database<'static>>>,
}

impl Storage {
    /// An empty directory, and a database: empty, or a copy of one.
    pub(crate) fn new(engine: Engine, template: Option<&Database<'static>>) -> Self {
        let database = (engine == Engine::Postgres).then(|| {
            let made = match template {
                None => Cluster::shared().create_database(),
                Some(template) => Cluster::shared().create_database_from(template.name()),
            };
            Arc::new(made.unwrap_or_else(|error| panic!("a database: {error:#}")))
        });
        Self::beside(database)
    }

    /// An empty directory beside a database that is there.
    pub(crate) fn beside(database: Option<Arc<Database<'static>>>) -> Self {
        Self { data_dir: tempfile::tempdir().expect("a temporary directory"), database }
    }

    pub(crate) fn path(&self) -> &Path {
        self.data_dir.path()
    }

    /// The host's binary on these places; it sees none of this process's ROWGATE_* settings.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(host_binary());
        let foreign = std::env::vars_os().map(|(name, _)| name);
        for name in foreign.filter(|name| name.to_string_lossy().starts_with("ROWGATE_")) {
            command.env_remove(name);
        }
        command.env("ROWGATE_DATA_DIR", self.path()).stdin(Stdio::null()).kill_on_drop(true);
        command.envs(self.database_url().map(|url| (OsString::from("ROWGATE_DATABASE_URL"), url)));
        command
    }

    /// A connection to the control database. None: it is a file.
    pub(crate) fn control(&self) -> Option<Client> {
        let database = self.database.as_ref()?;
        Some(database.connect().unwrap_or_else(|error| panic!("{}: {error:#}", database.name())))
    }

    /// URL of the control database. None: it is a file.
    pub(crate) fn database_url(&self) -> Option<String> {
        self.database.as_ref().map(|database| database.url())
    }
}
