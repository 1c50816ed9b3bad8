//! Do the parts of a manifest fit together? Every finding names the place and what to do, and all
//! of them are told at once.

mod secrets;
mod services;
mod streams;
mod tables;
#[cfg(test)]
pub(crate) mod tests;
mod webhooks;

use std::fmt;

use crate::{ColumnType, Manifest};

/// Columns that every table has by itself.
pub(crate) const RESERVED_COLUMNS: [(&str, ColumnType); 4] = [
    ("pk", ColumnType::Int),
    ("row_created_at", ColumnType::Timestamptz),
    ("row_updated_at", ColumnType::Timestamptz),
    ("data", ColumnType::Json),
];

/// Longest identifier; Postgres cuts names at 63 bytes, and a table's name gets a suffix.
const IDENTIFIER_MAX: usize = 56;

/// What doesn't fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path in `plugin.toml`.
    pub path: String,
    /// What is wrong there, and what to do.
    pub text: String,
}

/// All problems of a manifest; displayed one a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Problem { path, text }) in self.0.iter().enumerate() {
            let newline = if i == 0 { "" } else { "\n" };
            write!(f, "{newline}{path}: {text}")?;
        }
        Ok(())
    }
}

impl Manifest {
    /// Checks names and everything that refers to something else.
    pub fn check(&self) -> Result<(), Problems> {
        let mut check = Check { manifest: self, problems: Vec::new() };
        check.plugin();
        if check.service_tree() {
            check.services();
            check.webhooks();
            check.tables();
            check.secrets();
            check.streams();
        }
        check.lists();
        if check.problems.is_empty() { Ok(()) } else { Err(Problems(check.problems)) }
    }
}

/// The manifest under check, and what was found.
struct Check<'a> {
    manifest: &'a Manifest,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn problem(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), text: text.into() });
    }

    fn require(&mut self, holds: bool, path: &str, text: impl FnOnce() -> String) {
        if !holds {
            self.problem(path, text());
        }
    }

    fn identifier(&mut self, path: &str, name: &str) {
        self.require(is_identifier(name), path, || {
            format!(
                "`{name}` is no name; use a lower case letter, then lower case letters, digits \
                 and `_`, {IDENTIFIER_MAX} at most"
            )
        });
    }

    fn plugin(&mut self) {
        let plugin = &self.manifest.plugin;
        self.identifier("plugin.name", &plugin.name);
        self.require(is_version(&plugin.version), "plugin.version", || {
            format!("`{}` is no version; write it as 1.2.3", plugin.version)
        });
        let cursor = &plugin.cursor;
        self.require(cursor.reads.contains(&cursor.writes), "plugin.cursor.reads", || {
            format!("version {} is written but not read; add it", cursor.writes)
        });
        self.require(plugin.streams_per_owner > 0, "plugin.streams_per_owner", at_least_1);
        let limits = &plugin.limits;
        let budgets = [
            ("wall_s", limits.wall_s),
            ("cpu_ms", limits.cpu_ms),
            ("memory_mib", limits.memory_mib),
            ("answer_mib", limits.answer_mib),
            ("rows", limits.rows),
        ];
        for (name, budget) in budgets {
            self.require(budget > 0, &format!("plugin.limits.{name}"), at_least_1);
        }
    }

    fn lists(&mut self) {
        for name in self.manifest.lists.keys() {
            self.identifier(&format!("lists.{name}"), name);
        }
    }

    /// `{x}` in a URL prefix must be a configuration value that a component may know.
    fn config_references(&mut self, path: &str, text: &str) {
        let Some(names) = references(text) else {
            self.problem(path, format!("`{text}` has a brace without its other half"));
            return;
        };
        for name in names {
            match self.config_field(name).map(|field| field.secret) {
                Some(false) => {}
                Some(true) => self.problem(
                    path,
                    format!("`{{{name}}}` is a secret configuration value; it can't be in a URL"),
                ),
                None => self.problem(
                    path,
                    format!("there is no value `{name}`; add it to a root service's `config`"),
                ),
            }
        }
    }

    fn config_field(&self, name: &str) -> Option<&crate::ConfigField> {
        self.manifest.services.values().find_map(|service| service.config.get(name))
    }
}

fn at_least_1() -> String {
    "must be at least 1".to_owned()
}

pub(crate) fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|first| first.is_ascii_lowercase())
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && name.len() <= IDENTIFIER_MAX
}

fn is_version(version: &str) -> bool {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<_> = core.split('.').collect();
    let number = |n: &&str| n.parse::<u32>().is_ok() && n.bytes().all(|b| b.is_ascii_digit());
    numbers.len() == 3
        && numbers.iter().all(number)
        && version.len() <= 64
        && version.bytes().all(|b| b.is_ascii_alphanumeric() || b".-+".contains(&b))
}

/// The names in braces, in order. None: a brace without its other half.
pub(crate) fn references(text: &str) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        let (_, tail) = rest.split_at(open);
        let inside = tail.strip_prefix('{')?;
        let close = inside.find(['{', '}'])?;
        if !inside[close..].starts_with('}') {
            return None;
        }
        names.push(&inside[..close]);
        rest = &inside[close + 1..];
    }
    Some(names)
}

/// "one of: a, b", for error texts.
fn one_of<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.into_iter().map(String::as_str).collect();
    if names.is_empty() {
        "none is declared".into()
    } else {
        format!("known: {}", names.join(", "))
    }
}
