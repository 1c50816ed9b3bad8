//! A connection to a customer's database, and what is said over it.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};

use super::DatabaseAddress;
use super::failure::told;
use crate::egress::{Relay, Relays};

/// A connection to a customer's database.
pub(in crate::delivery) struct Session {
    pub(super) connection: PgConnection,
    /// The mirror was found as it must be.
    pub(super) prepared: bool,
    _relay: Relay,
}

/// Why nothing came of what was said to a server.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unheard {
    #[error("no answer in time")]
    Late,
    /// In words.
    #[error("{0}")]
    Said(String),
}

impl Session {
    pub(super) async fn open(relays: &Relays, address: &DatabaseAddress) -> Result<Self, String> {
        let relay = relays.open(&address.server).await.map_err(|error| error.to_string())?;
        // Nothing but PGOPTIONS is left to what the environment says of other databases. TLS is the
        // relay's business.
        let options = PgConnectOptions::new_without_pgpass()
            .socket(relay.directory())
            .port(Relay::PORT)
            .username(&address.user)
            .password(&address.password)
            .database(&address.database)
            .ssl_mode(PgSslMode::Disable)
            .application_name("rowgate")
            // Poolers take no settings that they don't know.
            .extra_float_digits(None)
            .disable_statement_logging();
        let connection = options.connect().await.map_err(|error| told(&error, address))?;
        Ok(Self { connection, prepared: false, _relay: relay })
    }
}

/// What is said to a server, in time and whatever it answers: sqlx panics on messages that PostgreSQL
/// wouldn't send, and on users that SCRAM has no form of.
pub(super) async fn contained<T>(
    timeout: Duration,
    said: impl Future<Output = Result<T, String>>,
) -> Result<T, Unheard> {
    match tokio::time::timeout(timeout, AssertUnwindSafe(said).catch_unwind()).await {
        Ok(Ok(ended)) => ended.map_err(Unheard::Said),
        Ok(Err(_)) => {
            let text = "it doesn't speak as PostgreSQL does, or not with such a user";
            Err(Unheard::Said(text.into()))
        }
        Err(_) => Err(Unheard::Late),
    }
}
