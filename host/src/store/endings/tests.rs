//! On a file and on a server.

use std::collections::HashMap;
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::model::OwnerId;
use crate::rows::fixture::{sample, spec};
use crate::store::commit::{
    self, CommitOf, Committed, ReadyEffects, StepCommit, TreeTables, Under,
};
use crate::store::fixture::{self, Opened, on_both, plan};
use crate::store::{Dialect, leases, tables};

on_both! {
    a_tree_goes_with_its_owners_slice_by_slice,
    a_part_goes_and_the_rest_stays,
    who_stood_still_since_a_part_went_commits_nothing,
    owners_let_go_of_their_channels,
    channels_are_waited_for_a_day_at_most,
    whoever_dies_is_followed,
    what_comes_for_a_tree_that_ended_waits_for_nothing,
    a_dropped_table_is_not_made_again,
}

mod closed;

const DAY: Duration = Duration::from_secs(24 * 3_600);

async fn number(store: &Store, sql: &str) -> i64 {
    query_scalar(sql).fetch_one(store.control()).await.unwrap()
}

async fn has_table(database: &Database, name: &str) -> bool {
    let sql = format!("select count(*) from {name}");
    query_scalar::<i64>(sql).fetch_one(database).await.is_ok()
}

async fn a_tree_goes_with_its_owners_slice_by_slice(dialect: Dialect) {
    let store = fixture::open(dialect, Clock::simulated(1_000)).await;
    fixture::root(&store, "svi_1").await;
    let count = 500 * 2 + 1;
    // The last one is of another tree.
    let filled = format!(
        "insert into integrations (id, organization_id, plugin, service, table_name, root_id,
           created_at, number) values ('svi_2', 1, 'p', 's', 'other', 'svi_2', 0, 2);
         with recursive n (n) as (select 1 union all select n + 1 from n where n <= {count})
         insert into owners (organization_id, root_id, external_owner_id)
         select 1, case when n <= {count} then 'svi_1' else 'svi_2' end, 'o' || n from n;
         insert into inbox (owner_id, integration_id, received_at, method, path, query, headers,
           body, done_at)
         select id, root_id, 0, 'POST', '', '', '[]', '', case when id % 2 = 0 then 1 end
         from owners;
         insert into streams (owner_id, service, kind, key, page_limit)
         select id, 's', 'k', '1', 1 from owners;
         insert into owner_secrets (owner_id, grant_id, name, version)
         select id, 1, 'token', 1 from owners"
    );
    fixture::run(&store, filled).await;
    let replication = store.replication(1).await.unwrap();
    let tables = format!(
        "create table t (pk bigint); create table other (pk bigint);
         with recursive n (n) as (select 1 union all select n + 1 from n where n <= {count})
         insert into rowgate_owners (owner_id, generation) select n, 1 from n;
         with recursive n (n) as (select 1 union all select n + 1 from n where n < 2500)
         insert into rowgate_feed (table_name, pk, deleted, commit_id)
         select case when n < 2500 then 't' else 'other' end, n, false, n from n"
    );
    let made = replication
        .write(move |connection| Box::pin(async move { Ok(connection.run(&tables).await?) }));
    made.await.unwrap();

    let gone = store.end_integration("svi_1").await.unwrap();
    assert_eq!(gone.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["svi_1"]);
    assert_eq!(store.integration("svi_1").await.unwrap(), None, "nobody sees it any more");
    assert_eq!(store.integrations(1).await.unwrap().len(), 1);
    for (root, left) in [("svi_1", 0), ("svi_2", 1)] {
        assert_eq!(
            store.stream_page(root, &Default::default(), 9).await.unwrap().len(),
            left,
            "{root}"
        );
    }
    assert!(store.is_ending(1, Some("svi_1")).await.unwrap());
    work(&store).await.unwrap();
    assert!(!store.is_ending(1, Some("svi_1")).await.unwrap());
    for table in ["integrations", "owners", "inbox", "streams", "owner_secrets"] {
        assert_eq!(number(&store, &format!("select count(*) from {table}")).await, 1, "{table}");
    }
    let feed: Vec<(String, i64)> =
        query_as("select table_name, pk from rowgate_feed").fetch_all(&replication).await.unwrap();
    assert_eq!(feed, [("other".to_owned(), 2500)]);
    // Whatever is in flight for them is refused.
    let as_they_were: Vec<OwnerId> =
        query_scalar("select owner_id from rowgate_owners where generation = 1")
            .fetch_all(&replication)
            .await
            .unwrap();
    assert_eq!(as_they_were, [count + 1]);
    assert!(!has_table(&replication, "t").await && has_table(&replication, "other").await);
    assert_eq!(store.end_integration("svi_1").await.unwrap(), []);
}

/// A tree whose second integration hangs under its first; one owner.
async fn two_integrations(store: &Opened) {
    fixture::root(store, "svi_1").await;
    let filled = "insert into integrations (id, organization_id, plugin, service, table_name,
           depends_on, root_id, created_at, number)
           values ('svi_2', 1, 'p', 'below', 'lower', 'svi_1', 'svi_1', 0, 2);
         insert into owners (organization_id, root_id, external_owner_id, state)
           values (1, 'svi_1', 'a', 'linked');
         insert into streams (owner_id, service, kind, key, page_limit)
           select id, 's', 'k', '1', 1 from owners;
         insert into streams (owner_id, service, kind, key, page_limit)
           select id, 'below', 'k', '1', 1 from owners";
    fixture::run(store, filled.to_owned()).await;
}

async fn a_part_goes_and_the_rest_stays(dialect: Dialect) {
    let store = fixture::open(dialect, Clock::simulated(1_000)).await;
    two_integrations(&store).await;
    let gone = store.end_integration("svi_2").await.unwrap();
    assert_eq!(gone.len(), 1);
    let tree = store.tree("svi_1").await.unwrap();
    assert!(!tree.ended && tree.members.len() == 1, "{tree:?}");
    work(&store).await.unwrap();
    let left: Vec<String> =
        query_scalar("select service from streams").fetch_all(store.control()).await.unwrap();
    assert_eq!(left, ["s"]);
    assert_eq!(number(&store, "select count(*) from integrations").await, 1);
    // Whoever holds it lets go of the push channels that woke nothing else.
    let due = "select count(*) from owners where state = 'linked' and due_at = 1000";
    assert_eq!(number(&store, due).await, 1);
}

/// By then another table may be called as the one was that its call writes to.
async fn who_stood_still_since_a_part_went_commits_nothing(dialect: Dialect) {
    let store = fixture::open(dialect, Clock::simulated(1_000)).await;
    two_integrations(&store).await;
    fixture::run(&store, "update owners set due_at = 0".to_owned()).await;
    let (control, replication) = (store.control(), store.replication(1).await.unwrap());
    let by = leases::Claimant { host: "h".into(), ttl: 9_000, organization_leases_max: 9 };
    let mut stood_still = leases::claim(control, &by, 1, 1_000).await.unwrap().unwrap();
    leases::plant(control, &replication, &mut stood_still).await.unwrap();
    receives(&replication, &stood_still, 1).await.expect("it holds the owner");
    store.end_integration("svi_2").await.unwrap();
    work(&store).await.unwrap();
    let refused = receives(&replication, &stood_still, 2).await;
    assert!(matches!(refused, Err(Error::Superseded(_))), "{refused:?}");
    // Nobody waits for the end of its lease, and whoever follows relays first.
    let mut next = leases::claim(control, &by, 1, 1_000).await.unwrap().expect("it is due");
    assert!(next.unreleased && next.fence > stood_still.fence);
    let planted = leases::plant(control, &replication, &mut next).await.unwrap();
    assert_eq!(planted.generation, 0, "the channels of what goes on are of this one");
    receives(&replication, &next, 2).await.unwrap();
}

/// The commit of a call that received an item.
async fn receives(
    replication: &Database,
    lease: &leases::Lease,
    item: i64,
) -> Result<Committed, Error> {
    let under = Under {
        owner_id: lease.owner_id,
        external_owner_id: lease.external_owner(),
        fence: lease.fence,
        generation: 0,
    };
    let manifest = Arc::new(sample());
    let step = StepCommit {
        under,
        now: 1_000,
        tree: Arc::new(TreeTables { manifest, tables: HashMap::new() }),
        step: CommitOf::Item { id: item, grants: false },
        effects: ReadyEffects::default(),
        read_at: None,
        stale_before: None,
    };
    commit::commit(replication, step).await
}

/// Owners of the tree `svi_1`: the first has a channel that the vendor knows, the second one that it has
/// been asked to stop; both have a secret.
async fn with_channels(store: &Store, count: i64) {
    fixture::root(store, "svi_1").await;
    let filled = format!(
        "with recursive n (n) as (select 1 union all select n + 1 from n where n < {count})
         insert into owners (organization_id, root_id, external_owner_id, state, due_at, fence,
           lease_host, lease_until)
         select 1, 'svi_1', case when n = {count} then '' else 'o' || n end, 'linked', 7, 3,
           'host', 9000 from n;
         insert into channels (id, owner_id, root_id, generation, grant_id, push, key, token,
           address, vendor_id, state, expires_at, due_at, attempts)
         values ('a', (select id from owners where external_owner_id = 'o1'), 'svi_1', 1, 5, 'p',
                 'k', '', '', 'v', 'active', 900000000000, null, 0),
                ('b', (select id from owners order by id limit 1 offset 1), 'svi_1', 1, 5, 'p',
                 'k', '', '', 'v', 'gone', 900000000000, null, 1);
         insert into owner_secrets (owner_id, grant_id, name, version)
         values ((select id from owners where external_owner_id = 'o1'), 5, 'kept', 1),
                ((select id from owners order by id limit 1 offset 1), 5, 'not kept', 1)"
    );
    fixture::run(store, filled).await;
}

async fn owners_let_go_of_their_channels(dialect: Dialect) {
    let store = fixture::open(dialect, Clock::simulated(1_000)).await;
    let count = 501;
    with_channels(&store, count).await;
    store.end_integration("svi_1").await.unwrap();
    work(&store).await.unwrap();
    assert!(store.is_ending(1, Some("svi_1")).await.unwrap(), "a channel is still to be stopped");
    assert_eq!(number(&store, "select count(*) from owners where state = 'linked'").await, 0);
    // Whoever held one has no say any more; one is to be held for the channel.
    let let_go = "select count(*) from owners where fence = 4 and lease_host is null";
    assert_eq!(number(&store, let_go).await, count);
    let due: Vec<(String, i64)> =
        query_as("select external_owner_id, due_at from owners where due_at is not null")
            .fetch_all(store.control())
            .await
            .unwrap();
    assert_eq!(due, [("o1".to_owned(), 0)]);
    let secrets: Vec<String> =
        query_scalar("select name from owner_secrets").fetch_all(store.control()).await.unwrap();
    assert_eq!(secrets, ["kept"], "with which the channel can be stopped");
    assert!(store.tree("svi_1").await.unwrap().ended);
    let looked = plan(store.control(), tree::LEFT, vec!["svi_1".into(), true.into()]).await;
    let searches = looked.iter().filter(|step| step.contains("channels_to_stop")).count();
    assert_eq!(searches, 2, "{looked:#?}");
}

async fn channels_are_waited_for_a_day_at_most(dialect: Dialect) {
    let clock = Clock::simulated(1_000);
    let store = fixture::open(dialect, clock.clone()).await;
    with_channels(&store, 2).await;
    store.end_integration("svi_1").await.unwrap();
    work(&store).await.unwrap();
    // Nothing is walked through again while it waits: its name is free.
    let names = "select count(*) from integrations where table_name = 't'";
    assert_eq!(number(&store, names).await, 0);
    clock.advance(DAY - Duration::from_secs(60));
    work(&store).await.unwrap();
    assert_eq!(number(&store, "select count(*) from owner_secrets").await, 1);
    clock.advance(Duration::from_secs(120));
    work(&store).await.unwrap();
    for table in ["owner_secrets", "channels", "owners", "integrations", "endings"] {
        assert_eq!(number(&store, &format!("select count(*) from {table}")).await, 0, "{table}");
    }
}

async fn whoever_dies_is_followed(dialect: Dialect) {
    let clock = Clock::simulated(1_000);
    let store = fixture::open(dialect, clock.clone()).await;
    two_integrations(&store).await;
    store.end_integration("svi_1").await.unwrap();
    let dead = next(&store).await.unwrap().unwrap();
    work(&store).await.unwrap();
    assert!(store.is_ending(1, Some("svi_1")).await.unwrap(), "it is claimed");
    clock.advance(Duration::from_micros(CLAIM_LIFE.unsigned_abs()));
    work(&store).await.unwrap();
    assert!(!store.is_ending(1, Some("svi_1")).await.unwrap());
    // It wasn't dead at all.
    let refused = tree::work(&store, &dead).await;
    assert!(matches!(refused, Err(Error::Superseded(_))), "{refused:?}");
}

/// A post that was on its way in when the tree ended.
async fn what_comes_for_a_tree_that_ended_waits_for_nothing(dialect: Dialect) {
    let store = fixture::open(dialect, Clock::simulated(1_000)).await;
    two_integrations(&store).await;
    store.end_integration("svi_1").await.unwrap();
    let late = "insert into inbox (owner_id, integration_id, received_at, method, path, query,
                  headers, body) select id, 'svi_1', 0, 'POST', '', '', '[]', '' from owners;
                update owners set due_at = 0; update streams set due_at = 0";
    fixture::run(&store, late.to_owned()).await;
    let by = leases::Claimant { host: "h".into(), ttl: 9_000, organization_leases_max: 9 };
    let lease = leases::claim(store.control(), &by, 1, 1_000).await.unwrap().unwrap();
    assert_eq!(
        crate::store::items::next_item(store.control(), lease.owner_id).await.unwrap(),
        None
    );
    assert!(crate::store::streams::pauses(store.control(), lease.owner_id).await.unwrap().ended);
    leases::release(store.control(), &lease).await.unwrap();
    let due = "select count(*) from owners where due_at is not null";
    assert_eq!(number(&store, due).await, 0, "neither for the post nor for its streams");
    work(&store).await.unwrap();
    assert_eq!(number(&store, "select count(*) from inbox").await, 0);
}

/// By a host that has read its name before.
async fn a_dropped_table_is_not_made_again(dialect: Dialect) {
    let store = fixture::open(dialect, Clock::simulated(1_000)).await;
    two_integrations(&store).await;
    let replication = store.replication(1).await.unwrap();
    let read_before = tables::layout(&replication).await.unwrap();
    let thing = Arc::new(spec("thing_v1"));
    tables::create_all(&replication, vec![Arc::clone(&thing)], read_before).await.unwrap();
    let named =
        format!("update integrations set table_name = '{}' where id = 'svi_2'", thing.table_name);
    fixture::run(&store, named).await;
    store.end_integration("svi_2").await.unwrap();
    work(&store).await.unwrap();
    let again = tables::create_all(&replication, vec![Arc::clone(&thing)], read_before).await;
    assert!(matches!(again, Err(Error::Superseded(_))), "{again:?}");
    assert!(!has_table(&replication, &thing.table_name).await);
    // Another one is called so by now: whoever stood still since before that doesn't drop it.
    let now = tables::layout(&replication).await.unwrap();
    tables::create_all(&replication, vec![Arc::clone(&thing)], now).await.unwrap();
    let late = tables::drop_all(&replication, vec![thing.table_name.clone()], read_before).await;
    assert!(matches!(late, Err(Error::Superseded(_))), "{late:?}");
    assert!(has_table(&replication, &thing.table_name).await);
}

/// Else each owner that goes costs a look at every webhook that is kept.
#[tokio::test]
async fn what_refers_to_an_owner_is_found_by_it() {
    let store = fixture::open(Dialect::Sqlite, Clock::simulated(0)).await;
    let referring: Vec<(String, String)> = query_as(
        "select m.name, f.\"from\" from sqlite_master m join pragma_foreign_key_list(m.name) f
         where m.type = 'table' and f.\"table\" = 'owners' order by m.name",
    )
    .fetch_all(store.control())
    .await
    .unwrap();
    assert!(referring.len() >= 5, "{referring:?}");
    for (table, column) in referring {
        let sql = format!("explain query plan select 1 from {table} where {column} = 1");
        let plan = query(sql).fetch_all(store.control()).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
        assert!(plan.iter().all(|step| step.starts_with("SEARCH")), "{plan:?}");
    }
}
