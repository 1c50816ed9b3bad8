//! What waits, counted so that it costs little whatever the number of owners and streams: each
//! question is answered by an index alone, or looks at rows of live leases, or of a bounded number of
//! owners that are due. No count of owners in a state, of owners of an organization that are due, of
//! channels, or of inbox items goes on beyond [`COUNTED_MAX`].

use std::time::Duration;

use super::{Error, Store, query_as, query_scalar};
use crate::metrics::{COUNTED_MAX, Channels, Connections, Load, Owners, Targets};
use crate::model::Micros;

/// Leased owners are due too, and stay so until they are released.
const DUE: &str = "
select cast(coalesce(sum(due.owners), 0) as bigint) from (
  select (select count(*) from (
            select 1 from owners o where o.organization_id = g.id and o.due_at <= $1 limit $2
          ) as counted) as owners
  from organizations g
) as due";

/// Zero is "at once", not a time.
const OLDEST_DUE: &str = "
select min(oldest.due_at) from (
  select (select o.due_at from owners o where o.organization_id = g.id
            and o.due_at > 0 and o.due_at <= $1 and o.lease_until <= $1
          order by o.due_at limit 1) as due_at
  from organizations g
) as oldest";

/// So many owners are asked for streams that are due: of each organization as many, those first that are due the
/// longest. Each costs a look at its row and at its streams: ten times as many would cost half a second.
const LOOKED_AT_MAX: i64 = 10_000;
/// Of each organization at least, however many those are.
const LOOKED_AT_MIN: i64 = 10;

/// Those that are being read are due no more. Of an owner that isn't linked none is.
const STREAMS_DUE: &str = "
select cast(coalesce(sum(due.streams), 0) as bigint) from (
  select (select sum(waiting.streams) from (
            select (select count(*) from streams s
                    where s.owner_id = o.id and s.due_at <= $1 and s.not_before <= $1) as streams
            from owners o
            where o.organization_id = g.id and o.due_at <= $1 and o.not_before <= $1
              and o.state = 'linked'
            order by o.due_at limit $2
          ) as waiting) as streams
  from organizations g
) as due";

const CHANNELS_LIVE: &str = "
select count(*) from (
  select 1 from channels where state = 'active' and expires_at > $1 limit $2
) as counted";

/// A channel that was replaced is active no more.
const CHANNELS_EXPIRING: &str = "
select count(*) from (
  select 1 from channels where state = 'active' and renew_at <= $1 and expires_at > $1 limit $2
) as counted";

const LEASES: &str = "
select count(*) from owners where lease_host is not null and lease_until > $1";

const BY_STATE: &str =
    "select count(*) from (select 1 from owners where state = $1 limit $2) as counted";

const INBOX_OPEN: &str =
    "select count(*) from (select 1 from inbox where done_at is null limit $1) as counted";

const INBOX_PARKED: &str = "
select count(*) from (
  select 1 from inbox where parked and done_at is null limit $1
) as counted";

/// A table of as many rows as operators made targets.
const TARGETS: &str = "
select (select count(*) from targets where failing_since is not null and paused is null) as failing,
  (select count(*) from targets where paused is not null) as paused,
  (select count(*) from targets where behind_since is not null and paused is null) as behind,
  (select min(behind_since) from targets where paused is null) as behind_since,
  (select min(due_at) from targets
   where paused is null and due_at <= $1 and not_before <= $1 and lease_until <= $1) as oldest";

impl Store {
    /// What waits and what is held, now. What only this process knows of its runs is left out.
    pub async fn load(&self) -> Result<Load, Error> {
        let (control, now) = (self.control(), self.clock().now());
        let leases: i64 = query_scalar(LEASES).bind(now).fetch_one(control.readers()).await?;
        let due: i64 =
            query_scalar(DUE).bind(now).bind(COUNTED_MAX).fetch_one(control.readers()).await?;
        let oldest: Option<Micros> =
            query_scalar(OLDEST_DUE).bind(now).fetch_one(control.readers()).await?;
        let open: i64 =
            query_scalar(INBOX_OPEN).bind(COUNTED_MAX).fetch_one(control.readers()).await?;
        let parked: i64 =
            query_scalar(INBOX_PARKED).bind(COUNTED_MAX).fetch_one(control.readers()).await?;
        let organizations: i64 =
            query_scalar("select count(*) from organizations").fetch_one(control.readers()).await?;
        let looked_at = (LOOKED_AT_MAX / organizations.max(1)).max(LOOKED_AT_MIN);
        let streams_due = query_scalar(STREAMS_DUE).bind(now).bind(looked_at);
        let streams_due: i64 = streams_due.fetch_one(control.readers()).await?;
        let mut replication = Connections::default();
        for database in self.opened.all() {
            replication += database.connections();
        }
        Ok(Load {
            owners: self.owners_by_state().await?,
            owners_due: (due.min(COUNTED_MAX) - leases).max(0),
            oldest_due_s: waited_s(oldest, now),
            streams_due: streams_due.min(COUNTED_MAX),
            channels: self.channels_load(now).await?,
            inbox_waiting: open - parked,
            inbox_parked: parked,
            leases,
            runs_in_flight: 0,
            targets: self.targets_load(now).await?,
            control: control.connections(),
            replication,
        })
    }

    async fn targets_load(&self, now: Micros) -> Result<Targets, Error> {
        let (failing, paused, behind, behind_since, oldest): TargetCounts =
            query_as(TARGETS).bind(now).fetch_one(self.control().readers()).await?;
        let (feed_lag_s, oldest_due_s) = (waited_s(behind_since, now), waited_s(oldest, now));
        Ok(Targets { failing, paused, behind, feed_lag_s, oldest_due_s })
    }

    async fn channels_load(&self, now: Micros) -> Result<Channels, Error> {
        Ok(Channels {
            live: self.channels_by(CHANNELS_LIVE, now).await?,
            expiring: self.channels_by(CHANNELS_EXPIRING, now).await?,
        })
    }

    async fn channels_by(&self, sql: &'static str, now: Micros) -> Result<i64, Error> {
        let count = query_scalar(sql).bind(now).bind(COUNTED_MAX);
        Ok(count.fetch_one(self.control().readers()).await?)
    }

    async fn owners_by_state(&self) -> Result<Owners, Error> {
        Ok(Owners {
            linked: self.owners_in("linked").await?,
            unlinked: self.owners_in("unlinked").await?,
            grant_dead: self.owners_in("grant_dead").await?,
        })
    }

    async fn owners_in(&self, state: &'static str) -> Result<i64, Error> {
        let count = query_scalar(BY_STATE).bind(state).bind(COUNTED_MAX);
        Ok(count.fetch_one(self.control().readers()).await?)
    }
}

/// As [`TARGETS`] says: failing, paused, behind, since when, and the oldest that is due.
type TargetCounts = (i64, i64, i64, Option<Micros>, Option<Micros>);

/// Seconds since then; none: it is no wait.
fn waited_s(since: Option<Micros>, now: Micros) -> f64 {
    let waited_us = since.map_or(0, |at| now.saturating_sub(at)).unsigned_abs();
    Duration::from_micros(waited_us).as_secs_f64()
}

#[cfg(test)]
mod tests;
