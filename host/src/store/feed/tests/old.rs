//! Deletions that are old are forgotten: who has read them loses nothing, who hasn't gets a copy.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::random::{Met, Receiver, writes};
use super::*;

on_both! { who_comes_from_before_what_is_gone_gets_a_copy }

const COMMITS: usize = 30;
const OWNERS: [&str; 3] = ["a", "b", "c"];

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
    assert!(copies > 20 && followed > 20 && gone.tombstones > 10 && gone.commits > 10);
}

/// Reads to the end; whether it began with a copy.
async fn read_on(fixture: &Fixture, receiver: &mut Receiver, met: &mut Met) -> bool {
    let was_new = receiver.bookmark == Bookmark::Start;
    let mut copied = false;
    loop {
        let at = &receiver.bookmark;
        let page = read(&fixture.database, fixture.things(), at, MANY, "again").await.unwrap();
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
