//! Push channels (R11) and the topics that they cover, in the control database. A channel's row is
//! stored before the vendor hears of it, and stays until the channel expires: whatever the vendor
//! posts meanwhile, it is known whose it is.

mod asking;
mod grants;
mod made;
mod notified;
mod settling;
mod status;
mod stopping;

use sqlx::FromRow;

use super::leases::Lease;
use super::{Database, Error, query_as};
use crate::model::{Micros, OwnerId, StreamId, Topic};

pub use asking::{NewChannel, begin, failed, pause_push, unsupported};
pub(super) use grants::{RETIRED_LIFE, carry_over, drop_secrets, retire};
pub use made::{Made, activate, learn};
pub use notified::Known;
pub use settling::{Settlement, settle, shown};
pub use status::{ChannelCount, TopicStatus};
pub use stopping::{orphan_tried, stop_later, stopped};

/// How often a channel that should be gone is stopped again because it is heard of, and how often an
/// orphan is tried.
pub const STOPS_MAX: i64 = 5;

/// Where the token of a channel lives.
pub(super) fn place(id: &str) -> String {
    format!("channels/{id}")
}

/// A topic's schedule.
#[derive(Clone, Debug, PartialEq, FromRow)]
#[allow(missing_docs, reason = "columns of the schema")]
pub struct TopicRow {
    #[sqlx(flatten)]
    pub topic: TopicKey,
    pub wanted: bool,
    pub due_at: Option<Micros>,
    pub attempts: i64,
    pub unsupported: bool,
    pub unshown: bool,
}

/// A topic as columns.
#[derive(Clone, Debug, PartialEq, FromRow)]
#[allow(missing_docs, reason = "columns of the schema")]
pub struct TopicKey {
    pub push: String,
    pub key: String,
}

impl From<TopicKey> for Topic {
    fn from(TopicKey { push, key }: TopicKey) -> Self {
        Self { push, key }
    }
}

/// A channel.
#[derive(Clone, Debug, PartialEq, FromRow)]
#[allow(missing_docs, reason = "columns of the schema")]
pub struct ChannelRow {
    pub id: String,
    pub generation: i64,
    pub grant_id: i64,
    #[sqlx(flatten)]
    pub topic: TopicKey,
    pub address: String,
    pub vendor_id: Option<String>,
    #[sqlx(try_from = "String")]
    pub state: State,
    pub expires_at: Micros,
    pub retired_until: Option<Micros>,
    pub due_at: Option<Micros>,
    pub attempts: i64,
}

/// A channel that only its notifications tell of.
#[derive(Clone, Debug, PartialEq, FromRow)]
#[allow(missing_docs, reason = "columns of the schema")]
pub struct OrphanRow {
    pub id: String,
    pub vendor_id: String,
    pub due_at: Option<Micros>,
    pub attempts: i64,
}

/// Where a channel stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Stored, the vendor's answer isn't.
    Pending,
    /// The vendor posts to it.
    Active,
    /// To be stopped.
    Stopping,
    /// Stopped, or never made; kept until it would have expired.
    Gone,
}

impl TryFrom<String> for State {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "pending" => Ok(Self::Pending),
            "active" => Ok(Self::Active),
            "stopping" => Ok(Self::Stopping),
            "gone" => Ok(Self::Gone),
            _ => Err(format!("`{text}` is no state of a channel")),
        }
    }
}

/// Everything about the push of one owner.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// Its topics.
    pub topics: Vec<TopicRow>,
    /// Its channels, in whatever state.
    pub channels: Vec<ChannelRow>,
    /// Orphans that this owner may be able to stop.
    pub orphans: Vec<OrphanRow>,
    /// Of the tree: the vendor refuses this base URL until then.
    pub pause: Option<(String, Micros)>,
}

/// Reads how the owner's push stands.
pub async fn standing(control: &Database, lease: &Lease) -> Result<Standing, Error> {
    let reader = control.readers();
    let topics = query_as(
        "select push, key, wanted, due_at, attempts, unsupported, unshown from topics
         where owner_id = $1 order by due_at, push, key",
    )
    .bind(lease.owner_id)
    .fetch_all(reader)
    .await?;
    let channels = query_as(
        "select id, generation, grant_id, push, key, address, vendor_id, state, expires_at,
                retired_until, due_at, attempts
         from channels where owner_id = $1 order by due_at, id",
    )
    .bind(lease.owner_id)
    .fetch_all(reader)
    .await?;
    let orphans = query_as(
        "select id, vendor_id, due_at, attempts from orphans
         where owner_id = $1 order by due_at, id",
    )
    .bind(lease.owner_id)
    .fetch_all(reader)
    .await?;
    let pause = query_as("select base_url, not_before from push_pauses where root_id = $1")
        .bind(&lease.root_id)
        .fetch_optional(reader)
        .await?;
    Ok(Standing { topics, channels, orphans, pause })
}

/// The owner's streams that can be read: topics follow from them.
pub async fn readable_streams(
    control: &Database,
    owner_id: OwnerId,
) -> Result<Vec<StreamId>, Error> {
    let streams: Vec<(String, String, String)> = query_as(
        "select service, kind, key from streams where owner_id = $1 and unreadable is null",
    )
    .bind(owner_id)
    .fetch_all(control.readers())
    .await?;
    let stream = |(service, kind, key)| StreamId { service, kind, key };
    Ok(streams.into_iter().map(stream).collect())
}

/// How a topic's changes reach us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// A channel is live.
    Pushed,
    /// None is.
    Unpushed,
    /// None can be.
    Unsupported,
}

/// How a topic's changes reach us now.
pub async fn coverage(
    control: &Database,
    owner_id: OwnerId,
    topic: &Topic,
    now: Micros,
) -> Result<Coverage, Error> {
    let (live, unsupported): (bool, bool) = query_as(
        "select exists (select 1 from channels where owner_id = $1 and push = $2 and key = $3
                          and state = 'active' and expires_at > $4),
                exists (select 1 from topics where owner_id = $1 and push = $2 and key = $3
                          and unsupported)",
    )
    .bind(owner_id)
    .bind(&topic.push)
    .bind(&topic.key)
    .bind(now)
    .fetch_one(control.readers())
    .await?;
    Ok(match (live, unsupported) {
        (true, _) => Coverage::Pushed,
        (false, true) => Coverage::Unsupported,
        (false, false) => Coverage::Unpushed,
    })
}
