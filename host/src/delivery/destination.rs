//! Where a target is: the address as the customer gave it, checked.

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use url::{Host, Url};
use zeroize::Zeroizing;

/// What the operator allows beside https to public addresses.
#[derive(Clone, Copy, Debug, Default)]
pub struct DestinationRules {
    /// `http` to this machine.
    pub allow_http: bool,
    /// Private ranges of addresses.
    pub allow_private_addresses: bool,
}

/// An address that may be posted to.
pub struct Destination {
    /// Without user and password.
    pub url: Url,
    /// The value of `Authorization`, where it names a user or password.
    pub authorization: Option<HeaderValue>,
    /// Loopback and private ranges may be connected to.
    pub private_addresses: bool,
}

const URL_BYTES_MAX: usize = 4_096;

impl Destination {
    /// Checks an address that must name a user or password.
    ///
    /// # Errors
    /// What is wrong with it, without its secrets.
    pub fn parse(text: &str, rules: DestinationRules) -> Result<Self, String> {
        let destination = Self::parse_open(text, rules)?;
        match destination.authorization {
            Some(_) => Ok(destination),
            None => Err("must name a user or password: https://user:password@host/path".into()),
        }
    }

    /// Checks an address whose receiver may know posts by something else.
    ///
    /// # Errors
    /// What is wrong with it, without its secrets.
    pub fn parse_open(text: &str, rules: DestinationRules) -> Result<Self, String> {
        let text = text.trim();
        if text.len() > URL_BYTES_MAX {
            return Err(format!("must not be longer than {URL_BYTES_MAX} bytes"));
        }
        let mut url = Url::parse(text).map_err(|error| format!("must be a URL: {error}"))?;
        let loopback = is_loopback(&url);
        match url.scheme() {
            "https" => {}
            "http" if rules.allow_http && loopback => {}
            "http" if rules.allow_http => {
                return Err("must be https; http is for receivers on this machine".into());
            }
            _ => return Err("must be like https://user:password@host/path".into()),
        }
        let names_somebody = !url.username().is_empty() || url.password().is_some_and(is_given);
        let authorization = names_somebody.then(|| basic(&url)).transpose()?;
        url.set_fragment(None);
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        cleared.map_err(|()| "must have a host".to_owned())?;
        let http = url.scheme() == "http";
        Ok(Self { url, authorization, private_addresses: http || rules.allow_private_addresses })
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
        let mut url = Url::parse(text).map_err(|error| format!("must be a URL: {error}"))?;
        let set = url.set_username(user).and_then(|()| {
            url.set_password(Some(password).filter(|password| !password.is_empty()))
        });
        set.map_err(|()| "must have a host".to_owned())?;
        Ok(Zeroizing::new(url.to_string()))
    }

    /// The address as it may be shown: user, password and query hidden.
    pub fn shown(&self) -> String {
        let mut url = self.url.clone();
        if url.query().is_some() {
            url.set_query(Some("***"));
        }
        let text = url.to_string();
        match text.split_once("://").filter(|_| self.authorization.is_some()) {
            Some((scheme, rest)) => format!("{scheme}://***:***@{rest}"),
            None => text,
        }
    }
}

fn is_given(text: &str) -> bool {
    !text.is_empty()
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

impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP: DestinationRules =
        DestinationRules { allow_http: true, allow_private_addresses: false };

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
            let found = Destination::parse(text, HTTP).unwrap();
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
            ("http://u:secret@127.0.0.1/", DestinationRules::default(), "must be like https"),
            ("ftp://u:secret@a.example/", HTTP, "must be like https"),
            ("secret", HTTP, "must be a URL"),
            ("https://a%3Ab:secret@a.example/", HTTP, "colon"),
        ] {
            let error = Destination::parse(text, rules).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn some_receivers_need_no_user() {
        let found = Destination::parse_open("https://a.example/x?key=hush", HTTP).unwrap();
        assert_eq!((found.authorization.is_none(), found.private_addresses), (true, false));
        assert_eq!(found.shown(), "https://a.example/x?***");
        let found = Destination::parse_open("https://u:p@a.example/", HTTP).unwrap();
        assert_eq!(found.shown(), "https://***:***@a.example/");
        for refused in ["http://a.example/", "ftp://a.example/", "a.example"] {
            assert!(Destination::parse_open(refused, HTTP).is_err(), "{refused}");
        }
    }

    #[test]
    fn credentials_are_replaced() {
        let url = Destination::with_credentials("https://u:p@a.example/x", "v w", "q:/").unwrap();
        let found = Destination::parse(&url, HTTP).unwrap();
        assert_eq!(found.authorization.unwrap(), "Basic diB3OnE6Lw==");
        assert_eq!(found.url.as_str(), "https://a.example/x");
    }
}
