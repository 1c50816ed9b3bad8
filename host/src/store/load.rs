//! What waits, counted so that it costs little whatever the number of owners and streams: each
//! question is answered by an index alone, or looks at rows of live leases, and no count goes on
//! beyond [`COUNTED_MAX`].

use std::time::Duration;

use super::{Database, Error, Store};
use crate::metrics::{COUNTED_MAX, Connections, Load, Owners};
use crate::model::Micros;

/// Leased owners are due too, and stay so until they are released.
const DUE: &str = "select count(*) from (select 1 from owners where due_at <= $1 limit $2)";

/// Zero is "at once", not a time.
const OLDEST_DUE: &str = "
select due_at from owners where due_at > 0 and due_at <= $1 and lease_until <= $1
order by due_at limit 1";

const LEASES: &str = "
select count(*) from owners where lease_host is not null and lease_until > $1";

const BY_STATE: &str = "select count(*) from (select 1 from owners where state = $1 limit $2)";

const INBOX_OPEN: &str =
    "select count(*) from (select 1 from inbox where done_at is null limit $1)";

const INBOX_PARKED: &str =
    "select count(*) from (select 1 from inbox where parked and done_at is null limit $1)";

impl Store {
    /// What waits and what is held, now. What only this process knows of its runs is left out.
    pub async fn load(&self) -> Result<Load, Error> {
        let (control, now) = (self.control(), self.clock().now());
        let leases = count(control, sqlx::query_scalar(LEASES).bind(now)).await?;
        let due = count(control, sqlx::query_scalar(DUE).bind(now).bind(COUNTED_MAX)).await?;
        let oldest: Option<Micros> =
            sqlx::query_scalar(OLDEST_DUE).bind(now).fetch_optional(control.readers()).await?;
        let open = count(control, sqlx::query_scalar(INBOX_OPEN).bind(COUNTED_MAX)).await?;
        let parked = count(control, sqlx::query_scalar(INBOX_PARKED).bind(COUNTED_MAX)).await?;
        let waited_us = oldest.map_or(0, |at| now.saturating_sub(at)).unsigned_abs();
        let mut replication = Connections::default();
        for database in self.replication.lock().await.values() {
            replication += database.connections();
        }
        Ok(Load {
            owners: self.owners_by_state().await?,
            owners_due: (due - leases).max(0),
            oldest_due_s: Duration::from_micros(waited_us).as_secs_f64(),
            inbox_waiting: open - parked,
            inbox_parked: parked,
            leases,
            runs_in_flight: 0,
            control: control.connections(),
            replication,
        })
    }

    async fn owners_by_state(&self) -> Result<Owners, Error> {
        let of = |state: &'static str| {
            count(self.control(), sqlx::query_scalar(BY_STATE).bind(state).bind(COUNTED_MAX))
        };
        Ok(Owners {
            linked: of("linked").await?,
            unlinked: of("unlinked").await?,
            grant_dead: of("grant_dead").await?,
        })
    }
}

type Count<'q> = sqlx::query::QueryScalar<'q, sqlx::Sqlite, i64, sqlx::sqlite::SqliteArguments<'q>>;

async fn count(control: &Database, query: Count<'_>) -> Result<i64, Error> {
    Ok(query.fetch_one(control.readers()).await?)
}

#[cfg(test)]
mod tests {
    use sqlx::{Executor as _, Row as _};

    use super::*;
    use crate::chance::Chance;
    use crate::clock::Clock;
    use crate::config::DataDir;
    use crate::secrets::Keyring;

    const NOW: Micros = 1_000_000_000;

    async fn filled() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::new(dir.path());
        data_dir.create().unwrap();
        let chance = Chance::seeded(1);
        let keyring = Keyring::new([1; 32], chance.clone());
        let clock = Clock::simulated(NOW);
        let store = Store::open(data_dir, clock, keyring, chance).await.unwrap();
        store.organization("default").await.unwrap();
        store.control().write(|connection| Box::pin(fill(connection))).await.unwrap();
        (dir, store)
    }

    /// Owner: state, due, lease. 1 to 3 are due; 4 is held; 5 was held by a host that died.
    async fn fill(connection: &mut sqlx::SqliteConnection) -> Result<(), Error> {
        connection
            .execute(
                "insert into integrations (id, organization_id, plugin, service, table_name,
                   root_id, created_at) values ('svi_1', 1, 'p', 's', 't', 'svi_1', 0);
                 insert into owners (id, organization_id, root_id, external_owner_id, state, due_at,
                   lease_host, lease_until) values
                   (1, 1, 'svi_1', 'a', 'linked', 0, null, 0),
                   (2, 1, 'svi_1', 'b', 'linked', 998000000, null, 0),
                   (3, 1, 'svi_1', 'c', 'grant_dead', 999000000, null, 0),
                   (4, 1, 'svi_1', 'd', 'linked', 900000000, 'host', 1000000001),
                   (5, 1, 'svi_1', 'e', 'unlinked', 990000000, 'gone', 1000000000),
                   (6, 1, 'svi_1', 'f', 'unlinked', 1000000001, null, 0),
                   (7, 1, 'svi_1', 'g', 'unlinked', null, null, 0);
                 insert into inbox (owner_id, integration_id, received_at, method, path, query,
                   headers, body, parked, done_at) values
                   (1, 'svi_1', 0, 'POST', '/', '', '[]', '', false, null),
                   (2, 'svi_1', 0, 'POST', '/', '', '[]', '', false, null),
                   (2, 'svi_1', 0, 'POST', '/', '', '[]', '', true, null),
                   (3, 'svi_1', 0, 'POST', '/', '', '[]', '', false, 1);",
            )
            .await?;
        Ok(())
    }

    #[tokio::test]
    async fn what_waits_is_counted() {
        let (_dir, store) = filled().await;
        let load = store.load().await.unwrap();
        assert_eq!(load.owners, Owners { linked: 3, unlinked: 3, grant_dead: 1 });
        assert_eq!((load.owners_due, load.leases), (4, 1));
        assert!((load.oldest_due_s - 10.0).abs() < 1e-9, "{load:?}");
        assert_eq!((load.inbox_waiting, load.inbox_parked), (2, 1));
    }

    /// A million streams are so many rows: no question may walk through a table.
    #[tokio::test]
    async fn no_question_walks_through_a_table() {
        let (_dir, store) = filled().await;
        for (sql, plan) in [
            (DUE, "SEARCH owners USING COVERING INDEX owners_due (due_at<?)"),
            // Rows behind the index are those of live leases, until the first without one.
            (OLDEST_DUE, "SEARCH owners USING INDEX owners_due (due_at>? AND due_at<?)"),
            // The index holds nothing but leased owners.
            (LEASES, "SEARCH owners USING INDEX owners_leased (lease_host>?)"),
            (BY_STATE, "SEARCH owners USING COVERING INDEX owners_state (state=?)"),
            (INBOX_OPEN, "SCAN inbox USING COVERING INDEX inbox_open"),
            (INBOX_PARKED, "SCAN inbox USING COVERING INDEX inbox_parked"),
            (super::super::leases::RENEW, "SEARCH owners USING INDEX owners_leased (lease_host=?)"),
        ] {
            let explained = sqlx::query(&format!("explain query plan {sql}"))
                .fetch_all(store.control().readers())
                .await
                .unwrap();
            let steps: Vec<String> = explained.iter().map(|row| row.get("detail")).collect();
            let on_tables = steps.iter().filter(|step| !step.ends_with("(subquery-1)"));
            let on_tables: Vec<&String> = on_tables.collect();
            assert_eq!(on_tables, [plan], "{sql}: {steps:?}");
        }
    }
}
