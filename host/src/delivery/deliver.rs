//! One holding of a target: page after page until there is nothing more, it fails, or others wait.

mod fail;
mod send;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;

use super::Deliveries;
use super::mirror::Session;
use super::notification;
use super::payload::{payload, told_of};
use crate::clock::micros;
use crate::model::Micros;
use crate::rows::TableSpec;
use crate::store::feed::{self, Bookmark, Page, PageLimits};
use crate::store::synced::{self, SyncedOwner};
use crate::store::targets::{Claimed, Kind, Target, TargetSecrets};
use crate::store::{Database, Error, tables};
use fail::{Prepared, Unready, prepare};
use send::{Delivery, Went, What};

/// Values of one page; a receiver must be able to hold it in memory.
const PAGE_BYTES_MAX: usize = 8 << 20;

/// Pages without anything to send are read on. So many numbers further the bookmark is stored at the
/// end of a turn; before that only where the lease has to be renewed.
const UNSAVED_NUMBERS_MAX: i64 = 1_000;

/// Owners that a subscriber is told of in one turn.
const SYNCED_A_TURN: i64 = 100;

/// See [`Deliveries::work`]. A panic is a failure like others: where it comes from what is delivered, the same
/// would be tried each time that the lease is over, for ever.
pub(super) async fn deliver(of: &Deliveries, claimed: Claimed) -> Result<(), Error> {
    let held = AssertUnwindSafe(hold(of, claimed.clone())).catch_unwind().await;
    if let Ok(ended) = held {
        return ended;
    }
    of.metrics.panicked("delivery");
    let panicked = Unready::since("the delivery panicked");
    let panicked = panicked(Error::Inconsistent("a fault of the host".into()));
    // As it stands now: a part may have been taken before.
    let Some(target) = of.store.claimed_target(&claimed.id).await? else { return Ok(()) };
    panicked.fail(of, &claimed, &target, rows_max(&target)).await
}

async fn hold(of: &Deliveries, claimed: Claimed) -> Result<(), Error> {
    let Some(target) = of.store.claimed_target(&claimed.id).await? else { return Ok(()) };
    let rows_max = rows_max(&target);
    let Prepared { secrets, replication, spec, bookmark } = match prepare(&of.store, &target).await
    {
        Ok(prepared) => prepared,
        Err(unready) => return unready.fail(of, &claimed, &target, rows_max).await,
    };
    let begun_at = of.store.clock().now();
    let mut holding = Holding {
        of,
        claimed,
        target,
        secrets,
        replication,
        spec,
        bookmark,
        rows_max,
        begun_at,
        session: None,
    };
    holding.run().await
}

/// Rows of the next delivery, at most.
fn rows_max(target: &Target) -> i64 {
    target.rows_max.unwrap_or(target.page_size).clamp(1, target.page_size)
}

/// A claimed target with all that its deliveries need.
struct Holding<'a> {
    of: &'a Deliveries,
    claimed: Claimed,
    target: Target,
    secrets: TargetSecrets,
    replication: Database,
    spec: Arc<TableSpec>,
    bookmark: Bookmark,
    rows_max: i64,
    begun_at: Micros,
    /// To a target that is a database, from the first page on.
    session: Option<Session>,
}

/// How the sending of rows ended.
enum RowsEnd {
    /// All there were are sent.
    Reached,
    /// Others wait.
    TurnIsOver,
    /// The target was given back.
    Ended,
}

impl Holding<'_> {
    async fn run(&mut self) -> Result<(), Error> {
        // Before the feed is read: what they are told behind is then in it.
        let synced = self.synced().await?;
        let rows_end = match self.target.tells_rows {
            true => self.send_rows().await?,
            false => RowsEnd::Reached,
        };
        match rows_end {
            RowsEnd::Ended => Ok(()),
            RowsEnd::TurnIsOver => self.release(self.now(), None).await,
            RowsEnd::Reached => self.send_synced(synced).await,
        }
    }

    /// Page after page.
    async fn send_rows(&mut self) -> Result<RowsEnd, Error> {
        let mut saved = self.bookmark.clone();
        loop {
            let page = match self.read_up_to_date().await {
                Ok(page) => page,
                Err(error) => {
                    let unready = Unready::since("its table can't be read")(error);
                    unready.fail(self.of, &self.claimed, &self.target, self.rows_max).await?;
                    return Ok(RowsEnd::Ended);
                }
            };
            let deliveries = self.deliveries(&page);
            if deliveries.is_empty() {
                // However long it reads, nobody else begins at the same bookmark meanwhile.
                if !self.renewed().await? {
                    self.end().await?;
                    return Ok(RowsEnd::Ended);
                }
            } else {
                match self.send_all(deliveries).await? {
                    Went::On => saved = self.bookmark.clone(),
                    Went::Again => continue,
                    Went::Halfway => return Ok(RowsEnd::TurnIsOver),
                    Went::Ended => return Ok(RowsEnd::Ended),
                }
            }
            self.bookmark = page.end;
            if page.more && !self.turn_is_over() {
                continue;
            }
            let daily = saved != self.bookmark && self.is_first_of_the_day();
            if (daily || is_worth_saving(&saved, &self.bookmark)) && !self.save(None).await? {
                self.end().await?;
                return Ok(RowsEnd::Ended);
            }
            return Ok(if page.more { RowsEnd::TurnIsOver } else { RowsEnd::Reached });
        }
    }

    /// One after the other.
    async fn send_all(&mut self, deliveries: Vec<Delivery<'_>>) -> Result<Went, Error> {
        for (at, delivery) in deliveries.into_iter().enumerate() {
            if at > 0 && self.turn_is_over() {
                return Ok(Went::Halfway);
            }
            match self.send(delivery).await? {
                Went::On => {}
                other => return Ok(other),
            }
        }
        Ok(Went::On)
    }

    /// Then the target rests, unless there are more.
    async fn send_synced(&mut self, owners: Vec<SyncedOwner>) -> Result<(), Error> {
        let mut more = owners.len() as i64 == SYNCED_A_TURN;
        for owner in owners {
            if self.turn_is_over() {
                more = true;
                break;
            }
            let payload = notification::synced(&self.target, &owner, &self.bookmark);
            let end = self.bookmark.clone();
            match self.send(Delivery { what: What::Post(payload), rows: 1, end }).await? {
                Went::On => {}
                Went::Again | Went::Halfway | Went::Ended => return Ok(()),
            }
            synced::told(self.of.store.control(), &self.claimed.id, &owner).await?;
        }
        let now = self.now();
        if more {
            return self.release(now, None).await;
        }
        let period = self.target.period_s.saturating_mul(1_000_000);
        self.release(now + period, Some(now)).await
    }

    async fn synced(&self) -> Result<Vec<SyncedOwner>, Error> {
        match self.target.kind {
            Kind::Http | Kind::Db => Ok(Vec::new()),
            Kind::Notification => {
                let control = self.of.store.control();
                synced::waiting(control, &self.claimed.id, SYNCED_A_TURN).await
            }
        }
    }

    /// What a page comes to: nothing, where the target isn't told of what is in it.
    fn deliveries<'p>(&self, page: &'p Page) -> Vec<Delivery<'p>> {
        let (target, spec) = (&self.target, &self.spec);
        if target.kind == Kind::Notification {
            let told = notification::told_of(target, page);
            let deliveries = told.map(|change| {
                let what = What::Post(notification::changed(target, spec, change));
                Delivery { what, rows: 1, end: change.after.clone() }
            });
            return deliveries.collect();
        }
        let Some(rows) = told_of(target, page).or_else(|| self.asks_mirror(page)) else {
            return Vec::new();
        };
        let what = match target.kind {
            Kind::Db => What::Page(page),
            _ => What::Post(payload(target, spec, page, self.claimed.fence, self.begun_at)),
        };
        vec![Delivery { what, rows, end: page.end.clone() }]
    }

    /// Nothing is said to a mirror whose table is quiet, and so it would not be noticed that it was put
    /// back to an older copy: once a day it gets the page all the same. Answers how many rows that has.
    fn asks_mirror(&self, page: &Page) -> Option<usize> {
        let asks = self.target.kind == Kind::Db
            && self.session.is_none()
            && !page.more
            && self.is_first_of_the_day();
        asks.then_some(0)
    }

    fn turn_is_over(&self) -> bool {
        let over = self.now() - self.begun_at >= micros(self.of.options.turn);
        over || self.of.is_stopping()
    }

    /// A table in which nothing happens must not fall behind what is forgotten of the others.
    fn is_first_of_the_day(&self) -> bool {
        const DAY: Micros = 24 * 3_600 * 1_000_000;
        let day = |at: Micros| at.div_euclid(DAY);
        self.target.last_synced_at.is_none_or(|at| day(at) != day(self.now()))
    }

    /// A version of the plugin that was activated since anybody ran here may have columns that the table
    /// lacks.
    async fn read_up_to_date(&self) -> Result<Page, Error> {
        let error = match self.read().await {
            Ok(page) => return Ok(page),
            Err(error) => error,
        };
        let layout = tables::layout(&self.replication).await?;
        // Renamed or deleted since it was claimed, it isn't made again.
        let target = self.of.store.claimed_target(&self.claimed.id).await?;
        if target.is_none_or(|target| target.table_name != self.spec.table_name) {
            return Err(error);
        }
        match tables::create_all(&self.replication, vec![Arc::clone(&self.spec)], layout).await {
            Ok(()) => self.read().await,
            Err(_) => Err(error),
        }
    }

    async fn read(&self) -> Result<Page, Error> {
        let rows = usize::try_from(self.rows_max).unwrap_or(1);
        let limits = PageLimits { rows, bytes: PAGE_BYTES_MAX };
        let copy_id = self.of.store.chance().base36(8);
        feed::read(&self.replication, &self.spec, &self.bookmark, limits, &copy_id).await
    }

    fn now(&self) -> Micros {
        self.of.store.clock().now()
    }
}

/// What was read without sending anything is read again if it isn't stored: cheap, until it is much.
fn is_worth_saving(saved: &Bookmark, now: &Bookmark) -> bool {
    match (saved, now) {
        (Bookmark::At { epoch: of, position: saved }, Bookmark::At { epoch, position: now })
            if of == epoch =>
        {
            now.number - saved.number > UNSAVED_NUMBERS_MAX
        }
        (saved, now) => saved != now,
    }
}

#[cfg(test)]
mod tests;
