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

/// The largest answer.
const ANSWER_BYTES: u64 = 1 << 20;

/// A client for such requests. Clones share connections.
#[derive(Clone, Debug)]
pub struct Direct(Client);

impl Direct {
    /// Prepares a connection pool.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub fn new() -> anyhow::Result<Self> {
        let lookup: Arc<dyn Lookup> = Arc::new(SystemLookup);
        Ok(Self(Clients::new(&lookup)?.get(true).clone()))
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
        let request = self.0.request(parts.method, url).headers(parts.headers).body(body);
        let sent = async {
            let error = |error: reqwest::Error| explain(&error, &origin, "");
            let mut response = request.send().await.map_err(error)?;
            let body = read(&mut response, ANSWER_BYTES, &origin).await?;
            let mut answer = Response::new(Bytes::from(body));
            *answer.status_mut() = response.status();
            *answer.headers_mut() = std::mem::take(response.headers_mut());
            Ok(answer)
        };
        tokio::time::timeout(timeout, sent).await.unwrap_or(Err(HttpError::Timeout))
    }
}
