//! Users, their grants and tokens, and their calendar lists.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Model;

/// Lifetime of an access token, seconds.
pub const ACCESS_TOKEN_TTL_S: i64 = 3_599;

/// Scopes that a user grants unless told otherwise.
pub const DEFAULT_SCOPES: &[&str] =
    &["https://www.googleapis.com/auth/calendar", "openid", "email"];

/// A Google account that granted access.
#[derive(Clone, Debug)]
pub struct User {
    /// Email; also the id of the primary calendar.
    pub email: String,
    /// Subject of an id token.
    pub subject: String,
    /// Refresh tokens that work.
    pub refresh_tokens: BTreeSet<String>,
    /// What the user granted.
    pub scopes: Vec<String>,
    /// What happens to the refresh token when it is used.
    pub rotation: Rotation,
    pub(super) list: BTreeMap<String, ListEntry>,
    pub(super) list_changed: u64,
    pub(super) list_tokens_valid_from: u64,
}

/// What happens to a refresh token when it is used. Google doesn't rotate; others do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// It stays, and the answer carries none.
    #[default]
    Off,
    /// The answer carries a new one; the old one stays alive.
    KeepOld,
    /// The answer carries a new one; the old one dies.
    KillOld,
}

/// A calendar in a user's list.
#[derive(Clone, Debug)]
pub struct ListEntry {
    /// Hidden from plain listings.
    pub hidden: bool,
    /// The user's own title.
    pub summary_override: Option<String>,
    /// Removed from the list; a delta shows it as a stub.
    pub deleted: bool,
    pub(super) changed: u64,
    pub(super) updated_us: i64,
}

/// Whom an access token speaks for.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// Email of the user.
    pub user: String,
    /// Last microsecond of its life, model time.
    pub expires_at_us: i64,
    /// Scopes it carries.
    pub scopes: Vec<String>,
}

/// What the token endpoint answers.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are OAuth's")]
pub struct TokenAnswer {
    pub access_token: String,
    pub expires_in: i64,
    pub scope: String,
    pub token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

/// An error answer of the token endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError {
    /// HTTP status.
    pub status: u16,
    /// `error`.
    pub error: &'static str,
    /// `error_description`; empty: none.
    pub description: String,
    /// `error_subtype`.
    pub subtype: Option<&'static str>,
}

impl TokenError {
    /// An error without subtype.
    pub fn new(status: u16, error: &'static str, description: &str) -> Self {
        Self { status, error, description: description.to_owned(), subtype: None }
    }

    /// The flat body on the wire.
    pub fn body(&self) -> serde_json::Value {
        let mut body = json!({ "error": self.error });
        if !self.description.is_empty() {
            body["error_description"] = self.description.as_str().into();
        }
        if let Some(subtype) = self.subtype {
            body["error_subtype"] = subtype.into();
        }
        body
    }
}

impl Model {
    /// Exchanges a refresh token for an access token; `scope` asks for a subset.
    pub fn refresh(&mut self, token: &str, scope: Option<&str>) -> Result<TokenAnswer, TokenError> {
        let Some(user) = self.grantor(token).cloned() else {
            let was_alive = self.token_holders.contains_key(token);
            let why = if was_alive { "Token has been expired or revoked." } else { "Bad Request" };
            return Err(TokenError::new(400, "invalid_grant", why));
        };
        let scopes = match scope {
            None => user.scopes.clone(),
            Some(asked) => subset(&user.scopes, asked)?,
        };
        let access_token = self.secret("ya29.a0", 96);
        let has_openid = scopes.iter().any(|scope| scope == "openid");
        let id_token = has_openid.then(|| self.id_token(&user));
        let expires_at_us = self.now_us + ACCESS_TOKEN_TTL_S * 1_000_000;
        let grant = AccessToken { user: user.email.clone(), expires_at_us, scopes: scopes.clone() };
        self.access_tokens.insert(access_token.clone(), grant);
        let refresh_token = self.rotate(&user, token);
        Ok(TokenAnswer {
            access_token,
            expires_in: ACCESS_TOKEN_TTL_S,
            scope: scopes.join(" "),
            token_type: "Bearer",
            id_token,
            refresh_token,
        })
    }

    /// Gives a user one more refresh token, as a new consent does.
    pub fn add_refresh_token(&mut self, email: &str) -> Option<String> {
        let token = self.secret("1//0", 60);
        self.users.get_mut(email)?.refresh_tokens.insert(token.clone());
        self.token_holders.insert(token.clone(), email.to_owned());
        Some(token)
    }

    /// Ends a user's grant: every refresh and access token dies. False: no such user.
    pub fn revoke_grant(&mut self, email: &str) -> bool {
        let Some(user) = self.users.get_mut(email) else { return false };
        user.refresh_tokens.clear();
        self.access_tokens.retain(|_, token| token.user != email);
        true
    }

    /// Ends the grant that a refresh or access token belongs to. False: unknown token.
    pub fn revoke_token(&mut self, token: &str) -> bool {
        let holder = self.access_tokens.get(token).map(|access| access.user.clone());
        let grantor = || self.grantor(token).map(|user| user.email.clone());
        match holder.or_else(grantor) {
            Some(email) => self.revoke_grant(&email),
            None => false,
        }
    }

    /// Ends access tokens before their time, of one user or of all; refresh tokens live on.
    pub fn expire_access_tokens(&mut self, email: Option<&str>) {
        self.access_tokens.retain(|_, token| email.is_some_and(|email| token.user != email));
    }

    /// Whom a living access token speaks for.
    pub fn authenticate(&self, access_token: &str) -> Option<&AccessToken> {
        let token = self.access_tokens.get(access_token)?;
        (self.now_us <= token.expires_at_us).then_some(token)
    }

    /// Email of the user that a refresh or access token belongs to, alive or expired.
    pub fn holder(&self, token: &str) -> Option<&str> {
        let access = self.access_tokens.get(token).map(|access| &access.user);
        access.or_else(|| self.token_holders.get(token)).map(String::as_str)
    }

    /// The user whose refresh token this is, if it is alive.
    fn grantor(&self, token: &str) -> Option<&User> {
        let user = self.users.get(self.token_holders.get(token)?)?;
        user.refresh_tokens.contains(token).then_some(user)
    }

    fn rotate(&mut self, user: &User, old: &str) -> Option<String> {
        if user.rotation == Rotation::Off {
            return None;
        }
        let new = self.add_refresh_token(&user.email)?;
        if user.rotation == Rotation::KillOld {
            self.users.get_mut(&user.email)?.refresh_tokens.remove(old);
        }
        Some(new)
    }

    /// Shaped like a JWT; the signature is noise.
    fn id_token(&mut self, user: &User) -> String {
        let now_s = self.now_us / 1_000_000;
        let claims = json!({
            "iss": "https://accounts.google.com", "sub": user.subject, "email": user.email,
            "email_verified": true, "iat": now_s, "exp": now_s + ACCESS_TOKEN_TTL_S,
        });
        let part = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(json!({ "alg": "RS256", "typ": "JWT" }));
        format!("{header}.{}.{}", part(claims), self.secret("", 128))
    }

    pub(super) fn secret(&mut self, prefix: &str, bytes: usize) -> String {
        let noise: Vec<u8> = (0..bytes).map(|_| self.rng.random()).collect();
        format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(noise))
    }
}

fn subset(granted: &[String], asked: &str) -> Result<Vec<String>, TokenError> {
    let asked: Vec<String> = asked.split_whitespace().map(str::to_owned).collect();
    match asked.iter().find(|scope| !granted.contains(scope)) {
        Some(scope) => {
            let why = format!("Some requested scopes were invalid. {{invalid=[{scope}]}}");
            Err(TokenError::new(400, "invalid_scope", &why))
        }
        None => Ok(asked),
    }
}
