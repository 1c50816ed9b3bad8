//! One holding of a target: page after page until there is nothing more, it fails, or others wait.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use super::Deliveries;
use super::decision::{Decision, Outcome, Standing, decide};
use super::destination::Destination;
use super::payload::{Payload, VERIFICATION, payload};
use crate::auth::sign::sign;
use crate::clock::{Clock, micros, monotonic};
use crate::egress::{Post, Poster};
use crate::failpoint;
use crate::model::Micros;
use crate::rows::TableSpec;
use crate::store::feed::{self, Bookmark, Page, PageLimits};
use crate::store::targets::{self, Claimed, Failed, Saved, Target, TargetSecrets};
use crate::store::{Database, Error, Store};

/// Values of one page; a receiver must be able to hold it in memory.
const PAGE_BYTES_MAX: usize = 8 << 20;

/// Pages without anything to send are read on. So many numbers further the bookmark is stored at the
/// end of a turn; before that only where the lease has to be renewed.
const UNSAVED_NUMBERS_MAX: i64 = 1_000;

/// How long the receiver of a new target has to answer.
const VERIFICATION_TIMEOUT: Duration = Duration::from_secs(3);

/// See [`Deliveries::work`].
pub(super) async fn deliver(of: &Deliveries, claimed: Claimed) -> Result<(), Error> {
    match Holding::begin(of, claimed).await? {
        Some(mut holding) => holding.run().await,
        None => Ok(()),
    }
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
}

/// What became of a page.
enum Went {
    /// It was taken.
    On,
    /// It was too large: the same place once more.
    Again,
    /// The target was given back.
    Ended,
}

impl<'a> Holding<'a> {
    /// None: the target is gone.
    async fn begin(of: &'a Deliveries, claimed: Claimed) -> Result<Option<Self>, Error> {
        let store = &of.store;
        let Some((target, secrets)) = store.claimed_target(&claimed.id).await? else {
            return Ok(None);
        };
        let spec = table(store, &target).await?;
        let replication = store.replication(target.organization_id).await?;
        let bookmark = target.bookmark()?;
        let rows_max = target.rows_max.unwrap_or(target.page_size).clamp(1, target.page_size);
        let begun_at = store.clock().now();
        Ok(Some(Self {
            of,
            claimed,
            target,
            secrets,
            replication,
            spec,
            bookmark,
            rows_max,
            begun_at,
        }))
    }

    async fn run(&mut self) -> Result<(), Error> {
        let mut saved = self.bookmark.clone();
        loop {
            let page = self.read().await?;
            let fence = self.claimed.fence;
            let payload = payload(&self.target, &self.spec, &page, fence, self.begun_at);
            match payload {
                Some(payload) => match self.send(&page, payload).await? {
                    Went::On => saved = self.bookmark.clone(),
                    Went::Again => continue,
                    Went::Ended => return Ok(()),
                },
                None => {
                    self.bookmark = page.end.clone();
                    // However long it reads, nobody else begins at the same bookmark meanwhile.
                    if !self.renewed().await? {
                        return self.end().await.map(drop);
                    }
                }
            }
            let turn_is_over = self.now() - self.begun_at >= micros(self.of.options.turn);
            if page.more && !turn_is_over && !self.of.is_stopping() {
                continue;
            }
            let daily = saved != self.bookmark && self.is_first_of_the_day();
            if (daily || is_worth_saving(&saved, &self.bookmark)) && !self.save(None).await? {
                return self.release(self.now(), None).await;
            }
            let now = self.now();
            let period = self.target.period_s.saturating_mul(1_000_000);
            return match page.more {
                true => self.release(now, None).await,
                false => self.release(now + period, Some(now)).await,
            };
        }
    }

    /// A table in which nothing happens must not fall behind what is forgotten of the others.
    fn is_first_of_the_day(&self) -> bool {
        const DAY: Micros = 24 * 3_600 * 1_000_000;
        let day = |at: Micros| at.div_euclid(DAY);
        self.target.last_synced_at.is_none_or(|at| day(at) != day(self.now()))
    }

    async fn read(&self) -> Result<Page, Error> {
        let rows = usize::try_from(self.rows_max).unwrap_or(1);
        let limits = PageLimits { rows, bytes: PAGE_BYTES_MAX };
        let copy_id = self.of.store.chance().base36(8);
        feed::read(&self.replication, &self.spec, &self.bookmark, limits, &copy_id).await
    }

    async fn send(&mut self, page: &Page, payload: Payload) -> Result<Went, Error> {
        // Whoever comes next waits until the lease is over, and so until this delivery is.
        if !self.renewed().await? {
            return self.end().await;
        }
        let rows = payload.rows;
        let sent_at = monotonic();
        let outcome = self.post(payload).await;
        let took_ms = i64::try_from(sent_at.elapsed().as_millis()).unwrap_or(i64::MAX);
        failpoint::reach("page_delivered");
        let standing = Standing {
            now: self.now(),
            attempts: self.target.attempts,
            failing_since: self.target.failing_since,
            rows: i64::try_from(rows).unwrap_or(i64::MAX),
            rows_max: self.rows_max,
            page_size: self.target.page_size,
            chance: i64::try_from(self.of.store.chance().below(1_000)).unwrap_or(0),
        };
        let metrics = &self.of.metrics;
        match decide(&outcome, standing, self.of.options.patience) {
            Decision::Advance { rows_max } => {
                metrics.delivery("taken", rows as u64);
                (self.bookmark, self.rows_max) = (page.end.clone(), rows_max);
                (self.target.attempts, self.target.failing_since) = (0, None);
                if !self.save(Some(took_ms)).await? {
                    return self.end().await;
                }
                failpoint::reach("bookmark_moved");
                Ok(Went::On)
            }
            Decision::Smaller { rows_max } => {
                metrics.delivery("too_large", 0);
                tracing::info!(rows, rows_max, "the receiver finds the delivery too large");
                self.rows_max = rows_max;
                Ok(Went::Again)
            }
            Decision::Later { at, error, alert } => {
                metrics.delivery("failed", 0);
                match alert {
                    true => tracing::error!(error, "the receiver has failed for long"),
                    false => tracing::info!(error, "the receiver failed; it is tried again"),
                }
                self.fail(at, error, None).await
            }
            Decision::Pause { at, error } => {
                metrics.delivery("failed", 0);
                tracing::error!(error, "the receiver has failed for too long: paused");
                let reason = format!("it failed for too long: {error}");
                self.fail(at, error, Some(reason)).await
            }
        }
    }

    async fn post(&self, payload: Payload) -> Outcome {
        let options = &self.of.options;
        let destination = match Destination::parse(&self.secrets.url, options.rules) {
            Ok(destination) => destination,
            Err(reason) => return Outcome::Unanswered(format!("its address {reason}")),
        };
        let Payload { id, body, epoch, number, .. } = payload;
        let timestamp_s = self.now().div_euclid(1_000_000);
        let secret = &self.secrets.signing_secret;
        let Some(signature) = sign(secret, &id, timestamp_s, body.as_bytes()) else {
            return Outcome::Unanswered("its signing secret is broken".into());
        };
        let mut headers = headers(&destination);
        for (name, value) in [
            ("webhook-id", id),
            ("webhook-timestamp", timestamp_s.to_string()),
            ("webhook-signature", signature),
            ("rowgate-feed-epoch", epoch),
            ("rowgate-feed-number", number.to_string()),
            ("rowgate-fence", self.claimed.fence.to_string()),
        ] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        let (url, private_addresses) = (destination.url, destination.private_addresses);
        let (body, timeout) = (Bytes::from(body), options.timeout);
        let post = Post { url, headers, body, private_addresses, timeout };
        match self.of.poster.send(post).await {
            Ok(posted) if (200..300).contains(&posted.status) => Outcome::Taken,
            Ok(posted) => Outcome::Status {
                status: posted.status,
                retry_after_s: posted.retry_after.and_then(|text| text.trim().parse().ok()),
            },
            Err(error) => Outcome::Unanswered(error.to_string()),
        }
    }

    /// Renews the lease where a delivery doesn't fit into it any more. False: it was paused.
    async fn renewed(&mut self) -> Result<bool, Error> {
        let fits = self.now() + micros(self.of.options.timeout) <= self.claimed.lease_until;
        Ok(fits || self.save(None).await?)
    }

    /// False: it was paused.
    async fn save(&mut self, took_ms: Option<i64>) -> Result<bool, Error> {
        let rows_max = (self.rows_max < self.target.page_size).then_some(self.rows_max);
        let lease_until = self.of.options.lease_until(self.now());
        let saved = Saved { bookmark: &self.bookmark, rows_max, took_ms, lease_until };
        targets::save(self.of.store.control(), &mut self.claimed, saved).await
    }

    async fn fail(&self, at: Micros, error: String, pause: Option<String>) -> Result<Went, Error> {
        let rows_max = (self.rows_max < self.target.page_size).then_some(self.rows_max);
        let failed = Failed { error, at, rows_max, pause };
        let control = self.of.store.control();
        targets::settle_failure(control, &self.claimed, failed, self.now()).await?;
        Ok(Went::Ended)
    }

    /// It was paused.
    async fn end(&self) -> Result<Went, Error> {
        self.release(self.now(), None).await.map(|()| Went::Ended)
    }

    async fn release(&self, next: Micros, synced_at: Option<Micros>) -> Result<(), Error> {
        targets::release(self.of.store.control(), &self.claimed, next, synced_at).await
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

/// The table of a target as the running version of its plugin has it.
async fn table(store: &Store, target: &Target) -> Result<Arc<TableSpec>, Error> {
    let Some(plugin) = store.active_plugin(&target.plugin).await? else {
        return Err(Error::Refused(format!("the plugin {} isn't installed", target.plugin)));
    };
    let spec = TableSpec::new(&plugin.manifest, &target.service, &target.table_name);
    spec.map(Arc::new).map_err(|error| Error::Refused(error.to_string()))
}

fn headers(destination: &Destination) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("authorization", destination.authorization.clone());
    let agent = concat!("Rowgate/", env!("CARGO_PKG_VERSION"));
    headers.insert("user-agent", HeaderValue::from_static(agent));
    headers
}

/// Asks a receiver whether it takes deliveries, before there is a target.
///
/// # Errors
/// Why not, without secrets.
pub async fn verify(
    poster: &Poster,
    destination: &Destination,
    clock: &Clock,
) -> Result<(), String> {
    let mut headers = headers(destination);
    let timestamp_s = clock.now().div_euclid(1_000_000).to_string();
    headers.insert("webhook-id", HeaderValue::from_static("msg_test"));
    if let Ok(value) = HeaderValue::from_str(&timestamp_s) {
        headers.insert("webhook-timestamp", value);
    }
    let posted = poster.send(Post {
        url: destination.url.clone(),
        headers,
        body: Bytes::from_static(VERIFICATION.as_bytes()),
        private_addresses: destination.private_addresses,
        timeout: VERIFICATION_TIMEOUT,
    });
    match posted.await {
        Ok(posted) if (200..300).contains(&posted.status) => Ok(()),
        Ok(posted) => Err(format!("must answer a test post with 2xx, not {}", posted.status)),
        Err(error) => Err(format!("must answer a test post: {error}")),
    }
}

#[cfg(test)]
mod tests;
