//! How the host is: for load balancers, for Prometheus, for people.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::metrics::{COUNTED_MAX, Load, Metrics};
use crate::model::Micros;
use crate::rows;
use crate::run::{InFlight, Running};
use crate::schedule::Wake;
use crate::store::{Error, Store};
use crate::webhook;

/// How long `/statusz/idle` waits.
const IDLE_WAIT: Duration = Duration::from_secs(30);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the host tells of itself.
#[derive(Clone)]
pub struct Status {
    of: Arc<StatusOptions>,
    started_at: Micros,
}

/// What it is told from.
pub struct StatusOptions {
    /// What waits.
    pub store: Arc<Store>,
    /// What happened.
    pub metrics: Arc<Metrics>,
    /// Whether anything is left to do.
    pub wake: Wake,
    /// What runs.
    pub in_flight: InFlight,
    /// The host's name in leases.
    pub host: String,
    /// Turns true when it begins to stop.
    pub stopping: watch::Receiver<bool>,
}

impl Status {
    /// Of a host that starts now.
    pub fn new(of: StatusOptions) -> Self {
        let started_at = of.store.clock().now();
        Self { of: Arc::new(of), started_at }
    }

    pub(super) fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(healthz))
            .route("/metrics", get(metrics))
            .route("/statusz", get(statusz))
            .route("/statusz/idle", get(idle))
            .with_state(self)
    }

    async fn load(&self) -> Result<Load, Error> {
        let runs_in_flight = i64::try_from(self.of.in_flight.count()).unwrap_or(i64::MAX);
        Ok(Load { runs_in_flight, ..self.of.store.load().await? })
    }
}

/// A load balancer sends no more to a host that answers 503, while what it has sent is still served.
async fn healthz(State(status): State<Status>) -> Response {
    match *status.of.stopping.borrow() {
        false => webhook::json_response(StatusCode::OK, &json!({ "o": "k" })),
        true => {
            let draining = json!({ "o": "draining" });
            webhook::json_response(StatusCode::SERVICE_UNAVAILABLE, &draining)
        }
    }
}

/// Answers when no owner runs and none is due, or after a while, or at shutdown, that it isn't so.
async fn idle(State(status): State<Status>) -> Response {
    let mut stopping = status.of.stopping.clone();
    let idle = tokio::select! {
        idle = tokio::time::timeout(IDLE_WAIT, status.of.wake.idle()) => idle.is_ok(),
        _ = stopping.wait_for(|stopping| *stopping) => false,
    };
    webhook::json_response(StatusCode::OK, &json!({ "idle": idle }))
}

/// Without the database there are no gauges to believe.
async fn metrics(State(status): State<Status>) -> Response {
    match status.load().await {
        Ok(load) => ([(CONTENT_TYPE, OPEN_METRICS)], status.of.metrics.text(&load)).into_response(),
        Err(error) => webhook::error(StatusCode::SERVICE_UNAVAILABLE, &error.to_string(), None),
    }
}

/// For people. There is no `load` while the database doesn't answer.
async fn statusz(State(status): State<Status>) -> Response {
    let store = &status.of.store;
    let (load, state) = match known_to_the_database(&status).await {
        Ok(known) => (known, "ok".to_owned()),
        Err(error) => (Value::Null, error.to_string()),
    };
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "host": status.of.host,
        "state": if *status.of.stopping.borrow() { "draining" } else { "serving" },
        "started_at": time(status.started_at),
        "uptime_s": (store.clock().now() - status.started_at) / 1_000_000,
        "database": { "kind": store.kind(), "state": state },
        "load": load,
        "runs_in_flight": runs(&status.of.in_flight),
    });
    ([(CONTENT_TYPE, "application/json")], Body::from(format!("{body:#}\n"))).into_response()
}

async fn known_to_the_database(status: &Status) -> Result<Value, Error> {
    let load = status.load().await?;
    let plugins = status.of.store.active_plugins().await?;
    let plugins = plugins.into_values().map(|plugin| {
        let version = &plugin.manifest.plugin.version;
        json!({ "name": plugin.name, "version": version, "digest": plugin.digest })
    });
    Ok(json!({
        "owners": load.owners,
        "owners_due": load.owners_due,
        "oldest_due_s": load.oldest_due_s,
        "streams_due": load.streams_due,
        "channels": load.channels,
        "inbox": { "waiting": load.inbox_waiting, "parked": load.inbox_parked },
        "leases": load.leases,
        "counted_up_to": COUNTED_MAX,
        "connections": { "control": load.control, "replication": load.replication },
        "plugins": plugins.collect::<Vec<_>>(),
    }))
}

fn runs(in_flight: &InFlight) -> Vec<Value> {
    in_flight.runs().into_iter().map(|(id, running)| run(&id, &running)).collect()
}

fn run(id: &str, running: &Running) -> Value {
    let streams = running.streams.iter().map(|(stream, one)| {
        json!({
            "stream": stream, "service": one.service, "kind": one.kind, "since": time(one.since),
        })
    });
    json!({
        "run": id,
        "owner": running.owner,
        "root": running.root,
        "since": time(running.since),
        "streams": streams.collect::<Vec<_>>(),
    })
}

fn time(at: Micros) -> Option<String> {
    rows::timestamp_text(at)
}
