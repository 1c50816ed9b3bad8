//! What a guest call needs of the rest of the host.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::egress::{HttpError, HttpRequest, HttpResponse, Presence};
use crate::model::{Failure, Scalar, Write};

/// The outside of one guest call. One call at a time uses it, so an implementation may keep state
/// of that call (who is leased, which version of a secret was sent).
pub trait Environment: Send + Sync {
    /// Sends a request of the guest.
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, HttpError>>;

    /// Is the secret there and alive? `name` is one of the manifest's.
    fn secret<'a>(&'a self, name: &'a str, wait: bool) -> BoxFuture<'a, Presence>;

    /// Forgets the value of the secret that this call sent. `name` is one of the manifest's.
    fn forget<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()>;

    /// One row by its key, as it stands with the `pending` writes of this call.
    fn lookup<'a>(
        &'a self,
        table: &'a str,
        key: Vec<Scalar>,
        columns: Vec<String>,
        pending: &'a [Arc<Write>],
    ) -> BoxFuture<'a, Result<Option<Vec<Scalar>>, DbError>>;

    /// Takes a write, unless the guest may not make it; those of one call in their order. Everything in it is
    /// as the guest gave it: lengths, offsets and UTF-8 are unchecked.
    fn take(&self, write: &Arc<Write>) -> Result<(), DbError>;

    /// One line for the operator.
    fn log(&self, level: LogLevel, message: String, fields: Vec<(String, String)>);
}

/// Why a write or a lookup of a guest is refused. A call that was refused once is never committed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub enum DbError {
    #[error("unknown table: {0}")]
    UnknownTable(String),
    #[error("unknown column: {0}")]
    UnknownColumn(String),
    #[error("wrong type: {0}")]
    WrongType(String),
    #[error("limit: {0}")]
    Limit(String),
    #[error("{0}")]
    Other(String),
    /// The guest doesn't see this one: its call ends here with this failure.
    #[error("the call ends: {0}")]
    Ended(Failure),
}

/// Weight of a line that a guest logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}
