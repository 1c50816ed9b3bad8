//! A store for tests, on either database.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use postgres_cluster::Cluster;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::inbox::NewItem;
use super::integrations::NewIntegration;
use super::server::ReaderPassword;
use super::{
    Argument, Database, Dialect, ServerOptions, SessionLimits, Store, query, query_scalar,
};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::{DataDir, Isolation};
use crate::model::OrganizationId;
use crate::secrets::Keyring;

/// Makes two tests of each function: one on each database.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::store::Dialect::Sqlite).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::store::Dialect::Postgres).await;
            })*
        }
    };
}
pub(crate) use on_both;

/// Of a store on a server, to each database.
pub(crate) const CONNECTIONS_MAX: u32 = 4;

/// A store; its databases go with it.
pub(crate) struct Opened {
    pub(crate) store: Store,
    _dir: TempDir,
    _control: Option<postgres_cluster::Database<'static>>,
}

impl std::ops::Deref for Opened {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

/// A post for an owner of an integration that [`root`] made.
pub(crate) fn item(organization: OrganizationId, root: &str, owner: &str) -> NewItem {
    NewItem {
        organization,
        root_id: root.into(),
        integration_id: root.into(),
        external_owner_id: owner.into(),
        method: "POST".into(),
        path: String::new(),
        query: String::new(),
        headers: Vec::new(),
        body: b"{}".to_vec(),
        secrets: Vec::new(),
    }
}

/// Runs statements on the control database.
pub(crate) async fn run(store: &Store, sql: String) {
    let ran = store
        .control()
        .write(move |connection| Box::pin(async move { Ok(connection.run(&sql).await?) }));
    ran.await.unwrap();
}

/// A transaction that another session has open.
pub(crate) struct Begun {
    go_on: oneshot::Sender<String>,
    over: JoinHandle<()>,
}

/// Begins one. When this answers `first` is done.
pub(crate) async fn begin(database: &Database, first: &str) -> Begun {
    let (database, first) = (database.clone(), first.to_owned());
    let (done, is_done) = oneshot::channel();
    let (go_on, may_go_on) = oneshot::channel::<String>();
    let over = tokio::spawn(async move {
        let written = database.write(move |connection| {
            Box::pin(async move {
                connection.run(&first).await?;
                done.send(()).unwrap();
                let then = may_go_on.await.unwrap();
                if !then.is_empty() {
                    connection.run(&then).await?;
                }
                Ok(())
            })
        });
        written.await.unwrap();
    });
    is_done.await.unwrap();
    Begun { go_on, over }
}

impl Begun {
    /// Does `then`, if that is something, and commits.
    pub(crate) async fn commit(self, then: &str) {
        self.go_on.send(then.to_owned()).unwrap();
        self.over.await.unwrap();
    }
}

/// Sessions on the control database of a server that wait for a lock.
pub(crate) async fn waiting(store: &Store) -> i64 {
    let waiting = "select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock'";
    query_scalar(waiting).fetch_one(store.control()).await.unwrap()
}

/// What the server of tests keeps of a role's password, which only a superuser sees.
pub(crate) fn kept(role: &str) -> String {
    let kept = format!("select coalesce(rolpassword, '') from pg_authid where rolname = '{role}'");
    Cluster::shared().maintenance().unwrap().value(&kept).unwrap()
}

/// Whether a server that keeps `kept` of a role's password (`rolpassword`) knows it by this text. The servers of
/// tests let roles in without one.
pub(crate) fn knows(kept: &str, password: &str) -> bool {
    let salt = BASE64_STANDARD.decode(kept.split(['$', ':']).nth(2).unwrap()).unwrap();
    kept == ReaderPassword { text: password, salt: salt.try_into().unwrap() }.verifier()
}

/// How a database goes about a statement, step by step. PostgreSQL is kept from what is cheaper as long
/// as there are few rows.
pub(crate) async fn plan(
    database: &Database,
    sql: &str,
    arguments: Vec<Argument<'static>>,
) -> Vec<String> {
    let sql = sql.to_owned();
    let explained = database.write(move |connection| {
        Box::pin(async move {
            let (explain, column) = match connection.dialect() {
                Dialect::Sqlite => ("explain query plan", "detail"),
                Dialect::Postgres => {
                    for way in ["seqscan", "bitmapscan", "sort"] {
                        connection.run(&format!("set local enable_{way} = off")).await?;
                    }
                    ("explain", "QUERY PLAN")
                }
            };
            let explained = query(format!("{explain} {sql}")).bind_all(arguments);
            let steps = explained.persistent(false).fetch_all(connection).await?;
            Ok(steps.iter().map(|step| step.get::<String>(column)).collect())
        })
    });
    explained.await.unwrap()
}

/// Of the advisory lock that sqlx takes for migrations of a database, unless it is told not to.
pub(crate) fn migrations_key(database: &str) -> i64 {
    let mut crc = u32::MAX;
    for byte in database.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    0x3d32_ad9e * i64::from(!crc)
}

/// An integration at the top of a tree of the organization `default`.
pub(crate) async fn root(store: &Store, id: &str) {
    let organization = store.organization("default").await.unwrap().id;
    let root = format!(
        "insert into integrations (id, organization_id, plugin, service, table_name, root_id,
           created_at, number) values ('{id}', {organization}, 'p', 's', 't', '{id}', 0, 1)"
    );
    run(store, root).await;
}

/// An integration to be made, without settings.
pub(crate) fn integration(
    organization: OrganizationId,
    service: &str,
    depends_on: Option<&str>,
) -> NewIntegration {
    NewIntegration {
        organization,
        plugin: "p".into(),
        service: service.into(),
        depends_on: depends_on.map(str::to_owned),
        config: BTreeMap::new(),
        secrets: Vec::new(),
        grants: Vec::new(),
    }
}

pub(crate) async fn open(dialect: Dialect, clock: Clock) -> Opened {
    open_with(dialect, clock, Isolation::Schema).await
}

pub(crate) async fn open_with(dialect: Dialect, clock: Clock, isolation: Isolation) -> Opened {
    let control =
        (dialect == Dialect::Postgres).then(|| Cluster::shared().create_database().unwrap());
    let url = control.as_ref().map(postgres_cluster::Database::url);
    open_at(control, url, clock, isolation).await
}

/// A host on a server whose superuser it is.
pub(crate) async fn open_as_superuser() -> Opened {
    let control = Cluster::shared().create_database().unwrap();
    let url = Cluster::shared().superuser_url(control.name());
    open_at(Some(control), Some(url), Clock::System, Isolation::Schema).await
}

async fn open_at(
    control: Option<postgres_cluster::Database<'static>>,
    control_url: Option<String>,
    clock: Clock,
    isolation: Isolation,
) -> Opened {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = DataDir::new(dir.path());
    data_dir.create().unwrap();
    let chance = Chance::seeded(1);
    let keyring = Keyring::new([1; 32], chance.clone());
    let store = match control_url {
        None => Store::open(data_dir, clock, keyring, chance).await,
        Some(control_url) => {
            let options = ServerOptions {
                control_url,
                replication_url: None,
                isolation,
                limits: SessionLimits {
                    lease_ttl: std::time::Duration::from_secs(30),
                    connections_max: CONNECTIONS_MAX,
                },
            };
            Store::open_server(&options, data_dir, clock, keyring, chance).await
        }
    };
    Opened { store: store.unwrap(), _dir: dir, _control: control }
}
