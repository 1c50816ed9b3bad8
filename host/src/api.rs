//! The HTTP API under `/v1`: WebhookDB's calls and envelopes, for its client, for ours, for programs.
//!
//! A request is read and authorized by what its endpoint says (`call`), handled, and answered in an
//! envelope (`answer`, `failure`). The same list of endpoints makes the OpenAPI document.

mod absent;
mod answer;
mod billing;
mod call;
mod databases;
mod endpoint;
mod error_handlers;
mod failure;
mod integrations;
mod login;
mod machine;
mod members;
mod migrations;
mod notifications;
mod openapi;
mod organizations;
mod origins;
mod owners;
mod replay;
mod saved_queries;
mod services;
mod sessions;
mod targets;
mod values;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{MethodFilter, on, options};
use serde_json::Value;
use tracing::Instrument as _;

pub use call::Local;

use crate::app::App;
use crate::webhook;
use answer::Answer;
use call::Call;
use endpoint::Endpoint;
use failure::Failure;

/// Carries a session, both ways.
pub(crate) const AUTH_TOKEN: &str = "whdb-auth-token";

/// All calls.
pub fn router(app: App) -> Router {
    let mut router = Router::new();
    for endpoint in endpoints() {
        let filter = MethodFilter::try_from(endpoint.method.clone())
            .expect("endpoints have methods that are served");
        let (path, endpoint) = (endpoint.path, Arc::new(endpoint));
        let handle = move |State(app): State<App>, request: Request| {
            let endpoint = Arc::clone(&endpoint);
            async move { serve(app, &endpoint, request).await }
        };
        router = router.route(path, on(filter, handle));
    }
    for path in origins::open_paths(&endpoints()) {
        router = router.route(path, options(origins::preflight));
    }
    router.method_not_allowed_fallback(not_allowed).with_state(app)
}

/// The OpenAPI document of all calls.
pub fn document() -> Value {
    openapi::document(&endpoints())
}

fn endpoints() -> Vec<Endpoint> {
    let mut all = Vec::new();
    all.extend(login::endpoints());
    all.extend(sessions::endpoints());
    all.extend(organizations::endpoints());
    all.extend(members::endpoints());
    all.extend(migrations::endpoints());
    all.extend(services::endpoints());
    all.extend(integrations::endpoints());
    all.extend(owners::endpoints());
    all.extend(replay::endpoints());
    all.extend(targets::endpoints());
    all.extend(notifications::endpoints());
    all.extend(error_handlers::endpoints());
    all.extend(databases::endpoints());
    all.extend(saved_queries::endpoints());
    all.extend(billing::endpoints());
    all.extend(absent::endpoints());
    all.push(openapi::endpoint());
    all
}

async fn serve(app: App, endpoint: &Endpoint, request: Request) -> Response {
    let span = tracing::debug_span!("api", method = %endpoint.method, path = endpoint.path);
    let answered = async {
        let call = Call::read(app, endpoint, request).await?;
        (endpoint.handler)(call).await
    };
    let mut response = match answered.instrument(span).await {
        Ok(answer) => Answer::into_response(answer),
        Err(failure) => {
            if let Some(cause) = &failure.cause {
                tracing::error!(path = endpoint.path, cause, "a call of the API failed");
            }
            Failure::into_response(failure)
        }
    };
    if endpoint.any_origin {
        origins::open(&mut response);
    }
    response
}

async fn not_allowed() -> Response {
    let message = "That path takes another method";
    webhook::error(StatusCode::METHOD_NOT_ALLOWED, message, Some("method_not_allowed"))
}

#[cfg(test)]
mod tests;
