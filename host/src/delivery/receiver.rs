//! A receiver: its address as the customer gave it, checked, and how it is posted to.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use url::{Host, Position, Url};
use zeroize::Zeroizing;

use super::decision::Outcome;
use super::destination::{DestinationRules, VERIFICATION_TIMEOUT, masked, shown_path};
use super::payload::{Payload, VERIFICATION};
use crate::auth::sign::sign;
use crate::egress::{HttpError, Post, Posted, Poster};
use crate::model::Micros;

/// An address that may be posted to.
pub struct Receiver {
    /// Without user and password.
    url: Url,
    /// The value of `Authorization`. None: the address names nobody.
    authorization: Option<HeaderValue>,
    /// Loopback and private ranges may be connected to.
    private_addresses: bool,
}

/// A delivery on its way.
pub(super) struct Sent<'a> {
    pub(super) payload: Payload,
    /// What the receiver knows it by.
    pub(super) secret: &'a str,
    pub(super) fence: i64,
    /// Counted from 1.
    pub(super) attempt: i64,
    pub(super) at: Micros,
    pub(super) timeout: Duration,
}

/// The `webhook-id` of a verification.
const VERIFICATION_ID: &str = "msg_test";

const BROKEN_SECRET: &str = "its signing secret is broken";

impl Receiver {
    /// Checks an address that must name a user or password.
    ///
    /// # Errors
    /// What is wrong with it, without its secrets.
    pub(super) fn parse(url: Url, rules: DestinationRules) -> Result<Self, String> {
        let receiver = Self::of(url, rules)?;
        if receiver.authorization.is_none() {
            return Err("must name a user or password: https://user:password@host/path".into());
        }
        Ok(receiver)
    }

    /// Checks an address that need not name anybody. Nothing is posted there before it is stored, so
    /// one that can be seen to be private is refused here.
    ///
    /// # Errors
    /// What is wrong with it, without its secrets.
    pub(super) fn parse_open(url: Url, rules: DestinationRules) -> Result<Self, String> {
        let receiver = Self::of(url, rules)?;
        let public = Poster::check(&receiver.url, receiver.private_addresses);
        public.map_err(|error| error.to_string())?;
        Ok(receiver)
    }

    fn of(mut url: Url, rules: DestinationRules) -> Result<Self, String> {
        let loopback = is_loopback(&url);
        match url.scheme() {
            "https" => {}
            "http" if rules.allow_http && loopback => {}
            "http" if rules.allow_http => {
                return Err("must be https; http is for receivers on this machine".into());
            }
            "http" => {
                return Err(
                    "must be https. The operator can allow http to receivers on this machine \
                            (delivery.allow_http)"
                        .into(),
                );
            }
            _ => return Err("must be like https://user:password@host/path".into()),
        }
        let names_nobody = url.username().is_empty() && url.password().is_none_or(str::is_empty);
        let authorization = (!names_nobody).then(|| basic(&url)).transpose()?;
        url.set_fragment(None);
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        cleared.map_err(|()| "must have a host".to_owned())?;
        let http = url.scheme() == "http";
        Ok(Self { url, authorization, private_addresses: http || rules.allow_private_addresses })
    }

    /// The address as it may be shown: user, password and query hidden, and what may be a token in the
    /// path.
    pub(super) fn shown(&self) -> String {
        let origin = &self.url[..Position::BeforePath];
        let path = shown_path(self.url.path());
        let query = self.url.query().map_or("", |_| "?***");
        let url = format!("{origin}{path}{query}");
        match self.authorization {
            Some(_) => masked(&url),
            None => url,
        }
    }

    /// Posts a page, signed.
    pub(super) async fn take(&self, poster: &Poster, sent: Sent<'_>) -> Outcome {
        let Payload { id, body, .. } = &sent.payload;
        let Some(own) = signed(sent.secret, id, sent.at, body) else {
            return Outcome::Unanswered(BROKEN_SECRET.into());
        };
        self.deliver(poster, sent, own).await
    }

    /// Posts what also says where it stands in the feed.
    pub(super) async fn deliver(
        &self,
        poster: &Poster,
        sent: Sent<'_>,
        mut own: HeaderMap,
    ) -> Outcome {
        let Payload { id, body, epoch, number, .. } = sent.payload;
        for (name, value) in [("webhook-id", id), ("rowgate-feed-epoch", epoch)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                own.insert(name, value);
            }
        }
        own.insert("rowgate-feed-number", HeaderValue::from(number));
        own.insert("rowgate-fence", HeaderValue::from(sent.fence));
        match self.post(poster, own, body, sent.timeout).await {
            Ok(posted) if posted.is_taken() => Outcome::Taken,
            Ok(posted) => Outcome::Status {
                status: posted.status,
                retry_after_s: posted.retry_after.and_then(|text| text.trim().parse().ok()),
            },
            Err(error) => Outcome::Unanswered(error.to_string()),
        }
    }

    /// Asks whether it takes deliveries, by a post that is signed as they are. Before there is a target
    /// it can't know `secret` yet.
    ///
    /// # Errors
    /// Why not, without secrets.
    pub(super) async fn verify(
        &self,
        poster: &Poster,
        secret: &str,
        at: Micros,
    ) -> Result<(), String> {
        let mut own = signed(secret, VERIFICATION_ID, at, VERIFICATION).ok_or(BROKEN_SECRET)?;
        own.insert("webhook-id", HeaderValue::from_static(VERIFICATION_ID));
        self.ask(poster, own, VERIFICATION.to_owned()).await
    }

    /// Posts a test.
    ///
    /// # Errors
    /// Why it wasn't taken, without secrets.
    pub(super) async fn ask(
        &self,
        poster: &Poster,
        own: HeaderMap,
        body: String,
    ) -> Result<(), String> {
        match self.post(poster, own, body, VERIFICATION_TIMEOUT).await {
            Ok(posted) if posted.is_taken() => Ok(()),
            Ok(posted) => Err(format!("must answer a test post with 2xx, not {}", posted.status)),
            Err(error) => Err(format!("must answer a test post: {error}")),
        }
    }

    /// Posts. Headers of `own` take the place of usual ones.
    pub(super) async fn post(
        &self,
        poster: &Poster,
        own: HeaderMap,
        body: String,
        timeout: Duration,
    ) -> Result<Posted, HttpError> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            headers.insert("authorization", authorization.clone());
        }
        let agent = concat!("Rowgate/", env!("CARGO_PKG_VERSION"));
        headers.insert("user-agent", HeaderValue::from_static(agent));
        headers.extend(own);
        let (url, private_addresses) = (self.url.clone(), self.private_addresses);
        let body = Bytes::from(body);
        poster.send(Post { url, headers, body, private_addresses, timeout }).await
    }
}

/// What says when a body was signed, and how. None: the secret is broken.
fn signed(secret: &str, id: &str, at: Micros, body: &str) -> Option<HeaderMap> {
    let timestamp_s = at.div_euclid(1_000_000);
    let signature = sign(secret, id, timestamp_s, body.as_bytes())?;
    let mut headers = HeaderMap::new();
    headers.insert("webhook-timestamp", HeaderValue::from(timestamp_s));
    headers.insert("webhook-signature", HeaderValue::from_str(&signature).ok()?);
    Some(headers)
}

fn basic(url: &Url) -> Result<HeaderValue, String> {
    let decoded =
        |text: &str| -> Zeroizing<Vec<u8>> { Zeroizing::new(percent_decode_str(text).collect()) };
    let (user, password) = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
    if user.contains(&b':') {
        return Err("the user must not contain a colon".into());
    }
    let both = Zeroizing::new([user.as_slice(), b":", password.as_slice()].concat());
    let text = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(both.as_slice())));
    let mut value =
        HeaderValue::from_str(&text).map_err(|_| "the password can't be sent".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP: DestinationRules =
        DestinationRules { allow_http: true, allow_private_addresses: false };

    fn parse(text: &str, rules: DestinationRules) -> Result<Receiver, String> {
        Receiver::parse(Url::parse(text).unwrap(), rules)
    }

    #[test]
    fn addresses_that_may_be_posted_to() {
        for (text, shown, authorization, private) in [
            ("https://u:p@a.example/x", "https://***:***@a.example/x", "Basic dTpw", false),
            ("https://u@a.example", "https://***:***@a.example/", "Basic dTo=", false),
            ("https://:p@a.example/", "https://***:***@a.example/", "Basic OnA=", false),
            (
                "https://a%40b:p%3A%20q@h.example/?k=1",
                "https://***:***@h.example/?***",
                "Basic YUBiOnA6IHE=",
                false,
            ),
            ("http://u:p@127.0.0.1:8080/x", "http://***:***@127.0.0.1:8080/x", "Basic dTpw", true),
            ("http://u:p@localhost/", "http://***:***@localhost/", "Basic dTpw", true),
            ("http://u:p@[::1]/", "http://***:***@[::1]/", "Basic dTpw", true),
        ] {
            let found = parse(text, HTTP).unwrap();
            assert_eq!(found.shown(), shown);
            assert_eq!(found.authorization.as_ref().unwrap(), authorization);
            assert_eq!(found.private_addresses, private, "{text}");
            assert!(!found.url.as_str().contains('@'), "{}", found.url);
            assert_eq!(format!("{found:?}"), shown);
        }
    }

    #[test]
    fn all_others_are_refused_without_repeating_secrets() {
        for (text, rules, reason) in [
            ("https://a.example/secret", HTTP, "user or password"),
            ("https://@a.example/secret", HTTP, "user or password"),
            ("http://u:secret@a.example/", HTTP, "must be https"),
            ("http://u:secret@10.0.0.1/", HTTP, "must be https"),
            ("http://u:secret@127.0.0.1/", DestinationRules::default(), "(delivery.allow_http)"),
            ("ftp://u:secret@a.example/", HTTP, "must be like https"),
            ("https://a%3Ab:secret@a.example/", HTTP, "colon"),
        ] {
            let error = parse(text, rules).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn some_need_name_nobody() {
        let open = |text: &str| Receiver::parse_open(Url::parse(text).unwrap(), HTTP);
        let found = open("https://a.example/x?key=hush").unwrap();
        assert_eq!((found.authorization.is_none(), found.private_addresses), (true, false));
        assert_eq!(found.shown(), "https://a.example/x?***");
        let hook =
            open("https://hooks.example:8443/services/T00000000/hush0123456789abcdef?x=hush");
        assert_eq!(hook.unwrap().shown(), "https://hooks.example:8443/services/T00000000/…?***");
        assert_eq!(open("https://u:p@a.example/").unwrap().shown(), "https://***:***@a.example/");
        for (refused, reason) in [
            ("http://a.example/", "must be https"),
            ("ftp://a.example/", "must be like https"),
            ("https://10.0.0.1/", "isn't a public address"),
        ] {
            let error = open(refused).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
