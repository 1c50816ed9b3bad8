//! Push of one owner (R11): which channels it should have, asked for, renewed, shown and stopped one
//! at a time under the owner's lease, after its due streams.

mod plan;
mod stop;
mod subscribe;

use std::collections::BTreeSet;
use std::sync::Arc;

use rowgate_manifest::{Manifest, StreamKind};

use super::decision::{self, BackOff};
use super::holder::Holder;
use super::tree::Tree;
use crate::failpoint;
use crate::model::{Micros, Scalar, StreamId, Topic};
use crate::store::channels::{self, ChannelRow, Coverage, Standing, State};
use crate::store::{Error, commit, streams};
use plan::{Rules, Work, plan};

/// What shows in a table where the vendor offers no push: the end of the year 9999.
const FAR_FUTURE: Micros = 253_402_214_400_000_000;

/// Push isn't urgent, since polling serves: its waits after failures grow this much longer.
const BACK_OFF_FACTOR: u64 = 56;

/// Does the next piece of push work; false: there is none. `runs`: the owner's streams may run.
pub(super) async fn work(holder: &Holder, runs: bool) -> Result<bool, Error> {
    let lease = holder.lease();
    let standing = channels::standing(holder.control(), &lease).await?;
    let base_url = holder.push_base_url();
    if base_url.is_none() && standing == Standing::default() {
        return Ok(false);
    }
    let tree = holder.tree().await?;
    let streams = channels::readable_streams(holder.control(), lease.owner_id).await?;
    let pauses = streams::pauses(holder.control(), lease.owner_id).await?;
    let now = holder.now();
    let rules = Rules {
        now,
        generation: holder.generation(),
        wanted: wanted(&tree, &streams, base_url.filter(|_| !tree.ended)),
        base_url,
        may_ask: runs,
        may_stop: pauses.owner_not_before <= now && pauses.tree_not_before <= now,
    };
    match plan(&standing, &rules) {
        Work::Settle(mut settlement) => {
            let uncovered = settlement.uncovered.iter();
            settlement.wakes = uncovered.flat_map(|topic| wakes(&tree, topic)).collect();
            channels::settle(holder.control(), &lease, settlement, now).await?;
        }
        Work::Show(topic) => show(holder, &tree, &standing, &topic).await?,
        Work::Subscribe { topic, attempts } => {
            let base_url = base_url.unwrap_or_default();
            subscribe::subscribe(holder, &tree, &topic, attempts, base_url).await?;
        }
        Work::Stop(channel) => stop::stop(holder, &tree, channel).await?,
        Work::StopOrphan(orphan) => stop::stop_orphan(holder, &tree, orphan).await?,
        Work::Rest => return Ok(false),
    }
    Ok(true)
}

/// How the changes of a stream reach us: by that its poll interval is chosen.
pub(super) async fn coverage(
    holder: &Holder,
    kind: &StreamKind,
    stream: &StreamId,
) -> Result<Coverage, Error> {
    let Some(push) = kind.push.clone() else { return Ok(Coverage::Unpushed) };
    let topic = Topic { push, key: stream.key.clone() };
    channels::coverage(holder.control(), holder.owner_id(), &topic, holder.now()).await
}

/// The topics that the owner's streams name, where push is on and there is an endpoint for it.
fn wanted(tree: &Tree, streams: &[StreamId], base_url: Option<&str>) -> BTreeSet<Topic> {
    if base_url.is_none() {
        return BTreeSet::new();
    }
    let topic = |stream: &StreamId| {
        let push = tree.kind(stream)?.push.clone()?;
        let endpoint = &tree.tables.manifest.push.get(&push)?.endpoint;
        tree.integrations.contains_key(endpoint).then(|| Topic { push, key: stream.key.clone() })
    };
    streams.iter().filter_map(topic).collect()
}

/// The streams that a topic wakes.
fn wakes(tree: &Tree, topic: &Topic) -> Vec<StreamId> {
    let manifest: &Manifest = &tree.tables.manifest;
    let stream = |(service, kind): (&str, &str)| StreamId {
        service: service.to_owned(),
        kind: kind.to_owned(),
        key: topic.key.clone(),
    };
    manifest.woken_by(&topic.push).map(stream).collect()
}

/// Writes into the table's row what channel the topic has.
async fn show(
    holder: &Holder,
    tree: &Arc<Tree>,
    standing: &Standing,
    topic: &Topic,
) -> Result<(), Error> {
    let lease = holder.lease();
    if let Some(push) = tree.tables.manifest.push.get(&topic.push) {
        let row = standing.topics.iter().find(|row| Topic::from(row.topic.clone()) == *topic);
        let unsupported = row.is_some_and(|row| row.unsupported);
        let channels = standing.channels.iter();
        let live = channels.filter(|channel| is_live(channel, topic)).max_by_key(|c| c.expires_at);
        let (channel, vendor, expires) = match (live, &push.unsupported) {
            (Some(live), _) => (
                Scalar::Text(live.id.clone()),
                live.vendor_id.clone().map_or(Scalar::Null, Scalar::Text),
                Scalar::Timestamp(live.expires_at),
            ),
            (None, Some(shown)) if unsupported => {
                (Scalar::Text(shown.channel.clone()), Scalar::Null, Scalar::Timestamp(FAR_FUTURE))
            }
            _ => (Scalar::Null, Scalar::Null, Scalar::Null),
        };
        let fills = &push.fills;
        let values = vec![
            (fills.channel.clone(), channel),
            (fills.vendor.clone(), vendor),
            (fills.expires.clone(), expires),
        ];
        let key = push.row.key.iter().map(|_| Scalar::Text(topic.key.clone())).collect();
        let (under, tables) = (holder.under_now(), Arc::clone(&tree.tables));
        let service = push.row.table.clone();
        match commit::show(&tree.replication, under, tables, service, key, values).await {
            Ok(()) => {}
            // What the columns say is only for people; the channel works without.
            Err(Error::Refused(reason)) => {
                tracing::error!(push = topic.push, reason, "a channel can't be shown in its row");
            }
            Err(error) => return Err(error),
        }
        failpoint::reach("channel_shown");
    }
    channels::shown(holder.control(), &lease, topic).await
}

fn is_live(channel: &ChannelRow, topic: &Topic) -> bool {
    channel.state == State::Active && Topic::from(channel.topic.clone()) == *topic
}

/// Where push work stands after so many failures in a row.
fn standing(attempts: i64) -> decision::Standing {
    decision::Standing {
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        slow_count: 0,
        page_limit: 1,
        page_limit_min: 1,
        cursor_may_expire: false,
    }
}

/// The waits of push work.
fn back_off(holder: &Holder) -> BackOff {
    let BackOff { base_ms, max_ms } = holder.back_off();
    BackOff { base_ms, max_ms: max_ms.saturating_mul(BACK_OFF_FACTOR) }
}
