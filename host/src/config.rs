//! Configuration: compiled-in defaults < file < environment < flags. Unknown keys are errors. The
//! only module that reads the environment.

mod data_dir;
mod layers;
mod profile;
mod push;
mod sections;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;

pub use data_dir::{Announced, DataDir, HostLock, RefusedFile};
use layers::Layers;
pub use profile::{Profile, Profiles};
pub use push::Push;
pub use sections::{
    Delivery, Limits, Log, LogFormat, Login, PushSettings, Retention, Run, Server, Smtp, Trace,
};

/// The commented defaults.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

/// The whole configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Databases, plugins, key.
    pub data_dir: PathBuf,
    /// Key of the organization that commands work on.
    pub org: String,
    /// Directory of components to install at start; empty: none.
    pub plugins: PathBuf,
    /// Base64 of the sealing keys, with commas between; empty: from the data directory.
    pub key: Hidden,
    /// URL of the control database; empty: SQLite files in the data directory.
    pub database_url: Hidden,
    /// URL of where organizations' tables go; empty: beside the control database.
    pub replication_url: Hidden,
    /// How organizations are kept apart on a server.
    pub isolation: Isolation,
    /// Connections of this host to one database of a server.
    pub database_connections_max: u32,
    /// Admins may move their organization's tables to a database of their own.
    pub allow_own_databases: bool,
    /// HTTP.
    pub server: Server,
    /// Who may log in to the API.
    pub login: Login,
    /// Mail.
    pub smtp: Smtp,
    /// Logs.
    pub log: Log,
    /// Traces.
    pub trace: Trace,
    /// Scheduling and execution.
    pub run: Run,
    /// How long what is done with is kept.
    pub retention: Retention,
    /// Notifications of vendors.
    pub push: PushSettings,
    /// HTTP Sync and DB Sync.
    pub delivery: Delivery,
    /// Limits on what comes in and goes out.
    pub limits: Limits,
    #[serde(skip)]
    layers: Layers,
}

/// How organizations are kept apart on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// A schema each, in one database.
    Schema,
    /// A database each.
    Database,
}

/// A value that is, or holds, a secret; never printed.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Hidden(String);

impl Hidden {
    /// What was given, if anything.
    pub fn given(&self) -> Option<&str> {
        Some(self.0.trim()).filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.given().is_some() { "(given)" } else { "(none)" })
    }
}

/// What the command line overrides.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Flags {
    pub config: Option<PathBuf>,
    pub data_dir: Option<PathBuf>,
    pub org: Option<String>,
    pub plugins: Option<PathBuf>,
    pub listen: Option<String>,
    pub public_url: Option<String>,
    pub database_url: Option<String>,
}

impl Config {
    /// From this process's environment.
    pub fn load(flags: &Flags) -> anyhow::Result<Self> {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::resolve(flags, environment)
    }

    /// From a given environment.
    pub fn resolve(
        flags: &Flags,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> anyhow::Result<Self> {
        let mut layers = Layers::defaults();
        let (mut above, mut file) = (Layers::defaults(), flags.config.clone());
        for (name, value) in environment {
            match name.as_str() {
                "ROWGATE_CONFIG" => file = file.or(Some(value.into())),
                _ => above.set_environment(&name, &value)?,
            }
        }
        above.set_flags(flags)?;
        let found = Path::new(above.text("data_dir")).join("rowgate.toml");
        match file {
            Some(file) => layers.set_file(&file)?,
            None if found.exists() => {
                layers.set_file(&found)?;
                if layers.is_set("data_dir") {
                    bail!("{}: data_dir can't be set by a file inside it", found.display());
                }
            }
            None => {}
        }
        layers.override_with(above);
        let mut config: Self =
            layers.values().clone().try_into().context("reading the configuration")?;
        config.check()?;
        config.layers = layers;
        Ok(config)
    }

    /// Whether the environment says where the databases are.
    pub fn environment_says_where() -> bool {
        ["ROWGATE_DATA_DIR", "ROWGATE_DATABASE_URL"].iter().any(|n| std::env::var_os(n).is_some())
    }

    /// Where endpoints are reached, without a trailing slash.
    pub fn public_url(&self) -> String {
        match self.server.public_url.trim_end_matches('/') {
            "" => format!("http://{}", self.server.listen),
            given => given.to_owned(),
        }
    }

    /// Whether the public URL was given, rather than made of the default address.
    pub fn says_public_url(&self) -> bool {
        !self.server.public_url.is_empty()
    }

    /// The data directory.
    pub fn data_dir(&self) -> DataDir {
        DataDir::new(&self.data_dir)
    }

    /// Each key with its value, secrets hidden, and where it comes from.
    pub fn describe(&self) -> Vec<(String, String, String)> {
        self.layers.describe()
    }

    fn check(&self) -> anyhow::Result<()> {
        if !self.server.public_url.is_empty() {
            let url = url::Url::parse(&self.server.public_url)
                .with_context(|| format!("server.public_url {:?}", self.server.public_url))?;
            if !matches!(url.scheme(), "http" | "https") || url.query().is_some() {
                bail!("server.public_url must be an http or https URL, not {url}");
            }
        }
        let Server { drain_ms, shutdown_timeout_ms, .. } = self.server;
        if drain_ms > 0 && drain_ms >= shutdown_timeout_ms {
            bail!("server.drain_ms must be less than server.shutdown_timeout_ms");
        }
        for (name, value) in [
            ("database_connections_max", self.database_connections_max.into()),
            ("run.workers", self.run.workers as u64),
            ("run.organization_leases_max", self.run.organization_leases_max.max(0).unsigned_abs()),
            ("run.lease_ttl_ms", self.run.lease_ttl_ms),
            ("run.poll_ms", self.run.poll_ms),
            ("run.turn_ms", self.run.turn_ms),
            ("run.back_off_base_ms", self.run.back_off_base_ms),
            ("run.back_off_max_ms", self.run.back_off_max_ms),
            ("retention.inbox_hours", self.retention.inbox_hours),
            ("retention.parked_days", self.retention.parked_days),
            ("retention.tombstone_days", self.retention.tombstone_days),
            ("delivery.workers", self.delivery.workers as u64),
            ("delivery.timeout_ms", self.delivery.timeout_ms),
            ("delivery.period_min_s", self.delivery.period_min_s.max(0).unsigned_abs()),
            ("delivery.back_off_base_ms", self.delivery.back_off_base_ms),
            ("server.connections_max", self.server.connections_max as u64),
            ("limits.webhook_body_max_bytes", self.limits.webhook_body_max_bytes as u64),
            ("limits.accept_timeout_ms", self.limits.accept_timeout_ms),
            ("limits.api_sql_queries_max", self.limits.api_sql_queries_max as u64),
            (
                "limits.api_sql_organization_queries_max",
                self.limits.api_sql_organization_queries_max as u64,
            ),
        ] {
            if value == 0 {
                bail!("{name} must be at least 1");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
