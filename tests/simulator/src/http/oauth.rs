//! The OAuth endpoints: refreshing and revoking.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::model::Model;
use crate::model::account::TokenError;
use crate::model::query::Params;

use super::{Call, Reply};

/// `POST /token`.
pub(crate) fn token(model: &mut Model, call: &Call) -> Reply {
    match refresh(model, call) {
        Ok(body) => Reply::json(200, body),
        Err(error) => Reply::token_error(&error),
    }
}

fn refresh(model: &mut Model, call: &Call) -> Result<String, TokenError> {
    let form = call.form();
    check_client(model, call, &form)?;
    match form.get("grant_type") {
        Some("refresh_token") => {}
        other => {
            let why = format!("Invalid grant_type: {}", other.unwrap_or_default());
            return Err(TokenError::new(400, "unsupported_grant_type", &why));
        }
    }
    let Some(token) = form.get("refresh_token").filter(|token| !token.is_empty()) else {
        let why = "Missing required parameter: refresh_token";
        return Err(TokenError::new(400, "invalid_request", why));
    };
    let answer = model.refresh(token, form.get("scope"))?;
    Ok(serde_json::to_string_pretty(&answer).unwrap_or_default())
}

/// Client id and secret come as form fields or in HTTP Basic.
fn check_client(model: &Model, call: &Call, form: &Params) -> Result<(), TokenError> {
    let basic = call.header("authorization").and_then(basic_credentials);
    let (id, secret) = match (&basic, form.get("client_id")) {
        (Some((id, secret)), _) => (id.as_str(), Some(secret.as_str())),
        (None, Some(id)) => (id, form.get("client_secret")),
        (None, None) => {
            let why = "Could not determine client ID from request.";
            return Err(TokenError::new(400, "invalid_request", why));
        }
    };
    if id != model.client_id {
        return Err(TokenError::new(401, "invalid_client", "The OAuth client was not found."));
    }
    if secret != Some(model.client_secret.as_str()) {
        let why = "The provided client secret is invalid.";
        return Err(TokenError::new(401, "invalid_client", why));
    }
    Ok(())
}

fn basic_credentials(header: &str) -> Option<(String, String)> {
    let decoded = BASE64_STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

/// `POST /revoke`, token in the query or in the form.
pub(crate) fn revoke(model: &mut Model, call: &Call) -> Reply {
    let (form, query) = (call.form(), call.params());
    let token = form.get("token").or_else(|| query.get("token")).unwrap_or_default();
    if model.revoke_token(token) {
        return Reply::json(200, "{}");
    }
    Reply::token_error(&TokenError::new(400, "invalid_token", "Token expired or revoked"))
}
