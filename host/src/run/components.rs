//! Which component runs: the active version of each plugin, loaded once.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::plugin::{Component, Engine};
use crate::store::{Error, Store};

/// Loaded components by digest.
pub(crate) struct Components {
    engine: Engine,
    store: Arc<Store>,
    /// Where components and their compiled forms lie.
    dir: PathBuf,
    loaded: Mutex<HashMap<String, Arc<Component>>>,
}

impl Components {
    pub(crate) fn new(engine: Engine, store: Arc<Store>, dir: PathBuf) -> Self {
        Self { engine, store, dir, loaded: Mutex::default() }
    }

    /// The active version of a plugin. A call in flight keeps the version it began with.
    pub(crate) async fn active(&self, plugin: &str) -> Result<Arc<Component>, Error> {
        let active = self.store.active_plugin(plugin).await?;
        let digest = active.map(|active| active.digest).ok_or_else(|| {
            Error::Refused(format!(
                "no version of plugin {plugin} is active: rowgate plugins activate {plugin}"
            ))
        })?;
        // Held while loading: two runs must not compile the same component side by side.
        let mut loaded = self.loaded.lock().await;
        if let Some(component) = loaded.get(&digest) {
            return Ok(Arc::clone(component));
        }
        let wasm = self.store.component(&digest).await?;
        let component = self.engine.load(wasm, &self.dir).await;
        let component = component.map_err(|error| Error::Refused(error.to_string()))?;
        if component.digest != digest {
            return Err(Error::Inconsistent(format!(
                "the file of component {digest} was changed: install it again"
            )));
        }
        loaded.insert(digest, Arc::clone(&component));
        Ok(component)
    }
}
