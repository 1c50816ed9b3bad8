//! Secrets, and what a plugin wants to reach.

use serde::{Deserialize, Serialize};

/// A secret that requests may name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// Filled from this configuration value.
    #[serde(default)]
    pub config: Option<String>,
    /// Else kept for each owner, or each push channel.
    #[serde(default)]
    pub per: Option<SecretScope>,
    /// URL prefixes it may be sent to, with `{config}` references. Empty: never sent.
    pub to: Vec<String>,
    /// Taken from answers.
    #[serde(default)]
    pub captured: Option<Captured>,
    /// Forgotten when one of these secrets changes.
    #[serde(default)]
    pub forget_with: Vec<String>,
}

/// Whom a secret belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum SecretScope {
    Owner,
    Channel,
}

/// Where an answer holds a secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Captured {
    /// URL prefix of the answering endpoint.
    pub from: String,
    /// JSON pointer (RFC 6901) of the secret.
    pub at: String,
    /// JSON pointer of its life in seconds.
    #[serde(default)]
    pub expires_in: Option<String>,
    /// Seconds taken off that life.
    #[serde(default)]
    pub margin_s: u64,
}

/// Something that the plugin wants to reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    /// URL prefix, with `{config}` references.
    pub url: String,
    /// Methods in upper case.
    pub methods: Vec<String>,
    /// The vendor's limits.
    #[serde(default)]
    pub limits: Vec<RateLimit>,
}

/// A vendor's limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Whom the vendor counts.
    pub per: RateScope,
    /// So many requests in a window.
    pub requests: u64,
    /// Length of the window, seconds.
    pub window_s: u64,
    /// The pace we keep, requests a second.
    pub rate_s: u64,
}

/// Whom a vendor counts requests for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum RateScope {
    Owner,
    Tree,
}
