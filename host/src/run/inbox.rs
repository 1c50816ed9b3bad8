//! Hands one inbox item to the plugin's `receive` and commits what it did.

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures_util::FutureExt as _;
use tracing::Instrument as _;

use super::decision::{Decision, Standing, decide, failure_of};
use super::holder::Holder;
use crate::model::{Call, Failure, Webhook};
use crate::store::Error;
use crate::store::commit::CommitOf;
use crate::store::items::{self, InboxItem};

/// Tries after which an item is parked, so that later ones go on (R15).
const TRIES: u32 = 8;

/// Handles an item; false: it waits, and so do later ones. What no retry will mend counts as a failure of the
/// item, and ends the run all the same: its commit may stand, which the next holder looks after (R4).
pub(super) async fn handle(holder: &Holder, item: InboxItem) -> Result<bool, Error> {
    let integration = item.integration_id.as_str();
    let span = tracing::error_span!("inbox", item = item.id, integration);
    async {
        let handled = AssertUnwindSafe(apply(holder, &item)).catch_unwind().await;
        let poison = match &handled {
            Ok(Err(Error::Inconsistent(text))) => Some(text.clone()),
            Ok(_) => None,
            Err(_) => Some("the host panicked; its log says where".to_owned()),
        };
        if let Some(poison) = poison
            && let Err(error) = postpone(holder, &item, &Failure::Bug(poison)).await
        {
            tracing::warn!(%error, "a failure of an inbox item could not be counted");
        }
        handled.unwrap_or_else(|panic| resume_unwind(panic))
    }
    .instrument(span)
    .await
}

async fn apply(holder: &Holder, item: &InboxItem) -> Result<bool, Error> {
    let tree = holder.tree().await?;
    if items::is_applied(&tree.replication, holder.owner_id(), item.id).await? {
        // Its commit stands, only the word of it was lost.
        items::mark_done(holder.control(), &holder.lease(), item.id, holder.now()).await?;
        return Ok(true);
    }
    let service = tree.integrations.iter().find(|(_, id)| **id == item.integration_id);
    let Some((service, _)) = service else {
        let text = format!("integration {} is gone", item.integration_id);
        items::postpone_item(holder.control(), &holder.lease(), item.id, 0, text, true).await?;
        return Ok(true);
    };
    let call = Call::Receive(webhook(item)?);
    let called = holder.call(&tree, service, &call, None).await?;
    let failure = match called.result {
        Ok(_) => {
            let step = CommitOf::Item { id: item.id, grants: item.grants };
            match holder.commit_item(&tree, step, called.effects, called.read_at).await {
                Ok(()) => {
                    let component = &tree.component.digest;
                    tracing::debug!(component, "inbox item applied");
                    return Ok(true);
                }
                Err(Error::Refused(reason) | Error::NotListed(reason)) => Failure::Bug(reason),
                Err(error) => return Err(error),
            }
        }
        Err(error) => failure_of(error),
    };
    postpone(holder, item, &failure).await
}

async fn postpone(holder: &Holder, item: &InboxItem, failure: &Failure) -> Result<bool, Error> {
    let attempts = u32::try_from(item.attempts).unwrap_or(0);
    let standing = Standing {
        attempts,
        slow_count: 0,
        page_limit: 1,
        page_limit_min: 1,
        cursor_may_expire: false,
    };
    let decision = decide(failure, standing, holder.back_off());
    holder.tell_failure(failure, &decision);
    let (wait_ms, least_ms) = match decision {
        Decision::Wait { wait_ms, least_ms, .. } => (wait_ms, least_ms),
        _ => (holder.back_off().max_ms, 0),
    };
    let parked = attempts + 1 >= TRIES;
    if parked {
        tracing::error!(%failure, "an inbox item is parked; later ones go on");
    }
    let not_before = holder.not_before(wait_ms, least_ms);
    let (lease, text) = (holder.lease(), failure.to_string());
    items::postpone_item(holder.control(), &lease, item.id, not_before, text, parked).await?;
    Ok(parked)
}

fn webhook(item: &InboxItem) -> Result<Webhook, Error> {
    let headers = serde_json::from_str(&item.headers)
        .map_err(|error| Error::Inconsistent(format!("headers of item {}: {error}", item.id)))?;
    Ok(Webhook {
        received_at: item.received_at,
        method: item.method.clone(),
        path: item.path.clone(),
        query: item.query.clone(),
        headers,
        body: item.body.clone(),
    })
}
