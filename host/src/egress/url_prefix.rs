//! Origins, URL prefixes, and the URL of a request made fit to be compared with them.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use url::Url;

const URL_BYTES_MAX: usize = 16_384;

/// Scheme, host and port; `https://*` is any host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of an absolute http or https URL, whatever its path.
    ///
    /// # Errors
    /// If it is no such URL.
    pub fn of(url: &str) -> Result<Self, String> {
        Ok(UrlPrefix::parse(url)?.origin)
    }

    pub(super) fn of_url(url: &Url) -> Self {
        Self {
            scheme: url.scheme().to_owned(),
            host: url.host_str().unwrap_or_default().to_owned(),
            port: url.port_or_known_default().unwrap_or(0),
        }
    }

    pub(super) fn is_any_host(&self) -> bool {
        self.host == "*"
    }

    pub(super) fn covers(&self, other: &Self) -> bool {
        let host = self.is_any_host() || self.host == other.host;
        host && self.scheme == other.scheme && self.port == other.port
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match (self.scheme.as_str(), self.port) {
            ("http", 80) | ("https", 443) => Ok(()),
            (_, port) => write!(f, ":{port}"),
        }
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let prefix = UrlPrefix::parse(text)?;
        if !prefix.path.is_empty() {
            return Err(format!("`{text}` is more than an origin: leave the path out"));
        }
        Ok(prefix.origin)
    }
}

impl TryFrom<String> for Origin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.to_string()
    }
}

/// An origin and the beginning of a path, which ends at a segment's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UrlPrefix {
    pub(super) origin: Origin,
    /// Without a slash at its end.
    path: String,
}

impl UrlPrefix {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        // Not a host that a URL may have: taken out before parsing.
        let (text_without, any_host) = match text.split_once("://*") {
            Some((scheme, rest)) => (format!("{scheme}://any-host{rest}"), true),
            None => (text.to_owned(), false),
        };
        let url = parse_target(&text_without).map_err(|error| format!("`{text}`: {error}"))?;
        if url.query().is_some() {
            return Err(format!("`{text}`: a URL prefix has no query"));
        }
        let mut origin = Origin::of_url(&url);
        if any_host {
            if origin.host != "any-host" {
                return Err(format!("`{text}`: `*` stands for a whole host"));
            }
            origin.host = "*".into();
        }
        Ok(Self { origin, path: url.path().trim_end_matches('/').to_owned() })
    }

    pub(super) fn covers(&self, url: &Url) -> bool {
        let Some(rest) = url.path().strip_prefix(&self.path) else { return false };
        self.origin.covers(&Origin::of_url(url)) && (rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for UrlPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

/// Parses the URL of a request, and refuses what a server could read in another way than we do:
/// userinfo, backslashes, and dot segments that hide behind encoded slashes.
pub(super) fn parse_target(text: &str) -> Result<Url, String> {
    if text.len() > URL_BYTES_MAX {
        return Err(format!("the URL is longer than {URL_BYTES_MAX} bytes"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return Err("the URL isn't percent-encoded".into());
    }
    if text.contains('#') {
        return Err("the URL has a fragment".into());
    }
    let url = Url::parse(text).map_err(|error| format!("not an absolute URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("the scheme `{}` isn't http or https", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL has a user name or password: use a secret in a header".into());
    }
    if climbs(url.path()) {
        return Err("the path has encoded dot segments".into());
    }
    Ok(url)
}

/// Would a server that decodes the path, even several times, find `.` or `..` as a segment?
fn climbs(path: &str) -> bool {
    const ROUNDS: usize = 4;
    let mut path = path.to_owned();
    for _ in 0..ROUNDS {
        if path.split(['/', '\\']).any(|segment| matches!(segment, "." | "..")) {
            return true;
        }
        let decoded = percent_decode_str(&path).decode_utf8_lossy().into_owned();
        if decoded == path {
            return false;
        }
        path = decoded;
    }
    // Encoded more often than anybody has a reason to.
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_at_segments() {
        let cases = [
            ("https://a.example/api", "https://a.example/api", true),
            ("https://a.example/api", "https://a.example/api/", true),
            ("https://a.example/api", "https://a.example/api/x?y=../..", true),
            ("https://a.example/api/", "https://a.example/api", true),
            ("https://a.example/api", "https://A.EXAMPLE:443/api/x", true),
            ("https://A.example:443", "https://a.example/anything", true),
            ("https://a.example/api", "https://a.example/api/a%2Fb", true),
            ("https://a.example/api", "https://a.example/api/en.usa%23holiday%40g", true),
            ("https://*", "https://b.example/x", true),
            ("https://*/feeds", "https://b.example/feeds/1", true),
            ("https://a.example/api", "https://a.example/apix", false),
            ("https://a.example/api", "https://a.example/api/../admin", false),
            ("https://a.example/api", "https://a.example/api/%2e%2e/admin", false),
            ("https://a.example/api", "https://a.example/x/api", false),
            ("https://a.example/api", "https://a.example/Api", false),
            ("https://a.example/api", "http://a.example/api", false),
            ("https://a.example/api", "https://a.example:8443/api", false),
            ("https://a.example/api", "https://a.example./api", false),
            ("https://a.example/api", "https://b.a.example/api", false),
            ("https://a.example/api", "https://a.example.evil.example/api", false),
            ("https://*", "http://b.example/x", false),
            ("https://*", "https://b.example:8443/x", false),
        ];
        for (prefix, url, expected) in cases {
            let prefix = UrlPrefix::parse(prefix).unwrap();
            assert_eq!(prefix.covers(&parse_target(url).unwrap()), expected, "{prefix} {url}");
        }
    }

    #[test]
    fn ambiguous_urls_are_refused() {
        for url in [
            "https://user@a.example/",
            "https://u:p@a.example/",
            "https://a.example\\@b.example/",
            "https://a.example/a b",
            "https://a.example/\t",
            "https://a.example/ä",
            "https://a.example/#x",
            "ftp://a.example/",
            "file:///etc/passwd",
            "/api",
            "a.example",
            "https://a.example/api/..%2f..%2fadmin",
            "https://a.example/api/%2e%2e%5cadmin",
            "https://a.example/api/%252e%252e%252fadmin",
            "https://a.example/api/x%2f.%2fy",
            "https://a.example/api/%25252525252e",
            "data:text/plain,x",
        ] {
            assert!(parse_target(url).is_err(), "{url}");
        }
        assert!(parse_target(&format!("https://a.example/{}", "x".repeat(20_000))).is_err());
    }

    #[test]
    fn origins_are_read_and_written() {
        for (text, expected) in [
            ("https://A.example:443/", Some("https://a.example")),
            ("http://127.0.0.1:4920", Some("http://127.0.0.1:4920")),
            ("http://[::1]:80", Some("http://[::1]")),
            ("http://0x7f.1", Some("http://127.0.0.1")),
            ("https://*", Some("https://*")),
            ("https://*.example", None),
            ("https://a.example/x", None),
            ("a.example", None),
        ] {
            let origin = text.parse::<Origin>().ok().map(|origin| origin.to_string());
            assert_eq!(origin.as_deref(), expected, "{text}");
        }
        assert_eq!(Origin::of("http://h:1/a/b").unwrap().to_string(), "http://h:1");
    }
}
