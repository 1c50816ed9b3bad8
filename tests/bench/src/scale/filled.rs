//! A control database with many owners, none of whom has anything to do for hours.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rowgate::chance::Chance;
use rowgate::clock::Clock;
use rowgate::config::{DataDir, Isolation};
use rowgate::secrets::Keyring;
use rowgate::store::{ServerOptions, SessionLimits, Store};
use simulator::{Options, Simulator};
use tests::{TestHost, Tree};

use super::control;

/// A list of calendars and one calendar's events: what most users have.
pub(super) const STREAMS_AN_OWNER: u32 = 2;

pub(super) struct Filled {
    /// Stopped.
    pub(super) host: TestHost,
    pub(super) tree: Tree,
    /// The same databases as the library has them.
    pub(super) store: Store,
    pub(super) organization_id: i64,
    /// Ids of owners are in a row.
    pub(super) first_owner: i64,
    pub(super) owners: u32,
}

impl Filled {
    pub(super) async fn new(streams: u32) -> Result<Self> {
        let settings = crate::deployed().on_postgres().simulator(vendor()?);
        let mut host = settings.env("ROWGATE_PUSH_ALLOW_HTTP", "true").start().await;
        let tree = host.integrations().await;
        host.stop().await;
        let owners = streams / STREAMS_AN_OWNER;
        let mut client = control(&host).connect()?;
        let root = &tree.list.id;
        // In no order, as polls are; later than the longest measurement takes.
        let due = "(extract(epoch from clock_timestamp()) * 1e6 + 7200e6 + random() * 21600e6)";
        client.query(&format!(
            "insert into owners (organization_id, root_id, external_owner_id, state, fence, due_at,
                                 relayed_no, linked_at)
             select i.organization_id, i.id, 'user-' || n, 'linked', 3, {due}::bigint, 5, 0
             from integrations i, generate_series(1, {owners}) n where i.id = '{root}'"
        ))?;
        client.query(
            "insert into streams (owner_id, service, kind, key, due_at, page_limit, last_success_at)
             select o.id, s.service, s.kind, s.key, o.due_at, 250, 0
             from owners o cross join lateral (values
               ('google_calendar_v1', 'calendars', ''),
               ('google_calendar_event_v1', 'events', o.external_owner_id || '@example.org')
             ) s (service, kind, key)",
        )?;
        client.query("vacuum analyze owners")?;
        client.query("vacuum analyze streams")?;
        let first_owner = client.value("select min(id) from owners")?.parse()?;
        let organization_id = client.value("select min(organization_id) from owners")?.parse()?;
        let store = open(&host).await?;
        Ok(Self { host, tree, store, organization_id, first_owner, owners })
    }
}

/// It takes addresses without TLS, knows no limits, and its clock stands at the system's time.
fn vendor() -> Result<Arc<Simulator>> {
    let options = Options { http_callbacks: true, limits: false, ..Options::default() };
    let simulator = Simulator::start(options)?;
    let ahead_us = Clock::System.now() - simulator.model().now_us;
    simulator.advance(ahead_us / 1_000_000);
    Ok(Arc::new(simulator))
}

async fn open(host: &TestHost) -> Result<Store> {
    let options = ServerOptions {
        control_url: control(host).url(),
        replication_url: None,
        isolation: Isolation::Schema,
        limits: SessionLimits { lease_ttl: Duration::from_secs(30), connections_max: 16 },
    };
    let chance = Chance::from_system();
    let keyring = Keyring::load(host.data_dir(), None, chance.clone())?;
    let data_dir = DataDir::new(host.data_dir());
    Ok(Store::open_server(&options, data_dir, Clock::corrected(), keyring, chance).await?)
}
