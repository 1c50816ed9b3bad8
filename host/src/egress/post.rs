//! Posts to addresses that customers gave: their receivers. They pass the same resolver as guests'
//! requests, so they reach no private address unless the operator allows it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use url::Url;

use super::address::check_literal;
use super::message::HttpError;
use super::resolve::{Lookup, SystemLookup};
use super::transfer::{Clients, explain, read};
use super::url_prefix::Origin;

/// Followed in a row.
const REDIRECTS_MAX: usize = 3;

/// What a receiver answers is read so far, for the connection's sake, and forgotten.
const ANSWER_BYTES: u64 = 1 << 16;

/// What opens private addresses to customers.
pub(super) const ADVICE: &str = "the operator can allow it by delivery.allow_private_addresses";

/// A client for such posts. Clones share connections.
#[derive(Clone)]
pub struct Poster(Clients);

/// One post.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Post {
    /// Without user and password.
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Loopback and private ranges too.
    pub private_addresses: bool,
    /// Until the whole answer is there.
    pub timeout: Duration,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// HTTP status.
    pub status: u16,
    /// As it was sent.
    pub retry_after: Option<String>,
}

impl Posted {
    /// Any 2xx.
    pub fn is_taken(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Poster {
    /// Prepares the connection pools.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub fn new() -> anyhow::Result<Self> {
        Self::with_lookup(Arc::new(SystemLookup))
    }

    /// The same with another resolver.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub fn with_lookup(lookup: Arc<dyn Lookup>) -> anyhow::Result<Self> {
        Ok(Self(Clients::new(&lookup)?))
    }

    /// Refuses what can be told by the address alone: a private one, written as numbers.
    pub fn check(url: &Url, private_addresses: bool) -> Result<(), HttpError> {
        check_literal(url, private_addresses, ADVICE)
    }

    /// Posts, and follows redirects that ask for the same post at the same origin. No error holds more
    /// of the address than its origin.
    pub async fn send(&self, post: Post) -> Result<Posted, HttpError> {
        let timeout = post.timeout;
        let sent = tokio::time::timeout(timeout, self.follow(post)).await;
        sent.unwrap_or(Err(HttpError::Timeout))
    }

    async fn follow(&self, post: Post) -> Result<Posted, HttpError> {
        let Post { mut url, headers, body, private_addresses, .. } = post;
        check_literal(&url, private_addresses, ADVICE)?;
        let origin = Origin::of_url(&url);
        let client = self.0.get(private_addresses);
        let mut redirects = 0;
        loop {
            let request = client.post(url.clone()).headers(headers.clone()).body(body.clone());
            let sent = request.send().await;
            let mut response = sent.map_err(|error| explain(&error, &origin, ADVICE))?;
            let status = response.status().as_u16();
            let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
            let next = same_origin(status, header(LOCATION), &url);
            let retry_after = header(RETRY_AFTER).map(str::to_owned);
            // The status says all; an answer that breaks off says nothing else.
            let _ = read(&mut response, ANSWER_BYTES, &origin).await;
            redirects += 1;
            match next.filter(|_| redirects <= REDIRECTS_MAX) {
                Some(next) => url = next,
                None => return Ok(Posted { status, retry_after }),
            }
        }
    }
}

/// Where the same post is asked for again, if that is at the same origin.
fn same_origin(status: u16, location: Option<&str>, url: &Url) -> Option<Url> {
    if !matches!(status, 307 | 308) {
        return None;
    }
    let next = url.join(location?).ok()?;
    let same = Origin::of_url(&next) == Origin::of_url(url);
    (same && next.username().is_empty() && next.password().is_none()).then_some(next)
}

impl std::fmt::Debug for Poster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Poster")
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::egress::resolve::tests::Turning;

    #[test]
    fn redirects_stay_at_their_origin() {
        let url: Url = "https://a.example/x".parse().unwrap();
        for (status, location, next) in [
            (307, "/y", Some("https://a.example/y")),
            (308, "https://a.example:443/y?z", Some("https://a.example/y?z")),
            (307, "https://b.example/y", None),
            (307, "http://a.example/y", None),
            (307, "https://u:p@a.example/y", None),
            (302, "/y", None),
            (200, "/y", None),
        ] {
            let found = same_origin(status, Some(location), &url).map(|url| url.to_string());
            assert_eq!(found.as_deref(), next, "{status} {location}");
        }
    }

    fn post(url: &str) -> Post {
        Post {
            url: url.parse().unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            private_addresses: false,
            timeout: Duration::from_secs(10),
        }
    }

    #[tokio::test]
    async fn private_addresses_are_refused_however_they_are_written() {
        let names = ["169.254.169.254", "::ffff:10.0.0.1", "127.0.0.1"];
        let count = names.len();
        let poster = Poster::with_lookup(Turning::new(&names)).unwrap();
        let literals = [
            "http://127.0.0.1:1/",
            "http://2130706433/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://169.254.169.254/latest",
            "http://10.0.0.1/",
            "https://0x7f.1/",
        ];
        let names = std::iter::repeat_n("http://receiver.example/", count);
        for url in literals.into_iter().chain(names) {
            let refused = poster.send(post(url)).await.unwrap_err();
            let HttpError::Denied(text) = refused else { panic!("{url}: {refused}") };
            assert!(text.contains("isn't a public address"), "{url}: {text}");
        }
    }

    /// What a name said before, and what an earlier post was allowed, counts for nothing.
    #[tokio::test]
    async fn a_name_is_asked_anew_for_each_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://receiver.example:{}/", listener.local_addr().unwrap().port());
        let serving = tokio::spawn(async move {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                assert!(stream.read(&mut [0; 4_096]).await.unwrap() > 0);
                let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            }
        });
        let turning = Turning::new(&["127.0.0.1", "127.0.0.1", "127.0.0.1", "169.254.169.254"]);
        let poster = Poster::with_lookup(turning.clone()).unwrap();
        for left in [3, 2] {
            let allowed = Post { private_addresses: true, ..post(&url) };
            assert!(poster.send(allowed).await.unwrap().is_taken());
            assert_eq!(turning.left(), left);
        }
        serving.await.unwrap();
        for left in [1, 0] {
            let refused = poster.send(post(&url)).await.unwrap_err();
            assert!(matches!(refused, HttpError::Denied(_)), "{refused}");
            assert_eq!(turning.left(), left);
        }
    }
}
