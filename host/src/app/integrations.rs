//! Making an integration: what must be asked, what is checked, what is granted. All decisions are
//! here, whoever asks the questions.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use rowgate_manifest::{ConfigField, ConfigKind, Manifest, Webhook, WebhookAuth};
use serde_json::Value;
use url::{Host, Url};
use zeroize::Zeroizing;

use super::App;
use crate::chance::Chance;
use crate::rows::TableSpec;
use crate::store::Store;
use crate::store::integrations::{Grant, Integration, NewIntegration};
use crate::store::organizations::Organization;
use crate::store::tables;

/// An integration that is being made.
pub struct Draft {
    organization: Organization,
    plugin: String,
    service: String,
    depends_on: Option<String>,
    manifest: Arc<Manifest>,
    values: BTreeMap<String, Zeroizing<String>>,
}

/// Something that a person is asked.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Question {
    pub name: String,
    pub prompt: String,
    pub secret: bool,
    /// An empty answer takes this.
    pub default: Option<String>,
    /// An empty answer takes a generated value.
    pub generated: bool,
}

/// An integration that was made.
#[allow(missing_docs)]
pub struct Created {
    pub integration: Integration,
    pub endpoint: String,
    /// The header that carries the secret, and the secret, where the service takes posts.
    pub webhook_secret: Option<(String, Zeroizing<String>)>,
    /// A post that the endpoint would take, where it takes any.
    pub example_body: Option<Value>,
    pub grants: Vec<Grant>,
}

impl Draft {
    /// Finds the service and what it depends on, and checks the values that are given.
    pub async fn begin(
        app: &App,
        service: &str,
        depends_on: Option<&str>,
        given: Vec<(String, String)>,
    ) -> anyhow::Result<Self> {
        let organization = app.organization().await?;
        let plugins = app.store.active_plugins().await?;
        let found = plugins.iter().find(|(_, p)| p.manifest.services.contains_key(service));
        let Some((plugin, active)) = found else {
            let offered: Vec<&str> = plugins
                .values()
                .flat_map(|plugin| plugin.manifest.services.keys().map(String::as_str))
                .collect();
            bail!("no active plugin offers `{service}`; there are: {}", list(&offered));
        };
        let manifest = active.manifest.clone();
        let parent = manifest.services[service].depends_on.as_deref();
        let depends_on =
            find_parent(&app.store, &organization, service, parent, depends_on).await?;
        let fields = &manifest.services[service].config;
        for (name, _) in &given {
            if !fields.contains_key(name) {
                let names: Vec<&str> = fields.keys().map(String::as_str).collect();
                bail!("`{service}` has no setting `{name}`; there are: {}", list(&names));
            }
        }
        let mut draft = Self {
            organization,
            plugin: plugin.clone(),
            service: service.to_owned(),
            depends_on,
            manifest,
            values: BTreeMap::new(),
        };
        for (name, value) in given {
            draft.answer(&name, &value)?;
        }
        Ok(draft)
    }

    /// What isn't given yet and has a prompt.
    pub fn questions(&self) -> Vec<Question> {
        let open = self.fields().filter(|(name, _)| !self.values.contains_key(*name));
        let questions = open.filter_map(|(name, field)| {
            Some(Question {
                name: name.to_owned(),
                prompt: field.prompt.clone()?,
                secret: field.secret,
                default: field.default.clone(),
                generated: field.generate.is_some(),
            })
        });
        questions.collect()
    }

    /// Takes a value after checking it.
    pub fn answer(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        let field = self.manifest.services[&self.service].config.get(name);
        let kind = field.map_or(ConfigKind::Text, |field| field.kind);
        let value = match kind {
            ConfigKind::Text => value.to_owned(),
            ConfigKind::Url => checked_url(value).with_context(|| format!("`{name}`"))?,
        };
        ensure!(!value.trim().is_empty(), "`{name}` must not be empty");
        ensure!(!value.contains('\0'), "`{name}` must not contain the character NUL");
        self.values.insert(name.to_owned(), Zeroizing::new(value));
        Ok(())
    }

    /// Stores it. Open values take what is generated or the default; what has neither is listed in
    /// the error.
    pub async fn create(mut self, app: &App) -> anyhow::Result<Created> {
        self.fill(app.store.chance())?;
        let grants = self.grants();
        let (mut config, mut secrets) = (BTreeMap::new(), Vec::new());
        for (name, field) in self.fields() {
            let Some(value) = self.values.get(name) else { continue };
            if field.secret {
                secrets.push((name.to_owned(), value.clone()));
            } else if field.default.as_ref() != Some(&**value) {
                config.insert(name.to_owned(), value.to_string());
            }
        }
        let new = NewIntegration {
            organization: self.organization.id,
            plugin: self.plugin.clone(),
            service: self.service.clone(),
            depends_on: self.depends_on.clone(),
            config,
            secrets,
            grants: grants.clone(),
        };
        let integration = app.store.create_integration(new).await?;
        let spec = TableSpec::new(&self.manifest, &self.service, &integration.table_name)?;
        let replication = app.store.replication(integration.organization_id).await?;
        tables::create_all(&replication, vec![Arc::new(spec)]).await?;
        let endpoint = app.endpoint(&integration.id);
        let webhook = self.manifest.services[&self.service].webhook.as_ref();
        Ok(Created {
            integration,
            endpoint,
            webhook_secret: self.webhook_secret(),
            example_body: webhook.map(Webhook::example_body),
            grants,
        })
    }

    fn fields(&self) -> impl Iterator<Item = (&str, &ConfigField)> {
        let config = &self.manifest.services[&self.service].config;
        config.iter().map(|(name, field)| (name.as_str(), field))
    }

    fn fill(&mut self, chance: &Chance) -> anyhow::Result<()> {
        let (mut filled, mut missing) = (Vec::new(), Vec::new());
        for (name, field) in self.fields().filter(|(name, _)| !self.values.contains_key(*name)) {
            match (field.generate.as_deref(), &field.default) {
                (Some(recipe), _) => filled.push((name.to_owned(), generate(recipe, chance)?)),
                (None, Some(default)) => filled.push((name.to_owned(), default.clone())),
                (None, None) => missing.push(name.to_owned()),
            }
        }
        if !missing.is_empty() {
            let flags: Vec<String> = missing.iter().map(|n| format!("--set {n}=...")).collect();
            bail!("these settings are missing: {}", flags.join(" "));
        }
        self.values.extend(filled.into_iter().map(|(name, value)| (name, Zeroizing::new(value))));
        Ok(())
    }

    /// The origins of URLs that aren't the manifest's own.
    fn grants(&self) -> Vec<Grant> {
        let mut grants: Vec<Grant> = Vec::new();
        for (name, field) in self.fields() {
            let Some(value) = self.values.get(name) else { continue };
            if field.kind != ConfigKind::Url || field.default.as_ref() == Some(&**value) {
                continue;
            }
            let Ok(url) = Url::parse(value) else { continue };
            let origin = url.origin().ascii_serialization();
            if !grants.iter().any(|grant| grant.origin == origin) {
                grants.push(Grant { origin, private_addresses: is_private(&url) });
            }
        }
        grants
    }

    fn webhook_secret(&self) -> Option<(String, Zeroizing<String>)> {
        let webhook = self.manifest.services[&self.service].webhook.as_ref()?;
        webhook.auth.iter().find_map(|auth| match auth {
            WebhookAuth::Header { header, secret } => {
                Some((header.clone(), self.values.get(secret)?.clone()))
            }
            WebhookAuth::Channel { .. } => None,
        })
    }
}

/// The integration to hang under: the given one, else the only candidate.
async fn find_parent(
    store: &Store,
    organization: &Organization,
    service: &str,
    parent: Option<&str>,
    given: Option<&str>,
) -> anyhow::Result<Option<String>> {
    let Some(parent) = parent else {
        ensure!(given.is_none(), "`{service}` depends on nothing: leave --depends-on away");
        return Ok(None);
    };
    let all = store.integrations(organization.id).await?;
    let candidates: Vec<&Integration> =
        all.iter().filter(|candidate| candidate.service == parent).collect();
    let names: Vec<&str> = candidates.iter().map(|candidate| candidate.id.as_str()).collect();
    if let Some(given) = given {
        let named = |c: &&&Integration| c.id == given || c.table_name == given;
        let found = candidates.iter().find(named);
        return match found {
            Some(found) => Ok(Some(found.id.clone())),
            None => bail!("`{given}` is no {parent} integration; there are: {}", list(&names)),
        };
    }
    match candidates.as_slice() {
        [only] => Ok(Some(only.id.clone())),
        [] => bail!("`{service}` depends on {parent}: create a {parent} integration first"),
        _ => {
            let free = |c: &&&Integration| {
                !all.iter().any(|other| other.root_id == c.root_id && other.service == service)
            };
            // Where all but one have theirs, there is nothing to choose.
            match candidates.iter().filter(free).collect::<Vec<_>>().as_slice() {
                [only] => Ok(Some(only.id.clone())),
                _ => bail!(
                    "several {parent} integrations: choose by --depends-on {}",
                    names.join(" | ")
                ),
            }
        }
    }
}

fn generate(recipe: &str, chance: &Chance) -> anyhow::Result<String> {
    let bytes = recipe.strip_prefix("base36/").and_then(|bytes| bytes.parse().ok());
    match bytes {
        Some(bytes @ 8..=16) => Ok(chance.base36(bytes)),
        _ => bail!("the manifest asks to generate `{recipe}`, which this program doesn't know"),
    }
}

fn checked_url(text: &str) -> anyhow::Result<String> {
    let url = Url::parse(text.trim()).context("must be an absolute URL")?;
    ensure!(matches!(url.scheme(), "http" | "https"), "must be an http or https URL");
    ensure!(url.has_host(), "must have a host");
    ensure!(url.username().is_empty() && url.password().is_none(), "must not hold a password");
    ensure!(url.query().is_none() && url.fragment().is_none(), "must end with its path");
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Whether a URL names this machine or a private network by address. Names that resolve to such
/// addresses aren't granted them.
fn is_private(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => {
            address.is_loopback() || address.is_private() || address.is_link_local()
        }
        Some(Host::Ipv6(address)) => match address.to_canonical() {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
            IpAddr::V6(v6) => {
                v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local()
            }
        },
        None => false,
    }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked_and_private_ones_known() {
        for (text, stored, private) in [
            ("https://www.example.com/v3/", "https://www.example.com/v3", false),
            ("http://127.0.0.1:4920/calendar/v3", "http://127.0.0.1:4920/calendar/v3", true),
            ("http://localhost:1", "http://localhost:1", true),
            ("http://10.1.2.3/a", "http://10.1.2.3/a", true),
            ("http://[::1]:80/a", "http://[::1]/a", true),
            ("http://[::ffff:192.168.0.1]/a", "http://[::ffff:c0a8:1]/a", true),
            ("http://8.8.8.8/a", "http://8.8.8.8/a", false),
        ] {
            let url = checked_url(text).unwrap();
            assert_eq!(url, stored);
            assert_eq!(is_private(&Url::parse(&url).unwrap()), private, "{text}");
        }
        for text in ["", "example.com", "ftp://a/b", "http://u:p@a/b", "http://a/b?c", "http://a/#"]
        {
            assert!(checked_url(text).is_err(), "{text}");
        }
    }
}
