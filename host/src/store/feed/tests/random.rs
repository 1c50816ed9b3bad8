//! Random writers, some of them slow, and a receiver that loses pages: in the end its copy is the
//! table, and no row ever went back to a state that it had left.

use std::collections::BTreeMap;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::store::feed::forget::forget;

on_both! { a_receivers_copy_becomes_the_table }

const STEPS: usize = 60;
const OWNERS: [&str; 3] = ["a", "b", "c"];

/// What a receiver has.
#[derive(Clone, Default)]
pub(super) struct Receiver {
    pub(super) bookmark: Bookmark,
    /// By unique key: the row, and the copy in which it was last seen.
    pub(super) rows: BTreeMap<String, (Vec<Value<'static>>, String)>,
}

/// How often the walks met what.
#[derive(Debug, Default)]
pub(super) struct Met {
    pages: u64,
    lost: u64,
    deletions: u64,
    copies: u64,
    forgotten: u64,
    /// Pages read while a transaction was open.
    beside_open: u64,
}

impl Receiver {
    pub(super) fn take(&mut self, page: Page, spec: &TableSpec, met: &mut Met) {
        let updated_at = spec.position("row_updated_at").unwrap();
        let copy = page.copy.as_ref().map_or("", |copy| &copy.id).to_owned();
        for change in page.changes {
            let Some(row) = change.row else {
                met.deletions += u64::from(self.rows.remove(&change.key).is_some());
                continue;
            };
            if let Some((had, _)) = self.rows.get(&change.key) {
                let (Value::Text(had), Value::Text(has)) = (&had[updated_at], &row[updated_at])
                else {
                    panic!("times are text")
                };
                assert!(had <= has, "{} went back from {had} to {has}", change.key);
            }
            self.rows.insert(change.key, (row, copy.clone()));
        }
        if page.copy.is_some_and(|copy| copy.last) {
            met.copies += 1;
            self.rows.retain(|_, (_, seen_in)| *seen_in == copy);
        }
        self.bookmark = page.end;
    }
}

async fn a_receivers_copy_becomes_the_table(dialect: Dialect) {
    let mut met = Met::default();
    let seeds = if dialect == Dialect::Sqlite { 40 } else { 12 };
    for seed in 0..seeds {
        println!("seed {seed}");
        one(dialect, seed, &mut met).await;
    }
    println!("{met:?}");
    let Met { pages, lost, deletions, copies, forgotten, beside_open } = met;
    assert!([pages, lost, deletions, copies, forgotten].into_iter().all(|n| n > 10), "{met:?}");
    assert_eq!(beside_open > 10, dialect == Dialect::Postgres, "{met:?}");
}

async fn one(dialect: Dialect, seed: u64, met: &mut Met) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let fixture = Fixture::new(dialect).await;
    let mut receiver = Receiver::default();
    let mut open: BTreeMap<&str, Connection> = BTreeMap::new();
    for step in 0..STEPS {
        match random.random_range(0..10) {
            0..4 => {
                let owner = *OWNERS.choose(&mut random).unwrap();
                // As an owner's row would: its transactions follow one another.
                if let Some(mut slow) = open.remove(owner) {
                    slow.run("commit").await.unwrap();
                }
                let writes = writes(&mut random);
                if dialect == Dialect::Postgres && open.len() < 2 && random.random_bool(0.4) {
                    let mut slow = fixture.database.reader().await.unwrap();
                    slow.run("begin").await.unwrap();
                    write(&mut slow, owner, &fixture.tables, &writes).await;
                    open.insert(owner, slow);
                } else {
                    fixture.commit(owner, writes).await;
                }
            }
            4 => {
                if let Some((_, mut slow)) = open.pop_first() {
                    slow.run("commit").await.unwrap();
                }
            }
            5 if random.random_bool(0.3) => {
                let head = head(&fixture.database).await.unwrap();
                let upto = random.random_range(0..=head.number);
                let gone = forget(&fixture.database, upto).await.unwrap();
                met.forgotten += gone.tombstones + gone.commits;
            }
            _ => {
                let rows = random.random_range(1..6);
                let copy_id = format!("copy {step}");
                let limits = PageLimits { rows, ..MANY };
                let at = &receiver.bookmark;
                let page = read(&fixture.database, fixture.things(), at, limits, &copy_id);
                let page = page.await.unwrap();
                met.pages += 1;
                met.beside_open += u64::from(!open.is_empty());
                if random.random_bool(0.2) {
                    met.lost += 1;
                    continue;
                }
                receiver.take(page, fixture.things(), met);
            }
        }
    }
    for (_, mut slow) in open {
        slow.run("commit").await.unwrap();
    }
    loop {
        let page =
            read(&fixture.database, fixture.things(), &receiver.bookmark, MANY, "rest").await;
        let page = page.unwrap();
        let more = page.more;
        receiver.take(page, fixture.things(), met);
        if !more {
            break;
        }
    }
    let copy: BTreeMap<_, _> =
        receiver.rows.into_iter().map(|(key, (row, _))| (key, row)).collect();
    assert_eq!(copy, fixture.table().await, "seed {seed}");
}

pub(super) fn writes(random: &mut ChaCha8Rng) -> Vec<Write> {
    const IDS: [&str; 6] = ["1", "2", "3", "4", "5", "6"];
    const COLORS: [&str; 3] = ["red", "blue", "green"];
    let one = |random: &mut ChaCha8Rng| match random.random_bool(0.7) {
        true => {
            let ids: Vec<&str> =
                (0..random.random_range(1..4)).map(|_| *IDS.choose(random).unwrap()).collect();
            put(&ids, COLORS.choose(random).unwrap())
        }
        false => delete(IDS.choose(random).unwrap()),
    };
    (0..random.random_range(1..4)).map(|_| one(random)).collect()
}
