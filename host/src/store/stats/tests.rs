use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::store::Dialect;
use crate::store::fixture::{self, Opened, on_both, plan};

on_both! {
    figures_add_up_over_slices,
    what_was_counted_stands_for_a_while_and_is_counted_once,
    no_question_walks_through_a_table,
}

const NOW: Micros = 1_000_000_000;

/// More owners of a tree than a slice has, one of them without a name; another tree beside it. Every
/// third owner is unlinked, the last one's grant is dead. Webhooks: one of each, of which every second
/// is done, and one in ten of the others has failed for good.
async fn filled(dialect: Dialect, clock: &Clock) -> Opened {
    let store = fixture::open(dialect, clock.clone()).await;
    fixture::root(&store, "svi_1").await;
    let count = 2 * SLICE + 1;
    let filled = format!(
        "insert into integrations (id, organization_id, plugin, service, table_name, root_id,
           created_at, number) values ('svi_2', 1, 'p', 's', 'other', 'svi_2', 0, 2);
         with recursive n (n) as (select 0 union all select n + 1 from n where n < {count})
         insert into owners (organization_id, root_id, external_owner_id, state)
         select 1, case when n < {count} then 'svi_1' else 'svi_2' end,
           case when n = 0 then '' else 'o' || n end,
           case when n = {count} - 1 then 'grant_dead' when n % 3 = 0 then 'unlinked'
                else 'linked' end from n;
         insert into inbox (owner_id, integration_id, received_at, method, path, query, headers,
           body, parked, done_at)
         select id, root_id, id, 'POST', '', '', '[]', '', id % 20 = 0,
           case when id % 2 = 1 then 1 end from owners;
         insert into streams (owner_id, service, kind, key, page_limit, attempts, last_success_at)
         select id, 's', 'k', '1', 1, id % 2, id from owners;
         insert into streams (owner_id, service, kind, key, page_limit)
         select id, 'dependent', 'k', '1', 1 from owners where id <= 5"
    );
    fixture::run(&store, filled).await;
    store
}

async fn figures_add_up_over_slices(dialect: Dialect) {
    let store = filled(dialect, &Clock::simulated(NOW)).await;
    let ids = 1..=2 * SLICE + 1;
    let among = |holds: fn(i64) -> bool| ids.clone().filter(|id| holds(*id)).count() as i64;
    let last = *ids.end();
    let tree = IntegrationStats {
        // Ids begin at 1, n at 0.
        owners_linked: among(|id| (id - 1) % 3 != 0) - i64::from((last - 1) % 3 != 0),
        owners_dead: 1,
        webhooks_kept: last,
        webhooks_waiting: among(|id| id % 2 == 0 && id % 20 != 0),
        webhooks_parked: among(|id| id % 20 == 0),
        last_webhook_at: Some(last),
        streams: StreamCount::default(),
    };
    for (service, streams) in [
        (
            "s",
            StreamCount {
                all: last,
                failing: among(|id| id % 2 == 1),
                last_success_at: Some(last),
            },
        ),
        ("dependent", StreamCount { all: 5, ..StreamCount::default() }),
        ("none", StreamCount::default()),
    ] {
        let found = store.integration_stats("svi_1", service).await.unwrap();
        assert_eq!(found, IntegrationStats { streams, ..tree.clone() }, "{service}");
    }
    let other = store.integration_stats("svi_2", "s").await.unwrap();
    assert_eq!((other.streams.all, other.webhooks_kept), (1, 1));
}

async fn what_was_counted_stands_for_a_while_and_is_counted_once(dialect: Dialect) {
    let clock = Clock::simulated(NOW);
    let store = filled(dialect, &clock).await;
    let place = store.counted_trees.place("svi_1", NOW);
    let mut held = place.lock().await;
    // Somebody counts: who comes meanwhile waits for that.
    let mut asked = std::pin::pin!(store.integration_stats("svi_1", "s"));
    tokio::select! {
        biased;
        found = &mut asked => panic!("{found:?}"),
        () = std::future::ready(()) => {}
    }
    let tree = TreeCount {
        tree: IntegrationStats { owners_dead: 77, ..IntegrationStats::default() },
        ..TreeCount::default()
    };
    *held = Some(Counted { tree, stands_until: NOW + 1_000 });
    drop(held);
    drop(place);
    assert_eq!(asked.await.unwrap().owners_dead, 77, "it isn't counted once more");
    clock.advance(Duration::from_millis(1));
    assert_eq!(store.integration_stats("svi_1", "s").await.unwrap().owners_dead, 1);
    store.integration_stats("svi_2", "s").await.unwrap();
    let places = store.counted_trees.0.lock().unwrap().len();
    assert_eq!(places, 1, "what doesn't stand any more is forgotten");
}

async fn no_question_walks_through_a_table(dialect: Dialect) {
    let store = filled(dialect, &Clock::simulated(NOW)).await;
    let (kept, open, streams) = of_owners("1, 2, 3");
    let slice = || vec!["svi_1".into(), "o1".into(), SLICE.into()];
    for (sql, arguments, index) in [
        (owner_slices::behind_sql(""), slice(), "root_id"),
        (owner_slices::behind_sql("o1"), slice(), "root_id"),
        (LAST_WEBHOOK, vec!["svi_1".into()], "inbox_received"),
        (&kept, Vec::new(), "inbox_owner"),
        (&open, Vec::new(), "inbox_o"),
        (&streams, Vec::new(), "owner_id"),
    ] {
        let steps = plan(store.control(), sql, arguments).await;
        assert!(steps.iter().any(|step| step.contains(index)), "{sql}: {steps:#?}");
        let walks = |step: &String| {
            // A tree has few members, and SQLite names by SCAN what a query itself has made.
            step.contains("Seq Scan")
                || ["SCAN owners", "SCAN inbox", "SCAN i", "SCAN streams"]
                    .iter()
                    .any(|walk| step == walk || step.starts_with(&format!("{walk} USING INDEX")))
        };
        assert!(!steps.iter().any(walks), "{sql}: {steps:#?}");
    }
}

#[test]
fn figures_that_cost_more_stand_longer() {
    const S: Micros = 1_000_000;
    for (took, stands) in [(0, 0), (2, 20), (S, 10 * S), (6 * S, 60 * S), (99 * S, 60 * S), (-5, 0)]
    {
        assert_eq!(stands_until(NOW, NOW + took) - (NOW + took), stands, "{took}");
    }
}
