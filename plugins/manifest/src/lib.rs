//! The manifest of a Rowgate plugin: `plugin.toml` as plain data.
//!
//! An author edits `plugin.toml`; the build embeds it as JSON in the component's custom section
//! [`SECTION`], so the host and an operator can read what a plugin offers and wants without running
//! it. Every struct here refuses unknown keys: a typo is an error, never a silent default.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

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
#[allow(missing_docs)]
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
}

/// One configuration value of a root service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigField {
    /// What `integrations create` asks. None: not asked, `default` holds.
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

/// Who may post to an integration's endpoint, and what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Request headers that reach the component, names in lower case.
    #[serde(default)]
    pub headers: Vec<String>,
    /// The first whose header is present decides.
    pub auth: Vec<WebhookAuth>,
    /// Fields that the body must have. Empty: any JSON object.
    #[serde(default)]
    pub body: IndexMap<String, BodyField>,
}

/// One way to authenticate a post.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[allow(missing_docs)]
pub enum WebhookAuth {
    /// A header that holds a secret of the configuration.
    Header { header: String, secret: String },
    /// A vendor's push channel, known by id and token.
    Channel {
        /// Header with the channel id.
        id: String,
        /// Header with the channel token.
        token: String,
        /// Header with the vendor's own id of the channel.
        #[serde(default)]
        vendor_id: Option<String>,
        /// The post carries data for `receive`; else it only makes streams due.
        #[serde(default)]
        data: bool,
    },
}

/// One field of a webhook body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodyField {
    /// `string` if absent. An integer where a string is asked becomes its decimal text.
    #[serde(default, rename = "type")]
    pub kind: BodyKind,
    /// The allowed values.
    #[serde(default, rename = "enum")]
    pub values: Vec<String>,
    /// Least number of characters.
    #[serde(default)]
    pub min: Option<u32>,
    /// Largest number of characters.
    #[serde(default)]
    pub max: Option<u32>,
    /// This field is the external owner id.
    #[serde(default)]
    pub owner: bool,
    /// Sealed on arrival as this secret; the component sees null.
    #[serde(default)]
    pub seal: Option<String>,
    /// Needed only where these other fields have one of these values.
    #[serde(default)]
    pub when: IndexMap<String, Vec<String>>,
    /// May be absent.
    #[serde(default)]
    pub optional: bool,
}

/// JSON type of a body field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum BodyKind {
    #[default]
    String,
    Integer,
    Boolean,
    Object,
    Array,
}

/// A stream kind in place, or the name of one in `[stream_kinds]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs)]
pub enum StreamRef {
    Named(String),
    Inline(Box<StreamKind>),
}

/// A kind of scheduled sync.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamKind {
    /// One stream for each row of a parent's table.
    pub per_row: PerRow,
    /// Which rows of the service's table are the stream's: column to `{key}` or a literal. Streams
    /// of one owner with such a scope may run at once.
    #[serde(default)]
    pub rows: IndexMap<String, String>,
    /// What becomes of the stream's rows when its parent row leaves.
    #[serde(default)]
    pub removed: Option<Removed>,
    /// First `page-limit`.
    pub page_limit: u32,
    /// The limit shrinks no further than this.
    #[serde(default = "one")]
    pub page_limit_min: u32,
    /// Poll intervals in seconds.
    pub poll_s: Poll,
    /// A stream that stopped as unreadable is tried again after so many seconds.
    #[serde(default)]
    pub recheck_s: Option<u64>,
    /// A name of `[push]`.
    #[serde(default)]
    pub push: Option<String>,
}

/// Which rows make streams.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerRow {
    /// The service whose table is meant: an ancestor, or the parent.
    pub table: String,
    /// Column whose value is the stream's key. None: the key is empty, one stream an owner.
    #[serde(default)]
    pub key: Option<String>,
    /// A row with one of these values has no stream.
    #[serde(default)]
    pub unless: IndexMap<String, serde_json::Value>,
}

/// What becomes of rows whose parent left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removed {
    /// Columns to set.
    pub set: IndexMap<String, serde_json::Value>,
}

/// Poll intervals in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Poll {
    /// While a push channel is live.
    pub pushed: u64,
    /// While there is none.
    pub unpushed: u64,
    /// Where the vendor offers no push.
    pub unsupported: u64,
}

/// A secret that requests may name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// Filled from this configuration value.
    #[serde(default)]
    pub config: Option<String>,
    /// Else kept for each owner, or each push channel.
    #[serde(default)]
    pub per: Option<SecretScope>,
    /// URL prefixes it may be sent to, with `{config}` references. Empty: never sent.
    pub to: Vec<String>,
    /// Taken from answers.
    #[serde(default)]
    pub captured: Option<Captured>,
    /// Forgotten when one of these secrets changes.
    #[serde(default)]
    pub forget_with: Vec<String>,
}

/// Whom a secret belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum SecretScope {
    Owner,
    Channel,
}

/// Where an answer holds a secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Captured {
    /// URL prefix of the answering endpoint.
    pub from: String,
    /// JSON pointer (RFC 6901) of the secret.
    pub at: String,
    /// JSON pointer of its life in seconds.
    #[serde(default)]
    pub expires_in: Option<String>,
    /// Seconds taken off that life.
    #[serde(default)]
    pub margin_s: u64,
}

/// Something that the plugin wants to reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    /// URL prefix, with `{config}` references.
    pub url: String,
    /// Methods in upper case.
    pub methods: Vec<String>,
    /// The vendor's limits.
    #[serde(default)]
    pub limits: Vec<RateLimit>,
}

/// A vendor's limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Whom the vendor counts.
    pub per: RateScope,
    /// So many requests in a window.
    pub requests: u64,
    /// Length of the window, seconds.
    pub window_s: u64,
    /// The pace we keep, requests a second.
    pub rate_s: u64,
}

/// Whom a vendor counts requests for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum RateScope {
    Owner,
    Tree,
}

/// A table. `pk`, `row_created_at`, `row_updated_at` and `data` come by themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Column with the external owner id, filled by the host.
    #[serde(default)]
    pub owner: Option<String>,
    /// Natural key beside the owner.
    pub key: Vec<String>,
    /// Columns made of others: `{column}` references joined by `-`, which is escaped in all but
    /// the last part. The first one is the table's unique key.
    #[serde(default)]
    pub computed: IndexMap<String, String>,
    /// Columns and their types, in the table's order.
    pub columns: IndexMap<String, ColumnType>,
    /// Columns that stand for compatibility and stay null.
    #[serde(default)]
    pub never_written: Vec<String>,
    /// An older value of this column never replaces a newer one.
    #[serde(default)]
    pub newer: Option<String>,
    /// Plain indexes.
    #[serde(default)]
    pub indexes: Vec<Vec<String>>,
    /// Partial indexes.
    #[serde(default)]
    pub partial: Vec<PartialIndex>,
}

/// An index over some rows only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartialIndex {
    /// Columns.
    pub on: Vec<String>,
    /// All must hold.
    #[serde(rename = "where")]
    pub conditions: IndexMap<String, PartialCondition>,
}

/// A condition of a partial index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)]
pub enum PartialCondition {
    DistinctFrom(String),
    Null(bool),
}

/// Type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ColumnType {
    Bool,
    Int,
    Double,
    Decimal,
    Text,
    Json,
    Date,
    Timestamptz,
    Bytes,
}

/// A vendor push channel: one may wake several streams and shows in one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// The service whose endpoint the vendor gets.
    pub endpoint: String,
    /// The row that shows the channel.
    pub row: PerRow,
    /// Columns of that row that the host fills.
    pub fills: PushColumns,
    /// What the row shows where the vendor offers no push.
    #[serde(default)]
    pub unsupported: Option<PushUnsupported>,
    /// Life that is asked for, seconds.
    pub ttl_s: u64,
    /// Renewed so many seconds before it expires.
    pub renew_s: u64,
}

/// Columns that show a push channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct PushColumns {
    pub channel: String,
    pub vendor: String,
    pub expires: String,
}

/// What a row shows where the vendor offers no push.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushUnsupported {
    /// Value of the channel column.
    pub channel: String,
    /// Asked again after so many seconds.
    pub recheck_s: u64,
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

    /// The table of a service.
    pub fn table(&self, service: &str) -> Option<&Table> {
        self.tables.get(&self.services.get(service)?.table)
    }

    /// The service at the top of a service's tree.
    pub fn root<'a>(&'a self, service: &'a str) -> &'a str {
        let mut at = service;
        while let Some(parent) = self.services.get(at).and_then(|s| s.depends_on.as_deref()) {
            at = parent;
        }
        at
    }
}

fn one() -> u32 {
    1
}
