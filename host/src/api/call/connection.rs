//! Whoever knows the URL of an organization's tables may run queries without a session: the SHA-256
//! of the URL, in hex, is sent instead.

use axum::http::HeaderMap;
use serde_json::Map;
use sha2::{Digest as _, Sha256};

use super::{Call, Caller};
use crate::api::failure::Failure;
use crate::app::App;
use crate::auth;
use crate::model::OrganizationId;
use crate::store::organizations::Organization;

/// WebhookDB's server reads the first, its documentation names the second.
pub(in crate::api) const HEADERS: [&str; 2] = ["whdb-sha256-conn", "whdb-sha256-connstr"];

/// The digest that a request carries.
pub(super) fn digest(headers: &HeaderMap) -> Option<String> {
    let sent = HEADERS.iter().filter_map(|name| headers.get(*name)?.to_str().ok());
    let mut sent = sent.map(|digest| digest.trim().to_ascii_lowercase());
    sent.find(|digest| !digest.is_empty())
}

/// The organization with this key or id, if the digest is that of its URL. Whether there is one isn't
/// told.
pub(super) async fn opened(app: &App, org: &str, digest: &str) -> Result<Organization, Failure> {
    if !app.store.has_passwords().await? {
        let message = "The tables lie in a file, whose URL holds no password: log in instead";
        return Err(Failure::forbidden("no_connection_password", message));
    }
    if org.contains('\0') {
        return Err(Failure::unauthorized());
    }
    let found = app.store.find_organization(org).await?.ok_or_else(Failure::unauthorized)?;
    match knows(app, found.id, digest).await? {
        true => Ok(found),
        false => Err(Failure::unauthorized()),
    }
}

async fn knows(app: &App, of: OrganizationId, digest: &str) -> Result<bool, Failure> {
    let Some(url) = app.store.secret_connection_url(of).await? else { return Ok(false) };
    let known = Sha256::digest(url.as_bytes());
    let known: String = known.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(auth::matches(digest.as_bytes(), known.as_bytes()))
}

impl Call {
    /// The organization that the caller names and may read, where the path has none.
    pub(in crate::api) async fn readable(&self, org: &str) -> Result<Organization, Failure> {
        match (&self.caller, &self.connection_digest) {
            (Caller::Nobody, Some(digest)) => opened(&self.app, org, digest).await,
            (Caller::Nobody, None) => Err(Failure::unauthorized()),
            (caller, _) => {
                let (found, _) = super::organization(&self.app, caller, org, &Map::new()).await?;
                Ok(found)
            }
        }
    }

    /// Whether the caller may read an organization's tables.
    pub(in crate::api) async fn may_read(&self, of: OrganizationId) -> Result<bool, Failure> {
        match (&self.caller, &self.connection_digest) {
            (Caller::Local, _) => Ok(true),
            (Caller::Customer { customer, .. }, _) => {
                Ok(self.app.store.role(of, &customer.email).await?.is_some())
            }
            (Caller::Nobody, Some(digest)) => knows(&self.app, of, digest).await,
            _ => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_read() {
        let with = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            digest(&headers)
        };
        assert_eq!(with("whdb-sha256-conn", " AB12 "), Some("ab12".into()));
        assert_eq!(with("whdb-sha256-connstr", "ab12"), Some("ab12".into()));
        assert_eq!(with("whdb-sha256-conn", " "), None);
        assert_eq!(with("whdb-sha256", "ab12"), None);
    }
}
