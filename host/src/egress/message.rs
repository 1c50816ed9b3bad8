//! Requests and answers as plain data; they mirror `wit/http.wit`.

use crate::model::Failure;

/// Text that may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Sent as it is.
    Text(String),
    /// Name of a secret of the manifest.
    Secret(String),
    /// Base64 of `user:password`; both are names of secrets.
    #[allow(missing_docs)]
    Basic { user: String, password: String },
}

/// One request of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// In upper case.
    pub method: String,
    /// Percent-encoded by the guest, sent as it is.
    pub url: String,
    /// Encoded by the host and appended to the URL.
    pub query: Vec<(String, Part)>,
    /// Each value is its parts joined.
    pub headers: Vec<(String, Vec<Part>)>,
    /// What is sent.
    pub body: Body,
    /// Until the whole answer is there.
    pub timeout_ms: Option<u32>,
}

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// No body.
    None,
    /// Sent as they are.
    Bytes(Vec<u8>),
    /// `application/x-www-form-urlencoded`.
    Form(Vec<(String, Part)>),
    /// `application/json`: the parts joined; a secret stands for a whole JSON string.
    Json(Vec<Part>),
}

/// An answer, of whatever status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Decoded.
    pub body: Vec<u8>,
}

/// Why there is no answer. No text holds a secret or a query.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HttpError {
    /// Not granted. The text says what to add to the manifest or the grant.
    #[error("denied: {0}")]
    Denied(String),
    /// No connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// No whole answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The answer is larger than so many bytes, the cap.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(u64),
    /// TLS, protocol, or the body broke off.
    #[error("transfer failed: {0}")]
    Transfer(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
    /// The guest doesn't see this one: its call ends here with this failure.
    #[error("the call ends: {0}")]
    Ended(Failure),
}

/// Whether a secret can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// There, and alive for a while.
    Present,
    /// Not there, expired, or about to expire.
    Missing,
}
