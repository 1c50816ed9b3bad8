//! What waits, counted so that it costs little whatever the number of owners and streams: each
//! question is answered by an index alone, or looks at rows of live leases. No count of owners in a
//! state, of owners of an organization that are due, or of inbox items goes on beyond
//! [`COUNTED_MAX`].

use std::time::Duration;

use super::{Error, Store, query_as, query_scalar};
use crate::metrics::{COUNTED_MAX, Connections, Load, Owners, Targets};
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
        let waited_us = oldest.map_or(0, |at| now.saturating_sub(at)).unsigned_abs();
        let mut replication = Connections::default();
        for database in self.opened.all() {
            replication += database.connections();
        }
        Ok(Load {
            owners: self.owners_by_state().await?,
            owners_due: (due.min(COUNTED_MAX) - leases).max(0),
            oldest_due_s: Duration::from_micros(waited_us).as_secs_f64(),
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
        let (failing, paused, oldest): (i64, i64, Option<Micros>) =
            query_as(TARGETS).bind(now).fetch_one(self.control().readers()).await?;
        let waited_us = oldest.map_or(0, |at| now.saturating_sub(at)).unsigned_abs();
        let oldest_due_s = Duration::from_micros(waited_us).as_secs_f64();
        Ok(Targets { failing, paused, oldest_due_s })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::fixture::{self, Opened, on_both};
    use crate::store::{Dialect, leases, query};

    on_both! { what_waits_is_counted }

    const NOW: Micros = 1_000_000_000;

    /// Owner: state, due, lease. 1 to 3 are due; 4 is held; 5, of another organization, was held by a
    /// host that died.
    const FILL: &str = "
        insert into owners (organization_id, root_id, external_owner_id, state, due_at,
          lease_host, lease_until) values
          (1, 'svi_1', 'a', 'linked', 0, null, 0),
          (1, 'svi_1', 'b', 'linked', 998000000, null, 0),
          (1, 'svi_1', 'c', 'grant_dead', 999000000, null, 0),
          (1, 'svi_1', 'd', 'linked', 900000000, 'host', 1000000001),
          ((select max(id) from organizations), 'svi_1', 'e', 'unlinked', 990000000,
           'gone', 1000000000),
          (1, 'svi_1', 'f', 'unlinked', 1000000001, null, 0),
          (1, 'svi_1', 'g', 'unlinked', null, null, 0);
        insert into inbox (owner_id, integration_id, received_at, method, path, query,
          headers, body, parked, done_at) values
          (1, 'svi_1', 0, 'POST', '/', '', '[]', '', false, null),
          (2, 'svi_1', 0, 'POST', '/', '', '[]', '', false, null),
          (2, 'svi_1', 0, 'POST', '/', '', '[]', '', true, null),
          (3, 'svi_1', 0, 'POST', '/', '', '[]', '', false, 1);";

    async fn filled(dialect: Dialect) -> Opened {
        let store = fixture::open(dialect, Clock::simulated(NOW)).await;
        fixture::root(&store, "svi_1").await;
        store.create_organization("other").await.unwrap();
        fixture::run(&store, FILL.to_owned()).await;
        store
    }

    async fn what_waits_is_counted(dialect: Dialect) {
        let store = filled(dialect).await;
        let load = store.load().await.unwrap();
        assert_eq!(load.owners, Owners { linked: 3, unlinked: 3, grant_dead: 1 });
        assert_eq!((load.owners_due, load.leases), (4, 1));
        assert!((load.oldest_due_s - 10.0).abs() < 1e-9, "{load:?}");
        assert_eq!((load.inbox_waiting, load.inbox_parked), (2, 1));
        let returned = leases::give_back(store.control(), "host").await.unwrap();
        assert_eq!((returned, store.load().await.unwrap().leases), (1, 0));
    }

    /// A million streams are so many rows: no question may walk through a table.
    #[tokio::test]
    async fn no_question_walks_through_a_table() {
        let store = filled(Dialect::Sqlite).await;
        for (sql, plan) in [
            (DUE, "SEARCH o USING COVERING INDEX owners_due (organization_id=? AND due_at<?)"),
            // Rows behind the index are those of live leases, until the first without one.
            (
                OLDEST_DUE,
                "SEARCH o USING INDEX owners_due (organization_id=? AND due_at>? AND due_at<?)",
            ),
            // The index holds nothing but leased owners.
            (LEASES, "SEARCH owners USING INDEX owners_held (lease_host>?)"),
            (BY_STATE, "SEARCH owners USING COVERING INDEX owners_state (state=?)"),
            (INBOX_OPEN, "SCAN inbox USING COVERING INDEX inbox_open"),
            (INBOX_PARKED, "SCAN inbox USING COVERING INDEX inbox_parked"),
            (leases::RENEW, "SEARCH owners USING INDEX owners_held (lease_host=?)"),
        ] {
            let explained = query(format!("explain query plan {sql}"))
                .fetch_all(store.control().readers())
                .await
                .unwrap();
            let steps: Vec<String> = explained.iter().map(|row| row.get("detail")).collect();
            let on_tables = steps.iter().filter(|step| {
                step.contains(" owners ") || step.contains(" inbox ") || step.contains(" o ")
            });
            let on_tables: Vec<&String> = on_tables.collect();
            assert_eq!(on_tables, [plan], "{sql}: {steps:?}");
        }
    }
}
