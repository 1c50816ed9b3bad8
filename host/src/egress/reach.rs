//! Does anything answer where a plugin may go? For `rowgate doctor`: no secret is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use rowgate_manifest::Manifest;
use url::Url;

use super::address::check_literal;
use super::fill::Filled;
use super::policy::Policy;
use super::transfer::transfer;
use super::url_prefix::Origin;
use super::{Egress, Grant, HttpError};

/// A person waits for the answer.
const REACH_TIMEOUT: Duration = Duration::from_secs(5);

/// An answer to HEAD has no body to speak of.
const ANSWER_BYTES_MAX: u64 = 65_536;

/// A place that a plugin may go to.
#[derive(Debug)]
pub struct Reached {
    /// Where.
    pub origin: Origin,
    /// The status of whatever answers there, or why nothing does.
    pub answer: Result<u16, HttpError>,
}

impl Egress {
    /// Asks each origin of the manifest that names a host, by the same rules as a plugin's requests.
    pub async fn reach(
        &self,
        manifest: &Manifest,
        config: &BTreeMap<String, String>,
        grants: Vec<Grant>,
    ) -> Vec<Reached> {
        let policy = Policy::new(manifest, config, grants);
        let mut reached = Vec::new();
        for (url, method) in policy.places() {
            let asked = tokio::time::timeout(REACH_TIMEOUT, self.ask(&policy, &url, &method)).await;
            let answer = asked.unwrap_or(Err(HttpError::Timeout));
            reached.push(Reached { origin: Origin::of_url(&url), answer });
        }
        reached
    }

    async fn ask(&self, policy: &Policy, url: &Url, method: &str) -> Result<u16, HttpError> {
        let permit = policy.permit(method, url).map_err(HttpError::Denied)?;
        let advice = policy.private_advice(url);
        check_literal(url, permit.private_addresses, &advice)?;
        let filled = Filled {
            method: Method::HEAD,
            url: url.clone(),
            headers: HeaderMap::new(),
            body: None,
            used: Vec::new(),
        };
        let client = self.clients.get(permit.private_addresses);
        Ok(transfer(client, filled, ANSWER_BYTES_MAX, &advice).await?.status)
    }
}
