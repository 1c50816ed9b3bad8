//! Installing components.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::config::RefusedFile;
use crate::plugin::{Engine, Refused};
use crate::store::{self, Store};

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

/// Why a file wasn't installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// It can't be read.
    #[error("reading {}: {error}", path.display())]
    #[allow(missing_docs)]
    Unreadable { path: PathBuf, error: io::Error },
    /// It is no component that this host can run.
    #[error("{} is refused: {reason}", path.display())]
    #[allow(missing_docs)]
    Refused { path: PathBuf, reason: Refused },
    /// Not the file's fault.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Installs a component file: compiled and held against the contract now, so that what runs later
/// was seen to fit. It doesn't run before it is activated.
pub async fn install_file(
    store: &Store,
    engine: &Engine,
    path: &Path,
) -> Result<Installed, InstallError> {
    let wasm = std::fs::read(path)
        .map_err(|error| InstallError::Unreadable { path: path.to_owned(), error })?;
    let loaded = engine.load(wasm.clone(), &store.data_dir().plugins()).await;
    let component =
        loaded.map_err(|reason| InstallError::Refused { path: path.to_owned(), reason })?;
    let new = store.install_plugin(&wasm, &component.digest, &component.manifest).await?;
    let plugin = component.manifest.plugin.clone();
    let digest = component.digest.clone();
    Ok(Installed { name: plugin.name, version: plugin.version, digest, new })
}

/// Installs and activates the components of a directory that weren't installed before. What was
/// installed is left as it is: an operator may have rolled it back. A file that is refused is told
/// of and left out; returns these.
pub async fn install_directory(
    store: &Store,
    engine: &Engine,
    directory: &Path,
) -> anyhow::Result<Vec<RefusedFile>> {
    let mut refused = Vec::new();
    for path in components(directory)? {
        match install_file(store, engine, &path).await {
            Ok(installed) if installed.new => {
                store.activate_plugin(&installed.digest).await?;
                let Installed { name, version, digest, .. } = installed;
                tracing::info!(plugin = name, version, digest, "installed and activated");
            }
            Ok(_) => {}
            Err(InstallError::Store(error)) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(
                    %error,
                    "the host starts without this component; what was active before stays so. Put \
                     a good one in its place (`rowgate plugins install` checks it) or remove it"
                );
                refused.push(RefusedFile { file: path, reason: error.to_string() });
            }
        }
    }
    Ok(refused)
}

/// The directory's components, in the order of their names.
fn components(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
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
    Ok(paths)
}
