//! Whether a webhook may come in: by the manifest's list, in its order.

pub mod sign;

use axum::http::HeaderMap;
use rowgate_manifest::{Webhook, WebhookAuth};
use subtle::ConstantTimeEq;

/// What a request shows of itself, before anything is looked up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Claim<'a> {
    /// It claims to know this secret of the configuration.
    Secret {
        /// Name of the configuration value.
        name: &'a str,
        /// What it sent.
        presented: &'a [u8],
    },
    /// It claims to come from a push channel.
    Channel {
        /// The channel's id.
        id: &'a [u8],
        /// The channel's token; empty if none was sent.
        token: &'a [u8],
        /// The vendor's own id of the channel.
        vendor_id: Option<&'a [u8]>,
        /// Its body is data for the component.
        data: bool,
    },
}

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// No header that the manifest lists was sent.
    #[error("missing secret header")]
    Missing,
    /// What was sent isn't what is stored.
    #[error("secret mismatch")]
    Mismatch,
}

/// The first entry of the manifest's list whose header is present decides.
pub fn claim<'a>(
    webhook: Option<&'a Webhook>,
    headers: &'a HeaderMap,
) -> Result<Claim<'a>, Rejected> {
    let header = |name: &str| headers.get(name).map(|value| value.as_bytes());
    let entries = webhook.map_or(&[][..], |webhook| &webhook.auth);
    let found = entries.iter().find_map(|entry| match entry {
        WebhookAuth::Header { header: name, secret } => {
            Some(Claim::Secret { name: secret, presented: header(name)? })
        }
        WebhookAuth::Channel { id, token, vendor_id, data } => Some(Claim::Channel {
            id: header(id)?,
            token: header(token).unwrap_or_default(),
            vendor_id: vendor_id.as_deref().and_then(header),
            data: *data,
        }),
    });
    found.ok_or(Rejected::Missing)
}

/// Compares in constant time. A blank secret matches nothing, not even a blank header.
pub fn matches(presented: &[u8], stored: &[u8]) -> bool {
    !stored.trim_ascii().is_empty() && bool::from(presented.ct_eq(stored))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook() -> Webhook {
        Webhook {
            headers: Vec::new(),
            auth: vec![
                WebhookAuth::Channel {
                    id: "x-channel-id".into(),
                    token: "x-channel-token".into(),
                    vendor_id: Some("x-vendor-id".into()),
                    data: false,
                },
                WebhookAuth::Header {
                    header: "whdb-webhook-secret".into(),
                    secret: "webhook_secret".into(),
                },
            ],
            body: Default::default(),
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (axum::http::HeaderName::from_static(name), value.parse().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn the_first_header_that_is_present_decides() {
        let hook = webhook();
        let both = headers(&[("whdb-webhook-secret", "s"), ("x-channel-id", "c")]);
        let channel = Claim::Channel { id: b"c", token: b"", vendor_id: None, data: false };
        assert_eq!(claim(Some(&hook), &both), Ok(channel));
        let whole =
            headers(&[("x-channel-id", "c"), ("x-channel-token", "t"), ("x-vendor-id", "v")]);
        let channel = Claim::Channel { id: b"c", token: b"t", vendor_id: Some(b"v"), data: false };
        assert_eq!(claim(Some(&hook), &whole), Ok(channel));
        let secret = headers(&[("whdb-webhook-secret", "s")]);
        let named = Claim::Secret { name: "webhook_secret", presented: b"s" };
        assert_eq!(claim(Some(&hook), &secret), Ok(named));
        assert_eq!(claim(Some(&hook), &headers(&[("other", "s")])), Err(Rejected::Missing));
        assert_eq!(claim(None, &secret), Err(Rejected::Missing));
    }

    #[test]
    fn blank_secrets_match_nothing() {
        assert!(matches(b"s3cret", b"s3cret"));
        for (presented, stored) in
            [("", ""), (" ", " "), ("a", ""), ("", "a"), ("s3cre", "s3cret"), ("S3cret", "s3cret")]
        {
            assert!(!matches(presented.as_bytes(), stored.as_bytes()), "{presented:?} {stored:?}");
        }
    }
}
