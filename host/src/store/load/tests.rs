//! What is counted, on a file and on a server, and what a count costs.

use super::*;
use crate::clock::Clock;
use crate::store::fixture::{self, Opened, on_both};
use crate::store::{Dialect, leases, query};

on_both! { what_waits_is_counted }

const NOW: Micros = 1_000_000_000;

/// Owner: state, due, lease. 1 to 3 are due; 4 is held; 5, of another organization, was held by a
/// host that died. Channels: one that lives, one that should be replaced, and three that aren't live.
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
      (3, 'svi_1', 0, 'POST', '/', '', '[]', '', false, 1);
    insert into streams (owner_id, service, kind, key, due_at, not_before, page_limit) values
      (1, 's', 'k', 'at once', 0, 0, 1),
      (2, 's', 'k', 'due', 998000000, 0, 1),
      (2, 's', 'k', 'failed', 998000000, 1000000001, 1),
      (2, 's', 'k', 'is being read', null, 0, 1),
      (3, 's', 'k', 'of a dead grant', 999000000, 0, 1),
      (4, 's', 'k', 'of an owner that is held', 900000000, 0, 1),
      (6, 's', 'k', 'later', 1000000001, 0, 1);
    insert into channels (id, owner_id, root_id, generation, grant_id, push, key, token, address,
      state, renew_at, expires_at) values
      ('1', 1, 'svi_1', 1, 0, 'p', 'k', '', '', 'active', 1000000001, 1000000009),
      ('2', 1, 'svi_1', 1, 0, 'p', 'l', '', '', 'active', 1000000000, 1000000001),
      ('3', 1, 'svi_1', 1, 0, 'p', 'm', '', '', 'active', 900000000, 1000000000),
      ('4', 1, 'svi_1', 1, 0, 'p', 'm', '', '', 'pending', null, 1000000009),
      ('5', 1, 'svi_1', 1, 0, 'p', 'n', '', '', 'stopping', 900000000, 1000000009);
    insert into targets (id, organization_id, integration_id, root_id, kind, to_place, to_schema,
      to_table, shown_url, period_s, page_size, deletions, created_at, number, bookmark, due_at,
      paused, behind_since) values
      ('1', 1, 'svi_1', 'svi_1', 'http', '', '', '', '', 1, 1, false, 0, 1, '', 1000000001,
       null, 985000000),
      ('2', 1, 'svi_1', 'svi_1', 'http', '', '', '', '', 1, 1, false, 0, 2, '', 997000000,
       null, 995000000),
      ('3', 1, 'svi_1', 'svi_1', 'http', '', '', '', '', 1, 1, false, 0, 3, '', 0,
       'by hand', 900000000),
      ('4', 1, 'svi_1', 'svi_1', 'http', '', '', '', '', 1, 1, false, 0, 4, '', 1000000001,
       null, null);";

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
    assert_eq!(load.streams_due, 3, "of a, b and d");
    assert_eq!(load.channels, Channels { live: 2, expiring: 1 });
    let Targets { failing, paused, behind, feed_lag_s, oldest_due_s } = load.targets;
    assert_eq!((failing, paused, behind), (0, 1, 2));
    assert!((feed_lag_s - 15.0).abs() < 1e-9 && (oldest_due_s - 3.0).abs() < 1e-9, "{load:?}");
    let returned = leases::give_back(store.control(), "host").await.unwrap();
    assert_eq!((returned, store.load().await.unwrap().leases), (1, 0));
}

/// A million streams are so many rows: no question may walk through a table.
#[tokio::test]
async fn no_question_walks_through_a_table() {
    let store = filled(Dialect::Sqlite).await;
    let plans: &[(&str, &[&str])] = &[
        (DUE, &["SEARCH o USING COVERING INDEX owners_due (organization_id=? AND due_at<?)"]),
        // Rows behind the index are those of live leases, until the first without one.
        (
            OLDEST_DUE,
            &["SEARCH o USING INDEX owners_due (organization_id=? AND due_at>? AND due_at<?)"],
        ),
        // Owners that are due, and what they have.
        (
            STREAMS_DUE,
            &[
                "SEARCH o USING INDEX owners_due (organization_id=? AND due_at<?)",
                "SEARCH s USING INDEX sqlite_autoindex_streams_1 (owner_id=?)",
            ],
        ),
        // The index holds nothing but live channels, and those that expired just now.
        (CHANNELS_LIVE, &["SCAN channels USING COVERING INDEX channels_live"]),
        (CHANNELS_EXPIRING, &["SEARCH channels USING COVERING INDEX channels_live (renew_at<?)"]),
        // The index holds nothing but leased owners.
        (LEASES, &["SEARCH owners USING INDEX owners_held (lease_host>?)"]),
        (BY_STATE, &["SEARCH owners USING COVERING INDEX owners_state (state=?)"]),
        (INBOX_OPEN, &["SCAN inbox USING COVERING INDEX inbox_open"]),
        (INBOX_PARKED, &["SCAN inbox USING COVERING INDEX inbox_parked"]),
        (leases::RENEW, &["SEARCH owners USING INDEX owners_held (lease_host=?)"]),
    ];
    for (sql, plan) in plans {
        let explained = query(format!("explain query plan {sql}"))
            .fetch_all(store.control().readers())
            .await
            .unwrap();
        let steps: Vec<String> = explained.iter().map(|row| row.get("detail")).collect();
        let on_tables = steps.iter().filter(|step| {
            let tables = [" owners ", " inbox ", " channels ", " o ", " s "];
            tables.iter().any(|table| step.contains(table))
        });
        let on_tables: Vec<&String> = on_tables.collect();
        assert_eq!(on_tables, *plan, "{sql}: {steps:?}");
    }
}
