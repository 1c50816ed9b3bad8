//! Where a target is: an address as the customer gave it, of a receiver, a subscriber or a database.

use std::time::Duration;

use url::Url;
use zeroize::Zeroizing;

use super::mirror::{self, DatabaseAddress, Mirror};
use super::notification::Subscriber;
use super::receiver::Receiver;
use crate::clock::Clock;
use crate::egress::{Poster, Relays};
use crate::store::targets::{Kind, Target};

/// What the operator allows beside encrypted connections to public addresses.
#[derive(Clone, Copy, Debug, Default)]
pub struct DestinationRules {
    /// `http` to this machine, and databases on it.
    pub allow_http: bool,
    /// Private ranges of addresses.
    pub allow_private_addresses: bool,
}

/// What deliveries are made through. Clones share connections.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Clients {
    pub poster: Poster,
    pub relays: Relays,
}

/// An address that may be delivered to.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Destination {
    Receiver(Receiver),
    Subscriber(Subscriber),
    Database(DatabaseAddress),
}

const URL_BYTES_MAX: usize = 4_096;

/// How long a destination has to answer a test.
pub(super) const VERIFICATION_TIMEOUT: Duration = Duration::from_secs(3);

impl Destination {
    /// Checks an address.
    ///
    /// # Errors
    /// What is wrong with it, without its secrets.
    pub fn parse(kind: Kind, text: &str, rules: DestinationRules) -> Result<Self, String> {
        match kind {
            Kind::Http => Receiver::parse(url(text)?, rules).map(Self::Receiver),
            Kind::Notification => Subscriber::parse(text, rules).map(Self::Subscriber),
            Kind::Db => DatabaseAddress::parse(text, rules).map(Self::Database),
        }
    }

    /// The address with another user and password.
    ///
    /// # Errors
    /// If the address has no place for them.
    pub fn with_credentials(
        text: &str,
        user: &str,
        password: &str,
    ) -> Result<Zeroizing<String>, String> {
        let mut url = url(text)?;
        let set = url.set_username(user).and_then(|()| {
            url.set_password(Some(password).filter(|password| !password.is_empty()))
        });
        set.map_err(|()| "must have a host".to_owned())?;
        Ok(Zeroizing::new(url.to_string()))
    }

    /// The address as it may be shown.
    pub fn shown(&self) -> String {
        match self {
            Self::Receiver(receiver) => receiver.shown(),
            Self::Subscriber(subscriber) => subscriber.shown(),
            Self::Database(address) => address.shown(),
        }
    }

    /// Of a database: which one it is, whoever asks: host, port and name. Empty for others.
    pub fn place(&self) -> String {
        match self {
            Self::Receiver(_) | Self::Subscriber(_) => String::new(),
            Self::Database(address) => address.place(),
        }
    }

    /// Lets go of what a target keeps there, once it is gone: another one may have its place. Rows stay.
    ///
    /// # Errors
    /// Why it couldn't be said there, without secrets.
    pub async fn leave(&self, clients: &Clients, target: &Target) -> Result<(), String> {
        match self {
            Self::Receiver(_) | Self::Subscriber(_) => Ok(()),
            Self::Database(address) => {
                mirror::leave(&clients.relays, address, target, VERIFICATION_TIMEOUT).await
            }
        }
    }

    /// Asks whether it takes deliveries, before a target goes there. Subscribers are asked on demand
    /// ([`Subscriber::test`]). `signing_secret` is the target's, `mirror` what a database is to take first.
    ///
    /// # Errors
    /// Why not, without secrets.
    pub async fn verify(
        &self,
        clients: &Clients,
        clock: &Clock,
        signing_secret: &str,
        mirror: Option<Mirror<'_>>,
    ) -> Result<(), String> {
        match self {
            Self::Receiver(receiver) => {
                receiver.verify(&clients.poster, signing_secret, clock.now()).await
            }
            Self::Subscriber(_) => Ok(()),
            Self::Database(address) => {
                mirror::verify(&clients.relays, address, mirror, VERIFICATION_TIMEOUT).await
            }
        }
    }
}

pub(super) fn url(text: &str) -> Result<Url, String> {
    let text = text.trim();
    if text.len() > URL_BYTES_MAX {
        return Err(format!("must not be longer than {URL_BYTES_MAX} bytes"));
    }
    Url::parse(text).map_err(|error| format!("must be a URL: {error}"))
}

/// A URL without user and password, as if it had hidden ones.
pub(super) fn masked(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://***:***@{rest}"),
        None => url.to_owned(),
    }
}

/// Of a path so many segments are shown.
const SEGMENTS_SHOWN: usize = 3;

/// The beginning of a path, without what may be a token: services that take posts from anybody often
/// have one there.
pub(super) fn shown_path(path: &str) -> String {
    let mut segments = path.trim_start_matches('/').split('/');
    let mut shown = String::new();
    for segment in segments.by_ref().take(SEGMENTS_SHOWN) {
        shown.push('/');
        shown.push_str(if may_be_token(segment) { "…" } else { segment });
    }
    let rest: Vec<&str> = segments.collect();
    match rest.as_slice() {
        [] => {}
        [""] => shown.push('/'),
        _ => shown.push_str("/…"),
    }
    shown
}

/// It is long, or longer than a word and made of letters and digits.
fn may_be_token(segment: &str) -> bool {
    const CHARS_MAX: usize = 20;
    const MIXED_CHARS_MAX: usize = 12;
    let chars = segment.chars().count();
    let has = |is: fn(char) -> bool| segment.chars().any(is);
    let is_mixed = has(char::is_alphabetic) && has(char::is_numeric);
    chars > CHARS_MAX || is_mixed && chars > MIXED_CHARS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: DestinationRules =
        DestinationRules { allow_http: true, allow_private_addresses: false };

    #[test]
    fn credentials_are_replaced() {
        for (kind, url, shown) in [
            (Kind::Http, "https://u:p@a.example/x", "https://***:***@a.example/x"),
            (Kind::Db, "postgres://u:p@a.example/x", "postgres://***:***@a.example:5432/x"),
        ] {
            let replaced = Destination::with_credentials(url, "v w", "q:/").unwrap();
            assert!(replaced.contains("://v%20w:q%3A%2F@a.example/x"), "{}", *replaced);
            assert_eq!(Destination::parse(kind, &replaced, RULES).unwrap().shown(), shown);
        }
    }

    #[test]
    fn paths_are_shown_without_tokens() {
        for (path, shown) in [
            ("/", "/"),
            ("", "/"),
            ("/sync", "/sync"),
            ("/calendar-events/", "/calendar-events/"),
            ("/api/42/envelope/", "/api/42/envelope/"),
            ("/v1/abc123def456/x", "/v1/abc123def456/x"),
            ("/v1/abc123def4567", "/v1/…"),
            ("/twenty-letters-is-ok", "/twenty-letters-is-ok"),
            ("/one-more-than-a-twenty", "/…"),
            ("/123456789012345678", "/123456789012345678"),
            ("/a/b/c/d", "/a/b/c/…"),
            ("/a/b/c/d/", "/a/b/c/…"),
            ("//hush0123456789", "/…"),
        ] {
            assert_eq!(shown_path(path), shown, "{path}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for kind in [Kind::Http, Kind::Db, Kind::Notification] {
            for text in ["secret", "", &format!("https://secret@a.example/{:04097}", 0)] {
                let error = Destination::parse(kind, text, RULES).unwrap_err();
                assert!(error.starts_with("must ") && !error.contains("secret"), "{error}");
            }
        }
    }
}
