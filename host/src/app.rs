//! Composition: from a configuration to everything wired, for `serve` and for the commands.

pub mod integrations;
pub mod plugins;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::{self, Announced, Config, HostLock, RefusedFile};
use crate::egress::{Egress, EgressOptions};
use crate::metrics::Metrics;
use crate::model::Micros;
use crate::plugin::{Budget, Engine, EngineOptions};
use crate::run::components::Components;
use crate::run::tree::Trees;
use crate::run::{BackOff, InFlight, RunOptions, Runner};
use crate::schedule::{self, ScheduleOptions, Wake};
use crate::secrets::Keyring;
use crate::server::{self, Status, StatusOptions};
use crate::store::organizations::Organization;
use crate::store::{Store, leases};
use crate::webhook::{Limits, Webhooks};

/// An opened data directory with its configuration.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct App {
    pub config: Arc<Config>,
    pub store: Arc<Store>,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
}

impl App {
    /// Opens the data directory, making what is missing.
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        let (clock, chance) = (Clock::System, Chance::from_system());
        let data_dir = config.data_dir();
        data_dir.create()?;
        let keyring = Keyring::load(data_dir.path(), config.key.given(), chance.clone())?;
        let store = Store::open(data_dir, clock.clone(), keyring, chance)
            .await
            .with_context(|| format!("opening {}", config.data_dir.display()))?;
        let (config, store) = (Arc::new(config), Arc::new(store));
        Ok(Self { config, store, clock, metrics: Arc::default() })
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
        let (clock, metrics) = (self.clock.clone(), Arc::clone(&self.metrics));
        Egress::new(EgressOptions { clock, request_timeout, metrics, ..EgressOptions::default() })
    }

    /// The address of an integration's endpoint: by the configuration where it says, else as the
    /// host of this data directory was last reached.
    pub fn endpoint(&self, integration: &str) -> String {
        let announced = self.config.data_dir().announced();
        let url = match announced {
            Some(announced) if !self.config.says_public_url() => announced.public_url,
            _ => self.config.public_url(),
        };
        format!("{url}/v1/service_integrations/{integration}")
    }
}

/// Serves the data directory until `shutdown` comes, then drains: no owner is claimed any more, calls
/// in flight end in their commits, leases are given back, requests are answered.
pub async fn serve(config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    config.data_dir().create()?;
    let lock = config.data_dir().lock()?;
    let app = App::open(config).await?;
    app.store.organization(&app.config.org).await?;
    let engine = app.engine()?;
    let refused = match app.config.plugins.as_path() {
        directory if directory == Path::new("") => Vec::new(),
        directory => plugins::install_directory(&app.store, &engine, directory).await?,
    };
    let listener = server::bind(app.config.server.listen).await?;
    let working = start(&app, engine).await?;
    listen(&app, &lock, refused, listener, working, shutdown).await?;
    tracing::info!("stopped");
    Ok(())
}

/// The scheduler as it works beside the listener.
struct Working {
    runner: Arc<Runner>,
    wake: Wake,
    /// Its name in leases.
    host: String,
    task: tokio::task::JoinHandle<()>,
}

impl Working {
    /// Answers until when requests may go on. Until then the health check says what is going on, and
    /// webhooks are still taken: what sends them may not have noticed.
    async fn drain(self, server: &config::Server, clock: &Clock) -> Micros {
        let since = clock.now();
        self.runner.stop();
        self.wake.look();
        let noticed = clock.sleep(Duration::from_millis(server.drain_ms));
        let (ended, ()) = tokio::join!(self.task, noticed);
        if let Err(error) = ended {
            tracing::error!(%error, "the scheduler ended badly");
        }
        let timeout_us = server.shutdown_timeout_ms.saturating_mul(1_000);
        since.saturating_add(Micros::try_from(timeout_us).unwrap_or(Micros::MAX))
    }
}

async fn start(app: &App, engine: Engine) -> anyhow::Result<Working> {
    let run = &app.config.run;
    let wake = Wake::default();
    let runner = Arc::new(runner(app, engine)?);
    // The data directory is locked: leases of a host that died here are nobody's.
    leases::take_back(app.store.control()).await?;
    let host = format!("{}-{}", std::process::id(), app.store.chance().base36(8));
    let options = ScheduleOptions {
        host: host.clone(),
        workers: run.workers,
        lease_ttl: Duration::from_millis(run.lease_ttl_ms),
        poll: Duration::from_millis(run.poll_ms),
        // The rest is for requests that are being answered.
        drain_max: Duration::from_millis(app.config.server.shutdown_timeout_ms) * 9 / 10,
    };
    // Commands of other processes are seen here: new integrations, activated plugins.
    let (changed, told) = (app.store.watch().await?, wake.clone());
    tokio::spawn(async move {
        loop {
            changed.notified().await;
            told.nudge();
        }
    });
    let task = tokio::spawn(schedule::work(Arc::clone(&runner), wake.clone(), options));
    Ok(Working { runner, wake, host, task })
}

fn runner(app: &App, engine: Engine) -> anyhow::Result<Runner> {
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
        },
        in_flight: InFlight::default(),
        stopping: watch::Sender::new(false),
    })
}

async fn listen(
    app: &App,
    lock: &HostLock,
    refused: Vec<RefusedFile>,
    listener: TcpListener,
    working: Working,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let config = &app.config;
    let address = listener.local_addr().context("the listener's address")?;
    // The port may have been left to the system.
    let public_url = match config.says_public_url() {
        true => config.public_url(),
        false => format!("http://{address}"),
    };
    let announced = Announced { listen: address, public_url, refused };
    lock.announce(&announced)?;
    let webhooks = Webhooks {
        store: app.store.clone(),
        wake: {
            let wake = working.wake.clone();
            Arc::new(move |owner| wake.arrived(owner))
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
    let public_url = announced.public_url;
    tracing::info!(%address, public_url, data_dir = %config.data_dir.display(), "serving");
    let closing = async {
        shutdown.await;
        working.drain(&config.server, &app.clock).await
    };
    server::serve(listener, server::router(webhooks, status), limits, app.clock.clone(), closing)
        .await;
    Ok(())
}
