//! Requests that no guest chose: to an address from the configuration, with what the operator put
//! there. The address may be private, and nothing is filled in or masked.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, Response};
use bytes::Bytes;
use reqwest::Client;
use url::Url;

use super::message::HttpError;
use super::resolve::{Lookup, SystemLookup};
use super::transfer::{Clients, explain, read};
use super::url_prefix::Origin;

/// The largest answer, unless more is asked for.
const ANSWER_BYTES: u64 = 1 << 20;

/// A client for such requests. Clones share connections.
#[derive(Clone, Debug)]
pub struct Direct {
    client: Client,
    answer_bytes: u64,
}

impl Direct {
    /// Prepares a connection pool.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub fn new() -> anyhow::Result<Self> {
        let lookup: Arc<dyn Lookup> = Arc::new(SystemLookup);
        let client = Clients::new(&lookup)?.get(true).clone();
        Ok(Self { client, answer_bytes: ANSWER_BYTES })
    }

    /// Takes answers up to this size.
    #[must_use]
    pub fn with_answers_of(mut self, bytes: u64) -> Self {
        self.answer_bytes = bytes;
        self
    }

    /// Sends a request and waits for the whole answer.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
    ) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string())
            .map_err(|error| HttpError::Denied(format!("the address isn't a URL: {error}")))?;
        let origin = Origin::of_url(&url);
        let request = self.client.request(parts.method, url).headers(parts.headers).body(body);
        let sent = async {
            let error = |error: reqwest::Error| explain(&error, &origin, "");
            let mut response = request.send().await.map_err(error)?;
            let body = read(&mut response, self.answer_bytes, &origin).await?;
            let mut answer = Response::new(Bytes::from(body));
            *answer.status_mut() = response.status();
            *answer.headers_mut() = std::mem::take(response.headers_mut());
            Ok(answer)
        };
        tokio::time::timeout(timeout, sent).await.unwrap_or(Err(HttpError::Timeout))
    }
}
