//! Whether vendors can be asked to push: only to an address that they would take.

use super::Config;

/// Whether push is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push {
    /// Channels get addresses below this URL, which has no trailing slash.
    On(String),
    /// Why not, and what to do; polling serves.
    Off(String),
}

impl Push {
    /// The base URL, where push is on.
    pub fn base_url(self) -> Option<String> {
        match self {
            Self::On(base_url) => Some(base_url),
            Self::Off(_) => None,
        }
    }
}

impl Config {
    /// Whether vendors can push to a host that is reached at `public_url`.
    pub fn push_to(&self, public_url: &str) -> Push {
        push(public_url, self.push.allow_http)
    }
}

fn push(public_url: &str, allow_http: bool) -> Push {
    let is = |scheme: &str| {
        public_url.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme))
    };
    if is("https://") || (allow_http && is("http://")) {
        return Push::On(public_url.trim_end_matches('/').to_owned());
    }
    Push::Off(format!(
        "off, polling serves: vendors only post to https, and this host is reached at {public_url}; \
         set server.public_url"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let on = |url: &str| Some(url.to_owned());
        let cases = [
            ("https://sync.example.org", false, on("https://sync.example.org")),
            ("https://sync.example.org/rowgate/", false, on("https://sync.example.org/rowgate")),
            ("HTTPS://sync.example.org", false, on("HTTPS://sync.example.org")),
            ("https://sync.example.org", true, on("https://sync.example.org")),
            ("http://127.0.0.1:18001", false, None),
            ("http://127.0.0.1:18001", true, on("http://127.0.0.1:18001")),
            ("ftp://sync.example.org", true, None),
            ("", true, None),
        ];
        for (public_url, allow_http, base_url) in cases {
            assert_eq!(
                push(public_url, allow_http).base_url(),
                base_url,
                "{public_url} {allow_http}"
            );
        }
    }
}
