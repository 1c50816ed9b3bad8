//! Asks the vendor for a channel on a topic: stored as pending, called, activated.

use std::sync::Arc;
use std::time::Duration;

use super::plan::renew_at;
use super::{back_off, standing, wakes};
use crate::clock::micros;
use crate::failpoint;
use crate::model::{Call, Channel, Failure, Micros, RetryScope, StreamId, Subscription, Topic};
use crate::plugin::Returned;
use crate::run::decision::{Decision, decide, failure_of};
use crate::run::holder::{Authority, Holder, Standpoint};
use crate::run::keyless;
use crate::run::tree::Tree;
use crate::store::channels::{self, Made, NewChannel};
use crate::store::{Error, streams};

/// How long a topic without push rests where the manifest doesn't say.
const RECHECK_S: u64 = 7 * 86_400;

/// One asking.
struct Asking<'a> {
    holder: &'a Holder,
    tree: &'a Arc<Tree>,
    topic: &'a Topic,
    attempts: i64,
    base_url: &'a str,
    channel: Channel,
    stand: Standpoint,
}

/// Asks once. However it ends, it is known when to ask again.
pub(super) async fn subscribe(
    holder: &Holder,
    tree: &Arc<Tree>,
    topic: &Topic,
    attempts: i64,
    base_url: &str,
) -> Result<(), Error> {
    let manifest = &tree.tables.manifest;
    let Some(push) = manifest.push.get(&topic.push) else { return Ok(()) };
    let Some(integration) = tree.integrations.get(&push.endpoint) else { return Ok(()) };
    let (id, token) = holder.channel_names();
    let channel = Channel {
        address: format!("{base_url}/v1/service_integrations/{integration}"),
        id,
        token: manifest.channel_token().unwrap_or_default().to_owned(),
        ttl_ms: Some(push.ttl_s.saturating_mul(1_000)),
    };
    let stand = holder.stand().await;
    let asked_until = holder.now() + micros(Duration::from_secs(push.ttl_s));
    let new = NewChannel {
        id: channel.id.clone(),
        generation: stand.under.generation,
        grant_id: holder.grant_id().unwrap_or(0),
        topic: topic.clone(),
        token: token.clone(),
        address: channel.address.clone(),
        expires_at: asked_until,
    };
    let asking = Asking { holder, tree, topic, attempts, base_url, channel, stand };
    let retry_at = asking.retry_at(&Failure::TooSlow("no answer".into()));
    channels::begin(holder.control(), holder.keyring(), &holder.lease(), new, retry_at).await?;
    failpoint::reach("channel_pending");
    let call = Call::Subscribe { topic: topic.clone(), channel: asking.channel.clone() };
    let authority = Authority { grant_id: holder.grant_id(), channel_token: Some(token) };
    let called = holder.call_as(tree, &push.endpoint, &call, None, authority).await?;
    failpoint::reach("channel_answered");
    match called.result {
        Ok(Returned::Subscribed(Some(made))) => {
            let renew_us = micros(Duration::from_secs(push.renew_s));
            asking.made(made, asked_until, renew_us).await
        }
        Ok(Returned::Subscribed(None)) => {
            let recheck_s = push.unsupported.as_ref().map_or(RECHECK_S, |u| u.recheck_s);
            asking.unsupported(recheck_s).await
        }
        Ok(other) => unreachable!("a subscribe call returns a subscription, not {other:?}"),
        Err(error) => asking.failed(&failure_of(error)).await,
    }
}

impl Asking<'_> {
    async fn made(
        &self,
        made: Subscription,
        asked_until: Micros,
        renew_us: Micros,
    ) -> Result<(), Error> {
        let holder = self.holder;
        let now = holder.now();
        let expires_at = made.expires_at.unwrap_or(asked_until);
        let wakes: Vec<StreamId> = wakes(self.tree, self.topic);
        let active = Made {
            id: self.channel.id.clone(),
            topic: self.topic.clone(),
            vendor_id: made.vendor_id.clone(),
            expires_at,
            renew_at: renew_at(now, expires_at, renew_us, holder.chance()),
            wakes,
        };
        match channels::activate(holder.control(), &holder.lease(), active, now).await {
            Ok(_) => {}
            Err(Error::Superseded(what)) => {
                let id = &self.channel.id;
                channels::learn(holder.control(), id, made.vendor_id, expires_at, now).await?;
                return Err(Error::Superseded(what));
            }
            Err(error) => return Err(error),
        }
        failpoint::reach("channel_active");
        tracing::debug!(channel = self.channel.id, push = self.topic.push, "channel active");
        holder.works(self.tree).await
    }

    async fn unsupported(&self, recheck_s: u64) -> Result<(), Error> {
        let (holder, id) = (self.holder, &self.channel.id);
        let now = holder.now();
        let recheck_at = holder.later(recheck_s.saturating_mul(1_000));
        channels::unsupported(holder.control(), &holder.lease(), id, self.topic, recheck_at, now)
            .await?;
        holder.works(self.tree).await
    }

    async fn failed(&self, failure: &Failure) -> Result<(), Error> {
        let (holder, lease) = (self.holder, self.holder.lease());
        let failure = &keyless::failure(failure, &self.topic.key);
        holder.metrics().failure(failure.cause());
        let refused = matches!(failure, Failure::Misconfigured(_) | Failure::Reauthorise(_));
        let told = (failure.to_string(), self.retry_at(failure));
        let id = &self.channel.id;
        channels::failed(holder.control(), &lease, id, self.topic, refused, told).await?;
        // Made under another grant than the present one, it says nothing of that (R10).
        let Some(_stands) = holder.stands(&self.stand).await else { return Ok(()) };
        match decide(failure, standing(self.attempts), back_off(holder)) {
            Decision::Wait { scope: RetryScope::Owner, wait_ms, .. } => {
                let until = holder.later(wait_ms);
                holder.pause_owner(until, failure).await?;
            }
            Decision::Wait { scope: RetryScope::Integration, wait_ms, .. } => {
                let until = holder.later(wait_ms);
                holder.pause_tree(until).await?;
            }
            Decision::GrantDead => {
                tracing::warn!(%failure, "the owner must link again");
                let reason = failure.to_string();
                return streams::grant_is_dead(holder.control(), &lease, reason, holder.now())
                    .await;
            }
            Decision::Misconfigured => return self.push_off(failure).await,
            Decision::Wait { .. } | Decision::FullListing { .. } | Decision::SmallerPage(_) => {}
        }
        // The key isn't told, as a stream's isn't.
        tracing::info!(push = self.topic.push, %failure, "no push channel; polling serves");
        Ok(())
    }

    /// Only push stops, for the whole tree; that is said once.
    async fn push_off(&self, failure: &Failure) -> Result<(), Error> {
        let (holder, root) = (self.holder, self.holder.lease().root_id);
        let until = holder.later(back_off(holder).max_ms);
        let reason = failure.to_string();
        let control = holder.control();
        if channels::pause_push(control, &root, self.base_url, until, &reason).await? {
            tracing::error!(reason, "the vendor refuses to push; polling serves");
        }
        Ok(())
    }

    fn retry_at(&self, failure: &Failure) -> Micros {
        let back_off = back_off(self.holder);
        let wait_ms = match decide(failure, standing(self.attempts), back_off) {
            Decision::Wait { wait_ms, .. } => wait_ms,
            _ => back_off.max_ms,
        };
        self.holder.later(wait_ms)
    }
}
