//! The sections of the configuration.

use std::net::SocketAddr;

use serde::Deserialize;

use super::Hidden;

/// `[server]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config.default.toml says what each is")]
pub struct Server {
    pub listen: SocketAddr,
    pub public_url: String,
    pub connections_max: usize,
    pub header_timeout_ms: u64,
    pub body_timeout_ms: u64,
    pub drain_ms: u64,
    pub shutdown_timeout_ms: u64,
}

/// `[login]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config.default.toml says what each is")]
pub struct Login {
    pub allowed_emails: String,
    pub strangers_max: i64,
    pub client_strangers_max: i64,
}

/// `[smtp]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config.default.toml says what each is")]
pub struct Smtp {
    pub url: Hidden,
    pub from: String,
}

/// `[log]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config.default.toml says what each is")]
pub struct Log {
    pub format: LogFormat,
    pub level: String,
}

/// `[trace]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config.default.toml says what each is")]
pub struct Trace {
    pub otlp_endpoint: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum LogFormat {
    Text,
    Json,
}

/// `[run]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config.default.toml says what each is")]
pub struct Run {
    pub workers: usize,
    pub organization_leases_max: i64,
    pub lease_ttl_ms: u64,
    pub poll_ms: u64,
    pub turn_ms: u64,
    pub back_off_base_ms: u64,
    pub back_off_max_ms: u64,
}

/// `[retention]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config.default.toml says what each is")]
pub struct Retention {
    pub inbox_hours: u64,
    pub parked_days: u64,
    pub tombstone_days: u64,
    pub left_days: u64,
    pub stale_row_days: u64,
}

/// `[push]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config.default.toml says what each is")]
pub struct PushSettings {
    pub allow_http: bool,
}

/// `[delivery]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config.default.toml says what each is")]
pub struct Delivery {
    pub workers: usize,
    pub timeout_ms: u64,
    pub turn_ms: u64,
    pub period_min_s: i64,
    pub back_off_base_ms: u64,
    pub back_off_max_ms: u64,
    pub alert_after_s: u64,
    pub pause_after_s: u64,
    pub allow_http: bool,
    pub allow_private_addresses: bool,
}

/// `[limits]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config.default.toml says what each is")]
pub struct Limits {
    pub webhook_body_max_bytes: usize,
    pub accept_timeout_ms: u64,
    pub request_timeout_ms: u64,
    pub sql_rows_max: usize,
    pub sql_bytes_max: usize,
    pub sql_timeout_ms: u64,
    pub sql_memory_bytes_max: u64,
    pub api_sql_rows_max: usize,
    pub api_sql_bytes_max: usize,
    pub api_sql_timeout_ms: u64,
    pub api_sql_memory_bytes_max: u64,
    pub api_sql_queries_max: usize,
    pub api_sql_organization_queries_max: usize,
    pub api_sql_wait_ms: u64,
    pub customer_organizations_max: i64,
    pub invitations_max: i64,
    pub invitations_a_day_max: i64,
}
