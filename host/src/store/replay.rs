//! Stored webhooks once more: each becomes a new item of the inbox, behind all that there are, in the
//! order in which they were accepted. What a handled one brought of secrets lies with the owner, as
//! long as no other grant or UNLINK came since. What came before an owner's present grant, or before one
//! that waits, is left out: an old UNLINK must not end it.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::leases::make_due;
use super::{Argument, Connection, Dialect, Error, Store, inbox, list, query_as, query_scalar};
use crate::model::{InboxId, Micros, OrganizationId, OwnerId};
use crate::secrets::Keyring;

/// Items that are looked at in one statement.
const SLICE: i64 = 1_000;

/// Arguments: integration, time and id behind which it begins, time before which it ends, limit. Of each
/// item: when it came, its id, whether it is done with or has failed for good.
const RECEIVED: &str = "
select received_at, id, done_at is not null or parked from inbox
where integration_id = $1 and (received_at, id) > ($2, $3) and received_at < $4
order by received_at, id limit $5";

/// Which stored webhooks are meant.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// Whose.
    pub organization: OrganizationId,
    /// None: of all integrations.
    pub integration_id: Option<&'a str>,
    /// Accepted at this time or later.
    pub after: Micros,
    /// And before that one.
    pub before: Micros,
}

/// A stored webhook as much as is looked at to replay it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
#[allow(missing_docs)]
pub struct Stored {
    pub id: InboxId,
    pub integration_id: String,
    pub external_owner_id: String,
    pub body: Vec<u8>,
}

/// What became of stored webhooks that were to come again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Again {
    /// Those that didn't: a secret is gone, or a later grant has overtaken them.
    pub left_out: Vec<InboxId>,
    /// The owner of each of the others, in their order.
    pub due: Vec<OwnerId>,
    /// All items that were made so far; none of them overtakes anything.
    pub made: BTreeSet<InboxId>,
}

impl Store {
    /// The ids of webhooks that are done with, or failed for good, in the order of acceptance. So many
    /// at most, `limit`: if there are more, not all of those that came first are among them.
    pub async fn stored_webhooks(
        &self,
        span: Span<'_>,
        limit: usize,
    ) -> Result<Vec<InboxId>, Error> {
        let mut found = Vec::new();
        for integration in self.integrations(span.organization).await? {
            if span.integration_id.is_some_and(|id| id != integration.id) {
                continue;
            }
            let mut after = Some((span.after, 0));
            while let Some(from) = after.filter(|_| found.len() < limit) {
                after = self.received(&integration.id, from, span.before, &mut found).await?;
            }
        }
        found.truncate(limit);
        found.sort_unstable();
        Ok(found)
    }

    /// Looks at a slice of what came to an integration; answers from where to go on.
    async fn received(
        &self,
        integration_id: &str,
        (after, after_id): (Micros, InboxId),
        before: Micros,
        found: &mut Vec<InboxId>,
    ) -> Result<Option<(Micros, InboxId)>, Error> {
        let arguments = received_arguments(integration_id, after, after_id, before);
        let items: Vec<(Micros, InboxId, bool)> =
            query_as(RECEIVED).bind_all(arguments).fetch_all(self.control.readers()).await?;
        found.extend(items.iter().filter(|(_, _, is_stored)| *is_stored).map(|(_, id, _)| *id));
        let is_full = items.len() as i64 == SLICE;
        Ok(items.last().filter(|_| is_full).map(|(received_at, id, _)| (*received_at, *id)))
    }

    /// A stored webhook of the organization that is done with, or failed for good.
    pub async fn stored_webhook(
        &self,
        organization: OrganizationId,
        id: InboxId,
    ) -> Result<Option<Stored>, Error> {
        let stored = query_as(
            "select i.id, i.integration_id, o.external_owner_id, i.body
             from inbox i join owners o on o.id = i.owner_id
             where o.organization_id = $1 and i.id = $2 and (i.done_at is not null or i.parked)",
        );
        let stored = stored.bind(organization).bind(id);
        Ok(stored.fetch_optional(self.control.readers()).await?)
    }

    /// Puts stored webhooks, each with the names of the secrets that it needs, into the inbox once
    /// more. `made`: by earlier calls for the same replay.
    pub async fn replay(
        &self,
        webhooks: Vec<(InboxId, Vec<String>)>,
        made: BTreeSet<InboxId>,
    ) -> Result<Again, Error> {
        let (now, keyring) = (self.clock.now(), self.keyring.clone());
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    hold_owners(connection, &webhooks).await?;
                    let mut all = Again { made, ..Again::default() };
                    for (id, needed) in webhooks {
                        match again(connection, &keyring, id, &needed, &all.made, now).await? {
                            Some((owner, item)) => {
                                all.due.push(owner);
                                all.made.insert(item);
                            }
                            None => all.left_out.push(id),
                        }
                    }
                    Ok(all)
                })
            })
            .await
    }
}

fn received_arguments(
    integration_id: &str,
    after: Micros,
    after_id: InboxId,
    before: Micros,
) -> Vec<Argument<'_>> {
    vec![integration_id.into(), after.into(), after_id.into(), before.into(), SLICE.into()]
}

/// Whoever stores items of an owner comes one after the other, so that none becomes visible behind one
/// with a higher id. SQLite has one writer.
async fn hold_owners(
    connection: &mut Connection,
    webhooks: &[(InboxId, Vec<String>)],
) -> Result<(), Error> {
    if webhooks.is_empty() || connection.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    let sql = format!(
        "select id from owners where id in (select owner_id from inbox where id in ({}))
         order by id for no key update",
        list(webhooks.iter().map(|(id, _)| *id))
    );
    let _held: Vec<OwnerId> = query_scalar(sql).persistent(false).fetch_all(connection).await?;
    Ok(())
}

/// Of which owner it is, and the new item. None: it is left out.
async fn again(
    connection: &mut Connection,
    keyring: &Keyring,
    id: InboxId,
    needed: &[String],
    made: &BTreeSet<InboxId>,
    now: Micros,
) -> Result<Option<(OwnerId, InboxId)>, Error> {
    let stored: Option<(OwnerId, String)> =
        query_as("select owner_id, sealed from inbox where id = $1")
            .bind(id)
            .fetch_optional(&mut *connection)
            .await?;
    let Some((owner_id, sealed)) = stored else { return Ok(None) };
    if is_overtaken(connection, owner_id, id, made).await? {
        return Ok(None);
    }
    let mut values: BTreeMap<String, String> = serde_json::from_str(&sealed)
        .map_err(|error| Error::Inconsistent(format!("sealed fields: {error}")))?;
    if values.is_empty() {
        match brought(connection, owner_id, id, needed).await? {
            Some(brought) => values = brought,
            None => return Ok(None),
        }
    }
    let sealed = sealed_again(keyring, owner_id, values)?;
    let item: InboxId = query_scalar(
        "insert into inbox
           (owner_id, integration_id, received_at, method, path, query, headers, body, sealed)
         select owner_id, integration_id, $2, method, path, query, headers, body, $3
         from inbox where id = $1 returning id",
    )
    .bind(id)
    .bind(now)
    .bind(sealed)
    .fetch_one(&mut *connection)
    .await?;
    make_due(connection, owner_id, now).await?;
    Ok(Some((owner_id, item)))
}

/// Whether its owner is linked by a later webhook, or is going to be, that no replay has `made`.
async fn is_overtaken(
    connection: &mut Connection,
    owner_id: OwnerId,
    id: InboxId,
    made: &BTreeSet<InboxId>,
) -> Result<bool, Error> {
    let later: Vec<InboxId> = query_scalar(
        "select s.grant_id from owner_secrets s join owners o on o.id = s.owner_id
         where s.owner_id = $1 and s.grant_id > $2 and s.sealed is not null
           and o.state <> 'unlinked'
         union
         select i.id from inbox i where i.owner_id = $1 and i.id > $2 and i.done_at is null
           and not i.parked and i.sealed <> '{}'",
    )
    .bind(owner_id)
    .bind(id)
    .fetch_all(connection)
    .await?;
    Ok(later.iter().any(|grant| !made.contains(grant)))
}

/// The secrets that a webhook brought, as an item holds them. None: one is gone, or kept only to stop
/// channels with.
async fn brought(
    connection: &mut Connection,
    owner_id: OwnerId,
    grant_id: InboxId,
    needed: &[String],
) -> Result<Option<BTreeMap<String, String>>, Error> {
    let mut sealed = BTreeMap::new();
    for name in needed {
        let kept: Option<(Vec<u8>,)> = query_as(
            "select s.sealed from owner_secrets s join owners o on o.id = s.owner_id
             where s.owner_id = $1 and s.grant_id = $2 and s.name = $3 and s.sealed is not null
               and o.state <> 'unlinked'",
        )
        .bind(owner_id)
        .bind(grant_id)
        .bind(name)
        .fetch_optional(&mut *connection)
        .await?;
        let Some((value,)) = kept else { return Ok(None) };
        sealed.insert(name.clone(), BASE64_STANDARD.encode(value));
    }
    Ok(Some(sealed))
}

/// Values of an item or of an owner, both sealed for the same place, as a new item holds them. Who
/// changes the key may have gone through the inbox already, so they are sealed with the newest one.
fn sealed_again(
    keyring: &Keyring,
    owner_id: OwnerId,
    mut values: BTreeMap<String, String>,
) -> Result<String, Error> {
    let broken = |error: String| Error::Inconsistent(format!("sealed fields: {error}"));
    for (name, value) in &mut values {
        let place = inbox::place(owner_id, name);
        let sealed = BASE64_STANDARD.decode(&*value).map_err(|error| broken(error.to_string()))?;
        let opened = keyring.open(&place, &sealed).map_err(|error| broken(error.to_string()))?;
        *value = BASE64_STANDARD.encode(keyring.seal(&place, &opened));
    }
    serde_json::to_string(&values).map_err(|error| broken(error.to_string()))
}

#[cfg(test)]
mod tests;
