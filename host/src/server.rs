//! HTTP: a listener with limits on connections and slow senders, routes, graceful shutdown.

mod status;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::http::{Request, StatusCode, Uri};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

pub use status::{Status, StatusOptions};

use crate::clock::Clock;
use crate::model::Micros;
use crate::webhook::{self, Webhooks};

/// What a listener allows.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Limits {
    pub connections_max: usize,
    pub header_timeout: Duration,
}

/// In the extensions of a request that came over a network: the other end of its connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Time to let the system recover when it can't give another socket.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Everything that is served: `further` beside webhooks and status.
pub fn router(webhooks: Webhooks, status: Status, further: Router) -> Router {
    status.router().merge(webhooks.router()).merge(further).fallback(not_found)
}

/// Binds the address.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))
}

/// Serves until `closing` comes, then lets requests in flight end, until the time that it says.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    clock: Clock,
    closing: impl Future<Output = Micros>,
) {
    let mut closing = pin!(closing);
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let until = loop {
        let next = tokio::select! {
            until = &mut closing => break until,
            next = accept(&listener, &permits, &clock) => next,
        };
        while connections.try_join_next().is_some() {}
        if let Some((stream, peer, permit)) = next {
            let served = connection(stream, peer, router.clone(), limits, stopped.clone());
            connections.spawn(async move {
                served.await;
                drop(permit);
            });
        }
    };
    drop(listener);
    stop.send_replace(true);
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => {}
        () = clock.sleep_until(until) => {
            tracing::warn!(connections = connections.len(), "connections cut at shutdown");
        }
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    clock: &Clock,
) -> Option<(TcpStream, Peer, OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, Peer(peer.ip()), permit)),
        Err(error) => {
            tracing::warn!(%error, "accepting a connection");
            clock.sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: Peer,
    router: Router,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    // Answers are small: they must not wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .serve_connection(TokioIo::new(stream), service);
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

async fn not_found(uri: Uri) -> Response {
    let message = format!("There is nothing at {}", uri.path());
    webhook::error(StatusCode::NOT_FOUND, &message, Some("not_found"))
}
