//! Plain data that the modules hand to each other: identifiers, column values, what a guest call
//! was asked, what it did and how it ended. No I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Microseconds since the Unix epoch, UTC.
pub type Micros = i64;

/// Row id of an organization.
pub type OrganizationId = i64;

/// Row id of an owner: one `external_owner_id` of one integration tree.
pub type OwnerId = i64;

/// Row id of an inbox item; ascending in the order of acceptance.
pub type InboxId = i64;

/// Which stream: a service of the owner's tree, a kind of the manifest, a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct StreamId {
    pub service: String,
    pub kind: String,
    pub key: String,
}

/// What one vendor channel covers: the streams that a `push` entry of the manifest names, of this key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct Topic {
    pub push: String,
    pub key: String,
}

/// A push channel that the vendor is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// Ours, new for each asking.
    pub id: String,
    /// Where the vendor shall post.
    pub address: String,
    /// Name of the secret that it shall send back.
    pub token: String,
    /// Life that is asked for.
    pub ttl_ms: Option<u64>,
}

/// A push channel as the vendor knows it.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Subscription {
    pub channel_id: String,
    pub vendor_id: Option<String>,
    pub expires_at: Option<Micros>,
}

/// What every guest call knows.
#[derive(Clone, Debug, PartialEq)]
pub struct CallContext {
    /// The time of the call, fixed for its whole duration.
    pub now: Micros,
    /// `svi_...` of the integration whose service runs.
    pub integration: String,
    /// The service that runs.
    pub service: String,
    /// The customer's id of the owner.
    pub external_owner_id: Option<String>,
    /// Configuration without secrets, defaults filled in.
    pub config: BTreeMap<String, String>,
}

/// One call of an export.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Call {
    Receive(Webhook),
    Sync { stream: StreamId, cursor: Option<Vec<u8>>, page_limit: u32 },
    Subscribe { topic: Topic, channel: Channel },
    Unsubscribe { topic: Option<Topic>, subscription: Subscription },
}

impl Call {
    /// In one word, for counters.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Receive(_) => "receive",
            Self::Sync { .. } => "sync",
            Self::Subscribe { .. } => "subscribe",
            Self::Unsubscribe { .. } => "unsubscribe",
        }
    }
}

/// An authenticated webhook; sealed fields of the body are null.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Webhook {
    pub received_at: Micros,
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What a call that returned ok wants committed, in the order it asked.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Effects {
    pub writes: Vec<Arc<Write>>,
    pub streams: Vec<StreamChange>,
    pub owner: Vec<OwnerChange>,
    /// The call read through `lookup` (R2: it commits only on an unmoved `commit_no`).
    pub looked_up: bool,
}

/// One change of rows. Tables are named by their service.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Write {
    Upsert(Batch),
    /// As upsert, but rows that don't exist are left out.
    Patch(Batch),
    Update {
        table: String,
        set: Vec<(String, Scalar)>,
        conditions: Vec<Condition>,
    },
    Delete {
        table: String,
        conditions: Vec<Condition>,
    },
    BeginFull {
        table: String,
        scope: Vec<Condition>,
    },
    EndFull {
        table: String,
        scope: Vec<Condition>,
        unseen: Unseen,
    },
}

/// Rows as columns.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Batch {
    pub table: String,
    pub rows: usize,
    pub columns: Vec<Column>,
}

/// One column of a batch.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Column {
    pub name: String,
    /// One bit a row, least significant first, 1 = present. Empty: all present.
    pub validity: Vec<u8>,
    pub values: Values,
    pub existing: Existing,
}

/// What a column of a batch does to a row that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It takes the new value; a missing one makes it null.
    Replace,
    /// It takes the new value where there is one.
    Merge,
    /// It keeps what it has, unless that is null.
    Keep,
}

/// Values of a column.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Values {
    Boolean(Vec<u8>),
    Integer(Vec<i64>),
    Double(Vec<f64>),
    Decimal(Utf8),
    Text(Utf8),
    Json(Utf8),
    /// Days since 1970-01-01.
    Date(Vec<i32>),
    Timestamp(Vec<Micros>),
    Bytes(Utf8),
    /// The same in every row.
    Constant(Scalar),
}

/// Variable-length values: `offsets` has rows + 1 entries into `data`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Utf8 {
    pub offsets: Vec<u32>,
    pub data: Vec<u8>,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Scalar {
    Null,
    Boolean(bool),
    Integer(i64),
    Double(f64),
    Text(String),
    Date(i32),
    Timestamp(Micros),
    Decimal(String),
    Json(String),
    Bytes(Vec<u8>),
}

/// `column op value`. With null, `Equal` means "is null" and `NotEqual` "is not null"; `NotEqual`
/// to a value holds for null too.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Condition {
    pub column: String,
    pub op: Op,
    pub value: Scalar,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Op {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    StartsWith,
}

/// What a complete full listing does to the rows that it didn't show.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Unseen {
    Delete,
    Set(Vec<(String, Scalar)>),
}

/// A change of a stream's schedule, asked by a guest.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum StreamChange {
    Activate { stream: StreamId, at: Option<Micros> },
    Reset(StreamId),
    Remove(StreamId),
}

/// A change of the owner as a whole, asked by a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum OwnerChange {
    Link,
    Unlink,
    Resync,
}

/// What a successful `sync` returned.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Step {
    pub cursor: Option<Vec<u8>>,
    pub progress: Progress,
}

/// How a stream goes on.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Call again at once.
    More,
    /// Rest for so many milliseconds; none: the manifest's poll interval.
    Done(Option<u64>),
    /// Forbidden or gone: the stream stops alone, its rows stay.
    Unreadable(String),
}

/// Why a call could not do its work, as something the scheduler can act on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Failure {
    #[error("will retry: {reason}")]
    Retry { reason: String, after_ms: Option<u64>, scope: RetryScope },
    #[error("cursor expired: {0}")]
    CursorExpired(String),
    #[error("the owner must link again: {0}")]
    Reauthorise(String),
    #[error("the integration is misconfigured: {0}")]
    Misconfigured(String),
    #[error("answer too large: {0}")]
    TooLarge(String),
    #[error("answer too slow: {0}")]
    TooSlow(String),
    #[error("bug: {0}")]
    Bug(String),
}

impl Failure {
    /// In one word, for counters.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Retry { .. } => "retry",
            Self::CursorExpired(_) => "cursor_expired",
            Self::Reauthorise(_) => "reauthorise",
            Self::Misconfigured(_) => "misconfigured",
            Self::TooLarge(_) => "too_large",
            Self::TooSlow(_) => "too_slow",
            Self::Bug(_) => "bug",
        }
    }
}

/// Whom a pause concerns. `Integration` is the whole tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RetryScope {
    ThisStream,
    Owner,
    Integration,
}
