//! Stops channels: those that have a successor, those of owners and streams that are gone, orphans.

use std::sync::Arc;

use super::{back_off, standing};
use crate::failpoint;
use crate::model::{Call, Failure, Micros, Subscription, Topic};
use crate::plugin::Returned;
use crate::run::decision::{Decision, decide, failure_of};
use crate::run::holder::{Authority, Holder};
use crate::run::tree::Tree;
use crate::store::Error;
use crate::store::channels::{self, ChannelRow, OrphanRow, STOPS_MAX, State};

/// Tries to stop a channel, with the secrets of the grant that it belongs to.
pub(super) async fn stop(
    holder: &Holder,
    tree: &Arc<Tree>,
    channel: ChannelRow,
) -> Result<(), Error> {
    let topic = Topic::from(channel.topic.clone());
    let subscription = Subscription {
        channel_id: channel.id.clone(),
        vendor_id: channel.vendor_id.clone(),
        expires_at: Some(channel.expires_at),
    };
    let grant_id = Some(channel.grant_id).filter(|id| *id > 0);
    let stopped = unsubscribe(holder, tree, Some(topic), subscription, grant_id).await?;
    failpoint::reach("channel_stopped");
    let (control, lease) = (holder.control(), holder.lease());
    let Err(failure) = stopped else {
        return channels::stopped(control, &lease, &channel.id).await;
    };
    let gives_up = channel.state == State::Gone && channel.attempts + 1 >= STOPS_MAX;
    let again_at = (!gives_up).then(|| later(holder, &failure, channel.attempts));
    tell(&channel.id, &failure, again_at);
    channels::stop_later(control, &lease, &channel.id, again_at).await
}

/// Tries to stop a channel of which only notifications tell, with the owner's present secrets.
pub(super) async fn stop_orphan(
    holder: &Holder,
    tree: &Arc<Tree>,
    orphan: OrphanRow,
) -> Result<(), Error> {
    let subscription = Subscription {
        channel_id: orphan.id.clone(),
        vendor_id: Some(orphan.vendor_id),
        expires_at: None,
    };
    let stopped = unsubscribe(holder, tree, None, subscription, holder.grant_id()).await?;
    let again_at = match stopped {
        Ok(()) => None,
        Err(_) if orphan.attempts + 1 >= STOPS_MAX => None,
        Err(failure) => {
            let at = later(holder, &failure, orphan.attempts);
            tell(&orphan.id, &failure, Some(at));
            Some(at)
        }
    };
    channels::orphan_tried(holder.control(), &holder.lease(), &orphan.id, again_at).await
}

/// What fails here concerns the one channel: pauses of owner and tree are for their streams.
async fn unsubscribe(
    holder: &Holder,
    tree: &Arc<Tree>,
    topic: Option<Topic>,
    subscription: Subscription,
    grant_id: Option<i64>,
) -> Result<Result<(), Failure>, Error> {
    let manifest = &tree.tables.manifest;
    let push = topic.as_ref().and_then(|topic| manifest.push.get(&topic.push));
    let service = push.map_or(tree.root_service(), |push| push.endpoint.as_str()).to_owned();
    let call = Call::Unsubscribe { topic, subscription };
    let authority = Authority { grant_id, channel_token: None };
    let called = holder.call_as(tree, &service, &call, None, authority).await?;
    Ok(match called.result {
        Ok(Returned::Unsubscribed) => Ok(()),
        Ok(other) => unreachable!("an unsubscribe call returns nothing, not {other:?}"),
        // Without a grant nobody can stop it any more.
        Err(error) => match failure_of(error) {
            Failure::Reauthorise(_) => Ok(()),
            failure => Err(failure),
        },
    })
}

fn later(holder: &Holder, failure: &Failure, attempts: i64) -> Micros {
    let back_off = back_off(holder);
    holder.later(match decide(failure, standing(attempts), back_off) {
        Decision::Wait { wait_ms, .. } => wait_ms,
        _ => back_off.max_ms,
    })
}

fn tell(channel: &str, failure: &Failure, again_at: Option<Micros>) {
    tracing::info!(channel, %failure, tried_again = again_at.is_some(), "a channel isn't stopped");
}
