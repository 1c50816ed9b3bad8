//! The manifest of a Rowgate plugin: `plugin.toml` as plain data.
//!
//! An author edits `plugin.toml`; the build embeds it as JSON in the component's custom section
//! [`SECTION`], so the host and an operator can read what a plugin offers and wants without running
//! it. Every struct here refuses unknown keys: a typo is an error, never a silent default.

mod check;
mod component;
mod secret;
mod source;
mod stream;
mod table;
mod webhook;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

pub use check::{Problem, Problems};
pub use component::{SectionError, embed, read};
pub use secret::{Captured, Egress, RateLimit, RateScope, Secret, SecretScope};
pub use source::{Error, MANIFEST_BYTES_MAX};
pub use stream::{
    PerRow, Poll, Push, PushColumns, PushUnsupported, Removed, StreamKind, StreamRef,
};
pub use table::{ColumnType, Literal, PartialCondition, PartialIndex, Stale, Table};
pub use webhook::{BodyField, BodyKind, Webhook, WebhookAuth};

/// Name of the custom section of a component that holds the manifest as JSON.
pub const SECTION: &str = "rowgate:manifest";

/// A whole `plugin.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name, version, cursor versions, budgets.
    pub plugin: Plugin,
    /// What the plugin offers; each service has one table. Parents stand before their children.
    pub services: IndexMap<String, Service>,
    /// Secrets that requests may name, and the URL prefixes each is bound to.
    #[serde(default)]
    pub secrets: IndexMap<String, Secret>,
    /// What the plugin wants to reach.
    #[serde(default)]
    pub egress: Vec<Egress>,
    /// Stream kinds that several services share.
    #[serde(default)]
    pub stream_kinds: IndexMap<String, StreamKind>,
    /// Tables by the name that a service's `table` refers to.
    pub tables: IndexMap<String, Table>,
    /// Vendor push channels.
    #[serde(default)]
    pub push: IndexMap<String, Push>,
    /// Lists of the plugin's own that an operator should be able to read, e.g. special calendars.
    #[serde(default)]
    pub lists: IndexMap<String, Vec<String>>,
}

/// `[plugin]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    /// Lower case letters, digits and `_`.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// Cursor versions. A stored cursor whose version isn't readable is dropped (a full listing).
    pub cursor: CursorVersions,
    /// Raised when rows of the same answer come out differently: streams are then listed in full.
    #[serde(default = "one")]
    pub mapping_version: u32,
    /// Budgets that the plugin asks for; the operator grants.
    #[serde(default)]
    pub limits: Limits,
    /// How many streams of one owner may run at once, where their rows are disjoint.
    #[serde(default = "one")]
    pub streams_per_owner: u32,
}

/// The cursor version that a plugin writes and those that it reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it")]
pub struct CursorVersions {
    pub writes: u32,
    pub reads: Vec<u32>,
}

/// Budgets of one call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Wall time, seconds.
    pub wall_s: u32,
    /// CPU time inside the component, milliseconds.
    pub cpu_ms: u32,
    /// Sum over all linear memories, MiB.
    pub memory_mib: u32,
    /// One HTTP answer after decoding, MiB.
    pub answer_mib: u32,
    /// Rows written by one call.
    pub rows: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { wall_s: 60, cpu_ms: 5_000, memory_mib: 64, answer_mib: 16, rows: 5_000 }
    }
}

/// One entry that a plugin offers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// A name of `[tables]`.
    pub table: String,
    /// The service whose integration this one hangs under.
    #[serde(default)]
    pub depends_on: Option<String>,
    /// Only on a root service; inherited down the tree. Order = order of prompts.
    #[serde(default)]
    pub config: IndexMap<String, ConfigField>,
    /// Who may post to the integration's endpoint. None: every post is answered 401.
    #[serde(default)]
    pub webhook: Option<Webhook>,
    /// Kinds of scheduled sync.
    #[serde(default)]
    pub streams: IndexMap<String, StreamRef>,
    /// Which of its rows the host deletes when they are old. None: none.
    #[serde(default)]
    pub stale: Option<Stale>,
}

/// One configuration value of a root service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigField {
    /// What `integrations create` asks, with a colon at its end. None: not asked, `default` holds.
    #[serde(default)]
    pub prompt: Option<String>,
    /// Sealed at rest, never given to the component.
    #[serde(default)]
    pub secret: bool,
    /// `base36/16`: 16 random bytes in base 36 when the answer is empty.
    #[serde(default)]
    pub generate: Option<String>,
    /// Name of the create step in the HTTP API.
    #[serde(default)]
    pub step: Option<String>,
    /// How the value is checked.
    #[serde(default)]
    pub kind: ConfigKind,
    /// Used when the value isn't given.
    #[serde(default)]
    pub default: Option<String>,
}

/// How a configuration value is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigKind {
    /// Any text.
    #[default]
    Text,
    /// An absolute http or https URL without a trailing slash.
    Url,
}

impl Manifest {
    /// The stream kinds of a service, named ones resolved.
    pub fn streams<'a>(
        &'a self,
        service: &str,
    ) -> impl Iterator<Item = (&'a str, &'a StreamKind)> + use<'a> {
        let streams = self.services.get(service).map(|service| &service.streams);
        streams.into_iter().flatten().filter_map(|(name, stream)| {
            let kind = match stream {
                StreamRef::Named(kind) => self.stream_kinds.get(kind)?,
                StreamRef::Inline(kind) => kind,
            };
            Some((name.as_str(), kind))
        })
    }

    /// Service and stream kind of what a push channel wakes.
    pub fn woken_by<'a>(&'a self, push: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.services.keys().flat_map(move |service| {
            let kinds = self.streams(service);
            let woken = kinds.filter(move |(_, kind)| kind.push.as_deref() == Some(push));
            woken.map(|(name, _)| (service.as_str(), name))
        })
    }

    /// Name of the secret that stands for a push channel's token.
    pub fn channel_token(&self) -> Option<&str> {
        let mut secrets = self.secrets.iter();
        let found = secrets.find(|(_, secret)| secret.per == Some(SecretScope::Channel));
        found.map(|(name, _)| name.as_str())
    }

    /// The table of a service.
    pub fn table(&self, service: &str) -> Option<&Table> {
        self.tables.get(&self.services.get(service)?.table)
    }

    /// The service at the top of a service's tree.
    pub fn root<'a>(&'a self, service: &'a str) -> &'a str {
        let parent = |at: &&'a str| self.services.get(*at).and_then(|s| s.depends_on.as_deref());
        // No line is longer than there are services, unless it is a circle, which `check` refuses.
        let line = std::iter::successors(Some(service), parent).take(self.services.len() + 1);
        line.last().unwrap_or(service)
    }
}

fn one() -> u32 {
    1
}
