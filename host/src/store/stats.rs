//! A tree of integrations in figures. Its owners are gone through slice by slice, so that nobody waits
//! for more than one of them, and by one caller at a time. What was counted stands for a while, the
//! longer the more there was to count: whoever asks all the time costs a tenth of the time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use super::owner_slices::{self, SlicedOwner};
use super::{Error, Store, list, query_as, query_scalar};
use crate::model::Micros;

/// Owners of one slice.
const SLICE: i64 = 1_000;

/// What was counted stands so many times as long as that took.
const STANDS_TIMES: Micros = 10;
/// But not longer than a minute.
const STANDS_MAX: Micros = 60_000_000;

/// Argument: root.
const LAST_WEBHOOK: &str = "
select max(last.received_at) from (
  select (select max(i.received_at) from inbox i where i.integration_id = m.id) as received_at
  from integrations m where m.root_id = $1
) as last";

/// An integration's owners, webhooks and streams, counted.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct IntegrationStats {
    /// Of the tree, as all that isn't of streams.
    pub owners_linked: i64,
    pub owners_dead: i64,
    /// Done ones are kept for a while.
    pub webhooks_kept: i64,
    pub webhooks_waiting: i64,
    pub webhooks_parked: i64,
    pub last_webhook_at: Option<Micros>,
    /// Of the service.
    pub streams: StreamCount,
}

/// Streams of a service, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct StreamCount {
    pub all: i64,
    pub failing: i64,
    pub last_success_at: Option<Micros>,
}

/// Trees that are being counted, or were a short while ago.
#[derive(Debug, Default)]
pub(super) struct CountedTrees(Mutex<HashMap<String, Place>>);

/// Whoever holds the lock counts; the others find what was counted.
type Place = Arc<tokio::sync::Mutex<Option<Counted>>>;

#[derive(Debug)]
struct Counted {
    tree: TreeCount,
    stands_until: Micros,
}

#[derive(Clone, Debug, Default)]
struct TreeCount {
    /// Without streams.
    tree: IntegrationStats,
    streams: BTreeMap<String, StreamCount>,
}

impl CountedTrees {
    fn place(&self, root_id: &str, now: Micros) -> Place {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stands = |place: &Place| {
            let counted = place.try_lock();
            counted.is_ok_and(|counted| counted.as_ref().is_some_and(|c| now < c.stands_until))
        };
        // Whoever counts, or waits for it, has one of these.
        places.retain(|_, place| Arc::strong_count(place) > 1 || stands(place));
        places.entry(root_id.to_owned()).or_default().clone()
    }
}

impl Store {
    /// How an integration is, or was a minute ago at most.
    pub async fn integration_stats(
        &self,
        root_id: &str,
        service: &str,
    ) -> Result<IntegrationStats, Error> {
        let place = self.counted_trees.place(root_id, self.clock.now());
        let mut counted = place.lock().await;
        let began_at = self.clock.now();
        let tree = match counted.as_ref().filter(|counted| began_at < counted.stands_until) {
            Some(counted) => counted.tree.clone(),
            None => {
                let tree = self.count_tree(root_id).await?;
                let stands_until = stands_until(began_at, self.clock.now());
                *counted = Some(Counted { tree: tree.clone(), stands_until });
                tree
            }
        };
        let streams = tree.streams.get(service).copied().unwrap_or_default();
        Ok(IntegrationStats { streams, ..tree.tree })
    }

    async fn count_tree(&self, root_id: &str) -> Result<TreeCount, Error> {
        let mut count = TreeCount::default();
        let last = query_scalar(LAST_WEBHOOK).bind(root_id);
        count.tree.last_webhook_at = last.fetch_one(self.control.readers()).await?;
        let mut after = String::new();
        loop {
            let reader = self.control.readers();
            let owners = owner_slices::behind(reader, root_id, &after, SLICE).await?;
            if !owners.is_empty() {
                self.count_slice(&owners, &mut count).await?;
            }
            match owners.last().filter(|_| owners.len() as i64 == SLICE) {
                Some(last) => after = last.external_owner_id.clone(),
                None => return Ok(count),
            }
        }
    }

    async fn count_slice(
        &self,
        owners: &[SlicedOwner],
        count: &mut TreeCount,
    ) -> Result<(), Error> {
        let in_state =
            |named: &str| owners.iter().filter(|owner| owner.state == named).count() as i64;
        count.tree.owners_linked += in_state("linked");
        count.tree.owners_dead += in_state("grant_dead");
        let (kept, open, streams) = of_owners(&list(owners.iter().map(|owner| owner.id)));
        let reader = self.control.readers();
        let kept: i64 = query_scalar(kept).persistent(false).fetch_one(reader).await?;
        let (waiting, parked): (i64, i64) =
            query_as(open).persistent(false).fetch_one(reader).await?;
        count.tree.webhooks_kept += kept;
        count.tree.webhooks_waiting += waiting;
        count.tree.webhooks_parked += parked;
        let streams: Vec<(String, i64, i64, Option<Micros>)> =
            query_as(streams).persistent(false).fetch_all(reader).await?;
        for (service, all, failing, last_success_at) in streams {
            let of_service = count.streams.entry(service).or_default();
            of_service.all += all;
            of_service.failing += failing;
            of_service.last_success_at = of_service.last_success_at.max(last_success_at);
        }
        Ok(())
    }
}

/// What is asked of a slice of owners: their webhooks, those that are open, their streams by service.
fn of_owners(ids: &str) -> (String, String, String) {
    (
        format!("select count(*) from inbox where owner_id in ({ids})"),
        format!(
            "select count(*) filter (where not parked), count(*) filter (where parked)
             from inbox where owner_id in ({ids}) and done_at is null"
        ),
        format!(
            "select service, count(*), count(*) filter (where attempts > 0), max(last_success_at)
             from streams where owner_id in ({ids}) group by service"
        ),
    )
}

fn stands_until(began_at: Micros, ended_at: Micros) -> Micros {
    let took = (ended_at - began_at).max(0);
    ended_at.saturating_add(took.saturating_mul(STANDS_TIMES).min(STANDS_MAX))
}

#[cfg(test)]
mod tests;
