//! What webhooks were answered, in figures: by the hour for a week, and the last few of an
//! integration. Counted in memory and stored once a second, so that it costs an accepted webhook
//! nothing, and a refused one writes nothing of its own. A host that dies takes a second of them along.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::{Connection, Error, Store, query, query_as, query_scalar};
use crate::model::Micros;

/// Between two times that figures are stored.
const PAUSE: Duration = Duration::from_secs(1);

const HOUR: Micros = 3_600_000_000;
const WEEK_HOURS: i64 = 7 * 24;

/// Last answers that are kept of an integration.
const LASTS: usize = 10;

/// Integrations whose figures go in one transaction.
const SLICE: usize = 200;

/// Answers that aren't stored yet, by integration.
#[derive(Debug, Default)]
pub struct Outcomes(Mutex<BTreeMap<String, Unstored>>, Notify);

#[derive(Clone, Debug, Default, PartialEq)]
struct Unstored {
    /// Accepted and rejected ones, by the hour.
    hours: BTreeMap<i64, (i64, i64)>,
    /// A letter each, the last one last.
    lasts: String,
}

/// The answers of a week.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Counted {
    pub accepted: i64,
    pub rejected: i64,
    /// Of the last ten.
    pub last_accepted: i64,
    pub last_rejected: i64,
}

impl Outcomes {
    /// Counts an answer of an integration that there is.
    pub fn note(&self, integration_id: &str, at: Micros, accepted: bool) {
        {
            let mut unstored = self.lock();
            if !unstored.contains_key(integration_id) {
                unstored.insert(integration_id.to_owned(), Unstored::default());
            }
            if let Some(of) = unstored.get_mut(integration_id) {
                let hour = of.hours.entry(at.div_euclid(HOUR)).or_default();
                hour.0 += i64::from(accepted);
                hour.1 += i64::from(!accepted);
                of.lasts.push(if accepted { 'a' } else { 'r' });
                keep_last(&mut of.lasts);
            }
        }
        self.1.notify_one();
    }

    fn take(&self) -> BTreeMap<String, Unstored> {
        std::mem::take(&mut *self.lock())
    }

    /// What could not be stored is counted on.
    fn put_back(&self, some: Vec<(String, Unstored)>) {
        let mut unstored = self.lock();
        for (integration_id, earlier) in some {
            let of = unstored.entry(integration_id).or_default();
            for (hour, (accepted, rejected)) in earlier.hours {
                let later = of.hours.entry(hour).or_default();
                *later = (later.0 + accepted, later.1 + rejected);
            }
            of.lasts.insert_str(0, &earlier.lasts);
            keep_last(&mut of.lasts);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Unstored>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep_last(lasts: &mut String) {
    let surplus = lasts.len().saturating_sub(LASTS);
    lasts.drain(..surplus);
}

/// Stores figures a while after they begin to change. Never ends.
pub async fn keep(store: Arc<Store>) {
    loop {
        store.outcomes.1.notified().await;
        store.clock().sleep(PAUSE).await;
        if let Err(error) = store.store_outcomes().await {
            tracing::debug!(%error, "figures of webhooks are kept in memory for now");
        }
    }
}

impl Store {
    /// What webhooks are answered.
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// Stores what is counted. What fails is counted on.
    pub async fn store_outcomes(&self) -> Result<(), Error> {
        let oldest = self.clock.now().div_euclid(HOUR) - WEEK_HOURS;
        let mut unstored = self.outcomes.take().into_iter().peekable();
        while unstored.peek().is_some() {
            let some: Vec<_> = unstored.by_ref().take(SLICE).collect();
            let stored = some.clone();
            let write = self.control.write(move |connection| {
                Box::pin(async move {
                    for (integration_id, of) in &stored {
                        add(connection, integration_id, of, oldest).await?;
                    }
                    Ok(())
                })
            });
            if let Err(error) = write.await {
                self.outcomes.put_back(some);
                self.outcomes.put_back(unstored.collect());
                return Err(error);
            }
        }
        Ok(())
    }

    /// The answers of an integration in the last seven days, up to this moment as far as this process
    /// gave them.
    pub async fn counted(&self, integration_id: &str) -> Result<Counted, Error> {
        self.store_outcomes().await?;
        let since = self.clock.now().div_euclid(HOUR) - WEEK_HOURS;
        let (accepted, rejected): (i64, i64) = query_as(
            "select cast(coalesce(sum(accepted), 0) as bigint),
                    cast(coalesce(sum(rejected), 0) as bigint)
             from webhook_hours where integration_id = $1 and hour > $2",
        )
        .bind(integration_id)
        .bind(since)
        .fetch_one(self.control.readers())
        .await?;
        let lasts: Option<String> =
            query_scalar("select answers from webhook_lasts where integration_id = $1")
                .bind(integration_id)
                .fetch_optional(self.control.readers())
                .await?;
        let lasts = lasts.unwrap_or_default();
        let count = |letter: u8| {
            let found = lasts.bytes().filter(|one| *one == letter).count();
            i64::try_from(found).unwrap_or(i64::MAX)
        };
        let (last_accepted, last_rejected) = (count(b'a'), count(b'r'));
        Ok(Counted { accepted, rejected, last_accepted, last_rejected })
    }
}

/// Nothing is added to an integration that is gone meanwhile.
async fn add(
    connection: &mut Connection,
    integration_id: &str,
    of: &Unstored,
    oldest: i64,
) -> Result<(), Error> {
    for (hour, (accepted, rejected)) in &of.hours {
        query(
            "insert into webhook_hours (integration_id, hour, accepted, rejected)
             select i.id, $2, $3, $4 from integrations i where i.id = $1
             on conflict (integration_id, hour) do update
             set accepted = webhook_hours.accepted + excluded.accepted,
                 rejected = webhook_hours.rejected + excluded.rejected",
        )
        .bind(integration_id)
        .bind(*hour)
        .bind(*accepted)
        .bind(*rejected)
        .execute(&mut *connection)
        .await?;
    }
    query("delete from webhook_hours where integration_id = $1 and hour < $2")
        .bind(integration_id)
        .bind(oldest)
        .execute(&mut *connection)
        .await?;
    let sql = format!(
        "insert into webhook_lasts (integration_id, answers)
         select i.id, $2 from integrations i where i.id = $1
         on conflict (integration_id) do update
         set answers = substr(webhook_lasts.answers || excluded.answers,
           case when length(webhook_lasts.answers) + length(excluded.answers) > {LASTS}
             then length(webhook_lasts.answers) + length(excluded.answers) - {LASTS} + 1
             else 1 end)"
    );
    query(sql).bind(integration_id).bind(&of.lasts).execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::Dialect;
    use crate::store::fixture::{self, on_both};

    on_both! { a_week_is_counted_and_the_last_ten }

    async fn a_week_is_counted_and_the_last_ten(dialect: Dialect) {
        let clock = Clock::simulated(1_000 * HOUR);
        let store = fixture::open(dialect, clock.clone()).await;
        fixture::root(&store, "svi_1").await;
        assert_eq!(store.counted("svi_1").await.unwrap(), Counted::default());
        let now = clock.now();
        for at in [now - 200 * HOUR, now - 100 * HOUR, now] {
            for accepted in [true, true, true, false] {
                store.outcomes().note("svi_1", at, accepted);
            }
            // Of another integration, and of one that is gone.
            store.outcomes().note("svi_2", at, false);
            store.store_outcomes().await.unwrap();
        }
        let counted = store.counted("svi_1").await.unwrap();
        let all = Counted { accepted: 6, rejected: 2, last_accepted: 7, last_rejected: 3 };
        assert_eq!(counted, all, "the last ten are whenever they were");
        assert_eq!(store.counted("svi_2").await.unwrap(), Counted::default());
        let hours: i64 = query_scalar("select count(*) from webhook_hours")
            .fetch_one(store.control())
            .await
            .unwrap();
        assert_eq!(hours, 2, "the oldest is gone");
        for _ in 0..1_000 {
            store.outcomes().note("svi_1", now, false);
        }
        let counted = store.counted("svi_1").await.unwrap();
        assert_eq!(
            (counted.rejected, counted.last_accepted, counted.last_rejected),
            (1_002, 0, 10)
        );
    }

    #[test]
    fn what_could_not_be_stored_is_counted_on() {
        let outcomes = Outcomes::default();
        outcomes.note("svi_1", 0, true);
        let taken = outcomes.take();
        outcomes.note("svi_1", HOUR, false);
        outcomes.put_back(taken.into_iter().collect());
        let of = outcomes.take().remove("svi_1").unwrap();
        assert_eq!(of.hours, BTreeMap::from([(0, (1, 0)), (1, (0, 1))]));
        assert_eq!(of.lasts, "ar");
    }
}
