//! Databases of organizations' own that couldn't be reached when ours were put back. A host puts each right
//! as soon as it answers. Until then its organization rests, posts to it wait in the inbox, and those that were
//! done are kept; ids that its tables may know are given to nobody.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::{Organization, PutBack, Restored, customers};
use crate::clock::micros;
use crate::model::{Micros, OrganizationId};
use crate::store::{Error, Store, query, query_as};

/// In `sweeps`: whose turn it is to try.
const WHAT: &str = "restore";

/// A turn that isn't kept ends after so long; then it is tried again.
const TURN: Duration = Duration::from_secs(15);

/// So many at once: one that is slow keeps few from their turn.
const AT_ONCE: usize = 4;

/// One that takes longer gives its place to others, and is begun anew. A host has more time for it than a
/// restore, which all wait for.
const WORK_MAX: Duration = Duration::from_secs(3_600);

/// Puts right what answers, looking every `poll`. Never ends.
pub async fn keep(store: Arc<Store>, poll: Duration) {
    loop {
        if let Err(error) = store.put_right_left(poll).await {
            tracing::warn!(%error, "databases that are to be put right wait");
        }
        store.clock.sleep(poll).await;
    }
}

impl Store {
    /// Tries those that no host has tried shortly before, until there is none; answers how many organizations
    /// go on. While one takes its time, it is looked every `poll` whether others are to be tried meanwhile.
    pub async fn put_right_left(&self, poll: Duration) -> Result<u64, Error> {
        let (mut trying, mut righted, mut failed) = (FuturesUnordered::new(), 0, None);
        loop {
            // After a failure nothing is begun, but what is under way goes on.
            if failed.is_none() {
                match self.left(AT_ONCE - trying.len()).await {
                    Ok(left) => trying.extend(left.into_iter().map(|of| self.try_left(of))),
                    Err(error) => failed = Some(error),
                }
            }
            tokio::select! {
                done = trying.next() => match done {
                    Some(Ok(done)) => righted += u64::from(done),
                    Some(Err(error)) => failed = Some(error),
                    None => return failed.map_or(Ok(righted), Err),
                },
                () = self.clock.sleep(poll) => {}
            }
        }
    }

    /// So many whose turn it is; those that were never tried come first.
    async fn left(&self, count: usize) -> Result<Vec<Organization>, Error> {
        let left = query_as(
            "select o.id, o.key, o.database_id is not null as is_own, o.put_back_from
             from organizations o
               left join sweeps s on s.what = $1 and s.organization_id = o.id
             where o.put_back_from is not null and not o.dropping and coalesce(s.due_at, 0) <= $2
             order by coalesce(s.due_at, 0), o.id limit $3",
        );
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let left = left.bind(WHAT).bind(self.clock.now()).bind(count);
        Ok(left.fetch_all(self.control.readers()).await?)
    }

    /// False: it isn't this host's turn, or it isn't put right yet.
    async fn try_left(&self, of: Organization) -> Result<bool, Error> {
        let (id, now) = (of.id, self.clock.now());
        if !self.takes_sweep(WHAT, id, micros(TURN), now).await? {
            return Ok(false);
        }
        let done = tokio::select! {
            done = self.put_right_own(&of, now) => done,
            lost = self.keep_turn(id, now) => Err(lost),
        };
        let organization = of.key;
        match done {
            Ok(Restored { owners, behind, ahead, .. }) => {
                tracing::info!(organization, owners, behind, ahead, "put right, as it answers now");
                Ok(true)
            }
            Err(error) => {
                tracing::warn!(organization, %error, "it rests until its tables are put right");
                Ok(false)
            }
        }
    }

    async fn put_right_own(&self, of: &Organization, now: Micros) -> Result<Restored, Error> {
        let replication = self.open_put_back_own(of.id, &of.key).await?;
        let (begun_at, chance) = (of.put_back_from, &self.chance);
        let put_back = PutBack { control: &self.control, begun_at, now, chance };
        let work = async {
            let mut restored = Restored::default();
            put_back.known_ids(&replication, of).await?;
            let righted = put_back.organization(&replication, of, &mut restored).await;
            righted.map(|()| restored)
        };
        customers(work, &replication, WORK_MAX).await
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
                Err(error) if self.clock.now() >= until => return error,
                Err(error) => tracing::warn!(%error, "a turn is kept at the next try"),
            }
        }
    }
}
