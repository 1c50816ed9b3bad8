//! Deletions that are old are forgotten: who has read them loses nothing, who hasn't gets a copy.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::random::{Met, Receiver, writes};
use super::*;
use crate::store::feed::forget::forget;
use crate::store::feed::head::first_since_sql;
use crate::store::fixture::plan;

on_both! {
    whose_tombstones_are_gone_gets_a_copy,
    a_time_is_a_place_in_the_feed,
    a_long_feed_is_forgotten_in_slices,
    what_was_gone_through_costs_a_slice,
    what_was_gone_through_is_not_asked_for_its_age,
    who_comes_from_before_what_is_gone_gets_a_copy,
}

const COMMITS: usize = 30;
const OWNERS: [&str; 3] = ["a", "b", "c"];

async fn whose_tombstones_are_gone_gets_a_copy(dialect: Dialect) {
    let fixture = Fixture::new(dialect).await;
    let start = fixture.bookmark().await;
    fixture.commit("a", vec![put(&["x", "y"], "red")]).await;
    let before = fixture.read(&start, MANY).await.end;
    fixture.commit("a", vec![delete("x")]).await;
    fixture.commit("a", vec![put(&["z"], "red")]).await;
    let number = head(&fixture.database).await.unwrap().number;
    assert_eq!(number, 3);
    // A tombstone and its commit; the commits of live rows stay.
    let gone = forget(&fixture.database, number - 1).await.unwrap();
    assert_eq!((gone.tombstones, gone.commits), (1, 1));
    assert!(fixture.read(&before, MANY).await.copy.is_some());
    let at_the_floor = Bookmark::behind(&epoch(&fixture).await, 2);
    assert_eq!(shown(&fixture.read(&at_the_floor, MANY).await), ["a-s-z"]);
    assert_eq!(head(&fixture.database).await.unwrap().floor, 2);
    // The last commit is never forgotten.
    forget(&fixture.database, 100).await.unwrap();
    assert_eq!(head(&fixture.database).await.unwrap().number, 3);
}

async fn a_time_is_a_place_in_the_feed(dialect: Dialect) {
    let fixture = Fixture::new(dialect).await;
    for id in ["1", "2", "3"] {
        fixture.commit("a", vec![put(&[id], "red")]).await;
    }
    let end = head(&fixture.database).await.unwrap();
    for (at, number) in [(0, 0), (10, 0), (11, 1), (20, 1), (30, 2), (31, 3), (99, 3)] {
        assert_eq!(number_before(&fixture.database, &end, at).await.unwrap(), number, "{at}");
    }
}

/// More commits than a slice has, and a commit with more tombstones than one.
async fn a_long_feed_is_forgotten_in_slices(dialect: Dialect) {
    let fixture = Fixture::new(dialect).await;
    let written = fixture.database.write(|connection| {
        Box::pin(async move {
            let filled = "
                insert into rowgate_commits (owner_id, committed_at)
                  with recursive n (n) as (select 1 union all select n + 1 from n where n < 2500)
                  select 1, n from n;
                insert into rowgate_feed (table_name, unique_key, pk, deleted, commit_id)
                  with recursive n (n) as (select 1 union all select n + 1 from n where n < 4000)
                  select 'thing_v1', 'k' || n, n, n % 5 <> 0, case when n <= 2500 then n else 7 end
                  from n;";
            Ok(connection.run(filled).await?)
        })
    });
    written.await.unwrap();
    assert_eq!(head(&fixture.database).await.unwrap().number, 2_500);
    let gone = forget(&fixture.database, 2_400).await.unwrap();
    // Four of five entries are tombstones; a commit with a row in it stays.
    assert_eq!(gone, Gone { tombstones: 1_920 + 1_200, commits: 1_920 - 1, looked_at: 2_400 });
    let left: Vec<i64> = query_scalar("select count(*) from rowgate_feed where deleted")
        .fetch_all(&fixture.database)
        .await
        .unwrap();
    assert_eq!(left, [80]);
    assert_eq!(head(&fixture.database).await.unwrap().floor, 2_399);
    let gone = forget(&fixture.database, 2_400).await.unwrap();
    assert_eq!(gone, Gone { looked_at: 481, ..Gone::default() }, "those with rows");
}

/// However long the feed is, and what leaves an old commit later goes all the same.
async fn what_was_gone_through_costs_a_slice(dialect: Dialect) {
    let fixture = Fixture::new(dialect).await;
    live_rows_of_3000_commits(&fixture).await;
    let looked_at = async |upto| forget(&fixture.database, upto).await.unwrap().looked_at;
    assert_eq!(looked_at(2_990).await, 2_990);
    assert_eq!(looked_at(2_990).await, 1_000);
    assert_eq!(looked_at(3_000).await, 10 + 1_000);
    let moved = "update rowgate_feed set commit_id = 3000 where pk in (5, 1500, 2500)";
    run(&fixture.database, moved).await;
    let mut commits = 0;
    for _ in 0..4 {
        commits += forget(&fixture.database, 3_000).await.unwrap().commits;
    }
    assert_eq!(commits, 3);
}

/// Commits of live rows stay: to walk through them for the first young one would cost all of them.
async fn what_was_gone_through_is_not_asked_for_its_age(dialect: Dialect) {
    let fixture = Fixture::new(dialect).await;
    live_rows_of_3000_commits(&fixture).await;
    let looked_at = async |before| {
        crate::store::feed::forget_before(&fixture.database, before).await.unwrap().looked_at
    };
    assert_eq!(looked_at(2_001).await, 2_000);
    assert_eq!(looked_at(2_011).await, 10 + 1_000);
    // By their age only four could go.
    assert_eq!(looked_at(5).await, 1_000);
    let sql = first_since_sql(dialect);
    let steps = plan(&fixture.database, &sql, vec![2_000_i64.into(), 5_i64.into()]).await;
    let begins = match dialect {
        Dialect::Sqlite => "(rowid>?)",
        Dialect::Postgres => "(number > ",
    };
    assert!(steps.iter().any(|step| step.contains(begins)), "{steps:#?}");
}

/// One a commit, each committed at its number.
async fn live_rows_of_3000_commits(fixture: &Fixture) {
    run(
        &fixture.database,
        "insert into rowgate_commits (owner_id, committed_at)
           with recursive n (n) as (select 1 union all select n + 1 from n where n < 3000)
           select 1, n from n;
         insert into rowgate_feed (table_name, pk, deleted, commit_id)
           with recursive n (n) as (select 1 union all select n + 1 from n where n < 3000)
           select 'thing_v1', n, false, n from n;",
    )
    .await;
    assert_eq!(head(&fixture.database).await.unwrap().number, 3_000);
}

async fn run(database: &Database, sql: &'static str) {
    let written =
        database.write(move |connection| Box::pin(async move { Ok(connection.run(sql).await?) }));
    written.await.unwrap();
}

async fn who_comes_from_before_what_is_gone_gets_a_copy(dialect: Dialect) {
    let (mut met, mut copies, mut followed, mut gone) = (Met::default(), 0, 0, Gone::default());
    let seeds = if dialect == Dialect::Sqlite { 20 } else { 6 };
    for seed in 0..seeds {
        println!("seed {seed}");
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let fixture = Fixture::new(dialect).await;
        let organization_id = fixture.store.organization("default").await.unwrap().id;
        // A receiver that stopped behind each commit.
        let mut receivers = Vec::new();
        let mut receiver = Receiver::default();
        for _ in 0..COMMITS {
            let owner = OWNERS[random.random_range(0..OWNERS.len())];
            fixture.commit(owner, writes(&mut random)).await;
            read_on(&fixture, &mut receiver, &mut met).await;
            receivers.push(receiver.clone());
        }
        // A commit is made at ten times its number.
        let before = random.random_range(0..=10 * COMMITS as i64 + 10);
        let went = fixture.store.forget_feed(organization_id, before).await.unwrap();
        gone.tombstones += went.tombstones;
        gone.commits += went.commits;
        let head = head(&fixture.database).await.unwrap();
        assert!(head.floor * 10 < before.max(1), "seed {seed}: floor {} at {before}", head.floor);
        assert_eq!(left_of(&fixture, head.floor).await, 0, "seed {seed}");
        for (at, mut receiver) in receivers.into_iter().enumerate() {
            let Bookmark::At { position, .. } = &receiver.bookmark else {
                panic!("it had read everything");
            };
            let is_before = position.number < head.floor;
            let copied = read_on(&fixture, &mut receiver, &mut met).await;
            assert_eq!(copied, is_before, "seed {seed}, behind commit {at}");
            *(if copied { &mut copies } else { &mut followed }) += 1;
            let rows: BTreeMap<_, _> =
                receiver.rows.into_iter().map(|(key, (row, _))| (key, row)).collect();
            assert_eq!(rows, fixture.table().await, "seed {seed}, behind commit {at}");
        }
    }
    println!("{copies} receivers got a copy, {followed} went on; {gone:?}");
    assert!(copies > seeds && followed > seeds);
    assert!(gone.tombstones > seeds / 2 && gone.commits > seeds / 2);
}

/// Reads to the end; whether it began with a copy.
async fn read_on(fixture: &Fixture, receiver: &mut Receiver, met: &mut Met) -> bool {
    let was_new = receiver.bookmark == Bookmark::Start;
    let mut copied = false;
    loop {
        let at = &receiver.bookmark;
        let id = if was_new { "first" } else { "again" };
        let page = read(&fixture.database, fixture.things(), at, MANY, id).await.unwrap();
        copied |= page.copy.is_some() && !was_new;
        let more = page.more;
        receiver.take(page, fixture.things(), met);
        if !more {
            return copied;
        }
    }
}

/// Tombstones up to a number.
async fn left_of(fixture: &Fixture, upto: i64) -> i64 {
    let number = match fixture.database.dialect() {
        Dialect::Sqlite => "id",
        Dialect::Postgres => "number",
    };
    let left = format!(
        "select count(*) from rowgate_feed as feed where deleted and commit_id in
           (select id from rowgate_commits where {number} <= $1)"
    );
    query_scalar(left).bind(upto).fetch_one(&fixture.database).await.unwrap()
}
