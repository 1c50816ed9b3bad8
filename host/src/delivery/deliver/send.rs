//! One delivery: carried to its destination, and what follows from how that ended.

use super::Holding;
use super::fail::{destination, fail, standing};
use crate::clock::{micros, monotonic};
use crate::delivery::decision::{Decision, Failing, Outcome, decide};
use crate::delivery::destination::Destination;
use crate::delivery::mirror::{self, Holder};
use crate::delivery::payload::Payload;
use crate::delivery::receiver::Sent;
use crate::failpoint;
use crate::model::Micros;
use crate::store::Error;
use crate::store::feed::{Bookmark, Page};
use crate::store::targets::{self, Saved};

/// What goes to the destination at once.
pub(super) struct Delivery<'p> {
    pub(super) what: What<'p>,
    /// Changes that it tells of.
    pub(super) rows: usize,
    /// Where the target stands when it was taken.
    pub(super) end: Bookmark,
}

pub(super) enum What<'p> {
    Post(Payload),
    /// To a mirror.
    Page(&'p Page),
}

/// What became of a delivery.
pub(super) enum Went {
    /// It was taken.
    On,
    /// It was too large, not what is needed, or only a part of it was done: once more from the bookmark.
    Again,
    /// The turn is over, and the bookmark stands behind what was taken.
    Halfway,
    /// The target was given back.
    Ended,
}

impl Holding<'_> {
    pub(super) async fn send(&mut self, delivery: Delivery<'_>) -> Result<Went, Error> {
        // Whoever comes next waits until the lease is over, and so until this delivery is.
        if !self.renewed().await? {
            return self.end().await;
        }
        let Delivery { what, rows, end } = delivery;
        let sent_at = monotonic();
        let outcome = self.carry(what).await;
        let took_ms = i64::try_from(sent_at.elapsed().as_millis()).unwrap_or(i64::MAX);
        failpoint::reach("page_delivered");
        let rows_sent = i64::try_from(rows).unwrap_or(i64::MAX);
        let standing = standing(self.of, &self.target, rows_sent, self.rows_max);
        let (metrics, to) = (&self.of.metrics, destination(self.target.kind));
        match decide(&outcome, standing, self.of.options.patience) {
            Decision::Advance { rows_max } => {
                metrics.delivery("taken", rows as u64);
                (self.bookmark, self.rows_max) = (end, rows_max);
                (self.target.attempts, self.target.failing_since) = (0, None);
                self.target.taken = Some(self.bookmark.text());
                if !self.save(Some(took_ms)).await? {
                    return self.end().await;
                }
                failpoint::reach("bookmark_moved");
                Ok(Went::On)
            }
            Decision::GoOn => {
                (self.target.attempts, self.target.failing_since) = (0, None);
                if !self.save(Some(took_ms)).await? {
                    return self.end().await;
                }
                Ok(if self.turn_is_over() { Went::Halfway } else { Went::Again })
            }
            Decision::Smaller { rows_max } => {
                metrics.delivery("too_large", 0);
                tracing::info!(rows, rows_max, "the {to} finds the delivery too large");
                self.rows_max = rows_max;
                Ok(Went::Again)
            }
            Decision::Restart { restarts, later } => {
                tracing::info!(restarts, "the {to} hasn't what it had: it gets everything");
                self.restart(restarts, later).await
            }
            Decision::Fail(failing) => self.fail(failing).await,
        }
    }

    /// The whole table, at once or later.
    async fn restart(&mut self, restarts: i64, later: Option<Failing>) -> Result<Went, Error> {
        let (control, now) = (self.of.store.control(), self.now());
        if !targets::restart(control, &self.claimed, restarts, now).await? {
            return self.end().await;
        }
        self.bookmark = Bookmark::Start;
        (self.target.restarts, self.target.restarted_at) = (restarts, Some(now));
        match later {
            None => Ok(Went::Again),
            Some(failing) => self.fail(failing).await,
        }
    }

    async fn carry(&mut self, what: What<'_>) -> Outcome {
        let (options, clients) = (&self.of.options, &self.of.clients);
        let (fence, timeout) = (self.claimed.fence, options.timeout);
        let target = &self.target;
        let destination = Destination::parse(target.kind, &self.secrets.url, options.rules);
        let sent = |payload| {
            let (secret, attempt) = (&self.secrets.signing_secret, target.attempts + 1);
            Sent { payload, secret, fence, attempt, at: self.now(), timeout }
        };
        match (destination, what) {
            (Err(reason), _) => Outcome::Unanswered(format!("its address {reason}")),
            (Ok(Destination::Receiver(receiver)), What::Post(payload)) => {
                receiver.take(&clients.poster, sent(payload)).await
            }
            (Ok(Destination::Subscriber(subscriber)), What::Post(payload)) => {
                subscriber.take(&clients.poster, sent(payload)).await
            }
            (Ok(Destination::Database(address)), What::Page(page)) => {
                let holder = Holder { target, spec: &self.spec, fence, timeout };
                let session = &mut self.session;
                mirror::apply(session, &clients.relays, &address, &holder, page).await
            }
            (Ok(_), _) => unreachable!("a target's kind says what is delivered"),
        }
    }

    /// Renews the lease where a delivery doesn't fit into it any more. False: it was paused.
    pub(super) async fn renewed(&mut self) -> Result<bool, Error> {
        let fits = self.now() + micros(self.of.options.timeout) <= self.claimed.lease_until;
        Ok(fits || self.save(None).await?)
    }

    /// False: it was paused.
    pub(super) async fn save(&mut self, took_ms: Option<i64>) -> Result<bool, Error> {
        let rows_max = (self.rows_max < self.target.page_size).then_some(self.rows_max);
        let lease_until = self.of.options.lease_until(self.now());
        let saved = Saved { bookmark: &self.bookmark, rows_max, took_ms, lease_until };
        targets::save(self.of.store.control(), &mut self.claimed, saved).await
    }

    async fn fail(&self, failing: Failing) -> Result<Went, Error> {
        let to = destination(self.target.kind);
        fail(self.of, &self.claimed, &self.target, to, failing).await.map(|()| Went::Ended)
    }

    /// It was paused.
    pub(super) async fn end(&self) -> Result<Went, Error> {
        self.release(self.now(), None).await.map(|()| Went::Ended)
    }

    pub(super) async fn release(
        &self,
        next: Micros,
        synced_at: Option<Micros>,
    ) -> Result<(), Error> {
        targets::release(self.of.store.control(), &self.claimed, next, synced_at).await
    }
}
