//! Integrations: making and changing them. What must be asked, what is checked, what is granted: all
//! decisions are here, whoever asks the questions.

mod change;
mod draft;
mod parent;
mod refusal;
mod values;

use std::sync::Arc;

use rowgate_manifest::{ConfigField, Manifest, Webhook, WebhookAuth};
use serde_json::Value;
use zeroize::Zeroizing;

use super::App;
use crate::store::Error;
use crate::store::integrations::Integration;

pub(super) use change::named;
pub use change::{Deleted, change, delete, find, key, open_questions, rename, reset, roll_key};
pub use draft::{Created, Draft, Question};
pub use parent::Candidates;
pub use refusal::Refusal;

/// An integration with what a backend needs to post to it.
#[allow(missing_docs)]
pub struct Described {
    pub integration: Integration,
    /// None: no active plugin offers the service any more.
    pub manifest: Option<Arc<Manifest>>,
    pub endpoint: String,
    /// The header that carries the secret, and the secret, where the service takes posts and has one.
    pub webhook_secret: Option<(String, Zeroizing<String>)>,
    /// A post that the endpoint would take, where it takes any.
    pub example_body: Option<Value>,
}

/// Looks up what describes an integration.
pub async fn describe(app: &App, integration: Integration) -> Result<Described, Error> {
    let plugin = app.store.active_plugin(&integration.plugin).await?;
    let manifest = plugin.map(|plugin| plugin.manifest);
    let service = manifest.as_ref().and_then(|m| m.services.get(&integration.service));
    let webhook = service.and_then(|service| service.webhook.as_ref());
    let mut webhook_secret = None;
    if let Some((header, name)) = webhook.and_then(secret_header) {
        let stored = app.store.tree_secret(&integration.root_id, name).await?;
        let text = stored.and_then(|stored| String::from_utf8(stored.to_vec()).ok());
        webhook_secret = text.map(|text| (header.to_owned(), Zeroizing::new(text)));
    }
    let example_body = webhook.map(Webhook::example_body);
    let endpoint = app.endpoint(&integration.id);
    Ok(Described { integration, manifest, endpoint, webhook_secret, example_body })
}

/// The header that carries a secret of the configuration, and which.
fn secret_header(webhook: &Webhook) -> Option<(&str, &str)> {
    webhook.auth.iter().find_map(|auth| match auth {
        WebhookAuth::Header { header, secret } => Some((header.as_str(), secret.as_str())),
        WebhookAuth::Channel { .. } => None,
    })
}

/// The configuration of a service, in the order of its prompts.
fn fields<'a>(
    manifest: &'a Manifest,
    service: &str,
) -> impl Iterator<Item = (&'a str, &'a ConfigField)> + use<'a> {
    let service = manifest.services.get(service);
    service.into_iter().flat_map(|s| s.config.iter()).map(|(name, field)| (name.as_str(), field))
}
