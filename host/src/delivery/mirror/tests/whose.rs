//! Whose a mirror is.

use super::*;

#[tokio::test]
async fn who_was_replaced_is_refused_whenever_it_comes() {
    let mut case = Case::new("ticket_v1");
    case.takes(&copy(vec![ticket(1, 10, "a")], None, true)).await;
    case.fence = 3;
    case.takes(&page(vec![ticket(1, 10, "c")])).await;
    case.fence = 2;
    let reason = refused(case.apply(&page(vec![ticket(1, 10, "b")])).await);
    assert_eq!(reason, "another host has gone on meanwhile");
    assert_eq!(case.tickets(), [(1, 10, "c".to_owned())]);
    // Another target's fence is its own.
    case.target = Target { to_table: "other".into(), ..target("syt_2") };
    case.takes(&copy(vec![ticket(1, 10, "c")], None, true)).await;
}

#[tokio::test]
async fn another_targets_mirror_is_left_alone_until_that_one_is_gone() {
    let mut case = Case::new("ticket_v1");
    case.takes(&copy(vec![ticket(1, 10, "a"), ticket(2, 20, "b")], None, true)).await;
    let first = std::mem::replace(&mut case.target, target("syt_2"));
    case.session = None;
    let others = copy(vec![ticket(1, 30, "c")], None, true);
    let reason = refused(case.apply(&others).await);
    assert!(reason.starts_with("table mirror is the mirror of the target syt_1"), "{reason}");
    assert!(reason.contains("delete its row in theirs.rowgate_mirrors"), "{reason}");
    assert_eq!(case.tickets(), [(1, 10, "a".to_owned()), (2, 20, "b".to_owned())]);
    leave(&case.relays, &case.address, &first, TIMEOUT).await.unwrap();
    case.takes(&others).await;
    assert_eq!(case.tickets(), [(1, 30, "c".to_owned())]);
    (case.target, case.session) = (first, None);
    let reason = refused(case.apply(&page(vec![ticket(1, 10, "a")])).await);
    assert!(reason.starts_with("table mirror is the mirror of the target syt_2"), "{reason}");
}

/// Of two that take it at once, neither sees the other before it is there.
#[tokio::test]
async fn who_comes_at_the_same_moment_is_told_the_same() {
    let mut case = Case::new("ticket_v1");
    let first = copy(vec![ticket(1, 10, "a")], None, true);
    case.takes(&first).await;
    case.query("delete from theirs.rowgate_mirrors");
    case.session = None;
    let [mut other, mut looks] = [(); 2].map(|()| case.database.connect().unwrap());
    other.query("begin").unwrap();
    let row = "insert into theirs.rowgate_mirrors (target, table_name, fence, bookmark)
               values ('syt_2', 'mirror', 1, 'b')";
    other.query(row).unwrap();
    let waiting = "select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock'";
    let waited_for = async {
        while looks.value(waiting).unwrap() != "1" {
            tokio::task::yield_now().await;
        }
    };
    let mut applied = std::pin::pin!(case.apply(&first));
    tokio::select! {
        outcome = &mut applied => panic!("it doesn't wait: {outcome:?}"),
        () = waited_for => {}
    }
    other.query("commit").unwrap();
    let reason = refused(applied.await);
    assert!(reason.starts_with("table mirror is the mirror of another target, "), "{reason}");
    assert!(reason.contains("delete its row in theirs.rowgate_mirrors"), "{reason}");
}

#[tokio::test]
async fn what_is_no_table_is_left_alone() {
    let mut case = Case::new("ticket_v1");
    let like_ours = "select 1::bigint as pk, ''::text as owner_id, 1::bigint as number,
       ''::text as title, now() as row_created_at, now() as row_updated_at, '{}'::jsonb as data";
    for (made, says) in [
        (format!("create view theirs.mirror as {like_ours}"), "a view"),
        (format!("create materialized view theirs.mirror as {like_ours}"), "a materialized view"),
        ("create sequence theirs.mirror".into(), "a sequence"),
        ("create table theirs.t (n int); create index mirror on theirs.t (n)".into(), "an index"),
        ("create type theirs.mirror as (pk bigint)".into(), "something else"),
    ] {
        case.query("drop schema if exists theirs cascade; create schema theirs");
        case.query(&made);
        let reason = refused(case.apply(&copy(vec![ticket(1, 1, "a")], None, true)).await);
        assert_eq!(reason, format!("table mirror: {says} of this name is in the schema theirs"));
    }
    case.query("drop schema theirs cascade; create schema theirs");
    case.query(
        "create table theirs.mirror (pk bigint, owner_id text not null, number bigint unique,
           title text, row_created_at timestamptz not null, row_updated_at timestamptz not null,
           data jsonb) partition by hash (number);
         create table theirs.part partition of theirs.mirror for values with (modulus 1, remainder 0)",
    );
    case.takes(&copy(vec![ticket(1, 1, "a")], None, true)).await;
    assert_eq!(case.tickets(), [(1, 1, "a".to_owned())]);
}

#[tokio::test]
async fn somebody_elses_table_is_left_alone() {
    let mut case = Case::new("ticket_v1");
    for (columns, says) in [
        ("id bigint, title text", "column pk is missing and can't be added"),
        ("pk bigint primary key, owner_id text, number text", "column number has type text"),
    ] {
        case.query("drop schema if exists theirs cascade; create schema theirs");
        case.query(&format!("create table theirs.mirror ({columns})"));
        let reason = refused(case.apply(&copy(vec![ticket(1, 1, "a")], None, true)).await);
        assert!(reason.starts_with("table mirror: ") && reason.contains(says), "{reason}");
        assert_eq!(case.query("select count(*) from theirs.mirror"), [[Some("0".to_owned())]]);
    }
}
