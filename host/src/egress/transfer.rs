//! Sends one request and reads its answer, whatever that does: capped after decoding, never
//! redirected by itself, never through a proxy of the environment.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING,
};
use reqwest::redirect::Policy as Redirects;
use reqwest::{Client, Response};

use super::fill::Filled;
use super::message::{HttpError, HttpResponse};
use super::resolve::{Blocked, Guard, Lookup};
use super::url_prefix::Origin;

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Vendors send gzip to those that name it here (Google does).
const USER_AGENT: &str = concat!("rowgate/", env!("CARGO_PKG_VERSION"), " (gzip)");

/// Framing that no longer holds once the body is decoded and masked.
const FRAMING: [HeaderName; 4] = [CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING];

/// Connection pools. A pooled connection was made under the rule of its client, and only requests
/// that the same rule allows get it.
#[derive(Clone)]
pub(super) struct Clients {
    /// Connects to public addresses alone.
    public: Client,
    /// For origins whose grant allows any address.
    private: Client,
}

impl Clients {
    pub(super) fn new(lookup: &Arc<dyn Lookup>) -> reqwest::Result<Self> {
        let client = |private_addresses| {
            Client::builder()
                .dns_resolver(Arc::new(Guard { lookup: Arc::clone(lookup), private_addresses }))
                .redirect(Redirects::none())
                .no_proxy()
                .referer(false)
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_idle_timeout(Duration::from_secs(60))
                .user_agent(USER_AGENT)
                .build()
        };
        Ok(Self { public: client(false)?, private: client(true)? })
    }

    pub(super) fn get(&self, private_addresses: bool) -> &Client {
        if private_addresses { &self.private } else { &self.public }
    }
}

/// Sends a request and reads the whole answer. `private_advice` says what to do where the name
/// leads to an address that isn't granted.
pub(super) async fn transfer(
    client: &Client,
    filled: Filled,
    answer_limit_bytes: u64,
    private_advice: &str,
) -> Result<HttpResponse, HttpError> {
    let origin = Origin::of_url(&filled.url);
    let mut request = client.request(filled.method, filled.url).headers(filled.headers);
    if let Some(body) = filled.body {
        request = request.body(body);
    }
    let error = |error: reqwest::Error| explain(&error, &origin, private_advice);
    let mut response = request.send().await.map_err(error)?;
    let body = read(&mut response, answer_limit_bytes, &origin).await?;
    let headers = response.headers().iter().filter(|(name, _)| !FRAMING.contains(name));
    let headers = headers.map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    Ok(HttpResponse { status: response.status().as_u16(), headers: headers.collect(), body })
}

pub(super) async fn read(
    response: &mut Response,
    limit_bytes: u64,
    origin: &Origin,
) -> Result<Vec<u8>, HttpError> {
    // None where the answer is compressed: only what comes out counts.
    if response.content_length().is_some_and(|length| length > limit_bytes) {
        return Err(HttpError::TooLarge(limit_bytes));
    }
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                if (body.len() + chunk.len()) as u64 > limit_bytes {
                    return Err(HttpError::TooLarge(limit_bytes));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(None) => return Ok(body),
            Err(error) => {
                let cause = root(&error).to_string();
                return Err(HttpError::Transfer(format!(
                    "the answer of {origin} broke off: {cause}"
                )));
            }
        }
    }
}

/// reqwest's own texts hold the whole URL; the root cause doesn't.
pub(super) fn explain(error: &reqwest::Error, origin: &Origin, private_advice: &str) -> HttpError {
    let mut cause = error.source();
    while let Some(error) = cause {
        let Some(blocked) = error.downcast_ref::<Blocked>() else {
            cause = error.source();
            continue;
        };
        return HttpError::Denied(format!("{blocked}; {private_advice}"));
    }
    match (error.is_connect(), error.is_timeout()) {
        (true, true) => HttpError::Connect(format!("{origin} doesn't answer")),
        (true, false) => HttpError::Connect(format!("{origin}: {}", root(error))),
        _ => HttpError::Transfer(format!("{origin}: {}", root(error))),
    }
}

fn root(error: &reqwest::Error) -> &dyn Error {
    let mut root: &dyn Error = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root
}
