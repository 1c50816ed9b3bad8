//! Conveniences on what the host hands in.

use serde::de::DeserializeOwned;

use crate::{Context, Failure, Result, Webhook};

impl Context {
    /// A configuration value. `Bug`, if the manifest has none of that name.
    pub fn config(&self, name: &str) -> Result<&str> {
        let found = self.config.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.as_str())
            .ok_or_else(|| Failure::Bug(format!("no configuration value `{name}`")))
    }

    /// The time of the call in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        self.now.div_euclid(1_000)
    }
}

impl Webhook {
    /// The body as JSON. `Bug`, with the path, where it doesn't fit: the manifest's body schema has
    /// let it through.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        let mut json = serde_json::Deserializer::from_slice(&self.body);
        serde_path_to_error::deserialize(&mut json)
            .map_err(|e| Failure::Bug(format!("webhook body, at `{}`: {}", e.path(), e.inner())))
    }

    /// A header that the manifest lists, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}
