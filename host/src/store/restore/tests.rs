//! Tables and control database of different moments, on files and on a server.

use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::store::Dialect;
use crate::store::fixture::{self, Opened, on_both};
use crate::store::leases::{self, Claimant, Lease};
use crate::store::relay;

on_both! {
    newer_tables_are_told_what_the_control_database_says,
    what_older_tables_lack_is_done_again,
    what_was_broken_off_is_done_again,
    one_whose_own_database_is_away_holds_nobody_up,
    what_a_customers_database_says_holds_nobody_up,
    one_that_is_slow_is_left_for_later,
}

const SECOND: Micros = 1_000_000;
const NOW: Micros = 1_000 * 3_600 * SECOND;

/// Two owners, a and b.
async fn filled(dialect: Dialect, control: &str, beside: &str) -> (Opened, Database) {
    let store = fixture::open(dialect, Clock::simulated(NOW)).await;
    store.organization("default").await.unwrap();
    fixture::root(&store, "svi_1").await;
    let owners =
        "insert into owners (organization_id, root_id, external_owner_id, state, fence, relayed_no)
                  values (1, 'svi_1', 'a', 'linked', 3, 4), (1, 'svi_1', 'b', 'linked', 5, 2);";
    fixture::run(&store, format!("{owners} {control}")).await;
    let replication = store.replication(1).await.unwrap();
    run(&replication, beside).await;
    (store, replication)
}

async fn run(database: &Database, sql: &str) {
    let sql = sql.to_owned();
    let ran =
        database.write(move |connection| Box::pin(async move { Ok(connection.run(&sql).await?) }));
    ran.await.unwrap();
}

/// Items of the first owner, done at these times.
fn items(done_at: &[&str]) -> String {
    let one = |at: &&str| format!("(1, 'svi_1', 0, 'POST', '', '', '[]', '', {at})");
    let all: Vec<String> = done_at.iter().map(one).collect();
    format!(
        "insert into inbox (owner_id, integration_id, received_at, method, path, query, headers, body,
           done_at) values {};",
        all.join(", ")
    )
}

async fn put_right(store: &Opened, replication: &Database) -> Restored {
    let chance = store.chance();
    let put_back = PutBack { control: store.control(), begun_at: None, now: NOW, chance };
    put_back.put_right(OWN_MAX, async |_, _, _| Ok(replication.clone())).await.unwrap()
}

fn host() -> Claimant {
    Claimant { host: "host".into(), ttl: SECOND, organization_leases_max: 9 }
}

async fn claimed(store: &Opened) -> Lease {
    leases::claim(store.control(), &host(), 1, NOW).await.unwrap().expect("all are due")
}

async fn all<T: crate::store::Record>(database: &Database, sql: &str) -> Vec<T> {
    query_as(sql).fetch_all(database).await.unwrap()
}

async fn newer_tables_are_told_what_the_control_database_says(dialect: Dialect) {
    let control = items(&["1", "2", "null"])
        + "insert into owner_secrets (owner_id, grant_id, name, version)
             values (1, 1, 'kept to stop channels', 1), (1, 2, 'token', 1);
           insert into streams (owner_id, service, kind, key, page_limit)
             values (1, 's', 'k', 'in both', 1), (1, 's', 'k', 'in control', 1);";
    let beside = "
        insert into rowgate_owners (owner_id, generation, grant_id, fence, commit_no, services)
          values (1, 5, 9, 8, 20, '[\"s\"]'), (2, 1, 1, 5, 3, '[\"s\"]'), (77, 1, 1, 1, 1, '[]');
        insert into rowgate_cursors (owner_id, service, kind, key, version)
          values (1, 's', 'k', 'in both', 7), (1, 's', 'k', 'in the tables', 7), (2, 's', 'k', '', 7);
        insert into rowgate_applied (owner_id, inbox_id) values (1, 2), (1, 3), (1, 9), (2, 1);
        insert into rowgate_outbox (owner_id, commit_no, message) values (1, 20, '{}'), (2, 3, '{}');";
    let (store, replication) = filled(dialect, &control, beside).await;
    let restored = put_right(&store, &replication).await;
    let found =
        Restored { organizations: 1, owners: 2, ahead: 1, unknown: 1, ..Restored::default() };
    assert_eq!(restored, found);

    // The grant is the one whose token there is; streams are derived anew.
    let owners = "select owner_id, generation, grant_id, fence, services from rowgate_owners
                  where owner_id < 9 order by owner_id";
    let owners: Vec<(i64, i64, i64, i64, String)> = all(&replication, owners).await;
    assert_eq!(owners, [(1, 5, 2, 9, "[]".into()), (2, 1, 1, 9, "[\"s\"]".into())]);
    let cursors = "select owner_id, key from rowgate_cursors order by owner_id";
    let cursors: Vec<(i64, String)> = all(&replication, cursors).await;
    assert_eq!(cursors, [(1, "in both".into()), (2, String::new())]);
    // The open item is applied again, and those to come aren't taken for applied.
    let applied = "select owner_id, inbox_id from rowgate_applied order by owner_id";
    let applied: Vec<(i64, i64)> = all(&replication, applied).await;
    assert_eq!(applied, [(1, 2), (2, 1)]);
    let outbox: Vec<(i64,)> = all(&replication, "select owner_id from rowgate_outbox").await;
    assert_eq!(outbox, [(2,)]);

    let owners = "select fence, due_at, unreleased from owners order by id";
    let owners: Vec<(i64, Option<Micros>, bool)> = all(store.control(), owners).await;
    assert_eq!(owners, [(9, Some(NOW), true), (9, Some(NOW), true)]);
    // No fence refuses: a claim's is above it.
    let mut lease = claimed(&store).await;
    leases::plant(store.control(), &replication, &mut lease).await.unwrap();
    assert_eq!(lease.fence, 10);
    // What the tables know by an id doesn't become somebody else's.
    fixture::run(&store, items(&["null"])).await;
    fixture::run(
        &store,
        "insert into owners (organization_id, root_id, external_owner_id) values (1, 'svi_1', 'c')"
            .into(),
    )
    .await;
    let last: Vec<(i64,)> = all(store.control(), "select max(id) from owners").await;
    assert!(last[0].0 > 77, "{last:?}");
    let last: Vec<(i64,)> = all(store.control(), "select max(id) from inbox").await;
    assert!(last[0].0 > 9, "{last:?}");
}

async fn what_older_tables_lack_is_done_again(dialect: Dialect) {
    let control = items(&["10000000", "50000000", "60000000", "null"])
        + "update owners set lease_host = 'gone', lease_until = 9999999999999999, fence = 9 where id = 1;";
    // It was copied at 100 s, or later; hosts' clocks are a minute apart at most.
    let beside = "
        insert into rowgate_owners (owner_id, fence, commit_no) values (1, 3, 3), (2, 5, 2);
        insert into rowgate_commits (owner_id, committed_at) values (2, 100000000);
        insert into rowgate_applied (owner_id, inbox_id) values (1, 1), (1, 3);";
    let (store, replication) = filled(dialect, &control, beside).await;
    let restored = put_right(&store, &replication).await;
    let found =
        Restored { organizations: 1, owners: 2, behind: 1, leases: 1, ..Restored::default() };
    assert_eq!(restored, found);
    let done_at = "select done_at from inbox order by id";
    let fresh: Vec<(Option<Micros>,)> = all(store.control(), done_at).await;
    assert_eq!(fresh, [(Some(10 * SECOND),), (Some(NOW),), (Some(NOW),), (None,)]);

    // Whoever holds the owner next finds what it lacks, though that was done weeks ago.
    let mut lease = claimed(&store).await;
    if lease.owner_id != 1 {
        lease = claimed(&store).await;
    }
    let planted = leases::plant(store.control(), &replication, &mut lease).await.unwrap();
    assert!(planted.commit_no < lease.relayed_no);
    let (control, no, since) = (store.control(), planted.commit_no, NOW - SECOND);
    relay::drive_again(control, &replication, &mut lease, no, NOW, since).await.unwrap();
    let driven: Vec<(Option<Micros>,)> = all(control, done_at).await;
    assert_eq!(driven, [(Some(10 * SECOND),), (None,), (Some(NOW),), (None,)]);
}

async fn what_was_broken_off_is_done_again(dialect: Dialect) {
    let beside =
        "insert into rowgate_owners (owner_id, fence, commit_no) values (1, 8, 4), (2, 5, 2)";
    let (store, replication) = filled(dialect, "", beside).await;
    store.create_organization("other").await.unwrap();
    let chance = store.chance();
    let put_back = PutBack { control: store.control(), begun_at: None, now: NOW, chance };
    let broken = put_back.put_right(OWN_MAX, async |id, _, _| match id {
        1 => Ok(replication.clone()),
        _ => Err(Error::Unavailable("away".into())),
    });
    assert!(broken.await.is_err());
    let other = store.replication(2).await.unwrap();
    for _ in 0..2 {
        let again = put_back.put_right(OWN_MAX, async |id, _, _| match id {
            1 => Ok(replication.clone()),
            _ => Ok(other.clone()),
        });
        let found = Restored { organizations: 2, owners: 2, ..Restored::default() };
        assert_eq!(again.await.unwrap(), found, "what was ahead was told before");
    }
    let fences: Vec<(i64,)> = all(store.control(), "select distinct fence from owners").await;
    assert_eq!(
        fences,
        all::<(i64,)>(&replication, "select distinct fence from rowgate_owners").await
    );
    // Receivers begin anew, once: holders find that it was begun.
    let begun: Vec<(Option<String>,)> =
        all(store.control(), "select feed_epoch from organizations order by id").await;
    for (database, (begun,)) in [&replication, &other].into_iter().zip(begun) {
        assert_eq!(begun, Some(feed::head(database).await.unwrap().epoch));
    }
}

/// An organization whose tables lie in a database of its own.
async fn own(store: &Opened) {
    store.create_organization("own").await.unwrap();
    fixture::run(store, "update organizations set database_id = 'dbm_1' where id = 2".into()).await;
    let owner = "insert into integrations (id, organization_id, plugin, service, table_name, root_id,
                   created_at, number) values ('svi_2', 2, 'p', 's', 'u', 'svi_2', 0, 2);
                 insert into owners (organization_id, root_id, external_owner_id, state, fence, due_at)
                   values (2, 'svi_2', 'z', 'linked', 6, 0)";
    fixture::run(store, owner.into()).await;
}

async fn one_whose_own_database_is_away_holds_nobody_up(dialect: Dialect) {
    let beside = "insert into rowgate_owners (owner_id, fence, commit_no) values (1, 8, 4)";
    let (store, replication) = filled(dialect, "", beside).await;
    own(&store).await;
    let readers =
        "insert into moves (id, organization_id, state, readonly_url, own_reader, shown_url,
                     created_at, progressed_at)
                   values ('dbm_0', 2, 'done', 'sealed', false, '', 0, 0),
                          ('dbm_1', 2, 'done', 'sealed', true, '', 0, 0)";
    fixture::run(&store, readers.into()).await;
    let (chance, control) = (store.chance(), store.control());
    let put_back = PutBack { control, begun_at: Some(NOW - SECOND), now: NOW, chance };
    let restored = put_back.put_right(OWN_MAX, async |_, _, is_own| match is_own {
        false => Ok(replication.clone()),
        true => Err(Error::Unavailable("nobody answers".into())),
    });
    let restored = restored.await.unwrap();
    assert_eq!((restored.organizations, restored.owners, restored.ahead), (1, 2, 1));
    let reason = "the database is unavailable: nobody answers".to_owned();
    assert_eq!(restored.left, [Left { key: "own".into(), reason }]);
    let stands = "select key, put_back_from, rests_until, feed_epoch is null from organizations
                  order by id";
    let stands: Vec<(String, Option<Micros>, Micros, bool)> = all(control, stands).await;
    let left = ("own".to_owned(), Some(NOW - SECOND), Micros::MAX, true);
    assert_eq!(stands, [("default".to_owned(), None, 0, false), left]);
    // A role of ours is told its password again, when its server answers.
    let told: Vec<(String, bool)> =
        all(control, "select id, reader_told from moves order by id").await;
    assert_eq!(told, [("dbm_0".to_owned(), true), ("dbm_1".to_owned(), false)]);
    // Nobody works for it, nor opens what it has.
    assert_eq!(leases::ready_organizations(control, &host(), NOW).await.unwrap(), [1]);
    let refused = store.replication(2).await.unwrap_err();
    assert!(
        refused.is_away() && refused.to_string().contains("as soon as it answers"),
        "{refused}"
    );
    // A post to somebody who is new there gets ids that its tables can't know.
    let new = "insert into owners (organization_id, root_id, external_owner_id)
                 values (2, 'svi_2', 'new')";
    fixture::run(&store, new.into()).await;
    fixture::run(&store, items(&["null"])).await;
    for table in ["owners", "inbox"] {
        let last: Vec<(i64,)> = all(control, &format!("select max(id) from {table}")).await;
        assert!(last[0].0 > NOW, "{table}: {last:?}");
    }
    // Where it is there at the next restore, it is right.
    let there = put_back.put_right(OWN_MAX, async |_, _, _| Ok(replication.clone())).await.unwrap();
    assert_eq!((there.organizations, there.left), (2, Vec::new()));
    let rests = "select put_back_from, rests_until from organizations where id = 2";
    let rests: Vec<(Option<Micros>, Micros)> = all(control, rests).await;
    assert_eq!(rests, [(None, 0)]);
}

async fn what_a_customers_database_says_holds_nobody_up(dialect: Dialect) {
    let (store, replication) = filled(dialect, "", "select 1").await;
    own(&store).await;
    let (chance, control) = (store.chance(), store.control());
    let put_back = PutBack { control, begun_at: None, now: NOW, chance };
    for (said, reason) in [
        (
            format!("insert into rowgate_owners (owner_id, fence) values ({}, 1)", i64::MAX),
            "never given",
        ),
        ("drop table rowgate_applied".to_owned(), "rowgate_applied"),
    ] {
        let theirs = fixture::open(dialect, Clock::simulated(NOW)).await;
        theirs.organization("default").await.unwrap();
        let theirs_says = theirs.replication(1).await.unwrap();
        run(&theirs_says, &said).await;
        let restored = put_back.put_right(OWN_MAX, async |_, _, is_own| match is_own {
            false => Ok(replication.clone()),
            true => Ok(theirs_says.clone()),
        });
        let restored = restored.await.unwrap();
        assert_eq!((restored.organizations, restored.left.len()), (1, 1));
        assert!(restored.left[0].reason.contains(reason), "{restored:?}");
    }
    let refused = put_back.put_right(OWN_MAX, async |_, _, is_own| match is_own {
        false => Ok(replication.clone()),
        true => Err(Error::Refused("the key is missing".into())),
    });
    assert!(refused.await.is_err(), "that is the operator's to change");
}

/// Each of its answers comes, but not in time.
async fn one_that_is_slow_is_left_for_later(dialect: Dialect) {
    let (store, replication) = filled(dialect, "", "select 1").await;
    own(&store).await;
    let theirs = fixture::open(dialect, Clock::simulated(NOW)).await;
    theirs.organization("default").await.unwrap();
    let theirs_waits = theirs.replication(1).await.unwrap();
    let first = match dialect {
        // Whoever writes waits.
        Dialect::Sqlite => "select 1",
        Dialect::Postgres => "lock table rowgate_owners in access exclusive mode",
    };
    let held = fixture::begin(&theirs_waits, first).await;
    let (chance, control) = (store.chance(), store.control());
    let put_back = PutBack { control, begun_at: None, now: NOW, chance };
    let put_right = async |own_max: Duration| {
        let restored = put_back.put_right(own_max, async |_, _, is_own| match is_own {
            false => Ok(replication.clone()),
            true => Ok(theirs_waits.clone()),
        });
        restored.await.unwrap()
    };
    let restored = put_right(Duration::from_millis(100)).await;
    assert_eq!((restored.organizations, restored.left.len()), (1, 1));
    assert!(restored.left[0].reason.contains("it takes too long"), "{restored:?}");
    held.commit("").await;
    assert_eq!(put_right(OWN_MAX).await.organizations, 2);
}

#[test]
fn the_oldest_copy_counts() {
    for (left, begun, expected) in [
        (None, Some(5), Some(5)),
        (None, None, None),
        (Some(3), Some(5), Some(3)),
        (Some(7), Some(5), Some(5)),
        (Some(UNKNOWN), Some(5), None),
        (Some(3), None, None),
    ] {
        assert_eq!(begun_at(left, begun), expected, "{left:?} {begun:?}");
    }
}

const TTL: Duration = Duration::from_secs(30);

#[tokio::test]
async fn no_host_works_while_databases_are_put_right() {
    let store = fixture::open(Dialect::Postgres, Clock::System).await;
    store.organization("default").await.unwrap();
    store.enlist("host", TTL).await.unwrap();
    let living = store.begin_restore().await.unwrap();
    assert_eq!(living.len(), 1);
    store.must_be_right().await.expect("nothing was begun");
    store.leave("host").await.unwrap();
    let lock = store.lock_restore().await.unwrap();
    let said = store.lock_restore().await.unwrap_err().to_string();
    assert!(said.contains("another process"), "{said}");
    assert_eq!(store.begin_restore().await.unwrap(), []);
    // If it ends here, nothing works before somebody has gone on with it.
    drop(lock);
    let said = store.enlist("host", TTL).await.unwrap_err().to_string();
    assert!(said.contains("rowgate restore --server"), "{said}");
    assert!(store.must_be_right().await.is_err());
    assert_eq!(store.begin_restore().await.unwrap(), []);
    assert_eq!(store.restore(|_| ()).await.unwrap().organizations, 1);
    store.must_be_right().await.unwrap();
    store.enlist("host", TTL).await.unwrap();
}
