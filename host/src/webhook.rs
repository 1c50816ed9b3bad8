//! The webhook endpoint: find the integration, authenticate, check the body, store it durably,
//! answer. WebhookDB's contract up to authentication, stricter after it.

mod answer;
mod body;
mod bots;
mod channel;
pub(crate) mod read;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use axum::routing::any;
use rowgate_manifest::Webhook;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::auth::{self, Claim, Rejected};
use crate::clock::{Clock, monotonic};
use crate::failpoint;
use crate::metrics::Metrics;
use crate::model::{InboxId, OwnerId};
use crate::store::Store;
use crate::store::inbox::NewItem;
use crate::store::integrations::{Endpoint, Integration};
use answer::Answer;
pub(crate) use answer::{error, json_response};
use body::Checked;
pub(crate) use body::secrets_of;
use channel::Notification;
use read::Unread;

/// What the endpoint needs.
#[derive(Clone)]
pub struct Webhooks {
    /// Where items go.
    pub store: Arc<Store>,
    /// Called after each stored item, so that the scheduler looks at once.
    pub wake: Wake,
    /// Limits.
    pub limits: Limits,
    /// Answers are counted.
    pub metrics: Arc<Metrics>,
}

/// Tells the scheduler that an item of this owner is stored.
pub type Wake = Arc<dyn Fn(OwnerId) + Send + Sync>;

/// Limits of one request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A larger body is answered 413.
    pub body_max_bytes: usize,
    /// A body must have arrived after this time.
    pub body_timeout: Duration,
    /// So long one request may wait for the store, all in all; then it is answered 503.
    pub accept_timeout: Duration,
}

impl Webhooks {
    /// The routes of the endpoint.
    pub fn router(self) -> Router {
        let paths = ["/{id}", "/{id}/", "/{id}/{*rest}"];
        paths
            .into_iter()
            .fold(Router::new(), |router, path| {
                router.route(&format!("/v1/service_integrations{path}"), any(handle))
            })
            .with_state(self)
    }

    fn clock(&self) -> &Clock {
        self.store.clock()
    }
}

/// What was taken in.
enum Taken {
    Item(InboxId, OwnerId),
    /// The owner, if it is due for it.
    Notification(Option<OwnerId>),
}

async fn handle(State(webhooks): State<Webhooks>, request: Request) -> Response {
    let id = integration_id(request.uri().path()).to_owned();
    let span = tracing::debug_span!("webhook", integration = id.as_str(), status = Empty);
    let answer = answer(&webhooks, &id, request).instrument(span.clone()).await;
    span.record("status", answer.status().as_u16());
    webhooks.metrics.webhook(answer.status().as_u16());
    answer
}

async fn answer(webhooks: &Webhooks, id: &str, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    match webhooks.receive(id, &parts, &mut body).await {
        Ok(Taken::Item(item, owner)) => {
            failpoint::reach("webhook_stored");
            tracing::debug!(item, "webhook stored");
            (webhooks.wake)(owner);
            Answer::Accepted.into_response()
        }
        Ok(Taken::Notification(owner)) => {
            failpoint::reach("notification_stored");
            owner.inspect(|owner| (webhooks.wake)(*owner));
            // Its body says nothing.
            read::discard(webhooks.clock(), &parts.headers, &mut body).await;
            Answer::Accepted.into_response()
        }
        Err(answer) => {
            answer.log(id);
            read::discard(webhooks.clock(), &parts.headers, &mut body).await;
            answer.into_response()
        }
    }
}

impl Webhooks {
    async fn receive(
        &self,
        id: &str,
        parts: &axum::http::request::Parts,
        body: &mut Body,
    ) -> Result<Taken, Answer> {
        let left = &mut { self.limits.accept_timeout };
        let endpoint = self.in_time(left, self.store.endpoint(id)).await?.ok_or(Answer::Unknown)?;
        let taken = self.take_in(left, &endpoint, parts, body).await;
        // Only of integrations that there are, so nobody makes these figures grow.
        let answered_at = self.clock().now();
        self.store.outcomes().note(&endpoint.integration.id, answered_at, taken.is_ok());
        taken
    }

    async fn take_in(
        &self,
        left: &mut Duration,
        endpoint: &Endpoint,
        parts: &axum::http::request::Parts,
        body: &mut Body,
    ) -> Result<Taken, Answer> {
        if !is_served(&parts.method) {
            return Err(Answer::Method);
        }
        if parts.method == Method::GET && bots::is_refused(&parts.headers, parts.uri.query()) {
            return Err(Answer::Bot);
        }
        let service = endpoint.manifest.services.get(&endpoint.integration.service);
        let webhook = service.and_then(|service| service.webhook.as_ref());
        match auth::claim(webhook, &parts.headers).map_err(Answer::Rejected)? {
            Claim::Secret { name, presented } => {
                let authenticated = self.authenticate(left, endpoint, name, presented);
                authenticated.instrument(tracing::debug_span!("auth")).await?;
            }
            Claim::Channel { id, token, vendor_id, data: false } => {
                let notification = Notification { id, token, vendor_id };
                let marked = self.notified(left, endpoint, &notification).await;
                return marked.map(Taken::Notification);
            }
            // No vendor that we know of sends data through a channel.
            Claim::Channel { data: true, .. } => return Err(Answer::Rejected(Rejected::Mismatch)),
        }
        let Some(webhook) = webhook else { return Err(Answer::Rejected(Rejected::Missing)) };
        let bytes = self.read(&parts.headers, body).await?;
        let checked = body::check(&webhook.body, &bytes).map_err(Answer::Invalid)?;
        let item = new_item(&endpoint.integration, webhook, parts, checked);
        let asked = monotonic();
        let stored = self.store.accept(item).instrument(tracing::debug_span!("inbox"));
        let (item, owner) = self.in_time(left, stored).await?;
        self.metrics.commit("webhook", asked.elapsed());
        Ok(Taken::Item(item, owner))
    }

    async fn read(&self, headers: &HeaderMap, body: &mut Body) -> Result<Vec<u8>, Answer> {
        let Limits { body_max_bytes: max_bytes, body_timeout, .. } = self.limits;
        let read = read::body(self.clock(), headers, body, max_bytes, body_timeout).await;
        read.map_err(|unread| match unread {
            Unread::TooLarge => Answer::TooLarge { max_bytes },
            // Of what broke off nobody hears the answer.
            Unread::TooSlow | Unread::Broken => Answer::TooSlow,
        })
    }

    async fn authenticate(
        &self,
        left: &mut Duration,
        endpoint: &Endpoint,
        name: &str,
        presented: &[u8],
    ) -> Result<(), Answer> {
        let root = &endpoint.integration.root_id;
        match self.in_time(left, self.store.tree_secret(root, name)).await? {
            Some(stored) if auth::matches(presented, &stored) => Ok(()),
            _ => Err(Answer::Rejected(Rejected::Mismatch)),
        }
    }

    /// The store's answer, or 503 where it fails or takes longer than what is left of the request's
    /// time. What is being stored just then may stay: the sender repeats what it got no 202 for, which then
    /// comes behind it.
    async fn in_time<T>(
        &self,
        left: &mut Duration,
        store: impl Future<Output = Result<T, crate::store::Error>>,
    ) -> Result<T, Answer> {
        let asked_at = self.clock().now();
        let answered = tokio::select! {
            result = store => result.map_err(|error| Answer::Unavailable(error.to_string())),
            () = self.clock().sleep(*left) => {
                Err(Answer::Unavailable("no answer in time".into()))
            }
        };
        let waited_us = u64::try_from(self.clock().now() - asked_at).unwrap_or(0);
        *left = left.saturating_sub(Duration::from_micros(waited_us));
        answered
    }
}

/// The path segment after the fixed prefix.
fn integration_id(path: &str) -> &str {
    path.split('/').nth(3).unwrap_or_default()
}

/// What follows the endpoint, with its leading slash; empty at the endpoint itself.
fn below_endpoint(path: &str) -> &str {
    path.match_indices('/').nth(3).map_or("", |(at, _)| &path[at..])
}

fn is_served(method: &Method) -> bool {
    let served = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    served.contains(method)
}

fn new_item(
    integration: &Integration,
    webhook: &Webhook,
    parts: &axum::http::request::Parts,
    checked: Checked,
) -> NewItem {
    let headers = webhook.headers.iter().flat_map(|name| {
        let values = parts.headers.get_all(name).iter();
        values.map(|value| (name.clone(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
    });
    NewItem {
        organization: integration.organization_id,
        root_id: integration.root_id.clone(),
        integration_id: integration.id.clone(),
        external_owner_id: checked.owner.unwrap_or_default(),
        method: parts.method.as_str().to_owned(),
        path: below_endpoint(parts.uri.path()).to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: headers.collect(),
        body: checked.body,
        secrets: checked.secrets,
    }
}
