//! An integration that is being made.

use std::collections::BTreeMap;
use std::sync::Arc;

use rowgate_manifest::{ConfigField, Manifest};
use zeroize::Zeroizing;

use super::{App, Candidates, Described, Refusal, describe, fields, values};
use crate::chance::Chance;
use crate::model::OrganizationId;
use crate::rows::TableSpec;
use crate::store::integrations::{Grant, Integration, NewIntegration, StoredDraft};
use crate::store::{Error, Store, tables};

/// See the module.
pub struct Draft {
    id: String,
    organization: OrganizationId,
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
    /// What the HTTP API calls it.
    pub step: String,
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
    pub described: Described,
    pub grants: Vec<Grant>,
}

impl Draft {
    /// Finds the service.
    pub async fn begin(
        app: &App,
        organization: OrganizationId,
        service: &str,
    ) -> Result<Self, Refusal> {
        let (plugin, manifest) = offering(&app.store, service).await?;
        Ok(Self {
            id: app.store.new_integration_id(),
            organization,
            plugin,
            service: service.to_owned(),
            depends_on: None,
            manifest,
            values: BTreeMap::new(),
        })
    }

    /// Goes on with one that was stored.
    pub async fn stored(
        app: &App,
        organization: OrganizationId,
        id: &str,
    ) -> Result<Option<Self>, Refusal> {
        let Some(stored) = app.store.draft(organization, id).await? else { return Ok(None) };
        let StoredDraft { id, organization, service, depends_on, values } = stored;
        let (plugin, manifest) = offering(&app.store, &service).await?;
        Ok(Some(Self { id, organization, plugin, service, depends_on, manifest, values }))
    }

    /// Keeps it for a day.
    pub async fn store(&self, app: &App) -> Result<(), Refusal> {
        let stored = StoredDraft {
            id: self.id.clone(),
            organization: self.organization,
            service: self.service.clone(),
            depends_on: self.depends_on.clone(),
            values: self.values.clone(),
        };
        Ok(app.store.store_draft(&stored).await?)
    }

    /// `svi_...`, which the integration will have.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it can hang under. None: it depends on nothing, or that is chosen.
    pub async fn candidates(&self, app: &App) -> Result<Option<Candidates>, Refusal> {
        let parent = self.manifest.services[&self.service].depends_on.as_deref();
        let (Some(parent), None) = (parent, &self.depends_on) else { return Ok(None) };
        let all = app.store.integrations(self.organization).await?;
        Ok(Some(Candidates::new(&self.service, parent, &all)))
    }

    /// Hangs it under an integration.
    pub fn choose(&mut self, parent: &Integration) {
        self.depends_on = Some(parent.id.clone());
    }

    /// Hangs it under the integration with this id or table, else under the only one that fits.
    pub async fn choose_named(&mut self, app: &App, name: Option<&str>) -> Result<(), Refusal> {
        let Some(candidates) = self.candidates(app).await? else {
            return match name {
                None => Ok(()),
                Some(_) => Err(Refusal::Conflict(format!(
                    "`{}` depends on nothing: leave --depends-on away",
                    self.service
                ))),
            };
        };
        let chosen = match name {
            Some(name) => candidates.named(name)?,
            None => candidates.only()?,
        };
        self.choose(&chosen.clone());
        Ok(())
    }

    /// What isn't given yet and has a prompt.
    pub fn questions(&self) -> Vec<Question> {
        let open = self.fields().filter(|(name, _)| !self.values.contains_key(*name));
        open.filter_map(|(name, field)| Question::of(name, field)).collect()
    }

    /// Takes a value after checking it. `by_operator`: addresses other than the manifest's may be
    /// given, for that grants them.
    pub fn answer(&mut self, name: &str, value: &str, by_operator: bool) -> Result<(), Refusal> {
        let Some(field) = self.manifest.services[&self.service].config.get(name) else {
            return Err(unknown_setting(&self.manifest, &self.service, name));
        };
        let value = values::checked(name, field.kind, value)?;
        check_authority(name, field, &value, by_operator)?;
        self.values.insert(name.to_owned(), Zeroizing::new(value));
        Ok(())
    }

    /// Takes what an empty answer stands for.
    pub fn answer_empty(&mut self, name: &str, chance: &Chance) -> Result<(), Refusal> {
        let Some(field) = self.manifest.services[&self.service].config.get(name) else {
            return Err(unknown_setting(&self.manifest, &self.service, name));
        };
        let value = if_empty(field, chance)?;
        let value = value.ok_or_else(|| Refusal::invalid(name, "must not be empty"))?;
        self.values.insert(name.to_owned(), Zeroizing::new(value));
        Ok(())
    }

    /// The setting that the HTTP API calls so.
    pub fn setting(&self, step: &str) -> Option<&str> {
        by_step(&self.manifest, &self.service, step).map(|(name, _)| name)
    }

    /// Stores it. Open values take what is generated or the default; what has neither is listed in
    /// the error.
    pub async fn create(mut self, app: &App) -> Result<Created, Refusal> {
        self.fill(app.store.chance())?;
        let (mut config, mut secrets, mut grants) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (name, field) in fields(&self.manifest, &self.service) {
            let Some(value) = self.values.get(name) else { continue };
            if field.secret {
                secrets.push((name.to_owned(), value.clone()));
            } else if field.default.as_ref() != Some(&**value) {
                config.insert(name.to_owned(), value.to_string());
            }
            match values::grant(field, value) {
                Some(grant) if !grants.contains(&grant) => grants.push(grant),
                _ => {}
            }
        }
        let new = NewIntegration {
            organization: self.organization,
            plugin: self.plugin,
            service: self.service.clone(),
            depends_on: self.depends_on,
            config,
            secrets,
            grants: grants.clone(),
        };
        let replication = app.store.replication(self.organization).await?;
        let layout = tables::layout(&replication).await?;
        let integration = app.store.create_integration_as(self.id, new).await?;
        let spec = TableSpec::new(&self.manifest, &self.service, &integration.table_name)
            .map_err(|error| Refusal::Conflict(error.to_string()))?;
        match tables::create_all(&replication, vec![Arc::new(spec)], layout).await {
            // Another table was renamed or dropped: the first run makes this one.
            Err(Error::Superseded(_)) => {}
            made => made?,
        }
        Ok(Created { described: describe(app, integration).await?, grants })
    }

    fn fields(&self) -> impl Iterator<Item = (&str, &ConfigField)> {
        fields(&self.manifest, &self.service)
    }

    fn fill(&mut self, chance: &Chance) -> Result<(), Refusal> {
        let (mut filled, mut missing) = (Vec::new(), Vec::new());
        for (name, field) in self.fields().filter(|(name, _)| !self.values.contains_key(*name)) {
            match if_empty(field, chance)? {
                Some(value) => filled.push((name.to_owned(), Zeroizing::new(value))),
                None => missing.push(format!("--set {name}=...")),
            }
        }
        if !missing.is_empty() {
            let text = format!("these settings are missing: {}", missing.join(" "));
            return Err(Refusal::Conflict(text));
        }
        self.values.extend(filled);
        Ok(())
    }
}

impl Question {
    /// None: it has no prompt.
    pub(super) fn of(name: &str, field: &ConfigField) -> Option<Self> {
        Some(Self {
            name: name.to_owned(),
            step: field.step.clone().unwrap_or_else(|| name.to_owned()),
            prompt: field.prompt.clone()?,
            secret: field.secret,
            default: field.default.clone(),
            generated: field.generate.is_some(),
        })
    }
}

/// Whoever gives an address lets the component reach it.
pub(super) fn check_authority(
    name: &str,
    field: &ConfigField,
    value: &str,
    by_operator: bool,
) -> Result<(), Refusal> {
    match values::grant(field, value) {
        Some(grant) if !by_operator => Err(Refusal::Operator {
            name: name.to_owned(),
            reason: format!(
                "leads to {}, which only the host's operator may let an integration reach",
                grant.origin
            ),
        }),
        _ => Ok(()),
    }
}

/// What an empty answer stands for.
pub(super) fn if_empty(field: &ConfigField, chance: &Chance) -> Result<Option<String>, Refusal> {
    match (field.generate.as_deref(), &field.default) {
        (Some(recipe), _) => values::generate(recipe, chance).map(Some),
        (None, default) => Ok(default.clone()),
    }
}

/// The setting that the HTTP API calls so.
pub(super) fn by_step<'a>(
    manifest: &'a Manifest,
    service: &str,
    step: &str,
) -> Option<(&'a str, &'a ConfigField)> {
    fields(manifest, service).find(|(name, field)| field.step.as_deref().unwrap_or(name) == step)
}

pub(super) fn unknown_setting(manifest: &Manifest, service: &str, name: &str) -> Refusal {
    Refusal::UnknownSetting {
        service: service.to_owned(),
        name: name.to_owned(),
        known: fields(manifest, service).map(|(name, _)| name.to_owned()).collect(),
    }
}

/// The plugin that offers a service, and its manifest.
async fn offering(store: &Store, service: &str) -> Result<(String, Arc<Manifest>), Refusal> {
    let plugins = store.active_plugins().await?;
    let found = plugins.iter().find(|(_, p)| p.manifest.services.contains_key(service));
    match found {
        Some((plugin, active)) => Ok((plugin.clone(), active.manifest.clone())),
        None => Err(Refusal::UnknownService {
            service: service.to_owned(),
            offered: plugins.values().flat_map(|p| p.manifest.services.keys().cloned()).collect(),
        }),
    }
}
