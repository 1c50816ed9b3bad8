//! Error answers by name: the Calendar API's, the token endpoint's, and what proxies make up.

use crate::http::Reply;
use crate::model::account::TokenError;
use crate::model::error;

const HTML_502: &str = "<!DOCTYPE html>\n<html lang=en>\n\
    <title>Error 502 (Server Error)!!1</title>\n<p><b>502.</b> <ins>That's an error.</ins>\n<p>The server encountered a temporary error.\n";

/// Token endpoint errors: name, status, `error`, `error_description`, `error_subtype`.
const TOKEN_ERRORS: &[(&str, u16, &str, &str, Option<&str>)] = &[
    ("invalid_grant", 400, "invalid_grant", "Token has been expired or revoked.", None),
    ("invalid_grant-bad-request", 400, "invalid_grant", "Bad Request", None),
    ("invalid_grant-deleted", 400, "invalid_grant", "Account has been deleted", None),
    (
        "invalid_grant-rapt",
        400,
        "invalid_grant",
        "reauth related error (invalid_rapt)",
        Some("invalid_rapt"),
    ),
    ("invalid_request", 400, "invalid_request", "Missing required parameter: refresh_token", None),
    (
        "invalid_request-no-client",
        400,
        "invalid_request",
        "Could not determine client ID from request.",
        None,
    ),
    ("unsupported_grant_type", 400, "unsupported_grant_type", "Invalid grant_type: x", None),
    ("invalid_scope", 400, "invalid_scope", "Some requested scopes were invalid.", None),
    ("invalid_client", 401, "invalid_client", "The OAuth client was not found.", None),
    ("invalid_client-unauthorized", 401, "invalid_client", "Unauthorized", None),
    (
        "invalid_client-secret",
        401,
        "invalid_client",
        "The provided client secret is invalid.",
        None,
    ),
    ("unauthorized_client", 401, "unauthorized_client", "Unauthorized", None),
    ("unauthorized_client-400", 400, "unauthorized_client", "Unauthorized", None),
    ("deleted_client", 401, "deleted_client", "The OAuth client was deleted.", None),
    ("disabled_client", 401, "disabled_client", "The OAuth client was disabled.", None),
    ("admin_policy_enforced", 400, "admin_policy_enforced", "Blocked by your administrator.", None),
    ("org_internal", 403, "org_internal", "Restricted to users of the organization.", None),
    ("access_denied", 403, "access_denied", "Account restricted", None),
    ("rate_limit_exceeded", 403, "rate_limit_exceeded", "Rate limit exceeded.", None),
    ("rate_limit_exceeded-429", 429, "rate_limit_exceeded", "Rate limit exceeded.", None),
    ("internal_failure", 500, "internal_failure", "", None),
    ("internal_failure-400", 400, "internal_failure", "", None),
    ("server_error", 500, "server_error", "", None),
    ("temporarily_unavailable", 503, "temporarily_unavailable", "", None),
];

/// Answers that aren't JSON, or nothing at all: name, status, body.
const PROXY_ERRORS: &[(&str, u16, &str)] = &[
    ("html-500", 500, HTML_502),
    ("html-502", 502, HTML_502),
    ("html-503", 503, HTML_502),
    ("html-504", 504, HTML_502),
    ("empty-403", 403, ""),
    ("empty-408", 408, ""),
    ("empty-500", 500, ""),
    ("empty-503", 503, ""),
];

/// Names that a fault's `error` may have.
pub fn names() -> impl Iterator<Item = &'static str> {
    let token = TOKEN_ERRORS.iter().map(|row| row.0);
    error::PRESETS.iter().copied().chain(token).chain(PROXY_ERRORS.iter().map(|row| row.0))
}

/// The answer of that name.
pub(crate) fn reply(name: &str) -> Option<Reply> {
    if let Some(error) = error::preset(name) {
        return Some(Reply::api_error(&error));
    }
    if let Some(&(_, status, error, description, subtype)) =
        TOKEN_ERRORS.iter().find(|row| row.0 == name)
    {
        let error = TokenError { subtype, ..TokenError::new(status, error, description) };
        return Some(Reply::token_error(&error));
    }
    let &(_, status, body) = PROXY_ERRORS.iter().find(|row| row.0 == name)?;
    Some(Reply::text(status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_an_answer_and_is_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for name in names() {
            assert!(reply(name).is_some(), "{name}");
            assert!(seen.insert(name), "{name}");
        }
    }
}
