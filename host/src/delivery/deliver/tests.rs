//! Holdings of targets whose tables are quiet, or that go meanwhile.

use std::time::Duration;

use postgres_cluster::Cluster;
use zeroize::Zeroizing;

use super::*;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::delivery::{Clients, DeliveryOptions, DestinationRules, Patience};
use crate::egress::{Poster, Relays};
use crate::rows::fixture::spec;
use crate::store::targets::{self, NewTarget};
use crate::store::{Dialect, Store, alerts, fixture, query, tables};

const NOW: Micros = 1_000_000_000;
const TIMEOUT: Duration = Duration::from_secs(30);
const RULES: DestinationRules =
    DestinationRules { allow_http: true, allow_private_addresses: false };

fn deliveries(store: &Arc<Store>) -> Deliveries {
    let options = DeliveryOptions {
        host: "host".into(),
        workers: 1,
        timeout: TIMEOUT,
        turn: Duration::from_secs(60),
        poll: Duration::from_secs(1),
        patience: Patience { back_off_base: 1, back_off_max: 1, alert_after: 1, pause_after: 1 },
        rules: RULES,
    };
    let relays = Relays::new(Chance::seeded(1), Clock::System).unwrap();
    let clients = Clients { poster: Poster::new().unwrap(), relays };
    Deliveries::new(Arc::clone(store), clients, Arc::default(), options)
}

/// A table and a target for it.
struct Case {
    store: Arc<Store>,
    replication: Database,
    spec: Arc<TableSpec>,
    target: Target,
}

impl Case {
    async fn new(store: Store, service: &str, kind: Kind, url: &str) -> Self {
        fixture::root(&store, "svi_1").await;
        let integration = store.integration("svi_1").await.unwrap().unwrap();
        let replication = store.replication(integration.organization_id).await.unwrap();
        let spec = Arc::new(spec(service));
        let layout = tables::layout(&replication).await.unwrap();
        tables::create_all(&replication, vec![Arc::clone(&spec)], layout).await.unwrap();
        let new = NewTarget {
            integration,
            kind,
            to_place: String::new(),
            to_schema: "public".into(),
            to_table: "mirror".into(),
            url: Zeroizing::new(url.into()),
            shown_url: String::new(),
            signing_secret: store.new_signing_secret(),
            period_s: 60,
            page_size: 200,
            deletions: kind == Kind::Db,
        };
        let target = store.create_target(new).await.unwrap();
        Self { store: Arc::new(store), replication, spec, target }
    }

    /// Holds the target once.
    async fn hold(&self, lease: Micros) {
        self.hold_while(lease, async {}).await.unwrap();
    }

    /// Something happens when it is claimed.
    async fn hold_while(
        &self,
        lease: Micros,
        meanwhile: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let (control, now) = (self.store.control(), self.store.clock().now());
        let claimed = targets::claim(control, "host", true, now, now + lease).await.unwrap();
        let target = self.store.claimed_target(&self.target.id).await.unwrap().unwrap();
        let secrets = self.store.target_secrets(&self.target.id).await.unwrap();
        let deliveries = deliveries(&self.store);
        let mut holding = Holding {
            of: &deliveries,
            claimed: claimed.unwrap(),
            secrets,
            bookmark: target.bookmark().unwrap(),
            target,
            replication: self.replication.clone(),
            spec: Arc::clone(&self.spec),
            rows_max: 200,
            begun_at: now,
            session: None,
        };
        meanwhile.await;
        holding.run().await
    }

    async fn target(&self) -> Target {
        let Target { organization_id, id, .. } = &self.target;
        self.store.target(*organization_id, id).await.unwrap().unwrap()
    }
}

/// Its lease is nearly over.
#[tokio::test]
async fn what_is_read_without_a_delivery_is_stored_before_the_lease_is_over() {
    let opened = fixture::open(Dialect::Sqlite, Clock::simulated(NOW)).await;
    let case = Case::new(opened.store, "thing_v1", Kind::Http, "https://u:hush@a.example/").await;
    // A commit without anything to send.
    let head = feed::head(&case.replication).await.unwrap();
    let commit = query("insert into rowgate_commits (owner_id, committed_at) values (1, 0)");
    case.replication.execute(commit).await.unwrap();
    let read = Bookmark::behind(&head.epoch, head.number);
    case.store.rewind_target(&case.target.id, &read).await.unwrap();
    case.hold(micros(TIMEOUT) - 1).await;
    let behind = Bookmark::behind(&head.epoch, head.number + 1);
    assert_eq!(case.target().await.bookmark().unwrap(), behind);
}

/// Nothing is sent that would show that it was put back to an older copy.
#[tokio::test]
async fn a_quiet_mirror_is_asked_once_a_day() {
    const LEASE: Micros = 35_000_000;
    let database = Cluster::shared().create_database().unwrap();
    let clock = Clock::simulated(NOW);
    let opened = fixture::open(Dialect::Sqlite, clock.clone()).await;
    let case = Case::new(opened.store, "ticket_v1", Kind::Db, &database.url()).await;
    let mut client = database.connect().unwrap();
    case.hold(LEASE).await;
    let taken = case.target().await.taken;
    assert_eq!(client.value("select bookmark from rowgate_mirrors").ok(), taken);
    let put_back = "update rowgate_mirrors set bookmark = 'older', since = 'older still';
         insert into mirror (pk, owner_id, number, row_created_at, row_updated_at)
         values (1, 'ann', 1, now(), now())";
    client.query(put_back).unwrap();
    case.store.trigger_target(&case.target.id).await.unwrap();
    case.hold(LEASE).await;
    assert_eq!(client.value("select count(*) from mirror").unwrap(), "1", "not each time");
    clock.advance(Duration::from_secs(24 * 3_600));
    case.hold(LEASE).await;
    let target = case.target().await;
    assert_eq!((target.failing_since, target.paused), (None, None), "{:?}", target.last_error);
    assert_eq!(client.value("select count(*) from mirror").unwrap(), "0");
    assert_eq!(client.value("select bookmark from rowgate_mirrors").ok(), target.taken);
}

/// Whoever deleted it has taken away what its mirror says of it.
#[tokio::test]
async fn a_target_that_is_deleted_meanwhile_leaves_no_trace_in_its_mirror() {
    const LEASE: Micros = 35_000_000;
    let database = Cluster::shared().create_database().unwrap();
    let clock = Clock::simulated(NOW);
    let opened = fixture::open(Dialect::Sqlite, clock.clone()).await;
    let case = Case::new(opened.store, "ticket_v1", Kind::Db, &database.url()).await;
    case.hold(LEASE).await;
    clock.advance(Duration::from_secs(24 * 3_600));
    let deleted = async {
        case.store.delete_target(&case.target.id).await.unwrap();
        database.connect().unwrap().query("delete from rowgate_mirrors").unwrap();
    };
    let held = case.hold_while(LEASE, deleted).await;
    assert!(matches!(held, Err(Error::Superseded(_))), "{held:?}");
    let left = database.connect().unwrap().value("select count(*) from rowgate_mirrors");
    assert_eq!(left.unwrap(), "0");
}

/// As it would if its receiver didn't answer.
#[tokio::test]
async fn a_target_whose_deliveries_cannot_be_prepared_fails() {
    const LEASE: Micros = 35_000_000;
    let clock = Clock::simulated(NOW);
    let opened = fixture::open(Dialect::Sqlite, clock.clone()).await;
    let case = Case::new(opened.store, "thing_v1", Kind::Http, "https://u:hush@a.example/").await;
    let control = case.store.control();
    let handler = Zeroizing::new("https://b.example/".to_owned());
    case.store.create_error_handler(1, &handler, String::new()).await.unwrap();
    let deliveries = deliveries(&case.store);
    let delivered = async || {
        let now = clock.now();
        let claimed = targets::claim(control, "host", true, now, now + LEASE).await.unwrap();
        deliver(&deliveries, claimed.unwrap()).await.unwrap();
        case.target().await
    };
    let target = delivered().await;
    assert_eq!((target.attempts, target.failing_since), (1, Some(NOW)));
    let reason = target.last_error.unwrap();
    assert_eq!(reason, "what its table is like isn't known: the plugin p isn't installed");
    assert_eq!(alerts::next_due(control).await.unwrap(), None);
    // What is wrong inside is for the log.
    fixture::run(&case.store, "update targets set url = signing_secret".to_owned()).await;
    clock.advance(Duration::from_secs(1));
    let target = delivered().await;
    assert_eq!((target.attempts, target.failing_since), (2, Some(NOW)));
    let reason = "its URL or secret can't be opened: the host's log says why";
    assert_eq!(target.last_error.as_deref(), Some(reason));
    assert_eq!(target.paused, Some(format!("it failed for too long: {reason}")));
    assert_eq!(alerts::next_due(control).await.unwrap(), Some(clock.now()), "it is told");
}

#[tokio::test]
async fn a_target_whose_table_cannot_be_read_fails() {
    let opened = fixture::open(Dialect::Sqlite, Clock::simulated(NOW)).await;
    let case = Case::new(opened.store, "thing_v1", Kind::Http, "https://u:hush@a.example/").await;
    let gone = query("drop table rowgate_feed_head");
    case.replication.execute(gone).await.unwrap();
    case.hold(35_000_000).await;
    let target = case.target().await;
    assert_eq!((target.attempts, target.failing_since), (1, Some(NOW)));
    let reason = target.last_error.unwrap();
    assert_eq!(reason, "its table can't be read: the host's log says why");
}

/// Nobody has run here since a version was activated that has one more.
#[tokio::test]
async fn a_column_that_the_table_lacks_is_added_before_it_is_read() {
    for renamed in [false, true] {
        let opened = fixture::open(Dialect::Sqlite, Clock::simulated(NOW)).await;
        let case = Case::new(opened.store, "thing_v1", Kind::Http, "https://a.example/").await;
        let name = if renamed { "another" } else { "thing_v1" };
        let named = format!("update integrations set table_name = '{name}'");
        fixture::run(&case.store, named).await;
        let older = query("alter table thing_v1 drop column weight");
        case.replication.execute(older).await.unwrap();
        case.hold(35_000_000).await;
        let target = case.target().await;
        // What was renamed since isn't made under its old name.
        assert_eq!(target.failing_since.is_some(), renamed, "{:?}", target.last_error);
    }
}
