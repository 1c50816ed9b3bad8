//! What a session may reach: the manifest asks, the operator grants, and every denial says what to
//! add where. Pure decisions over prefixes.

use std::collections::BTreeMap;

use rowgate_manifest::{Manifest, RateLimit};
use url::Url;

use super::Grant;
use super::limits::Due;
use super::url_prefix::{Origin, UrlPrefix};

/// Manifest and grants with the configuration filled in.
#[derive(Debug)]
pub(super) struct Policy {
    entries: Vec<Entry>,
    secrets: BTreeMap<String, Vec<UrlPrefix>>,
    pub(super) captures: Vec<CaptureRule>,
    grants: Vec<Grant>,
    /// Prefixes that can't be resolved, for the denial texts.
    unresolved: Vec<String>,
}

#[derive(Debug)]
struct Entry {
    prefix: UrlPrefix,
    methods: Vec<String>,
    limits: Vec<RateLimit>,
    /// The manifest itself fixes the origin, literally or as a default: installing it granted that.
    fixed: bool,
}

/// A secret that answers hold.
#[derive(Clone, Debug)]
pub(super) struct CaptureRule {
    pub(super) secret: String,
    pub(super) from: UrlPrefix,
    /// JSON pointer of the secret.
    pub(super) at: String,
    /// JSON pointer of its life in seconds, of which `margin_s` is taken off.
    pub(super) expires_in: Option<String>,
    pub(super) margin_s: u64,
}

/// What a permitted request may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Permit {
    /// It may connect to addresses outside the public internet.
    pub(super) private_addresses: bool,
}

impl Policy {
    pub(super) fn new(
        manifest: &Manifest,
        config: &BTreeMap<String, String>,
        grants: Vec<Grant>,
    ) -> Self {
        let mut unresolved = Vec::new();
        let mut resolve = |template: &str| match resolve(template, config) {
            Ok(prefix) => Some(prefix),
            Err(problem) => {
                unresolved.push(problem);
                None
            }
        };
        let defaults = defaults(manifest);
        let entries = manifest.egress.iter().filter_map(|entry| {
            let prefix = resolve(&entry.url)?;
            let default = self::resolve(&entry.url, &defaults).ok();
            let fixed = default.is_some_and(|default| default.origin == prefix.origin)
                && !prefix.origin.is_any_host();
            let limits = entry.limits.clone();
            Some(Entry { prefix, methods: entry.methods.clone(), limits, fixed })
        });
        let entries = entries.collect();
        let secrets = manifest.secrets.iter().map(|(name, secret)| {
            (name.clone(), secret.to.iter().filter_map(|to| resolve(to)).collect())
        });
        let secrets = secrets.collect();
        let captures = manifest.secrets.iter().filter_map(|(name, secret)| {
            let captured = secret.captured.as_ref()?;
            Some(CaptureRule {
                secret: name.clone(),
                from: resolve(&captured.from)?,
                at: captured.at.clone(),
                expires_in: captured.expires_in.clone(),
                margin_s: captured.margin_s,
            })
        });
        let captures = captures.collect();
        Self { entries, secrets, captures, grants, unresolved }
    }

    /// May this request be sent? The error says what is missing.
    pub(super) fn permit(&self, method: &str, url: &Url) -> Result<Permit, String> {
        let origin = Origin::of_url(url);
        let asked: Vec<_> = self.entries.iter().filter(|entry| entry.prefix.covers(url)).collect();
        if asked.is_empty() {
            return Err(self.not_asked(&origin, url));
        }
        let by_method: Vec<_> =
            asked.iter().filter(|entry| entry.methods.iter().any(|one| one == method)).collect();
        if by_method.is_empty() {
            let prefix = &asked[0].prefix;
            return Err(format!(
                "plugin.toml doesn't ask for {method} of {prefix}: add it to the `methods` of that \
                 [[egress]]"
            ));
        }
        let mut granted = self.grants.iter().filter(|grant| grant.origin.covers(&origin));
        if granted.clone().next().is_none() && !by_method.iter().any(|entry| entry.fixed) {
            return Err(format!("no grant for {origin}: {}", self.grant_command(&origin, false)));
        }
        // An address behind the firewall is granted by name, never by `*`.
        let private = granted.any(|grant| grant.private_addresses && grant.origin == origin);
        Ok(Permit { private_addresses: private })
    }

    /// The limits that count this request, which is permitted.
    pub(super) fn dues(&self, method: &str, url: &Url) -> Vec<Due<'_>> {
        let asked = self.entries.iter().enumerate().filter(|(_, entry)| {
            entry.prefix.covers(url) && entry.methods.iter().any(|one| one == method)
        });
        let dues = asked.flat_map(|(entry, asked)| {
            let limits = asked.limits.iter().enumerate();
            limits.map(move |(nth, limit)| Due { which: (entry, nth), limit })
        });
        dues.collect()
    }

    /// One URL, and a method that it may be asked with, for each origin that names a host.
    pub(super) fn places(&self) -> Vec<(Url, String)> {
        let mut places: BTreeMap<Origin, (Url, String)> = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| !entry.prefix.origin.is_any_host()) {
            let url = entry.prefix.to_string().parse().ok();
            let Some((url, method)) = url.zip(entry.methods.first().cloned()) else { continue };
            places.entry(entry.prefix.origin.clone()).or_insert((url, method));
        }
        places.into_values().collect()
    }

    /// May this secret be sent there? The error says what is missing.
    pub(super) fn permit_secret(&self, name: &str, url: &Url) -> Result<(), String> {
        let Some(prefixes) = self.secrets.get(name) else {
            return Err(format!("unknown secret `{name}`: add it to [secrets] in plugin.toml"));
        };
        if prefixes.iter().any(|prefix| prefix.covers(url)) {
            return Ok(());
        }
        Err(format!(
            "the secret `{name}` isn't bound to {}{}: add the prefix to its `to` in plugin.toml",
            Origin::of_url(url),
            url.path()
        ))
    }

    /// What is missing for an address outside the public internet.
    pub(super) fn private_advice(&self, url: &Url) -> String {
        self.grant_command(&Origin::of_url(url), true)
    }

    fn not_asked(&self, origin: &Origin, url: &Url) -> String {
        let mut text = format!(
            "plugin.toml doesn't ask for {origin}{}: add an [[egress]] with a `url` that it begins \
             with",
            url.path()
        );
        for problem in &self.unresolved {
            text.push_str("; ");
            text.push_str(problem);
        }
        text
    }

    fn grant_command(&self, origin: &Origin, private: bool) -> String {
        let flag = if private { " --private-addresses" } else { "" };
        format!(
            "the operator grants it with `rowgate integrations grant INTEGRATION {origin}{flag}`"
        )
    }
}

/// A URL prefix of the manifest with its `{config}` references replaced.
fn resolve(template: &str, config: &BTreeMap<String, String>) -> Result<UrlPrefix, String> {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            return Err(format!("`{template}` has a `{{` without `}}`"));
        };
        let Some(value) = config.get(name) else {
            return Err(format!("`{template}` needs the configuration value `{name}`"));
        };
        text.push_str(before);
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    UrlPrefix::parse(&text)
}

fn defaults(manifest: &Manifest) -> BTreeMap<String, String> {
    let fields = manifest.services.values().flat_map(|service| &service.config);
    fields.filter_map(|(name, field)| Some((name.clone(), field.default.clone()?))).collect()
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
