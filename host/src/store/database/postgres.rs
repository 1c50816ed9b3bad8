//! A database of a PostgreSQL server, or a schema in one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection, Postgres};

use super::{Connection, Error, count, migration_error};
use crate::metrics::Connections;
use crate::store::moves::Way;

/// How long a statement waits for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may take on which the schema is brought up to date.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Connections that nobody needs are given back to the server.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the start of a host waits for another one that migrates the same schema.
const MIGRATION_LOCK_TIMEOUT: Duration = Duration::from_secs(120);

/// However short leases are, a busy server may keep who makes something waiting for so long.
const STILL_LEAST: Duration = Duration::from_secs(5);

/// What a session may take (R7): a host that is frozen inside a transaction must not hold an owner's
/// row longer than its lease lasts.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Life of a lease that isn't renewed.
    pub lease_ttl: Duration,
    /// Connections of this host to one database.
    pub connections_max: u32,
}

impl SessionLimits {
    /// So long whoever makes what other hosts wait for may stand still.
    pub(in crate::store) fn still_max(self) -> Duration {
        (self.lease_ttl / 3).max(STILL_LEAST)
    }
}

/// One database or schema. Clones are the same.
#[derive(Clone, Debug)]
pub struct PostgresDatabase {
    pool: PgPool,
    /// To a server that a customer named.
    way: Option<Arc<Way>>,
}

impl PostgresDatabase {
    /// Connects and brings the schema up to date. Our own tables are made in the first schema,
    /// replicated ones in the second. A schema newer than this program is refused.
    pub async fn open(
        options: PgConnectOptions,
        [internal, tables]: [&str; 2],
        migrations: &Migrator,
        limits: SessionLimits,
    ) -> Result<Self, Error> {
        let session = session(options.clone(), limits);
        migrate(schema(&session, internal, tables), migrations, None).await?;
        Ok(Self::up_to_date(options, [internal, tables], limits))
    }

    /// The same where the schema is known to be up to date. Nothing is connected to before it is used.
    pub(in crate::store) fn up_to_date(
        options: PgConnectOptions,
        [internal, tables]: [&str; 2],
        limits: SessionLimits,
    ) -> Self {
        let options = session(options, limits);
        Self { pool: pool(options, &format!("{tables},{internal}"), limits), way: None }
    }

    /// The same in a database that a customer named. `alone`: the statement that takes a lock; the schema is
    /// brought up to date in the transaction that has it.
    pub(in crate::store) async fn open_by(
        way: Arc<Way>,
        [internal, tables]: [&str; 2],
        migrations: &Migrator,
        alone: &str,
        limits: SessionLimits,
    ) -> Result<Self, Error> {
        let options = session(way.options(), limits);
        migrate(schema(&options, internal, tables), migrations, Some(alone)).await?;
        let pool = pool(options, &format!("{tables},{internal}"), limits);
        Ok(Self { pool, way: Some(way) })
    }

    /// A database that a customer named, as it is.
    pub(in crate::store) fn reach(way: Arc<Way>, limits: SessionLimits) -> Self {
        let options = session(way.options(), limits);
        Self { pool: pool(options, "public", limits), way: Some(way) }
    }

    pub(super) fn hide(&self, text: &str) -> String {
        self.way.as_ref().map_or_else(|| text.to_owned(), |way| (way.hide)(text))
    }

    pub(super) async fn connection(&self) -> sqlx::Result<PoolConnection<Postgres>> {
        self.pool.acquire().await
    }

    /// Nothing stands in line: each write has a connection of its own, or waits for one as reads do.
    pub(super) fn connections(&self) -> Connections {
        let (open, idle) = (i64::from(self.pool.size()), count(self.pool.num_idle()));
        Connections { open, busy: (open - idle).max(0), writes_waiting: 0 }
    }

    /// A connection that hears notifications; it connects again when it is cut.
    pub(in crate::store) async fn listener(&self) -> sqlx::Result<PgListener> {
        PgListener::connect_with(&self.pool).await
    }

    pub(super) async fn write<T, F>(&self, operation: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, Error>> + Send + 'static,
    {
        let (pool, way) = (self.pool.clone(), self.way.clone());
        let written = tokio::spawn(async move {
            // It stays until the write is over.
            let _way = way;
            let begun = pool.begin().await.map_err(unavailable)?;
            let mut connection = Connection::Transaction(begun);
            let done = operation(&mut connection).await;
            let Connection::Transaction(transaction) = connection else {
                unreachable!("an operation can't change the kind of its connection");
            };
            match done {
                Ok(value) => transaction.commit().await.map(|()| value).map_err(unavailable),
                Err(error) => {
                    // The server forgets it anyway where this can't be said.
                    let _ = transaction.rollback().await;
                    Err(error)
                }
            }
        });
        written.await.map_err(|error| Error::Unavailable(error.to_string()))?
    }
}

fn schema(options: &PgConnectOptions, internal: &str, tables: &str) -> PgConnectOptions {
    options.clone().options([("search_path", format!("{internal},{tables}"))])
}

fn pool(options: PgConnectOptions, search_path: &str, limits: SessionLimits) -> PgPool {
    PgPoolOptions::new()
        .max_connections(limits.connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(IDLE_TIMEOUT)
        // A connection that is gone is noticed by its first statement; asking before each would
        // double the way of a short one.
        .test_before_acquire(false)
        .connect_lazy_with(options.options([("search_path", search_path)]))
}

fn session(options: PgConnectOptions, limits: SessionLimits) -> PgConnectOptions {
    let ms = |share: u32| (limits.lease_ttl / share).as_millis().max(100).to_string();
    options
        .application_name("rowgate")
        .statement_cache_capacity(512)
        .options([
            ("synchronous_commit", "on"),
            ("timezone", "UTC"),
            ("datestyle", "ISO"),
            ("default_transaction_isolation", "read\\ committed"),
        ])
        .options([
            ("idle_in_transaction_session_timeout", ms(3)),
            ("lock_timeout", ms(3)),
            ("statement_timeout", ms(2)),
            ("tcp_user_timeout", ms(2)),
        ])
        .disable_statement_logging()
}

/// A session of whoever makes what other hosts wait for: it may take its time, but not stand still.
pub(in crate::store) fn maker(
    options: PgConnectOptions,
    limits: SessionLimits,
) -> PgConnectOptions {
    let wait = MIGRATION_LOCK_TIMEOUT.as_millis().to_string();
    session(options, limits).options([
        ("idle_in_transaction_session_timeout", limits.still_max().as_millis().to_string()),
        ("lock_timeout", wait.clone()),
        ("statement_timeout", wait),
    ])
}

/// On a connection of its own, without the limits of a session: an index may take long to build.
async fn migrate(
    options: PgConnectOptions,
    migrations: &Migrator,
    alone: Option<&str>,
) -> Result<(), Error> {
    let of = options.get_database().unwrap_or("the database").to_owned();
    let lock_timeout = MIGRATION_LOCK_TIMEOUT.as_millis().to_string();
    // Less, so that whoever waits gets in.
    let still_max = (MIGRATION_LOCK_TIMEOUT / 2).as_millis().to_string();
    let mut options = options.options([
        ("statement_timeout", "0"),
        // Between two statements: a host that is frozen there keeps no other one out.
        ("idle_in_transaction_session_timeout", still_max.as_str()),
        ("lock_timeout", lock_timeout.as_str()),
    ]);
    if alone.is_none() {
        // Nor between two migrations: the lock that sqlx takes is the session's.
        options = options.options([("idle_session_timeout", still_max.as_str())]);
    }
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await;
    let late = |_| Error::Unavailable(format!("{of}: no answer in time"));
    let mut connection = connected.map_err(late)?.map_err(unavailable)?;
    match alone {
        None => run(&mut connection, migrations, &of).await?,
        Some(lock) => {
            let mut transaction = connection.begin().await.map_err(unavailable)?;
            transaction.execute(lock).await.map_err(unavailable)?;
            run(&mut transaction, migrations, &of).await?;
            transaction.commit().await.map_err(unavailable)?;
        }
    }
    let _ = connection.close().await;
    Ok(())
}

async fn run(connection: &mut PgConnection, migrations: &Migrator, of: &str) -> Result<(), Error> {
    let migrated = migrations.run_direct(connection).await;
    migrated.map_err(|error| migration_error(of, error))
}

fn unavailable(error: sqlx::Error) -> Error {
    Error::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use postgres_cluster::Cluster;

    use super::*;
    use crate::store::{Database, query_as};

    #[tokio::test]
    async fn whoever_migrates_may_not_stand_still() {
        let database = Cluster::shared().create_database().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let limits = "create table limits as select name, cast(setting as bigint) as ms
                      from pg_settings
                      where name in ('idle_in_transaction_session_timeout', 'idle_session_timeout',
                                     'lock_timeout', 'statement_timeout')";
        std::fs::write(dir.path().join("0001_limits.sql"), limits).unwrap();
        let migrations = Migrator::new(dir.path()).await.unwrap();
        let limits = SessionLimits { lease_ttl: Duration::from_secs(30), connections_max: 1 };
        let (options, schemas) = (database.url().parse().unwrap(), ["public", "public"]);
        let opened = PostgresDatabase::open(options, schemas, &migrations, limits).await.unwrap();
        let limits: Vec<(String, i64)> = query_as("select name, ms from limits order by name")
            .fetch_all(&Database::Postgres(opened))
            .await
            .unwrap();
        let limits: Vec<(&str, i64)> =
            limits.iter().map(|(name, ms)| (name.as_str(), *ms)).collect();
        // Whoever waits for the lock waits for longer than another one may stand still; an index may take long.
        let still_max = 60_000;
        assert_eq!(
            limits,
            [
                ("idle_in_transaction_session_timeout", still_max),
                ("idle_session_timeout", still_max),
                ("lock_timeout", 120_000),
                ("statement_timeout", 0),
            ]
        );
    }
}
