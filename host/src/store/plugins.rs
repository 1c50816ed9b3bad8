//! Installed plugin versions and which of each plugin runs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::sync::{Arc, PoisonError};

use rowgate_manifest::Manifest;

use super::{Connection, Error, Store, query, query_as, query_scalar};
use crate::model::Micros;
use crate::rows::TableSpec;

/// A component that was installed once.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
#[allow(missing_docs)]
pub struct PluginVersion {
    pub name: String,
    pub version: String,
    /// SHA-256 of the component, lower-case hex.
    pub digest: String,
    pub installed_at: Micros,
    pub active: bool,
    /// Where `rollback` goes.
    pub previous: bool,
}

/// The version of a plugin that runs.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct ActivePlugin {
    pub name: String,
    pub digest: String,
    pub previous_digest: Option<String>,
    /// Moves with each change.
    pub epoch: i64,
    pub manifest: Arc<Manifest>,
}

impl Store {
    /// Stores a component under its digest. False: it was there already.
    pub async fn install_plugin(
        &self,
        wasm: &[u8],
        digest: &str,
        manifest: &Manifest,
    ) -> Result<bool, Error> {
        let bytes = wasm.to_vec();
        let json = serde_json::to_string(manifest)
            .map_err(|error| Error::Inconsistent(format!("a manifest as JSON: {error}")))?;
        let (name, version) = (manifest.plugin.name.clone(), manifest.plugin.version.clone());
        let (digest, now) = (digest.to_owned(), self.clock.now());
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    let inserted = query(
                        "insert into plugin_versions
                           (digest, name, version, manifest, installed_at, wasm, number)
                         values ($1, $2, $3, $4, $5, $6,
                                 (select coalesce(max(number), 0) + 1 from plugin_versions)) on conflict (digest) do nothing",
                    )
                    .bind(digest)
                    .bind(name)
                    .bind(version)
                    .bind(json)
                    .bind(now)
                    .bind(bytes)
                    .execute(connection)
                    .await?;
                    Ok(inserted.rows_affected() == 1)
                })
            })
            .await
    }

    /// An installed component, kept in the data directory after its first use.
    pub async fn component(&self, digest: &str) -> Result<Vec<u8>, Error> {
        let path = self.data_dir.wasm(digest);
        if let Ok(wasm) = tokio::fs::read(&path).await {
            return Ok(wasm);
        }
        let wasm: Option<Vec<u8>> =
            query_scalar("select wasm from plugin_versions where digest = $1")
                .bind(digest)
                .fetch_optional(self.control.readers())
                .await?;
        let wasm = wasm.ok_or_else(|| {
            Error::Inconsistent(format!("the component {digest} is not installed"))
        })?;
        let bytes = wasm.clone();
        tokio::task::spawn_blocking(move || write_durably(&path, &bytes))
            .await
            .map_err(|error| Error::Unavailable(error.to_string()))?
            .map_err(|error| Error::Unavailable(format!("storing a component: {error}")))?;
        Ok(wasm)
    }

    /// All installed versions by name, newest first.
    pub async fn plugin_versions(&self) -> Result<Vec<PluginVersion>, Error> {
        let all = "select v.name, v.version, v.digest, v.installed_at,
                     coalesce(p.active_digest = v.digest, false) as active,
                     coalesce(p.previous_digest = v.digest, false) as previous
                   from plugin_versions v left join plugins p on p.name = v.name
                   order by v.name, v.number desc";
        Ok(query_as(all).fetch_all(self.control.readers()).await?)
    }

    /// Makes an installed version the one that runs from the next call on: `name_or_digest` is a
    /// digest, the beginning of one (at least 6 digits), or a plugin's name for its newest version.
    pub async fn activate_plugin(&self, name_or_digest: &str) -> Result<ActivePlugin, Error> {
        let (wanted, now) = (name_or_digest.to_owned(), self.clock.now());
        let name = self
            .control
            .write(move |connection| {
                Box::pin(async move {
                    let (name, digest) = installed(connection, &wanted).await?;
                    activate(connection, &name, &digest, now).await?;
                    Ok(name)
                })
            })
            .await?;
        self.known_plugin(&name).await
    }

    /// Makes the version that ran before run again.
    pub async fn rollback_plugin(&self, name: &str) -> Result<ActivePlugin, Error> {
        let (wanted, now) = (name.to_owned(), self.clock.now());
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    let previous: Option<Option<String>> =
                        query_scalar("select previous_digest from plugins where name = $1")
                            .bind(&wanted)
                            .fetch_optional(&mut *connection)
                            .await?;
                    match previous {
                        Some(Some(digest)) => activate(connection, &wanted, &digest, now).await,
                        Some(None) => Err(Error::Refused(format!(
                            "no other version of `{wanted}` was ever active"
                        ))),
                        None => Err(Error::Refused(format!("no version of `{wanted}` is active"))),
                    }
                })
            })
            .await?;
        self.known_plugin(name).await
    }

    /// The version of a plugin that runs.
    pub async fn active_plugin(&self, name: &str) -> Result<Option<ActivePlugin>, Error> {
        let found: Option<(String, Option<String>, i64)> =
            query_as("select active_digest, previous_digest, epoch from plugins where name = $1")
                .bind(name)
                .fetch_optional(self.control.readers())
                .await?;
        let Some((digest, previous_digest, epoch)) = found else { return Ok(None) };
        let manifest = self.manifest(&digest).await?;
        Ok(Some(ActivePlugin { name: name.into(), digest, previous_digest, epoch, manifest }))
    }

    /// The table of a service under this name, as the running version of its plugin has it.
    pub async fn table_spec(
        &self,
        plugin: &str,
        service: &str,
        table_name: &str,
    ) -> Result<TableSpec, Error> {
        let Some(active) = self.active_plugin(plugin).await? else {
            return Err(Error::Refused(format!("the plugin {plugin} isn't installed")));
        };
        let spec = TableSpec::new(&active.manifest, service, table_name);
        spec.map_err(|error| Error::Refused(error.to_string()))
    }

    /// All plugins that run, by name.
    pub async fn active_plugins(&self) -> Result<BTreeMap<String, ActivePlugin>, Error> {
        let names: Vec<String> = query_scalar("select name from plugins order by name")
            .fetch_all(self.control.readers())
            .await?;
        let mut active = BTreeMap::new();
        for name in names {
            active.extend(self.active_plugin(&name).await?.map(|plugin| (name, plugin)));
        }
        Ok(active)
    }

    /// The manifest of an installed component.
    pub async fn manifest(&self, digest: &str) -> Result<Arc<Manifest>, Error> {
        let lock = || self.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(manifest) = lock().get(digest) {
            return Ok(manifest.clone());
        }
        let json: Option<String> =
            query_scalar("select manifest from plugin_versions where digest = $1")
                .bind(digest)
                .fetch_optional(self.control.readers())
                .await?;
        let json = json.ok_or_else(|| {
            Error::Inconsistent(format!("the component {digest} is not installed"))
        })?;
        let manifest: Manifest = serde_json::from_str(&json).map_err(|error| {
            Error::Inconsistent(format!("the manifest of the component {digest}: {error}"))
        })?;
        let manifest = Arc::new(manifest);
        lock().insert(digest.to_owned(), manifest.clone());
        Ok(manifest)
    }

    async fn known_plugin(&self, name: &str) -> Result<ActivePlugin, Error> {
        let found = self.active_plugin(name).await?;
        found.ok_or_else(|| Error::Inconsistent(format!("`{name}` has no active version")))
    }
}

async fn installed(connection: &mut Connection, wanted: &str) -> Result<(String, String), Error> {
    let mut found: Vec<(String, String)> = query_as(
        "select name, digest from plugin_versions where name = $1
         order by number desc limit 1",
    )
    .bind(wanted)
    .fetch_all(&mut *connection)
    .await?;
    if found.is_empty() && wanted.len() >= 6 {
        found = query_as(
            "select name, digest from plugin_versions where substr(digest, 1, length($1)) = $1",
        )
        .bind(wanted)
        .fetch_all(&mut *connection)
        .await?;
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Error::Refused(format!(
            "no installed plugin has the name or digest `{wanted}`; `rowgate plugins list` shows \
             what is installed"
        ))),
        _ => Err(Error::Refused(format!("several digests begin with `{wanted}`: give more of it"))),
    }
}

/// Activating what is active changes nothing, so that it can't lose the way back.
async fn activate(
    connection: &mut Connection,
    name: &str,
    digest: &str,
    now: Micros,
) -> Result<(), Error> {
    query(
        "insert into plugins (name, active_digest, epoch, activated_at) values ($1, $2, 1, $3)
         on conflict (name) do update set previous_digest = plugins.active_digest,
           active_digest = excluded.active_digest, epoch = plugins.epoch + 1,
           activated_at = excluded.activated_at
         where plugins.active_digest <> excluded.active_digest",
    )
    .bind(name)
    .bind(digest)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Either the whole file stands there after a crash, or none.
fn write_durably(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let unfinished = path.with_extension(format!("{}.unfinished", std::process::id()));
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
