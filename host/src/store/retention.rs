//! What has been kept long enough goes, a slice at a time, so that nothing waits for it; and what has failed
//! for long is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::database::contained;
use super::feed::{self, Gone};
use super::{Error, Store, alerts, query, query_as, query_scalar};
use crate::metrics::Metrics;
use crate::model::{InboxId, Micros, OrganizationId, OwnerId};

/// Items that go in one transaction.
const SLICE: i64 = 1_000;

/// Looks for what may go so many times in its life, but not more than once a second.
const LOOKS: i64 = 100;

/// In `sweeps`: what belongs to no organization.
const OF_ALL: OrganizationId = 0;

/// How long what is done with is kept.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Inbox items that were handled, since they were.
    pub inbox: Micros,
    /// Inbox items that failed for good, since they came.
    pub parked: Micros,
    /// Deletions in the change feed, since they were committed.
    pub tombstones: Micros,
    /// Tables that were moved to a database of their organization's own, where they lay before.
    pub left: Micros,
}

/// Deletes what has been kept long enough. Never ends.
pub async fn keep(store: Arc<Store>, kept: Kept, metrics: Arc<Metrics>) {
    let shortest = kept.inbox.min(kept.parked).min(kept.tombstones);
    let every = (shortest / LOOKS).max(1_000_000);
    loop {
        let now = store.clock().now();
        // At once: a host that is started again and again must come to it, too.
        if let Err(error) = store.sweep(kept, every, now, &metrics).await {
            tracing::warn!(%error, "what is old is kept for now");
        }
        store.clock().sleep_until(now.saturating_add(every)).await;
    }
}

/// Up to where the inbox was gone through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    done_at: Micros,
    id: InboxId,
}

impl Store {
    /// Goes through everything once, unless another host has in the last `every`.
    async fn sweep(
        &self,
        kept: Kept,
        every: Micros,
        now: Micros,
        metrics: &Metrics,
    ) -> Result<(), Error> {
        if self.takes_sweep("inbox", OF_ALL, every, now).await? {
            let (mut inbox, mut after) = (0, Some(Forgotten::default()));
            while let Some(position) = after {
                let done_before = now.saturating_sub(kept.inbox);
                let (went, next) = self.forget_inbox(done_before, position).await?;
                (inbox, after) = (inbox + went, next);
            }
            let parked = self.forget_parked(now.saturating_sub(kept.parked)).await?;
            alerts::tell_unreadable(&self.control, now).await?;
            let alerts = alerts::forget(&self.control, now).await?;
            let left = self.drop_left_behind(now.saturating_sub(kept.left)).await?;
            if left > 0 {
                tracing::info!(organizations = left, "tables that were moved are gone here");
            }
            metrics.forgotten("inbox", inbox);
            metrics.forgotten("parked", parked);
            metrics.forgotten("alerts", alerts);
            if inbox + parked > 0 {
                tracing::info!(inbox, parked, "old inbox items are gone");
            }
        }
        for organization_id in self.organizations_with_tables().await? {
            if !self.takes_sweep("feed", organization_id, every, now).await? {
                continue;
            }
            // One whose database is away holds nobody else's up.
            let forgotten = self.forget_feed(organization_id, now.saturating_sub(kept.tombstones));
            match contained(forgotten, Error::Inconsistent).await {
                Ok(Gone { tombstones, commits, .. }) => {
                    metrics.forgotten("tombstones", tombstones);
                    metrics.forgotten("commits", commits);
                    if tombstones + commits > 0 {
                        tracing::info!(
                            organization_id,
                            tombstones,
                            commits,
                            "old changes are gone"
                        );
                    }
                }
                Err(error) => {
                    tracing::warn!(organization_id, %error, "old changes are kept for now");
                }
            }
        }
        Ok(())
    }

    /// Whether it is this host's turn to go through something; it then is nobody else's for `every`.
    pub(super) async fn takes_sweep(
        &self,
        what: &'static str,
        organization_id: OrganizationId,
        every: Micros,
        now: Micros,
    ) -> Result<bool, Error> {
        let taken = query_scalar::<i64>(
            "insert into sweeps (what, organization_id, due_at) values ($1, $2, $3)
             on conflict (what, organization_id) do update set due_at = excluded.due_at
               where sweeps.due_at <= $4
             returning due_at",
        );
        let taken =
            taken.bind(what).bind(organization_id).bind(now.saturating_add(every)).bind(now);
        Ok(self.control.fetch(taken).await?.is_some())
    }

    /// Those that something is written for.
    async fn organizations_with_tables(&self) -> Result<Vec<OrganizationId>, Error> {
        // Tables that are being moved stay as they are.
        let all = "select distinct i.organization_id from integrations i
                   where i.ended_at is null and not exists (
                     select 1 from moves m
                     where m.organization_id = i.organization_id and m.state = 'copying')
                   order by i.organization_id";
        Ok(query_scalar(all).fetch_all(self.control.readers()).await?)
    }

    /// Forgets deletions in an organization's feed that were committed before a time, and commits of
    /// which nothing is left; also old names of tables. Readers that come from before get a copy of the whole
    /// table.
    pub async fn forget_feed(
        &self,
        organization_id: OrganizationId,
        before: Micros,
    ) -> Result<Gone, Error> {
        self.forget_renames(organization_id).await?;
        let replication = self.replication(organization_id).await?;
        feed::forget_before(&replication, before).await
    }

    /// Forgets parked inbox items that came before a time; answers how many.
    pub async fn forget_parked(&self, received_before: Micros) -> Result<u64, Error> {
        let slice = || {
            let slice = query(
                "delete from inbox where id in (
                   select id from inbox where parked and done_at is null and received_at < $1
                   limit $2)",
            );
            slice.bind(received_before).bind(SLICE)
        };
        self.control.execute_slices(SLICE, slice).await
    }

    /// Forgets a slice of the inbox items that were done before a time, and that they were applied.
    /// Until then a replication database that was put back to an older copy is driven again (R5).
    /// Answers how many went, and from where to go on; none: that was the last slice.
    pub async fn forget_inbox(
        &self,
        done_before: Micros,
        after: Forgotten,
    ) -> Result<(u64, Option<Forgotten>), Error> {
        let items: Vec<(Micros, InboxId, OwnerId, OrganizationId)> = query_as(
            "select i.done_at, i.id, i.owner_id, o.organization_id
             from inbox i join owners o on o.id = i.owner_id
             where i.done_at < $1 and (i.done_at, i.id) > ($2, $3)
               and not exists (select 1 from moves m where m.organization_id = o.organization_id
                                 and m.state = 'copying')
             order by i.done_at, i.id limit $4",
        )
        .bind(done_before)
        .bind(after.done_at)
        .bind(after.id)
        .bind(SLICE)
        .fetch_all(self.control())
        .await?;
        let Some((done_at, id, ..)) = items.last() else { return Ok((0, None)) };
        let last = Forgotten { done_at: *done_at, id: *id };
        let more = items.len() as i64 == SLICE;
        let mut of_organizations: BTreeMap<_, Vec<(OwnerId, InboxId)>> = BTreeMap::new();
        for (_, id, owner_id, organization_id) in items {
            of_organizations.entry(organization_id).or_default().push((owner_id, id));
        }
        let mut went = 0;
        for (organization_id, items) in of_organizations {
            // One whose database is away keeps its items, and holds nobody else's up.
            match self.forget_items(organization_id, &items).await {
                Ok(()) => went += items.len() as u64,
                Err(error) => {
                    tracing::warn!(organization_id, %error, "done inbox items are kept for now");
                }
            }
        }
        Ok((went, more.then_some(last)))
    }

    /// The mark goes first: without its item it would stay for ever. An item without its mark is older
    /// than what is driven again.
    async fn forget_items(
        &self,
        organization_id: OrganizationId,
        items: &[(OwnerId, InboxId)],
    ) -> Result<(), Error> {
        let pairs: Vec<_> = items.iter().map(|(owner, id)| format!("({owner}, {id})")).collect();
        let marks = format!(
            "delete from rowgate_applied where (owner_id, inbox_id) in (values {})",
            pairs.join(", ")
        );
        let replication = self.replication(organization_id).await?;
        replication.execute(query(marks).persistent(false)).await?;
        let ids: Vec<_> = items.iter().map(|(_, id)| id.to_string()).collect();
        let inbox = format!("delete from inbox where id in ({})", ids.join(", "));
        self.control().execute(query(inbox).persistent(false)).await.map(drop)
    }
}

#[cfg(test)]
mod tests;
