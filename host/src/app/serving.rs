//! Serving: a data directory as a host, from its start to its end.

mod parts;
mod working;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use tokio::net::TcpListener;

use super::{App, clock, plugins, targets};
use crate::clock::{Clock, micros};
use crate::config::{Announced, Config, HostLock, Push, RefusedFile};
use crate::delivery::alerts;
use crate::egress::Egress;
use crate::plugin::Engine;
use crate::run::Runner;
use crate::schedule::{self, ScheduleOptions, Wake};
use crate::server::{self, Status, StatusOptions};
use crate::store::integrations::keep_telling;
use crate::store::leases::{self, Claimant};
use crate::store::{Heard, Store, Watch, endings, hosts, moves, outcomes, restore, retention};
use crate::tasks::Tasks;
use crate::webhook::{Limits, Webhooks};
use parts::{deliveries, kept, runner};
use working::{Working, drain_max};

/// A host that ends waits so long for mail under way.
const MAIL_MAX: Duration = Duration::from_secs(5);

/// Between two tries to hear of others' commits again.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

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
    let host = format!("{}-{}", std::process::id(), app.store.chance().base36(8));
    let lease_ttl = Duration::from_millis(app.config.run.lease_ttl_ms);
    app.store.enlist(&host, lease_ttl).await?;
    let tasks = Tasks::new(app.clock.clone(), Arc::clone(&app.metrics));
    let (store, name) = (Arc::clone(&app.store), host.clone());
    let says_so = move || hosts::keep(Arc::clone(&store), name.clone(), lease_ttl);
    let mut alive = tasks.spawn("hosts", says_so);
    // One that is being closed is closed by this host, too.
    if !app.store.is_closing(&app.config.org).await? {
        let organization = app.store.organization(&app.config.org).await?;
        app.store.open_known(&organization).await?;
    }
    let engine = app.engine()?;
    let refused = match app.config.plugins.as_path() {
        directory if directory == Path::new("") => Vec::new(),
        directory => plugins::install_directory(&app.store, &engine, directory).await?,
    };
    let listener = server::bind(app.config.server.listen).await?;
    let announced = announce(&app, &lock, refused, &listener)?;
    let push_base_url = push_base_url(&app, &announced);
    let working = start(&app, &tasks, engine, push_base_url, host.clone()).await?;
    let Announced { listen: address, public_url, .. } = &announced;
    tracing::info!(%address, public_url, data_dir = %app.config.data_dir.display(), "serving");
    listening(&announced);
    let mut taken_for_dead = false;
    let ends = async {
        tokio::select! {
            () = shutdown => {}
            _ended = &mut alive => taken_for_dead = true,
        }
    };
    listen(&app, listener, working, api, ends).await;
    alive.abort();
    if taken_for_dead {
        anyhow::bail!(
            "this host stood still and was taken for dead, and the databases may have been put back \
             meanwhile: start it again"
        );
    }
    if let Err(error) = app.store.leave(&host).await {
        tracing::warn!(%error, "that this host has ended could not be written");
    }
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

async fn start(
    app: &App,
    tasks: &Tasks,
    engine: Engine,
    push_base_url: Option<String>,
    host: String,
) -> anyhow::Result<Working> {
    let run = &app.config.run;
    let wake = Wake::default();
    let runner = Arc::new(runner(app, engine, push_base_url)?);
    if app.config.database_url.given().is_none() {
        // The data directory is locked: leases of a host that died here are nobody's.
        leases::take_back(app.store.control()).await?;
        endings::take_back(app.store.control()).await?;
        app.store.take_back_moves().await?;
    }
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
    let mut first = Some(app.store.watch().await?);
    let (store, told, egress) = (Arc::clone(&app.store), wake.clone(), runner.egress.clone());
    let heeds = move || heed(first.take(), Arc::clone(&store), told.clone(), egress.clone());
    tasks.spawn("watch", heeds);
    keep_up(app, tasks, &runner)?;
    let (of, due) = (Arc::clone(&runner), wake.clone());
    let schedules = move || schedule::work(Arc::clone(&of), due.clone(), options.clone());
    let task = tasks.spawn("schedule", schedules);
    let deliveries = Arc::new(deliveries(app, host.clone())?);
    let all = Arc::clone(&deliveries);
    let delivers = move || Arc::clone(&all).work();
    let delivering = tasks.spawn("deliveries", delivers);
    Ok(Working { runner, wake, host, task, deliveries, delivering })
}

/// `watch`: none where the one before broke, and what was said since isn't known.
async fn heed(watch: Option<Watch>, store: Arc<Store>, told: Wake, egress: Egress) {
    let (mut watch, mut heard) = match watch {
        Some(watch) => (watch, None),
        None => (watch_anew(&store).await, Some(Heard::Something)),
    };
    loop {
        match heard {
            None => {}
            Some(Heard::Owner(owner_id)) => told.arrived(owner_id),
            Some(Heard::Paused(root_id, until)) => egress.pause_tree(&root_id, until),
            Some(Heard::Something) => {
                told.nudge();
                store.changed().look();
                store.look_for_endings();
            }
        }
        heard = Some(watch.next().await);
    }
}

async fn watch_anew(store: &Store) -> Watch {
    loop {
        match store.watch().await {
            Ok(watch) => return watch,
            Err(error) => {
                tracing::warn!(%error, "what others commit isn't heard; the schedule is polled");
                store.clock().sleep(WATCH_PAUSE).await;
            }
        }
    }
}

/// What goes on beside runs and deliveries. It has no end of its own.
fn keep_up(app: &App, tasks: &Tasks, runner: &Arc<Runner>) -> anyhow::Result<()> {
    let poll = Duration::from_millis(app.config.run.poll_ms);
    let lease_ttl = Duration::from_millis(app.config.run.lease_ttl_ms);
    let (store, kept, metrics) = (Arc::clone(&app.store), kept(app), Arc::clone(&app.metrics));
    let retains = move || retention::keep(Arc::clone(&store), kept, Arc::clone(&metrics));
    tasks.spawn("retention", retains);
    let store = Arc::clone(&app.store);
    tasks.spawn("outcomes", move || outcomes::keep(Arc::clone(&store)));
    let (keyring, clock) = (app.store.keyring().clone(), app.clock.clone());
    tasks.spawn("keyring", move || keyring.clone().keep_up(clock.clone()));
    let store = Arc::clone(&app.store);
    tasks.spawn("telling", move || keep_telling(Arc::clone(&store), poll));
    let (store, trees) = (Arc::clone(&app.store), Arc::clone(runner));
    let ends = move || {
        let trees = Arc::clone(&trees);
        endings::keep(Arc::clone(&store), poll, move || trees.trees.let_go())
    };
    tasks.spawn("endings", ends);
    let store = Arc::clone(&app.store);
    let moves = move || {
        let store = Arc::clone(&store);
        async move { moves::work(&store, lease_ttl, poll).await }
    };
    tasks.spawn("moves", moves);
    let store = Arc::clone(&app.store);
    tasks.spawn("restore", move || restore::keep(Arc::clone(&store), poll));
    let (store, poster) = (Arc::clone(&app.store), app.clients()?.poster);
    let (metrics, rules) = (Arc::clone(&app.metrics), targets::rules(&app.config.delivery));
    let tells =
        move || alerts::keep(Arc::clone(&store), poster.clone(), Arc::clone(&metrics), rules, poll);
    tasks.spawn("alerts", tells);
    Ok(())
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
