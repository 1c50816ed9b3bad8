//! Every outbound socket of a guest. Layers, outermost first: `policy` (the manifest asks AND the
//! operator granted), `limits` (the vendor's pace), `fill` (secrets, towards their URL prefixes alone), `resolve` (addresses, at
//! each connect), `transfer` (send, cap), `redirect`, `capture` (secrets out of answers), `mask`.
//! The only module that knows reqwest.

mod address;
mod capture;
mod connect;
mod direct;
mod fill;
mod limits;
mod mask;
mod message;
mod policy;
mod post;
mod reach;
mod redirect;
mod relay;
mod resolve;
mod secret;
mod smtp;
#[cfg(test)]
mod tests;
mod tls;
mod transfer;
mod url_prefix;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use rowgate_manifest::Manifest;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};
use url::Url;

pub use address::{is_public, is_this_machine};
pub use direct::Direct;
pub use limits::{Counted, CountedUnder};
pub use message::{Body, HttpError, HttpRequest, HttpResponse, Part, Presence};
pub use post::{Post, Posted, Poster};
pub use reach::Reached;
pub use relay::{DatabaseServer, Relay, Relays, Tls};
pub use resolve::{Lookup, SystemLookup};
pub use secret::{SecretSource, SecretValue};
pub use smtp::{Letter, Smtp, SmtpError};
pub use url_prefix::Origin;

use crate::clock::{Clock, monotonic};
use crate::metrics::Metrics;
use crate::model::{Failure, Micros, OwnerId, RetryScope};
use crate::store::Database;
use address::check_literal;
use fill::Filled;
use limits::Buckets;
pub(crate) use mask::without;
use mask::{Masker, Unsearchable};
use policy::Policy;
use secret::Known;
use transfer::{Clients, transfer};

/// Followed in a row; the next is the answer.
const REDIRECTS_MAX: usize = 5;

/// Where the guest names no timeout.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What the operator allows a plugin beyond what its manifest fixes itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Scheme, host and port; `https://*` is every public host.
    pub origin: Origin,
    /// Loopback, private, link-local and other addresses outside the public internet, too.
    pub private_addresses: bool,
}

/// Settings of all outbound HTTP.
#[derive(Clone)]
pub struct EgressOptions {
    /// Names to addresses.
    pub lookup: Arc<dyn Lookup>,
    /// What the vendor's pace is kept by.
    pub clock: Clock,
    /// No request of a plugin lasts longer, whatever it asks for.
    pub request_timeout: Duration,
    /// Waits for the vendor's limits are counted here.
    pub metrics: Arc<Metrics>,
    /// The control database: hosts that share one keep the vendor's limits together. None: there is
    /// no other host.
    pub control: Option<Database>,
}

impl Default for EgressOptions {
    fn default() -> Self {
        let request_timeout = Duration::from_secs(120);
        let (lookup, metrics) = (Arc::new(SystemLookup), Arc::default());
        Self { lookup, clock: Clock::System, request_timeout, metrics, control: None }
    }
}

/// Sends requests of guests. One per process; clones share connections.
#[derive(Clone)]
pub struct Egress {
    clients: Clients,
    buckets: Buckets,
    clock: Clock,
    request_timeout: Duration,
}

/// What the requests of one call go by.
pub struct SessionOptions {
    /// What the plugin asks for.
    pub manifest: Arc<Manifest>,
    /// Configuration without secrets, defaults filled in.
    pub config: BTreeMap<String, String>,
    /// What the operator allows.
    pub grants: Vec<Grant>,
    /// For whom requests are counted.
    pub counted: Counted,
    /// The secrets of the call's owner.
    pub secrets: Arc<dyn SecretSource>,
    /// No request lasts longer.
    pub deadline: Instant,
    /// The largest answer, decoded.
    pub answer_limit_bytes: u64,
}

/// One call's requests: what they may reach, and what they have sent. Clones are the same session.
#[derive(Clone)]
pub struct Session {
    policy: Arc<Policy>,
    counted: Counted,
    secrets: Arc<dyn SecretSource>,
    known: Arc<Known>,
    deadline: Instant,
    answer_limit_bytes: u64,
}

impl Session {
    /// Begins the session of one call.
    pub fn new(options: SessionOptions) -> Self {
        let SessionOptions { manifest, config, grants, counted, secrets, deadline, .. } = options;
        let answer_limit_bytes = options.answer_limit_bytes;
        let policy = Arc::new(Policy::new(&manifest, &config, grants));
        Self { policy, counted, secrets, known: Arc::default(), deadline, answer_limit_bytes }
    }

    /// Is the secret there and alive?
    pub async fn presence(&self, name: &str, wait: bool) -> Presence {
        self.secrets.presence(name, wait).await
    }

    /// Forgets the value of the secret that this session sent last.
    pub async fn forget(&self, name: &str) {
        self.secrets.forget(name, self.known.sent_version(name)).await;
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// A request that may be sent, and what of it is needed afterwards.
struct Prepared {
    filled: Filled,
    url: Url,
    private_addresses: bool,
    used: Vec<(String, i64)>,
}

impl Egress {
    /// Prepares the connection pools.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub fn new(options: EgressOptions) -> anyhow::Result<Self> {
        let clients = Clients::new(&options.lookup)?;
        let EgressOptions { clock, request_timeout, metrics, control, .. } = options;
        Ok(Self { clients, buckets: Buckets::new(control, metrics), clock, request_timeout })
    }

    /// What is known of the requests of an owner comes with its lease.
    pub fn adopt(&self, lease: CountedUnder<'_>) {
        self.buckets.adopt(lease);
    }

    /// It leaves with the lease; the answer is for the next holder.
    pub fn hand_over(&self, owner_id: OwnerId, fence: i64) -> Option<String> {
        self.buckets.hand_over(owner_id, fence, self.clock.now())
    }

    /// No request of this owner is sent until then; what was said before is forgotten.
    pub fn pause_owner(&self, owner_id: OwnerId, until: Micros) {
        self.buckets.pause_owner(owner_id, until);
    }

    /// No request of any owner under this root is sent until then, by this host.
    pub fn pause_tree(&self, root_id: &str, until: Micros) {
        self.buckets.pause_tree(root_id, until);
    }

    /// Sends a request and waits for the whole answer. Neither answer nor error holds a secret.
    pub async fn send(
        &self,
        session: &Session,
        request: HttpRequest,
    ) -> Result<HttpResponse, HttpError> {
        let captures = url_prefix::parse_target(&request.url)
            .is_ok_and(|url| session.policy.captures.iter().any(|rule| rule.from.covers(&url)));
        let span = tracing::debug_span!(
            "egress",
            method = request.method.as_str(),
            host = host(&request.url),
            status = Empty,
        );
        let sent = self.clone().send_masked(session.clone(), request).instrument(span);
        if !captures {
            return sent.await;
        }
        // The vendor may have rotated a token as soon as it is asked: this goes on to its end even
        // if the call doesn't.
        let sent = tokio::spawn(sent).await;
        sent.unwrap_or_else(|_| Err(HttpError::Other("the host stopped the request".into())))
    }

    async fn send_masked(
        self,
        session: Session,
        request: HttpRequest,
    ) -> Result<HttpResponse, HttpError> {
        let sent = self.send_captured(&session, request).await;
        if let Ok(response) = &sent {
            Span::current().record("status", response.status);
        }
        let masker = Masker::new(&session.known.texts());
        let mut response = sent.map_err(|error| masker.error(error))?;
        masker.answer(&mut response).map_err(|Unsearchable| {
            HttpError::Transfer("the answer repeats secrets too often to be masked".into())
        })?;
        Ok(response)
    }

    async fn send_captured(
        &self,
        session: &Session,
        request: HttpRequest,
    ) -> Result<HttpResponse, HttpError> {
        let timeout = request.timeout_ms.map_or(TIMEOUT, |ms| Duration::from_millis(ms.into()));
        let until = session.deadline.min(monotonic() + timeout.min(self.request_timeout));
        let followed = tokio::time::timeout_at(until, self.follow(session, request)).await;
        let (url, mut used, mut response) = followed.unwrap_or(Err(HttpError::Timeout))?;
        let mut captured = capture::take(&session.policy.captures, &url, &mut response)?;
        // A secret that this answer replaces comes first: were the host to die in between, the old
        // one might be dead already.
        captured.sort_by_key(|one| !used.iter().any(|(name, _)| *name == one.secret));
        for one in captured {
            session.known.add(&one.value);
            let stored =
                session.secrets.capture(&one.secret, &one.value, one.expires_in_s, used.clone());
            if let Err(error) = stored.await {
                tracing::error!(secret = one.secret, error, "captured secret not stored");
                let reason = format!("the captured secret `{}` could not be stored", one.secret);
                let scope = RetryScope::Owner;
                return Err(HttpError::Ended(Failure::Retry { reason, after_ms: None, scope }));
            }
            // Its version has moved, by this very answer: the rest of it isn't stale for that.
            used.retain(|(name, _)| *name != one.secret);
        }
        Ok(response)
    }

    /// Sends, and follows redirects as long as they may be followed. The URL is that of the answer,
    /// the versions are those of all secrets sent on the way.
    async fn follow(
        &self,
        session: &Session,
        mut request: HttpRequest,
    ) -> Result<(Url, Vec<(String, i64)>, HttpResponse), HttpError> {
        let mut prepared = prepare(session, &request).await?;
        let mut used = Vec::new();
        let mut redirects = 0;
        loop {
            let dues = session.policy.dues(prepared.filled.method.as_str(), &prepared.url);
            let wait = self.buckets.take(&session.counted, &dues, &self.clock).await?;
            self.clock.sleep(wait).await;
            used.append(&mut prepared.used);
            let url = prepared.url;
            let client = self.clients.get(prepared.private_addresses);
            let advice = session.policy.private_advice(&url);
            let limit = session.answer_limit_bytes;
            let response = transfer(client, prepared.filled, limit, &advice).await?;
            redirects += 1;
            let next = redirect::follow(&request, &url, &response);
            let Some(next) = next.filter(|_| redirects <= REDIRECTS_MAX) else {
                return Ok((url, used, response));
            };
            let Ok(allowed) = prepare(session, &next).await else {
                return Ok((url, used, response));
            };
            (request, prepared) = (next, allowed);
        }
    }
}

/// All of an address that a trace may hold: paths and queries are personal, or worse.
fn host(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(str::to_owned)
}

/// Policy and secrets: everything that is decided before a socket is opened.
async fn prepare(session: &Session, request: &HttpRequest) -> Result<Prepared, HttpError> {
    let url = url_prefix::parse_target(&request.url).map_err(HttpError::Denied)?;
    let method = Method::from_bytes(request.method.as_bytes())
        .map_err(|_| HttpError::Denied("the method isn't an HTTP token".into()))?;
    let permit = session.policy.permit(method.as_str(), &url).map_err(HttpError::Denied)?;
    check_literal(&url, permit.private_addresses, &session.policy.private_advice(&url))?;
    let mut filled = fill::fill(session, method, url.clone(), request).await?;
    let used = std::mem::take(&mut filled.used);
    Ok(Prepared { filled, url, private_addresses: permit.private_addresses, used })
}
