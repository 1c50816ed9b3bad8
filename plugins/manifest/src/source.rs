//! A manifest from TOML or JSON, and back to JSON. What comes out of here is checked.

use crate::{Manifest, Problems};

/// Largest manifest that is read.
pub const MANIFEST_BYTES_MAX: usize = 256 << 10;

/// Why a text is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More than [`MANIFEST_BYTES_MAX`].
    #[error("the manifest has {0} bytes; at most {MANIFEST_BYTES_MAX} are read")]
    TooLarge(usize),
    /// Not TOML, or not of the manifest's shape; the text shows the line.
    #[error("plugin.toml: {0}")]
    Toml(#[from] toml::de::Error),
    /// Not JSON, or not of the manifest's shape.
    #[error("manifest, at `{path}`: {problem}")]
    Json {
        /// Dotted path of the value.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The parts don't fit together.
    #[error("the manifest doesn't hold together:\n{0}")]
    Invalid(#[from] Problems),
}

impl Manifest {
    /// Reads and checks a `plugin.toml`.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        within_cap(text.len())?;
        let manifest: Self = toml::from_str(text)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Reads and checks the JSON form.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        within_cap(json.len())?;
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let manifest: Self = serde_path_to_error::deserialize(&mut deserializer).map_err(|e| {
            Error::Json { path: e.path().to_string(), problem: e.into_inner().to_string() }
        })?;
        deserializer.end().map_err(|e| Error::Json { path: ".".into(), problem: e.to_string() })?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The JSON form, in the order of the fields; the same manifest gives the same bytes.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data with text keys always has a JSON form")
    }
}

fn within_cap(bytes: usize) -> Result<(), Error> {
    if bytes > MANIFEST_BYTES_MAX { Err(Error::TooLarge(bytes)) } else { Ok(()) }
}
