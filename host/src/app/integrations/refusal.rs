//! Why an integration can't be made or changed so.

use crate::store::Error;

/// See the module. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No active plugin offers the service.
    #[error("no active plugin offers `{service}`; there are: {}", list(.offered))]
    UnknownService {
        /// What was asked for.
        service: String,
        /// What there is.
        offered: Vec<String>,
    },
    /// The service has no such setting.
    #[error("`{service}` has no setting `{name}`; there are: {}", list(.known))]
    UnknownSetting {
        /// The service.
        service: String,
        /// What was given.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A value that doesn't fit.
    #[error("`{name}`: {reason}")]
    Invalid {
        /// Name of the setting.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// There is nothing that it could hang under.
    #[error("`{service}` depends on {parent}: create a {parent} integration first")]
    NoParent {
        /// What was to be made.
        service: String,
        /// What it depends on.
        parent: String,
    },
    /// Only the host's operator may do that.
    #[error("`{name}`: {reason}")]
    Operator {
        /// Name of the setting.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// No such integration.
    #[error("there is no integration `{0}`")]
    Unknown(String),
    /// Something else is in the way.
    #[error("{0}")]
    Conflict(String),
    /// The store's.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Refusal {
    pub(in crate::app) fn invalid(name: &str, reason: impl Into<String>) -> Self {
        Self::Invalid { name: name.to_owned(), reason: reason.into() }
    }
}

/// Names in a sentence.
pub(super) fn list<S: AsRef<str>>(names: &[S]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
