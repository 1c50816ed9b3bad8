//! Composition: from a configuration to everything wired, for `serve` and for the commands.

pub mod backup;
mod endings;
pub mod integrations;
pub mod keys;
pub mod moves;
pub mod notifications;
pub mod organizations;
pub mod owners;
pub mod plugins;
pub mod replay;
mod serving;
pub mod targets;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::alerts::Handler;
use crate::delivery::{Clients, OwnDatabases};
use crate::egress::{Egress, EgressOptions, Poster, Relays};
use crate::mail::Mailer;
use crate::metrics::Metrics;
use crate::plugin::{Engine, EngineOptions};
use crate::secrets::Keyring;
use crate::store::organizations::Organization;
use crate::store::sql::{Room, RoomLimits};
use crate::store::{ServerOptions, SessionLimits, Store};
pub use serving::{Api, serve, serve_at};

/// An opened data directory with its configuration.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct App {
    pub config: Arc<Config>,
    pub store: Arc<Store>,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    /// None: there is no mail.
    pub mailer: Option<Mailer>,
    /// For queries through the API.
    pub queries: Arc<Room>,
    relays: Relays,
    clients: Arc<OnceLock<Clients>>,
}

impl App {
    /// Opens the data directory, making what is missing.
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        let clock = clock(&config);
        Self::open_at(config, clock).await
    }

    /// Opens the data directory under a clock of the caller's.
    pub async fn open_at(config: Config, clock: Clock) -> anyhow::Result<Self> {
        let chance = Chance::from_system();
        let data_dir = config.data_dir();
        data_dir.create()?;
        if config.database_url.given().is_none() && config.key.given().is_none() {
            data_dir.check_key()?;
        }
        let keyring = Keyring::load(data_dir.path(), config.key.given(), chance.clone())?;
        let store = match server_options(&config) {
            None => Store::open(data_dir, clock, keyring, chance)
                .await
                .with_context(|| format!("opening {}", config.data_dir.display()))?,
            Some(options) => Store::open_server(&options, data_dir, clock, keyring, chance)
                .await
                .context("opening the databases of the server")?,
        };
        let clock = store.clock().clone();
        let metrics = Arc::default();
        let mailer = mailer(&config, &store, &metrics)?;
        let queries = Arc::new(Room::new(clock.clone(), room_limits(&config)));
        let relays = reach_outside(&store, &config)?;
        let (config, store, clients) = (Arc::new(config), Arc::new(store), Arc::default());
        Ok(Self { config, store, clock, metrics, mailer, queries, relays, clients })
    }

    /// The engine for components of this data directory.
    pub fn engine(&self) -> anyhow::Result<Engine> {
        let cache_key = self.store.keyring().derive("compiled components");
        Engine::new(EngineOptions::new(cache_key))
    }

    /// The organization that this command works on.
    pub async fn organization(&self) -> anyhow::Result<Organization> {
        Ok(self.store.organization(&self.config.org).await?)
    }

    /// Outbound HTTP as configured.
    pub fn egress(&self) -> anyhow::Result<Egress> {
        let request_timeout = Duration::from_millis(self.config.limits.request_timeout_ms);
        Egress::new(EgressOptions {
            clock: self.clock.clone(),
            request_timeout,
            metrics: Arc::clone(&self.metrics),
            control: Some(self.store.control().clone()),
            ..EgressOptions::default()
        })
    }

    /// The clients for deliveries, made at first use.
    fn clients(&self) -> anyhow::Result<Clients> {
        if let Some(clients) = self.clients.get() {
            return Ok(clients.clone());
        }
        let made = Clients { poster: Poster::new()?, relays: self.relays.clone() };
        Ok(self.clients.get_or_init(|| made).clone())
    }

    /// Waits for mail that is under way, but not longer than that.
    pub async fn settle_mail(&self, limit: Duration) {
        if let Some(mailer) = &self.mailer {
            mailer.settle(limit).await;
        }
    }

    /// The address of an error handler as it may be shown.
    ///
    /// # Errors
    /// Why nothing can be posted there.
    pub fn shown_handler(&self, url: &str) -> Result<String, String> {
        let handler = Handler::parse(url, targets::rules(&self.config.delivery))?;
        Ok(handler.shown())
    }

    /// The address of an integration's endpoint.
    pub fn endpoint(&self, integration: &str) -> String {
        format!("{}/v1/service_integrations/{integration}", self.public_url())
    }

    /// How others reach the host: by the configuration where it says, else as the host of this data
    /// directory was last reached.
    pub fn public_url(&self) -> String {
        match self.config.data_dir().announced() {
            Some(announced) if !self.config.says_public_url() => announced.public_url,
            _ => self.config.public_url(),
        }
    }
}

/// The system's clock, corrected where a server has one that several hosts go by.
fn clock(config: &Config) -> Clock {
    match config.database_url.given() {
        None => Clock::System,
        Some(_) => Clock::corrected(),
    }
}

fn room_limits(config: &Config) -> RoomLimits {
    RoomLimits {
        all: config.limits.api_sql_queries_max,
        organization: config.limits.api_sql_organization_queries_max,
        wait: Duration::from_millis(config.limits.api_sql_wait_ms),
    }
}

fn mailer(
    config: &Config,
    store: &Store,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Option<Mailer>> {
    let Some(url) = config.smtp.url.given() else { return Ok(None) };
    let (clock, chance) = (store.clock().clone(), store.chance().clone());
    let made = Mailer::new(url, config.smtp.from.trim(), clock, chance, Arc::clone(metrics));
    made.map(Some).map_err(anyhow::Error::msg)
}

/// Where the databases are; none: in the data directory.
fn server_options(config: &Config) -> Option<ServerOptions> {
    let control_url = config.database_url.given()?.to_owned();
    Some(ServerOptions {
        control_url,
        replication_url: config.replication_url.given().map(str::to_owned),
        isolation: config.isolation,
        limits: session_limits(config),
    })
}

fn session_limits(config: &Config) -> SessionLimits {
    SessionLimits {
        lease_ttl: Duration::from_millis(config.run.lease_ttl_ms),
        connections_max: config.database_connections_max,
    }
}

/// Lets organizations have databases of their own, where the configuration allows addresses. Answers what
/// leads there.
fn reach_outside(store: &Store, config: &Config) -> anyhow::Result<Relays> {
    let relays = Relays::new(store.chance().clone(), store.clock().clone())?;
    let own = OwnDatabases::new(relays.clone(), targets::rules(&config.delivery));
    store.reach_outside(Arc::new(own), session_limits(config));
    Ok(relays)
}
