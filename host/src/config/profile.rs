//! Which hosts somebody is logged in to: a file of theirs, readable by them alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// Hosts by their URL.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Profiles {
    /// The host that commands go to when they don't say.
    #[serde(default)]
    pub current: Option<String>,
    /// What is known of each.
    #[serde(default)]
    pub hosts: BTreeMap<String, Profile>,
}

/// What is known of a host.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Profile {
    /// The session.
    pub auth_token: String,
    /// Whose it is.
    pub email: String,
    /// Id or key of the organization that commands work on.
    pub org: String,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profile").field("email", &self.email).field("org", &self.org).finish()
    }
}

impl Profiles {
    /// The stored ones; none where nobody ever logged in.
    pub fn load() -> anyhow::Result<Self> {
        let Some(path) = path() else { return Ok(Self::default()) };
        match fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// Writes them down whole or not at all.
    pub fn store(&self) -> anyhow::Result<()> {
        let path =
            path().context("HOME isn't set: say by ROWGATE_PROFILE where logins are kept")?;
        if let Some(directory) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let fresh = path.with_extension("new");
        let write = || {
            let mut options = fs::OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(&fresh)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)
        };
        write().with_context(|| format!("writing {}", path.display()))
    }

    /// The host that the environment names.
    pub fn host_by_environment() -> Option<String> {
        std::env::var("ROWGATE_HOST").ok().filter(|host| !host.trim().is_empty())
    }
}

fn path() -> Option<PathBuf> {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(path) = given("ROWGATE_PROFILE") {
        return Some(path.into());
    }
    let configuration = given("XDG_CONFIG_HOME").map(PathBuf::from);
    let configuration =
        configuration.or_else(|| Some(PathBuf::from(given("HOME")?).join(".config")));
    Some(configuration?.join("rowgate").join("profile.json"))
}
