//! Brings an organization to rest: when this is over nothing more is committed to its tables, by no host
//! and not by one that was frozen.

use std::time::Duration;

use super::hold::LIVE;
use super::work::STALLED_MAX;
use super::{Hold, held};
use crate::clock::micros;
use crate::model::{Micros, OwnerId};
use crate::store::leases::plant_above;
use crate::store::{Database, Dialect, Error, query, query_as, query_scalar};

/// Between two looks at whether the last lease is over.
const LOOK: Duration = Duration::from_millis(50);

/// Owners whose fences are planted in one transaction.
const SLICE: usize = 500;

impl Hold<'_> {
    /// No owner is claimed from here on; waits for those that are, though not for ever: the others rest
    /// meanwhile. What holders left behind without a word is refused from then on: the fence is raised above
    /// theirs, here and beside the tables.
    pub(super) async fn rest(&self, source: &Database) -> Result<(), Error> {
        let rested_at = self.begin_rest().await?;
        // A claim that was under way saw no rest yet. A server ends its statement before that.
        let settled_at = match self.store.control.dialect() {
            Dialect::Sqlite => rested_at,
            Dialect::Postgres => rested_at.saturating_add(self.ttl),
        };
        let given_up_at = settled_at.saturating_add(micros(STALLED_MAX));
        loop {
            let (now, leases) = (self.store.clock.now(), self.leases().await?);
            if now >= settled_at && leases == 0 {
                break;
            }
            if now >= given_up_at {
                return Err(Error::Refused(format!(
                    "owners are still worked on, {leases} of them, {} minutes after all were to rest: \
                     start it again when they are idle",
                    STALLED_MAX.as_secs() / 60
                )));
            }
            self.renew().await?;
            self.store.clock.sleep(LOOK).await;
        }
        self.raise_fences().await?;
        self.plant_fences(source).await
    }

    async fn begin_rest(&self) -> Result<Micros, Error> {
        let (of, now) = (self.of.clone(), self.store.clock.now());
        self.store
            .control
            .write(move |connection| {
                Box::pin(async move {
                    let rests = query(format!(
                        "update moves set rested_at = coalesce(rested_at, $3) where {LIVE}"
                    ));
                    let rests = rests.bind(&of.id).bind(of.fence).bind(now);
                    held(rests.execute(&mut *connection).await?.rows_affected())?;
                    query("update organizations set rests_until = $1 where id = $2")
                        .bind(Micros::MAX)
                        .bind(of.organization_id)
                        .execute(&mut *connection)
                        .await?;
                    let since = query_scalar("select rested_at from moves where id = $1");
                    Ok(since.bind(&of.id).fetch_one(connection).await?)
                })
            })
            .await
    }

    /// How many of the organization's owners are worked on.
    async fn leases(&self) -> Result<i64, Error> {
        let leases = query_scalar(
            "select count(*) from owners
             where organization_id = $1 and lease_host is not null and lease_until > $2",
        )
        .bind(self.of.organization_id)
        .bind(self.store.clock.now());
        Ok(leases.fetch_one(self.store.control.readers()).await?)
    }

    /// Of owners whose last holder didn't give them back, one too that renews a lease which had run out.
    /// (Their `due_at` is an index's.)
    async fn raise_fences(&self) -> Result<(), Error> {
        let raise = query(
            "update owners set fence = fence + 1, lease_host = null, lease_until = 0,
               unreleased = true, due_at = coalesce(due_at, 0)
             where organization_id = $1 and (lease_host is not null
                                             or unreleased and due_at is not null)",
        );
        let raise = raise.bind(self.of.organization_id);
        self.store.control.execute(raise).await.map(drop)
    }

    async fn plant_fences(&self, source: &Database) -> Result<(), Error> {
        let owners: Vec<(OwnerId, i64)> = query_as(
            "select id, fence from owners
             where organization_id = $1 and due_at is not null and unreleased order by id",
        )
        .bind(self.of.organization_id)
        .fetch_all(self.store.control.readers())
        .await?;
        for some in owners.chunks(SLICE) {
            self.renew().await?;
            let some = some.to_vec();
            let planted = source.write(move |connection| {
                Box::pin(async move { Ok(plant_above(connection, &some).await?) })
            });
            planted.await?;
        }
        Ok(())
    }
}
