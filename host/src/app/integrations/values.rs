//! Values of a service's configuration: checked, made, and what is granted with them.

use std::net::IpAddr;

use rowgate_manifest::{ConfigField, ConfigKind};
use url::{Host, Url};

use super::Refusal;
use crate::chance::Chance;
use crate::store::integrations::Grant;

/// A value that nobody typed.
pub(super) fn generate(recipe: &str, chance: &Chance) -> Result<String, Refusal> {
    let bytes = recipe.strip_prefix("base36/").and_then(|bytes| bytes.parse().ok());
    match bytes {
        Some(bytes @ 8..=16) => Ok(chance.base36(bytes)),
        _ => Err(Refusal::Conflict(format!(
            "the manifest asks to generate `{recipe}`, which this program doesn't know"
        ))),
    }
}

/// The value as it is stored, or what is wrong with it.
pub(super) fn checked(name: &str, kind: ConfigKind, value: &str) -> Result<String, Refusal> {
    let invalid = |reason: &str| Err(Refusal::invalid(name, reason));
    let value = match kind {
        ConfigKind::Text => value.to_owned(),
        ConfigKind::Url => match checked_url(value) {
            Ok(url) => url,
            Err(reason) => return invalid(reason),
        },
    };
    if value.trim().is_empty() {
        return invalid("must not be empty");
    }
    if value.contains('\0') {
        return invalid("must not contain the character NUL");
    }
    Ok(value)
}

/// The origin of a URL that isn't the manifest's own.
pub(super) fn grant(field: &ConfigField, value: &str) -> Option<Grant> {
    if field.kind != ConfigKind::Url || field.default.as_deref() == Some(value) {
        return None;
    }
    let url = Url::parse(value).ok()?;
    let origin = url.origin().ascii_serialization();
    Some(Grant { origin, private_addresses: is_private(&url) })
}

fn checked_url(text: &str) -> Result<String, &'static str> {
    let url = Url::parse(text.trim()).map_err(|_| "must be an absolute URL")?;
    let wrong = [
        (!matches!(url.scheme(), "http" | "https"), "must be an http or https URL"),
        (!url.has_host(), "must have a host"),
        (!url.username().is_empty() || url.password().is_some(), "must not hold a password"),
        (url.query().is_some() || url.fragment().is_some(), "must end with its path"),
    ];
    match wrong.into_iter().find(|(wrong, _)| *wrong) {
        Some((_, reason)) => Err(reason),
        None => Ok(url.as_str().trim_end_matches('/').to_owned()),
    }
}

/// Whether a URL names this machine or a private network by address. Names that resolve to such
/// addresses aren't granted them.
fn is_private(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => {
            address.is_loopback() || address.is_private() || address.is_link_local()
        }
        Some(Host::Ipv6(address)) => match address.to_canonical() {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
            IpAddr::V6(v6) => {
                v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local()
            }
        },
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked_and_private_ones_known() {
        for (text, stored, private) in [
            ("https://www.example.com/v3/", "https://www.example.com/v3", false),
            ("http://127.0.0.1:4920/calendar/v3", "http://127.0.0.1:4920/calendar/v3", true),
            ("http://localhost:1", "http://localhost:1", true),
            ("http://10.1.2.3/a", "http://10.1.2.3/a", true),
            ("http://[::1]:80/a", "http://[::1]/a", true),
            ("http://[::ffff:192.168.0.1]/a", "http://[::ffff:c0a8:1]/a", true),
            ("http://8.8.8.8/a", "http://8.8.8.8/a", false),
        ] {
            let url = checked_url(text).unwrap();
            assert_eq!(url, stored);
            assert_eq!(is_private(&Url::parse(&url).unwrap()), private, "{text}");
        }
        for text in ["", "example.com", "ftp://a/b", "http://u:p@a/b", "http://a/b?c", "http://a/#"]
        {
            assert!(checked_url(text).is_err(), "{text}");
        }
    }
}
