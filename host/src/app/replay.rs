//! Webhooks of the past once more: which are meant, and which can't be.

use std::collections::BTreeSet;

use super::App;
use super::integrations::{Refusal, named};
use crate::model::{InboxId, Micros, OrganizationId};
use crate::store::Error;
use crate::store::replay::{Span, Stored};
use crate::webhook;

const HOUR: Micros = 3_600_000_000;

/// The span where none is given.
const DEFAULT: Micros = HOUR;

/// The longest span, and how far back it may begin; handled webhooks may be kept for less.
const SPAN_MAX: Micros = 4 * HOUR;
const PAST_MAX: Micros = 7 * 24 * HOUR;

/// More are refused: a shorter span leads on.
const WEBHOOKS_MAX: usize = 100_000;

/// Webhooks of one transaction.
const SLICE: usize = 200;

/// Owners that are named of those that were left out.
const NAMED_MAX: usize = 100;

/// What is to come again.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Asked<'a> {
    /// Opaque id, name of the table, or service. None: all.
    pub integration: Option<&'a str>,
    /// So many hours until `before`, or until now.
    pub hours: Option<i64>,
    pub after: Option<Micros>,
    pub before: Option<Micros>,
    /// This one alone, as the log names it.
    pub item: Option<InboxId>,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Webhooks that are in the inbox once more.
    pub replayed: usize,
    /// Those that aren't: a secret that they brought is gone, or their integration is, or their owner
    /// was linked again since.
    pub left_out: usize,
    /// Whose those are, as far as there is room.
    pub left_out_owners: BTreeSet<String>,
}

/// Puts stored webhooks into the inbox once more, in the order in which they were accepted.
pub async fn replay(
    app: &App,
    organization: OrganizationId,
    asked: Asked<'_>,
) -> Result<Replayed, Refusal> {
    let ids = match asked.item {
        Some(id) => vec![id],
        None => ids(app, organization, asked).await?,
    };
    let (mut replayed, mut made) = (Replayed::default(), BTreeSet::new());
    for some in ids.chunks(SLICE) {
        let mut can = Vec::new();
        for id in some {
            let Some(stored) = app.store.stored_webhook(organization, *id).await? else {
                if asked.item.is_some() {
                    return Err(Refusal::invalid("webhook_id", "names no webhook that is kept"));
                }
                continue;
            };
            match needed(app, &stored).await? {
                Some(needed) => can.push((stored, needed)),
                None => replayed.leave_out(stored),
            }
        }
        let webhooks = can.iter().map(|(stored, needed)| (stored.id, needed.clone())).collect();
        let again = app.store.replay(webhooks, made).await?;
        made = again.made;
        replayed.replayed += again.due.len();
        for (stored, _) in can {
            if again.left_out.contains(&stored.id) {
                replayed.leave_out(stored);
            }
        }
        again.due.into_iter().for_each(|owner| app.store.tell_hosts(owner));
    }
    Ok(replayed)
}

impl Replayed {
    fn leave_out(&mut self, stored: Stored) {
        self.left_out += 1;
        if self.left_out_owners.len() < NAMED_MAX {
            self.left_out_owners.insert(stored.external_owner_id);
        }
    }
}

async fn ids(
    app: &App,
    organization: OrganizationId,
    asked: Asked<'_>,
) -> Result<Vec<InboxId>, Refusal> {
    let integration = match asked.integration {
        Some(name) => Some(named(&app.store, organization, name).await?.id),
        None => None,
    };
    let (after, before) = span(asked, app.clock.now())?;
    let span = Span { organization, integration_id: integration.as_deref(), after, before };
    let ids = app.store.stored_webhooks(span, WEBHOOKS_MAX + 1).await?;
    if ids.len() > WEBHOOKS_MAX {
        let reason = format!("spans more than {WEBHOOKS_MAX} webhooks: take a shorter one");
        return Err(Refusal::invalid("hours", reason));
    }
    Ok(ids)
}

/// From when to when.
fn span(asked: Asked<'_>, now: Micros) -> Result<(Micros, Micros), Refusal> {
    let before = asked.before.unwrap_or(now).min(now);
    let hours = asked.hours.map(|hours| hours.saturating_mul(HOUR));
    if hours.is_some_and(|hours| hours <= 0) {
        return Err(Refusal::invalid("hours", "must be 1 or more"));
    }
    let after = asked.after.unwrap_or(before.saturating_sub(hours.unwrap_or(DEFAULT)));
    if after >= before {
        return Err(Refusal::invalid("after", "must be earlier than the end of the span"));
    }
    if before - after > SPAN_MAX {
        let reason = format!("must begin a span of {} hours at most", SPAN_MAX / HOUR);
        return Err(Refusal::invalid("after", reason));
    }
    if now - after > PAST_MAX {
        let reason = format!("must be in the last {} days", PAST_MAX / HOUR / 24);
        return Err(Refusal::invalid("after", reason));
    }
    Ok((after, before))
}

/// The secrets that it brought. None: its integration is gone.
async fn needed(app: &App, stored: &Stored) -> Result<Option<Vec<String>>, Error> {
    let Some(endpoint) = app.store.endpoint(&stored.integration_id).await? else {
        return Ok(None);
    };
    let service = endpoint.manifest.services.get(&endpoint.integration.service);
    let webhook = service.and_then(|service| service.webhook.as_ref());
    Ok(webhook.map(|webhook| webhook::secrets_of(&webhook.body, &stored.body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short_and_not_long_ago() {
        const NOW: Micros = 1_000 * HOUR;
        let of = |asked: Asked<'_>| span(asked, NOW).map_err(|refusal| refusal.to_string());
        let none = Asked::default();
        for (asked, from, to) in [
            (none, -1, 0),
            (Asked { hours: Some(3), ..none }, -3, 0),
            (Asked { after: Some(NOW - 4 * HOUR), ..none }, -4, 0),
            (Asked { before: Some(NOW - 9 * HOUR), ..none }, -10, -9),
            (Asked { before: Some(NOW - 9 * HOUR), hours: Some(2), ..none }, -11, -9),
            (Asked { before: Some(NOW + HOUR), ..none }, -1, 0),
        ] {
            assert_eq!(of(asked), Ok((NOW + from * HOUR, NOW + to * HOUR)), "{asked:?}");
        }
        for (asked, reason) in [
            (Asked { hours: Some(0), ..none }, "hours"),
            (Asked { hours: Some(5), ..none }, "4 hours at most"),
            (Asked { hours: Some(i64::MAX), ..none }, "4 hours at most"),
            (Asked { after: Some(NOW), ..none }, "earlier"),
            (Asked { before: Some(NOW - 200 * HOUR), ..none }, "last 7 days"),
        ] {
            let refused = of(asked).unwrap_err();
            assert!(refused.contains(reason), "{asked:?}: {refused}");
        }
    }
}
