//! Installing components.

use std::path::Path;

use anyhow::Context;

use crate::plugin::inspect;
use crate::store::Store;

/// A component that is installed now.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Installed {
    pub name: String,
    pub version: String,
    pub digest: String,
    /// False: it was installed before.
    pub new: bool,
}

/// Installs a component file; it doesn't run before it is activated.
pub async fn install_file(store: &Store, path: &Path) -> anyhow::Result<Installed> {
    let told = || format!("installing {}", path.display());
    let wasm = std::fs::read(path).with_context(told)?;
    let inspected = inspect(&wasm).with_context(told)?;
    let plugin = inspected.manifest.plugin.clone();
    let new = store
        .install_plugin(&wasm, &inspected.digest, &inspected.manifest)
        .await
        .with_context(told)?;
    Ok(Installed { name: plugin.name, version: plugin.version, digest: inspected.digest, new })
}

/// Installs and activates the components of a directory that weren't installed before. What was
/// installed is left as it is: an operator may have rolled it back.
pub async fn install_directory(store: &Store, directory: &Path) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("reading the plugin directory {}", directory.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            paths.push(path);
        }
    }
    paths.sort();
    for path in paths {
        let installed = install_file(store, &path).await?;
        if installed.new {
            store.activate_plugin(&installed.digest).await?;
            let Installed { name, version, digest, .. } = installed;
            tracing::info!(plugin = name, version, digest, "installed and activated");
        }
    }
    Ok(())
}
