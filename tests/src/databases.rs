//! The host's own databases, as a test reads them: what no customer's SQL sees.

use std::time::Duration;

use rowgate::chance::Chance;
use rowgate::clock::Clock;
use rowgate::config::{DataDir, Isolation};
use rowgate::secrets::Keyring;
use rowgate::store::organizations::DEFAULT;
use rowgate::store::{Record, ServerOptions, SessionLimits, Store, query_as};

use crate::TestHost;
use crate::storage::Storage;

/// Microseconds from now until then; negative: it was.
pub fn us_until(moment: &str) -> i64 {
    let moment: jiff::Timestamp = moment.parse().unwrap_or_else(|_| panic!("no moment: {moment}"));
    moment.as_microsecond() - Clock::System.now()
}

impl TestHost {
    /// Rows of the control database.
    pub async fn control<R: Record>(&self, sql: &str) -> Vec<R> {
        let rows = query_as(sql).fetch_all(self.store().await.control()).await;
        rows.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// One number of the control database.
    pub async fn number(&self, sql: &str) -> i64 {
        self.control::<(i64,)>(sql).await[0].0
    }

    /// Rows of what stands beside the default organization's tables: cursors, the feed.
    pub async fn beside_tables<R: Record>(&self, sql: &str) -> Vec<R> {
        let store = self.store().await;
        let organization = store.organization(DEFAULT).await.expect("there is one");
        let replication = store.replication(organization.id).await.expect("it can be opened");
        let rows = query_as(sql).fetch_all(&replication).await;
        rows.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}

/// Opens the databases of a host a second time.
pub(crate) async fn open(storage: &Storage) -> Store {
    let data_dir = DataDir::new(storage.path());
    let chance = Chance::from_system();
    let keyring = Keyring::load(storage.path(), None, chance.clone()).expect("the host's key");
    let store = match storage.database_url() {
        None => Store::open(data_dir, Clock::System, keyring, chance).await,
        Some(control_url) => {
            let options = ServerOptions {
                control_url,
                replication_url: None,
                isolation: Isolation::Schema,
                limits: SessionLimits { lease_ttl: Duration::from_secs(60), connections_max: 2 },
            };
            Store::open_server(&options, data_dir, Clock::System, keyring, chance).await
        }
    };
    store.expect("databases that a host has opened")
}
