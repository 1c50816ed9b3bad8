//! Stream kinds and push channels.

use std::fmt;

use indexmap::IndexMap;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::one;

/// A stream kind in place, or the name of one in `[stream_kinds]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "the names say it")]
pub enum StreamRef {
    Named(String),
    Inline(Box<StreamKind>),
}

// By hand: the derived form of an untagged enum answers every mistake inside a stream kind with
// "did not match any variant", without a field or a line.
impl<'de> Deserialize<'de> for StreamRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StreamRefVisitor)
    }
}

struct StreamRefVisitor;

impl<'de> Visitor<'de> for StreamRefVisitor {
    type Value = StreamRef;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a stream kind, or the name of one in [stream_kinds]")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<StreamRef, E> {
        Ok(StreamRef::Named(name.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StreamRef, A::Error> {
        let kind = StreamKind::deserialize(MapAccessDeserializer::new(map))?;
        Ok(StreamRef::Inline(Box::new(kind)))
    }
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
#[allow(missing_docs, reason = "the names say it")]
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
