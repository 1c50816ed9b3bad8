//! Failures: a cause, and what the host shall do about it.

use crate::bindings::rowgate::plugin::{db, http};
use crate::{Failure, Retry, RetryScope};

impl Failure {
    /// Run this stream again, with the host's back-off.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::retry_in(RetryScope::ThisStream, reason, None)
    }

    /// Pause everything in `scope`, for `after_ms` milliseconds if given, else with back-off.
    pub fn retry_in(scope: RetryScope, reason: impl Into<String>, after_ms: Option<u64>) -> Self {
        Self::Retry(Retry { reason: reason.into(), after_ms, scope })
    }

    /// Run again without a cursor.
    pub fn cursor_expired(reason: impl Into<String>) -> Self {
        Self::CursorExpired(reason.into())
    }

    /// The owner must link again.
    pub fn reauthorise(reason: impl Into<String>) -> Self {
        Self::Reauthorise(reason.into())
    }

    /// The operator must correct the configuration.
    pub fn misconfigured(reason: impl Into<String>) -> Self {
        Self::Misconfigured(reason.into())
    }

    /// Somebody broke a contract: this plugin, or the vendor.
    pub fn bug(reason: impl Into<String>) -> Self {
        Self::Bug(reason.into())
    }
}

impl From<http::Error> for Failure {
    fn from(error: http::Error) -> Self {
        match error {
            http::Error::Denied(text) => Self::Bug(format!("request denied: {text}")),
            http::Error::Timeout => Self::retry("no answer in time"),
            http::Error::TooLarge(cap) => Self::TooLarge(format!("answer above {cap} bytes")),
            http::Error::Connect(text) => Self::retry(format!("no connection: {text}")),
            http::Error::Transfer(text) => Self::retry(format!("answer broke off: {text}")),
            http::Error::Other(text) => Self::retry(format!("request failed: {text}")),
        }
    }
}

impl From<db::Error> for Failure {
    fn from(error: db::Error) -> Self {
        let (what, text) = match error {
            db::Error::UnknownTable(text) => ("unknown table", text),
            db::Error::UnknownColumn(text) => ("unknown column", text),
            db::Error::WrongType(text) => ("wrong type", text),
            db::Error::Limit(text) => ("over the limit", text),
            db::Error::Other(text) => ("refused", text),
        };
        Self::Bug(format!("write {what}: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transport_errors_become_decisions() {
        use http::Error;
        let cases = [
            (Error::Denied("add x".into()), "bug"),
            (Error::Timeout, "retry"),
            (Error::TooLarge(1), "too-large"),
            (Error::Connect("refused".into()), "retry"),
            (Error::Transfer("reset".into()), "retry"),
            (Error::Other("?".into()), "retry"),
        ];
        for (error, expected) in cases {
            let text = format!("{error:?}");
            let found = match Failure::from(error) {
                Failure::Bug(text) if text.contains("add x") => "bug",
                Failure::TooLarge(_) => "too-large",
                Failure::Retry(Retry { scope: RetryScope::ThisStream, after_ms: None, .. }) => {
                    "retry"
                }
                _ => "?",
            };
            assert_eq!(found, expected, "{text}");
        }
    }
}
