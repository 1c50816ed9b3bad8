//! HTTP: a listener with limits on connections and slow senders, routes, graceful shutdown.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::model::Micros;
use crate::schedule::Wake;
use crate::store::Store;
use crate::webhook::{self, Webhooks};

/// What a listener allows.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Limits {
    pub connections_max: usize,
    pub header_timeout: Duration,
    pub shutdown_timeout: Duration,
}

/// Time to let the system recover when it can't give another socket.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long `/statusz/idle` waits.
const IDLE_WAIT: Duration = Duration::from_secs(30);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is served.
pub fn router(webhooks: Webhooks, wake: Wake) -> Router {
    let (store, started_at) = (webhooks.store.clone(), webhooks.store.clock().now());
    let (store_read, counted) = (webhooks.store.clone(), webhooks.metrics.clone());
    Router::new()
        .route("/healthz", get(healthy))
        .route("/metrics", get(move || metrics(store_read.clone(), counted.clone())))
        .route("/statusz", get(move || status(store.clone(), started_at)))
        .route("/statusz/idle", get(move || idle(wake.clone())))
        .merge(webhooks.router())
        .fallback(not_found)
}

/// Answers when no owner runs and none is due, or after a while that it isn't so.
async fn idle(wake: Wake) -> Response {
    let idle = tokio::time::timeout(IDLE_WAIT, wake.idle()).await.is_ok();
    webhook::json_response(StatusCode::OK, &json!({ "idle": idle }))
}

/// Binds the address.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))
}

/// Serves until `shutdown` comes, then lets requests in flight end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    clock: Clock,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    loop {
        let next = tokio::select! {
            () = &mut shutdown => break,
            next = accept(&listener, &permits, &clock) => next,
        };
        while connections.try_join_next().is_some() {}
        if let Some((stream, permit)) = next {
            let served = connection(stream, router.clone(), limits, stopped.clone());
            connections.spawn(async move {
                served.await;
                drop(permit);
            });
        }
    }
    drop(listener);
    stop.send_replace(true);
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => {}
        () = clock.sleep(limits.shutdown_timeout) => {
            tracing::warn!(connections = connections.len(), "connections cut at shutdown");
        }
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    clock: &Clock,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            tracing::warn!(%error, "accepting a connection");
            clock.sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    // Answers are small: they must not wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = async { drop(stopped.wait_for(|stopped| *stopped).await) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}

async fn healthy() -> Response {
    webhook::json_response(StatusCode::OK, &json!({ "o": "k" }))
}

async fn status(store: Arc<Store>, started_at: Micros) -> Response {
    let uptime_s = (store.clock().now() - started_at) / 1_000_000;
    let load = store.load().await;
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": uptime_s,
        "database": if load.is_ok() { "ok" } else { "unavailable" },
        "owners_due": load.as_ref().ok().map(|load| load.owners_due),
        "oldest_due_s": load.as_ref().ok().map(|load| load.oldest_due_s),
        "inbox_waiting": load.as_ref().ok().map(|load| load.inbox_waiting),
        "inbox_parked": load.as_ref().ok().map(|load| load.inbox_parked),
    });
    webhook::json_response(StatusCode::OK, &body)
}

/// For Prometheus. Without the database there are no gauges to believe.
async fn metrics(store: Arc<Store>, metrics: Arc<Metrics>) -> Response {
    match store.load().await {
        Ok(load) => ([(CONTENT_TYPE, OPEN_METRICS)], metrics.text(load)).into_response(),
        Err(error) => webhook::error(StatusCode::SERVICE_UNAVAILABLE, &error.to_string(), None),
    }
}

async fn not_found(uri: Uri) -> Response {
    let message = format!("There is nothing at {}", uri.path());
    webhook::error(StatusCode::NOT_FOUND, &message, Some("not_found"))
}
