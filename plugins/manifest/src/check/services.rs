//! Services: their tree, and the configuration of its roots.

use super::{Check, is_identifier, one_of};
use crate::{ConfigField, ConfigKind};

const SERVICES_MAX: usize = 64;

impl Check<'_> {
    /// Parents exist and stand before their children. False: nothing that walks the tree is safe.
    pub(super) fn service_tree(&mut self) -> bool {
        let services = &self.manifest.services;
        let found_before = self.problems.len();
        let count_ok = (1..=SERVICES_MAX).contains(&services.len());
        self.require(count_ok, "services", || format!("there must be 1 to {SERVICES_MAX}"));
        for (at, (name, service)) in services.iter().enumerate() {
            let path = format!("services.{name}.depends_on");
            let Some(parent) = &service.depends_on else { continue };
            match services.get_index_of(parent) {
                None => self.problem(
                    path,
                    format!("there is no service `{parent}`; {}", one_of(services.keys())),
                ),
                Some(parent_at) if parent_at < at => {}
                Some(_) if self.is_cycle(name) => self
                    .problem(path, format!("`{name}` comes round to itself; a tree has one root")),
                Some(_) => self.problem(
                    path,
                    format!("`{parent}` stands after its child; move [services.{parent}] up"),
                ),
            }
        }
        self.problems.len() == found_before
    }

    fn is_cycle(&self, name: &str) -> bool {
        let mut at = name;
        for _ in 0..=self.manifest.services.len() {
            match self.manifest.services.get(at).and_then(|s| s.depends_on.as_deref()) {
                Some(parent) if parent == name => return true,
                Some(parent) => at = parent,
                None => return false,
            }
        }
        true
    }

    pub(super) fn services(&mut self) {
        for (name, service) in &self.manifest.services {
            let path = format!("services.{name}");
            self.identifier(&path, name);
            let tables = &self.manifest.tables;
            self.require(tables.contains_key(&service.table), &format!("{path}.table"), || {
                format!("there is no table `{}`; {}", service.table, one_of(tables.keys()))
            });
            let root_only = service.config.is_empty() || service.depends_on.is_none();
            self.require(root_only, &format!("{path}.config"), || {
                "only a root service has configuration; its children inherit it".into()
            });
            for (field, config) in &service.config {
                self.config(&format!("{path}.config.{field}"), field, config);
            }
            self.steps(&path, service.config.values());
            if let (Some(stale), Some(table)) = (&service.stale, self.manifest.table(name)) {
                self.stale(&format!("{path}.stale"), table, stale);
            }
        }
    }

    fn config(&mut self, path: &str, name: &str, field: &ConfigField) {
        self.identifier(path, name);
        let filled = field.prompt.is_some() || field.default.is_some() || field.generate.is_some();
        self.require(filled, path, || {
            "never gets a value; give it a `prompt` or a `default`".into()
        });
        let asks = field.prompt.as_ref().is_none_or(|prompt| prompt.ends_with(':'));
        self.require(asks, &format!("{path}.prompt"), || "must end with a colon".into());
        self.require(!(field.secret && field.default.is_some()), path, || {
            "a secret can't have a default that anybody can read".into()
        });
        if let Some(generate) = &field.generate {
            self.require(generate == "base36/16", &format!("{path}.generate"), || {
                format!("`{generate}` is unknown; known: base36/16")
            });
        }
        if let (ConfigKind::Url, Some(default)) = (field.kind, &field.default) {
            let scheme = default.starts_with("https://") || default.starts_with("http://");
            self.require(scheme && !default.ends_with('/'), &format!("{path}.default"), || {
                format!("`{default}` must begin with http:// or https:// and not end with /")
            });
        }
    }

    fn steps<'a>(&mut self, path: &str, fields: impl Iterator<Item = &'a ConfigField>) {
        let mut seen = Vec::new();
        for step in fields.filter_map(|field| field.step.as_deref()) {
            self.require(is_identifier(step), &format!("{path}.config"), || {
                format!("the step `{step}` is no name of lower case letters, digits and `_`")
            });
            self.require(!seen.contains(&step), &format!("{path}.config"), || {
                format!("two values have the step `{step}`")
            });
            seen.push(step);
        }
    }
}
