//! Databases of organizations' own that couldn't be reached when ours were put back. A host puts each right
//! as soon as it answers. Until then its organization rests, posts to it wait in the inbox, and those that were
//! done are kept; ids that its tables may know are given to nobody.

use std::sync::Arc;
use std::time::Duration;

use super::{Organization, PutBack, Restored};
use crate::clock::micros;
use crate::model::{Micros, OrganizationId};
use crate::store::database::contained;
use crate::store::{Error, Store, query, query_as};

/// In `sweeps`: whose turn it is to try.
const WHAT: &str = "restore";

/// A turn that isn't kept ends after so long; then it is tried again.
const TURN: Duration = Duration::from_secs(15);

/// Puts right what answers, looking every `poll`. Never ends.
pub async fn keep(store: Arc<Store>, poll: Duration) {
    loop {
        if let Err(error) = store.put_right_left().await {
            tracing::warn!(%error, "databases that are to be put right wait");
        }
        store.clock.sleep(poll).await;
    }
}

impl Store {
    /// Tries those that no host has tried shortly before; answers how many organizations go on.
    pub async fn put_right_left(&self) -> Result<u64, Error> {
        let left: Vec<Organization> = query_as(
            "select id, key, database_id is not null as is_own, put_back_from from organizations
             where put_back_from is not null and not dropping order by id",
        )
        .fetch_all(self.control.readers())
        .await?;
        let mut righted = 0;
        for of in left {
            let (id, now) = (of.id, self.clock.now());
            if !self.takes_sweep(WHAT, id, micros(TURN), now).await? {
                continue;
            }
            let done = tokio::select! {
                done = contained(self.put_right_own(&of, now), Error::Inconsistent) => done,
                lost = self.keep_turn(id, now) => Err(lost),
            };
            match done {
                Ok(Restored { owners, behind, ahead, .. }) => {
                    let organization = of.key;
                    tracing::info!(
                        organization,
                        owners,
                        behind,
                        ahead,
                        "put right, as it answers now"
                    );
                    righted += 1;
                }
                Err(error) => {
                    tracing::warn!(organization = of.key, %error, "it rests until its tables are put right");
                }
            }
        }
        Ok(righted)
    }

    async fn put_right_own(&self, of: &Organization, now: Micros) -> Result<Restored, Error> {
        let replication = self.open_put_back_own(of.id, &of.key).await?;
        let (begun_at, chance) = (of.put_back_from, &self.chance);
        let put_back = PutBack { control: &self.control, begun_at, now, chance };
        let mut restored = Restored::default();
        put_back.known_ids(&replication, of).await?;
        put_back.organization(&replication, of, &mut restored).await?;
        Ok(restored)
    }

    /// Keeps the turn that began at `since`; answers why it couldn't.
    async fn keep_turn(&self, of: OrganizationId, since: Micros) -> Error {
        let mut until = since.saturating_add(micros(TURN));
        loop {
            self.clock.sleep(TURN / 3).await;
            let next = self.clock.now().saturating_add(micros(TURN));
            let keep = query(
                "update sweeps set due_at = $1
                 where what = $2 and organization_id = $3 and due_at = $4",
            );
            let keep = keep.bind(next).bind(WHAT).bind(of).bind(until);
            match self.control.execute(keep).await {
                Ok(kept) if kept.rows_affected() == 0 => {
                    return Error::Superseded("another host puts it right");
                }
                Ok(_) => until = next,
                Err(error) => return error,
            }
        }
    }
}
