//! What has been kept long enough goes, a slice at a time, so that nothing waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Error, Store, query, query_as};
use crate::model::{InboxId, Micros, OrganizationId, OwnerId};

/// Items that go in one transaction.
const SLICE: i64 = 1_000;

/// Looks for what may go so many times in the life of an item, but not more than once a second.
const LOOKS: i64 = 100;

/// Keeps done inbox items for so long. Never ends.
pub async fn keep(store: Arc<Store>, inbox: Micros) {
    let clock = store.clock().clone();
    let every = Duration::from_micros((inbox / LOOKS).max(1_000_000).unsigned_abs());
    loop {
        clock.sleep(every).await;
        let done_before = clock.now().saturating_sub(inbox);
        let mut after = Some(Forgotten::default());
        while let Some(position) = after {
            after = match store.forget_inbox(done_before, position).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(%error, "done inbox items are kept for now");
                    None
                }
            };
        }
    }
}

/// Up to where the inbox was gone through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    done_at: Micros,
    id: InboxId,
}

impl Store {
    /// Forgets a slice of the inbox items that were done before a time, and that they were applied.
    /// Until then a replication database that was put back to an older copy is driven again (R5).
    /// Answers from where to go on; none: that was the last slice.
    pub async fn forget_inbox(
        &self,
        done_before: Micros,
        after: Forgotten,
    ) -> Result<Option<Forgotten>, Error> {
        let items: Vec<(Micros, InboxId, OwnerId, OrganizationId)> = query_as(
            "select i.done_at, i.id, i.owner_id, o.organization_id
             from inbox i join owners o on o.id = i.owner_id
             where i.done_at < $1 and (i.done_at, i.id) > ($2, $3)
             order by i.done_at, i.id limit $4",
        )
        .bind(done_before)
        .bind(after.done_at)
        .bind(after.id)
        .bind(SLICE)
        .fetch_all(self.control())
        .await?;
        let Some((done_at, id, ..)) = items.last() else { return Ok(None) };
        let last = Forgotten { done_at: *done_at, id: *id };
        let more = items.len() as i64 == SLICE;
        let mut of_organizations: BTreeMap<_, Vec<(OwnerId, InboxId)>> = BTreeMap::new();
        for (_, id, owner_id, organization_id) in items {
            of_organizations.entry(organization_id).or_default().push((owner_id, id));
        }
        for (organization_id, items) in of_organizations {
            // One whose database is away keeps its items, and holds nobody else's up.
            if let Err(error) = self.forget_items(organization_id, &items).await {
                tracing::warn!(organization_id, %error, "done inbox items are kept for now");
            }
        }
        Ok(more.then_some(last))
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
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::fixture::{self, on_both};
    use crate::store::{Dialect, query_scalar};

    on_both! { done_items_go_after_a_while }

    async fn done_items_go_after_a_while(dialect: Dialect) {
        let store = fixture::open(dialect, Clock::simulated(0)).await;
        let organization = store.organization("default").await.unwrap();
        let count = SLICE + 2;
        fixture::root(&store, "svi_1").await;
        // Items 1 and 2 are not done, the last was lately.
        let items = format!(
            "insert into owners (organization_id, root_id, external_owner_id)
               values (1, 'svi_1', 'a');
             with recursive n (n) as (select 1 union all select n + 1 from n where n < {count} + 3)
             insert into inbox (owner_id, integration_id, received_at, method, path, query, headers,
               body, parked, done_at)
             select 1, 'svi_1', 0, 'POST', '', '', '[]', '', n = 2, case
               when n <= 2 then null when n = {count} + 3 then 100 else n % 7 end from n"
        );
        fixture::run(&store, items).await;
        let replication = store.replication(organization.id).await.unwrap();
        let marks = format!(
            "with recursive n (n) as (select 3 union all select n + 1 from n where n < {count} + 3)
             insert into rowgate_applied (owner_id, inbox_id) select 1, n from n"
        );
        replication.write(|c| Box::pin(async move { Ok(c.run(&marks).await?) })).await.unwrap();

        let after = store.forget_inbox(100, Forgotten::default()).await.unwrap();
        assert!(after.is_some(), "there is another slice");
        assert_eq!(store.forget_inbox(100, after.unwrap()).await.unwrap(), None);
        let kept: Vec<i64> = query_scalar("select id from inbox order by id")
            .fetch_all(store.control())
            .await
            .unwrap();
        assert_eq!(kept, [1, 2, count + 3]);
        let marks: Vec<i64> = query_scalar("select inbox_id from rowgate_applied")
            .fetch_all(&replication)
            .await
            .unwrap();
        assert_eq!(marks, [count + 3]);
        assert_eq!(store.forget_inbox(100, Forgotten::default()).await.unwrap(), None);
        store.forget_inbox(101, Forgotten::default()).await.unwrap();
        let left: i64 =
            query_scalar("select count(*) from inbox").fetch_one(store.control()).await.unwrap();
        assert_eq!(left, 2, "what isn't done stays");
    }
}
