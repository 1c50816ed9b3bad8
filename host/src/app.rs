//! Composition: from a configuration to everything wired, for `serve` and for the commands.

pub mod backup;
pub mod integrations;
pub mod keys;
pub mod moves;
pub mod notifications;
pub mod organizations;
pub mod owners;
pub mod plugins;
pub mod replay;
pub mod targets;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::chance::Chance;
use crate::clock::{Clock, micros};
use crate::config::{self, Announced, Config, HostLock, Push, RefusedFile};
use crate::delivery::alerts::{self, Handler};
use crate::delivery::{Clients, Deliveries, DeliveryOptions, OwnDatabases, Patience};
use crate::egress::{Egress, EgressOptions, Poster, Relays};
use crate::mail::Mailer;
use crate::metrics::Metrics;
use crate::model::Micros;
use crate::plugin::{Budget, Engine, EngineOptions};
use crate::run::components::Components;
use crate::run::tree::Trees;
use crate::run::{BackOff, InFlight, RunOptions, Runner};
use crate::schedule::{self, ScheduleOptions, Wake};
use crate::secrets::Keyring;
use crate::server::{self, Status, StatusOptions};
use crate::store::leases::Claimant;
use crate::store::organizations::Organization;
use crate::store::retention::Kept;
use crate::store::{self, Heard, ServerOptions, SessionLimits, Store, leases, outcomes, retention};
use crate::webhook::{Limits, Webhooks};

/// A host that ends waits so long for mail under way.
const MAIL_MAX: Duration = Duration::from_secs(5);

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
        let relays = Relays::new(store.chance().clone())?;
        let own = OwnDatabases::new(relays.clone(), targets::rules(&config.delivery));
        store.reach_outside(Arc::new(own), session_limits(&config));
        let (config, store) = (Arc::new(config), Arc::new(store));
        Ok(Self { config, store, clock, metrics, mailer, relays, clients: Arc::default() })
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

/// Serves the data directory until `shutdown` comes, then drains: no owner is claimed any more, calls
/// in flight end in their commits, leases are given back, requests are answered.
pub async fn serve(
    config: Config,
    api: Api,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let clock = clock(&config);
    serve_at(config, clock, api, |_| {}, shutdown).await
}

/// Calls that are served beside webhooks.
pub type Api = fn(App) -> Router;

/// The same under a clock of the caller's; `listening` is told how the host is reached.
pub async fn serve_at(
    config: Config,
    clock: Clock,
    api: Api,
    listening: impl FnOnce(&Announced),
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    config.data_dir().create()?;
    let lock = config.data_dir().lock()?;
    let app = App::open_at(config, clock).await?;
    app.store.organization(&app.config.org).await?;
    let engine = app.engine()?;
    let refused = match app.config.plugins.as_path() {
        directory if directory == Path::new("") => Vec::new(),
        directory => plugins::install_directory(&app.store, &engine, directory).await?,
    };
    let listener = server::bind(app.config.server.listen).await?;
    let announced = announce(&app, &lock, refused, &listener)?;
    let working = start(&app, engine, push_base_url(&app, &announced)).await?;
    let Announced { listen: address, public_url, .. } = &announced;
    tracing::info!(%address, public_url, data_dir = %app.config.data_dir.display(), "serving");
    listening(&announced);
    listen(&app, listener, working, api, shutdown).await;
    tracing::info!("stopped");
    Ok(())
}

/// Writes down how this host is reached.
fn announce(
    app: &App,
    lock: &HostLock,
    refused: Vec<RefusedFile>,
    listener: &TcpListener,
) -> anyhow::Result<Announced> {
    let address = listener.local_addr().context("the listener's address")?;
    // The port may have been left to the system.
    let public_url = match app.config.says_public_url() {
        true => app.config.public_url(),
        false => format!("http://{address}"),
    };
    let announced = Announced { listen: address, public_url, refused };
    lock.announce(&announced)?;
    Ok(announced)
}

/// Where vendors are asked to post; none, which is said, where they wouldn't.
fn push_base_url(app: &App, announced: &Announced) -> Option<String> {
    let push = app.config.push_to(&announced.public_url);
    if let Push::Off(reason) = &push {
        tracing::info!(reason, "push is off");
    }
    push.base_url()
}

/// The scheduler as it works beside the listener.
struct Working {
    runner: Arc<Runner>,
    wake: Wake,
    /// Its name in leases.
    host: String,
    task: tokio::task::JoinHandle<()>,
    deliveries: Arc<Deliveries>,
    delivering: tokio::task::JoinHandle<()>,
}

impl Working {
    /// Answers until when requests may go on. Until then the health check says what is going on, and
    /// webhooks are still taken: what sends them may not have noticed.
    async fn drain(self, server: &config::Server, clock: &Clock) -> Micros {
        let since = clock.now();
        self.runner.stop();
        self.deliveries.stop();
        self.wake.look();
        let noticed = clock.sleep(Duration::from_millis(server.drain_ms));
        let delivered = ended_within(self.delivering, drain_max(server), clock);
        let (ended, (), ()) = tokio::join!(self.task, noticed, delivered);
        if let Err(error) = ended {
            tracing::error!(%error, "the scheduler ended badly");
        }
        since.saturating_add(micros(Duration::from_millis(server.shutdown_timeout_ms)))
    }
}

/// Calls and deliveries in flight get so long; the rest is for requests that are being answered.
fn drain_max(server: &config::Server) -> Duration {
    Duration::from_millis(server.shutdown_timeout_ms) * 9 / 10
}

/// A receiver that doesn't answer holds nothing up: what it didn't take is sent again.
async fn ended_within(mut delivering: tokio::task::JoinHandle<()>, limit: Duration, clock: &Clock) {
    tokio::select! {
        ended = &mut delivering => {
            if let Err(error) = ended {
                tracing::error!(%error, "deliveries ended badly");
            }
        }
        () = clock.sleep(limit) => delivering.abort(),
    }
}

async fn start(
    app: &App,
    engine: Engine,
    push_base_url: Option<String>,
) -> anyhow::Result<Working> {
    let run = &app.config.run;
    let wake = Wake::default();
    let runner = Arc::new(runner(app, engine, push_base_url)?);
    if app.config.database_url.given().is_none() {
        // The data directory is locked: leases of a host that died here are nobody's.
        leases::take_back(app.store.control()).await?;
        app.store.take_back_moves().await?;
    }
    let host = format!("{}-{}", std::process::id(), app.store.chance().base36(8));
    let options = ScheduleOptions {
        claimant: Claimant {
            host: host.clone(),
            ttl: micros(Duration::from_millis(run.lease_ttl_ms)),
            organization_leases_max: run.organization_leases_max,
        },
        workers: run.workers,
        poll: Duration::from_millis(run.poll_ms),
        drain_max: drain_max(&app.config.server),
    };
    // Commands of other processes are seen here: new integrations, activated plugins.
    let (mut heard, told) = (app.store.watch().await?, wake.clone());
    let changed = app.store.changed().clone();
    let egress = runner.egress.clone();
    tokio::spawn(async move {
        while let Some(heard) = heard.recv().await {
            match heard {
                Heard::Owner(owner_id) => told.arrived(owner_id),
                Heard::Paused(root_id, until) => egress.pause_tree(&root_id, until),
                Heard::Something => {
                    told.nudge();
                    changed.look();
                }
            }
        }
    });
    tokio::spawn(retention::keep(Arc::clone(&app.store), kept(app), Arc::clone(&app.metrics)));
    tokio::spawn(outcomes::keep(Arc::clone(&app.store)));
    let poll = Duration::from_millis(run.poll_ms);
    let (store, lease_ttl) = (Arc::clone(&app.store), Duration::from_millis(run.lease_ttl_ms));
    tokio::spawn(async move { store::moves::work(&store, lease_ttl, poll).await });
    let (poster, rules) = (app.clients()?.poster, targets::rules(&app.config.delivery));
    tokio::spawn(alerts::keep(Arc::clone(&app.store), poster, rules, poll));
    let task = tokio::spawn(schedule::work(Arc::clone(&runner), wake.clone(), options));
    let deliveries = Arc::new(deliveries(app, host.clone())?);
    let delivering = tokio::spawn(Arc::clone(&deliveries).work());
    Ok(Working { runner, wake, host, task, deliveries, delivering })
}

fn deliveries(app: &App, host: String) -> anyhow::Result<Deliveries> {
    let delivery = &app.config.delivery;
    let options = DeliveryOptions {
        host,
        workers: delivery.workers,
        timeout: Duration::from_millis(delivery.timeout_ms),
        turn: Duration::from_millis(delivery.turn_ms),
        poll: Duration::from_millis(app.config.run.poll_ms),
        patience: Patience {
            back_off_base: micros(Duration::from_millis(delivery.back_off_base_ms)),
            back_off_max: micros(Duration::from_millis(delivery.back_off_max_ms)),
            alert_after: micros(Duration::from_secs(delivery.alert_after_s)),
            pause_after: micros(Duration::from_secs(delivery.pause_after_s)),
        },
        rules: targets::rules(delivery),
    };
    let metrics = Arc::clone(&app.metrics);
    Ok(Deliveries::new(Arc::clone(&app.store), app.clients()?, metrics, options))
}

fn kept(app: &App) -> Kept {
    let retention = &app.config.retention;
    let days = |days: u64| micros(Duration::from_secs(days.saturating_mul(24 * 3_600)));
    Kept {
        inbox: micros(inbox_kept(app)),
        parked: days(retention.parked_days),
        tombstones: days(retention.tombstone_days),
        left: days(retention.left_days),
    }
}

fn inbox_kept(app: &App) -> Duration {
    Duration::from_secs(app.config.retention.inbox_hours.saturating_mul(3_600))
}

fn runner(app: &App, engine: Engine, push_base_url: Option<String>) -> anyhow::Result<Runner> {
    let store = &app.store;
    let components = Components::new(engine, Arc::clone(store), store.data_dir().plugins());
    Ok(Runner {
        trees: Trees::new(Arc::clone(store), components),
        store: Arc::clone(store),
        egress: app.egress()?,
        keyring: store.keyring().clone(),
        clock: app.clock.clone(),
        chance: store.chance().clone(),
        budget: Budget::default(),
        metrics: Arc::clone(&app.metrics),
        options: RunOptions {
            back_off: BackOff {
                base_ms: app.config.run.back_off_base_ms,
                max_ms: app.config.run.back_off_max_ms,
            },
            turn: Duration::from_millis(app.config.run.turn_ms),
            inbox_kept: inbox_kept(app),
        },
        push_base_url,
        in_flight: InFlight::default(),
        stopping: watch::Sender::new(false),
    })
}

async fn listen(
    app: &App,
    listener: TcpListener,
    working: Working,
    api: Api,
    shutdown: impl Future<Output = ()>,
) {
    let config = &app.config;
    let webhooks = Webhooks {
        store: app.store.clone(),
        wake: {
            let wake = working.wake.clone();
            let store = Arc::clone(&app.store);
            Arc::new(move |owner| {
                wake.arrived(owner);
                store.tell_hosts(owner);
            })
        },
        metrics: Arc::clone(&app.metrics),
        limits: Limits {
            body_max_bytes: config.limits.webhook_body_max_bytes,
            body_timeout: Duration::from_millis(config.server.body_timeout_ms),
            accept_timeout: Duration::from_millis(config.limits.accept_timeout_ms),
        },
    };
    let limits = server::Limits {
        connections_max: config.server.connections_max,
        header_timeout: Duration::from_millis(config.server.header_timeout_ms),
    };
    let status = Status::new(StatusOptions {
        store: app.store.clone(),
        metrics: Arc::clone(&app.metrics),
        wake: working.wake.clone(),
        in_flight: working.runner.in_flight.clone(),
        host: working.host.clone(),
        stopping: working.runner.stopping(),
    });
    let closing = async {
        shutdown.await;
        working.drain(&config.server, &app.clock).await
    };
    let router = server::router(webhooks, status, api(app.clone()));
    server::serve(listener, router, limits, app.clock.clone(), closing).await;
    if let Err(error) = app.store.store_outcomes().await {
        tracing::warn!(%error, "the last webhooks are missing in the statistics");
    }
    app.settle_mail(MAIL_MAX).await;
}
