//! One post to a receiver, and what it says of itself.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use super::Holding;
use crate::auth::sign::sign;
use crate::clock::Clock;
use crate::delivery::decision::Outcome;
use crate::delivery::destination::Destination;
use crate::delivery::notification;
use crate::delivery::payload::{Payload, VERIFICATION};
use crate::egress::{Post, Poster};
use crate::store::targets::Kind;

/// How long the receiver of a test post has to answer.
const VERIFICATION_TIMEOUT: Duration = Duration::from_secs(3);

impl Holding<'_> {
    pub(super) async fn post(&self, payload: Payload) -> Outcome {
        let options = &self.of.options;
        let destination = match Destination::parse_open(&self.secrets.url, options.rules) {
            Ok(destination) => destination,
            Err(reason) => return Outcome::Unanswered(format!("its address {reason}")),
        };
        let mut headers = headers(&destination);
        if !self.sign(&mut headers, &payload) {
            return Outcome::Unanswered("its secret is broken".into());
        }
        let Payload { id, body, epoch, number, .. } = payload;
        for (name, value) in [
            ("webhook-id", id),
            ("rowgate-feed-epoch", epoch),
            ("rowgate-feed-number", number.to_string()),
            ("rowgate-fence", self.claimed.fence.to_string()),
        ] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        let (url, private_addresses) = (destination.url, destination.private_addresses);
        let (body, timeout) = (Bytes::from(body), options.timeout);
        let post = Post { url, headers, body, private_addresses, timeout };
        match self.of.poster.send(post).await {
            Ok(posted) if (200..300).contains(&posted.status) => Outcome::Taken,
            Ok(posted) => Outcome::Status {
                status: posted.status,
                retry_after_s: posted.retry_after.and_then(|text| text.trim().parse().ok()),
            },
            Err(error) => Outcome::Unanswered(error.to_string()),
        }
    }

    /// Adds what the receiver knows a post by. False: the secret is broken.
    fn sign(&self, headers: &mut HeaderMap, payload: &Payload) -> bool {
        let secret = &self.secrets.signing_secret;
        if self.target.kind == Kind::Notification {
            let attempt = self.target.attempts + 1;
            return notification::say(headers, secret, attempt, payload.is_synced);
        }
        let timestamp_s = self.now().div_euclid(1_000_000);
        let signature = sign(secret, &payload.id, timestamp_s, payload.body.as_bytes());
        let signature = signature.and_then(|text| HeaderValue::from_str(&text).ok());
        let Some(signature) = signature else { return false };
        headers.insert("webhook-timestamp", HeaderValue::from(timestamp_s));
        headers.insert("webhook-signature", signature);
        true
    }
}

/// What every post says.
pub(in crate::delivery) fn headers(destination: &Destination) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    if let Some(authorization) = &destination.authorization {
        headers.insert("authorization", authorization.clone());
    }
    let agent = concat!("Rowgate/", env!("CARGO_PKG_VERSION"));
    headers.insert("user-agent", HeaderValue::from_static(agent));
    headers
}

/// Asks a receiver whether it takes deliveries, before there is a target.
///
/// # Errors
/// Why not, without secrets.
pub async fn verify(
    poster: &Poster,
    destination: &Destination,
    clock: &Clock,
) -> Result<(), String> {
    let mut headers = headers(destination);
    let timestamp_s = clock.now().div_euclid(1_000_000).to_string();
    headers.insert("webhook-id", HeaderValue::from_static("msg_test"));
    if let Ok(value) = HeaderValue::from_str(&timestamp_s) {
        headers.insert("webhook-timestamp", value);
    }
    ask(poster, destination, headers, VERIFICATION.to_owned()).await
}

/// Posts something that says nothing.
///
/// # Errors
/// Why it wasn't taken, without secrets.
pub(in crate::delivery) async fn ask(
    poster: &Poster,
    destination: &Destination,
    headers: HeaderMap,
    body: String,
) -> Result<(), String> {
    let posted = poster.send(Post {
        url: destination.url.clone(),
        headers,
        body: Bytes::from(body),
        private_addresses: destination.private_addresses,
        timeout: VERIFICATION_TIMEOUT,
    });
    match posted.await {
        Ok(posted) if (200..300).contains(&posted.status) => Ok(()),
        Ok(posted) => Err(format!("must answer a test post with 2xx, not {}", posted.status)),
        Err(error) => Err(format!("must answer a test post: {error}")),
    }
}
