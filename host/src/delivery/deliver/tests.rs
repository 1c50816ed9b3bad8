//! A holding whose lease is nearly over.

use std::time::Duration;

use zeroize::Zeroizing;

use super::*;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::delivery::{Clients, DeliveryOptions, DestinationRules, Patience};
use crate::egress::{Poster, Relays};
use crate::rows::fixture::spec;
use crate::store::targets::{Kind, NewTarget};
use crate::store::{Dialect, fixture, query, tables};

const NOW: Micros = 1_000_000_000;
const TIMEOUT: Duration = Duration::from_secs(30);

fn deliveries(store: &Arc<Store>) -> Deliveries {
    let options = DeliveryOptions {
        host: "host".into(),
        workers: 1,
        timeout: TIMEOUT,
        turn: Duration::from_secs(60),
        poll: Duration::from_secs(1),
        patience: Patience { back_off_base: 1, back_off_max: 1, alert_after: 1, pause_after: 1 },
        rules: DestinationRules::default(),
    };
    let relays = Relays::new(Chance::seeded(1)).unwrap();
    let clients = Clients { poster: Poster::new().unwrap(), relays };
    Deliveries::new(Arc::clone(store), clients, Arc::default(), options)
}

#[tokio::test]
async fn what_is_read_without_a_delivery_is_stored_before_the_lease_is_over() {
    let opened = fixture::open(Dialect::Sqlite, Clock::simulated(NOW)).await;
    fixture::root(&opened, "svi_1").await;
    let store = Arc::new(opened.store);
    let integration = store.integration("svi_1").await.unwrap().unwrap();
    let organization = integration.organization_id;
    let replication = store.replication(organization).await.unwrap();
    let spec = Arc::new(spec("thing_v1"));
    let layout = tables::layout(&replication).await.unwrap();
    tables::create_all(&replication, vec![Arc::clone(&spec)], layout).await.unwrap();
    let new = NewTarget {
        integration,
        kind: Kind::Http,
        to_schema: String::new(),
        to_table: String::new(),
        url: Zeroizing::new("https://u:hush@a.example/".into()),
        shown_url: "https://***:***@a.example/".into(),
        period_s: 60,
        page_size: 200,
        deletions: false,
    };
    let target = store.create_target(new).await.unwrap();
    let id = target.id.clone();
    // A commit without anything to send.
    let head = feed::head(&replication).await.unwrap();
    let commit = query("insert into rowgate_commits (owner_id, committed_at) values (1, 0)");
    replication.execute(commit).await.unwrap();

    let lease_until = NOW + micros(TIMEOUT) - 1;
    let claimed = targets::claim(store.control(), "host", true, NOW, lease_until).await.unwrap();
    let deliveries = deliveries(&store);
    let mut holding = Holding {
        of: &deliveries,
        claimed: claimed.unwrap(),
        secrets: store.target_secrets(&id).await.unwrap(),
        target,
        replication,
        spec,
        bookmark: Bookmark::behind(&head.epoch, head.number),
        rows_max: 200,
        begun_at: NOW,
        session: None,
    };
    holding.run().await.unwrap();
    let target = store.target(organization, &id).await.unwrap().unwrap();
    assert_eq!(target.bookmark().unwrap(), Bookmark::behind(&head.epoch, head.number + 1));
}
