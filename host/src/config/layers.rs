//! Layers of configuration values over each other; every key and type is known from the defaults.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use toml::{Table, Value};

use super::{DEFAULTS, Flags};

/// Values, and where each that isn't a default comes from.
#[derive(Clone, Default)]
pub(super) struct Layers {
    values: Table,
    origins: BTreeMap<String, String>,
}

impl Layers {
    pub(super) fn defaults() -> Self {
        let values = DEFAULTS.parse().expect("the compiled-in defaults are tested");
        Self { values, origins: BTreeMap::new() }
    }

    pub(super) fn values(&self) -> &Table {
        &self.values
    }

    pub(super) fn text(&self, key: &str) -> &str {
        self.values.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn is_set(&self, key: &str) -> bool {
        self.origins.contains_key(key)
    }

    pub(super) fn set_file(&mut self, path: &Path) -> anyhow::Result<()> {
        let origin = path.display().to_string();
        let text = fs::read_to_string(path).with_context(|| format!("reading {origin}"))?;
        let table: Table = text.parse().with_context(|| format!("reading {origin}"))?;
        for (key, value) in leaves(&table) {
            self.set(&key, value, &origin)?;
        }
        Ok(())
    }

    /// Takes a variable of the environment. Names that aren't ours are left alone, even with our
    /// prefix: Kubernetes sets ROWGATE_PORT and others for a service called `rowgate`.
    pub(super) fn set_environment(&mut self, name: &str, text: &str) -> anyhow::Result<()> {
        let keys = leaves(&self.values);
        let Some((key, default)) = keys.into_iter().find(|(key, _)| variable(key) == name) else {
            return Ok(());
        };
        let value = match default {
            Value::Integer(_) => match text.trim().parse() {
                Ok(number) => Value::Integer(number),
                Err(_) => bail!("{name} must be a number, not {text:?}"),
            },
            Value::Boolean(_) => match text.trim().parse() {
                Ok(flag) => Value::Boolean(flag),
                Err(_) => bail!("{name} must be true or false, not {text:?}"),
            },
            _ => Value::String(text.to_owned()),
        };
        self.set(&key, value, name)
    }

    pub(super) fn set_flags(&mut self, flags: &Flags) -> anyhow::Result<()> {
        let path = |path: &Option<std::path::PathBuf>| {
            path.as_ref().map(|path| path.to_string_lossy().into_owned())
        };
        let given = [
            ("data_dir", path(&flags.data_dir), "--data-dir"),
            ("org", flags.org.clone(), "--org"),
            ("plugins", path(&flags.plugins), "--plugins"),
            ("database_url", flags.database_url.clone(), "--database-url"),
            ("server.listen", flags.listen.clone(), "--listen"),
            ("server.public_url", flags.public_url.clone(), "--public-url"),
        ];
        for (key, value, flag) in given {
            if let Some(value) = value {
                self.set(key, Value::String(value), flag)?;
            }
        }
        Ok(())
    }

    /// Puts everything that `above` sets over this.
    pub(super) fn override_with(&mut self, above: Self) {
        for (key, value) in leaves(&above.values) {
            if let Some(origin) = above.origins.get(&key) {
                put(&mut self.values, &key, value);
                self.origins.insert(key, origin.clone());
            }
        }
    }

    pub(super) fn describe(&self) -> Vec<(String, String, String)> {
        let described = leaves(&self.values).into_iter().map(|(key, value)| {
            let text = match (key.as_str(), &value) {
                ("key", Value::String(text)) if !text.is_empty() => "(hidden)".into(),
                ("database_url" | "replication_url" | "smtp.url", Value::String(text)) => {
                    without_password(text)
                }
                (_, Value::String(text)) => text.clone(),
                (_, other) => other.to_string(),
            };
            let origin = self.origins.get(&key).map_or("default", String::as_str);
            (key, text, origin.to_owned())
        });
        described.collect()
    }

    fn set(&mut self, key: &str, value: Value, origin: &str) -> anyhow::Result<()> {
        let known = leaves(&self.values);
        let Some((_, default)) = known.iter().find(|(known, _)| known == key) else {
            let names: Vec<&str> = known.iter().map(|(key, _)| key.as_str()).collect();
            bail!("{origin}: unknown key `{key}`; there are {}", names.join(", "));
        };
        if default.type_str() != value.type_str() {
            bail!("{origin}: `{key}` must be a {}, not {}", default.type_str(), value.type_str());
        }
        put(&mut self.values, key, value);
        self.origins.insert(key.to_owned(), origin.to_owned());
        Ok(())
    }
}

impl std::fmt::Debug for Layers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.describe().fmt(f)
    }
}

fn without_password(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut url) if url.password().is_some() => {
            let _cannot_be_a_base = url.set_password(Some("hidden"));
            url.into()
        }
        Ok(url) => url.into(),
        Err(_) if url.is_empty() => String::new(),
        Err(_) => "(hidden)".to_owned(),
    }
}

/// The name of a key in the environment.
fn variable(key: &str) -> String {
    let short = key.strip_prefix("server.").unwrap_or(key);
    format!("ROWGATE_{}", short.replace('.', "_").to_uppercase())
}

/// `section.key` and value of all that isn't a section.
fn leaves(table: &Table) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(section) => found.extend(
                leaves(section).into_iter().map(|(inner, value)| (format!("{key}.{inner}"), value)),
            ),
            value => found.push((key.clone(), value.clone())),
        }
    }
    found
}

fn put(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        Some((section, inner)) => {
            if let Some(Value::Table(section)) = table.get_mut(section) {
                put(section, inner, value);
            }
        }
        None => {
            table.insert(key.to_owned(), value);
        }
    }
}
