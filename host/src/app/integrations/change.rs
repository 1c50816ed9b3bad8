//! Changing an integration that is there.

use rowgate_manifest::Manifest;
use zeroize::Zeroizing;

use super::draft::{by_step, check_authority, if_empty, unknown_setting};
use super::{App, Question, Refusal, fields, secret_header, values};
use crate::app::endings::end_within_a_while;
use crate::model::OrganizationId;
use crate::rows::TableSpec;
use crate::store::Store;
use crate::store::integrations::Integration;
use crate::store::integrations::change::Change;

/// Where an integration's key lies among the secrets of its tree; no setting is called so.
const KEY: &str = "webhookdb_api_key";

/// The integration that somebody means: by id, table, or service where the organization has one only.
pub async fn find(app: &App, of: OrganizationId, name: &str) -> Result<Integration, Refusal> {
    named(&app.store, of, name).await
}

/// The same for who has the store alone.
pub(in crate::app) async fn named(
    store: &Store,
    of: OrganizationId,
    name: &str,
) -> Result<Integration, Refusal> {
    let all = store.integrations(of).await?;
    let exact = all.iter().find(|one| one.id == name || one.table_name == name);
    if let Some(found) = exact {
        return Ok(found.clone());
    }
    let of_service: Vec<&Integration> = all.iter().filter(|one| one.service == name).collect();
    match of_service.as_slice() {
        [] => Err(Refusal::Unknown(name.to_owned())),
        [only] => Ok((*only).clone()),
        several => {
            let tables: Vec<&str> = several.iter().map(|one| one.table_name.as_str()).collect();
            Err(Refusal::Conflict(format!(
                "there are several integrations of {name}: say which, by id or table ({})",
                tables.join(", ")
            )))
        }
    }
}

/// What has a prompt, no value and nothing that stands for it: the steps that are left.
pub async fn open_questions(app: &App, of: &Integration) -> Result<Vec<Question>, Refusal> {
    if of.root_id != of.id {
        return Ok(Vec::new());
    }
    let manifest = manifest(app, of).await?;
    let secrets = app.store.tree_secret_names(&of.id).await?;
    let tree = app.store.tree(&of.id).await?;
    let given =
        |name: &str| secrets.iter().any(|secret| secret == name) || tree.config.contains_key(name);
    let open = fields(&manifest, &of.service).filter(|(name, _)| !given(name));
    Ok(open.filter_map(|(name, field)| Question::of(name, field)).collect())
}

/// Takes the answer to a step.
pub async fn change(
    app: &App,
    of: &Integration,
    step: &str,
    value: &str,
    by_operator: bool,
) -> Result<(), Refusal> {
    let manifest = manifest(app, of).await?;
    let Some((name, field)) = by_step(&manifest, &of.service, step) else {
        return Err(unknown_setting(&manifest, &of.service, step));
    };
    let value = match value.trim() {
        "" => if_empty(field, app.store.chance())?
            .ok_or_else(|| Refusal::invalid(name, "must not be empty"))?,
        _ => values::checked(name, field.kind, value)?,
    };
    check_authority(name, field, &value, by_operator)?;
    let change = match field.secret {
        true => Change::Secret(Some(Zeroizing::new(value))),
        false => {
            let grants = values::grant(field, &value).into_iter().collect();
            let given = Some(value).filter(|value| field.default.as_ref() != Some(value));
            Change::Plain(given, grants)
        }
    };
    Ok(app.store.change_value(&of.root_id, name, change).await?)
}

/// Forgets what its endpoint is authenticated by.
pub async fn reset(app: &App, of: &Integration) -> Result<(), Refusal> {
    let manifest = manifest(app, of).await?;
    let webhook = manifest.services.get(&of.service).and_then(|s| s.webhook.as_ref());
    if let Some((_, secret)) = webhook.and_then(secret_header) {
        app.store.change_value(&of.root_id, secret, Change::Secret(None)).await?;
    }
    Ok(())
}

/// Makes a new key that stands for the integration in the HTTP API; the one before is void.
pub async fn roll_key(app: &App, of: &Integration) -> Result<String, Refusal> {
    let chance = app.store.chance();
    let key = format!("sk/{}/{}{}", of.id, chance.base36(16), chance.base36(8));
    let change = Change::Secret(Some(Zeroizing::new(key.clone())));
    app.store.change_value(&of.id, KEY, change).await?;
    Ok(key)
}

/// The key, if one was made.
pub async fn key(app: &App, id: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Refusal> {
    Ok(app.store.tree_secret(id, KEY).await?)
}

/// Gives its table another name.
pub async fn rename(app: &App, of: &Integration, name: &str) -> Result<(), Refusal> {
    let manifest = manifest(app, of).await?;
    let spec = |name: &str| {
        let spec = TableSpec::new(&manifest, &of.service, name);
        spec.map_err(|_| {
            let reason = "must be of letters a-z, digits and `_`, not begin with a digit, and have \
                          at most 63 characters";
            Refusal::invalid("new_name", reason)
        })
    };
    // What the host keeps beside the tables.
    if name.starts_with("rowgate_") || name.starts_with("sqlite_") {
        return Err(Refusal::invalid("new_name", "is taken by the host"));
    }
    let (old, new) = (spec(&of.table_name)?, spec(name)?);
    if old.table_name == new.table_name {
        return Ok(());
    }
    Ok(app.store.rename_table(of.organization_id, old, new).await?)
}

/// What a deletion came to.
#[allow(missing_docs)]
pub struct Deleted {
    pub integrations: Vec<Integration>,
    /// False: nobody sees them any more, but something is still to be done, which hosts do.
    pub wholly: bool,
}

/// Deletes it with its table, and all that depends on it.
pub async fn delete(app: &App, of: &Integration) -> Result<Deleted, Refusal> {
    let integrations = app.store.end_integration(&of.id).await?;
    let wholly = end_within_a_while(app, of.organization_id, Some(&of.root_id)).await?;
    Ok(Deleted { integrations, wholly })
}

async fn manifest(app: &App, of: &Integration) -> Result<std::sync::Arc<Manifest>, Refusal> {
    let plugin = app.store.active_plugin(&of.plugin).await?;
    let manifest = plugin.map(|plugin| plugin.manifest);
    let offered = manifest.filter(|manifest| manifest.services.contains_key(&of.service));
    offered.ok_or_else(|| {
        Refusal::Conflict(format!("no active plugin offers {} any more", of.service))
    })
}
