//! Copies of the whole table, and when there must be one.

use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::delivery::mirror::transaction::SWEPT_ROWS;

#[tokio::test]
async fn a_copy_makes_the_mirror_the_table_whatever_was_in_it() {
    let mut case = Case::new("ticket_v1");
    case.takes(&copy(Vec::new(), None, true)).await;
    for seed in 0..40 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut numbers: Vec<i64> = (1..=20).collect();
        let mut tickets = |count: usize, title: &str| {
            numbers.shuffle(&mut random);
            let mut keys = numbers.clone();
            keys.shuffle(&mut random);
            let both = numbers.iter().zip(keys).take(count);
            both.map(|(pk, key)| ticket(*pk, key, title)).collect::<Vec<_>>()
        };
        let (stale, mut table) = (tickets(12, "stale"), tickets(9, "new"));
        let (mut pages, rows_max) = (Vec::new(), random.random_range(1..5));
        case.takes(&page(stale)).await;
        table.sort_by_key(|change| change.pk);
        let mut after_pk = None;
        for chunk in table.chunks(rows_max) {
            pages.push(copy(chunk.to_vec(), after_pk, false));
            after_pk = chunk.last().map(|change| change.pk);
        }
        // The last page may be a full one, or an empty one behind it.
        match random.random_bool(0.5) {
            true => pages.push(copy(Vec::new(), after_pk, true)),
            false => pages.last_mut().unwrap().copy.as_mut().unwrap().last = true,
        }
        for one in &pages {
            case.takes(one).await;
            if random.random_bool(0.3) {
                case.takes(one).await;
            }
        }
        let expected: Vec<(i64, i64, String)> = table
            .iter()
            .map(|change| (change.pk, change.key.parse().unwrap(), "new".to_owned()))
            .collect();
        assert_eq!(case.tickets(), expected, "seed {seed}");
    }
}

#[tokio::test]
async fn more_than_one_transaction_removes_goes_in_several() {
    let mut case = Case::new("ticket_v1");
    case.takes(&copy(vec![ticket(1, 1, "a")], None, true)).await;
    let many = 2 * SWEPT_ROWS + 5;
    case.query(&format!(
        "insert into theirs.mirror (pk, owner_id, number, row_created_at, row_updated_at)
         select n, 'ann', n, now(), now() from generate_series(2, {many}) as n"
    ));
    // Each of them is a step of its own, within the time that a page has.
    let page = copy(vec![ticket(1, 1, "b")], None, true);
    for left in [SWEPT_ROWS + 5, 5] {
        assert_eq!(case.apply(&page).await, Outcome::HasMore);
        let count = case.query("select count(*) from theirs.mirror");
        assert_eq!(count, [[Some(left.to_string())]]);
    }
    case.takes(&page).await;
    assert_eq!(case.tickets(), [(1, 1, "b".to_owned())]);
}

#[tokio::test]
async fn a_mirror_that_is_gone_is_not_filled_from_the_middle() {
    let mut case = Case::new("ticket_v1");
    let change = page(vec![ticket(2, 20, "b")]);
    assert_eq!(case.apply(&change).await, Outcome::Lost, "there never was one");
    case.takes(&copy(vec![ticket(1, 10, "a")], None, false)).await;
    case.takes(&change).await;
    case.query("drop table theirs.mirror");
    refused(case.apply(&change).await);
    assert_eq!(case.apply(&change).await, Outcome::Lost);
    case.takes(&copy(vec![ticket(1, 10, "a")], None, true)).await;
    // A database that was made anew from an older copy.
    case.query("delete from theirs.rowgate_mirrors");
    case.session = None;
    assert_eq!(case.apply(&change).await, Outcome::Lost);
    let rest = copy(vec![ticket(2, 20, "b")], Some(1), true);
    assert_eq!(case.apply(&rest).await, Outcome::Lost, "the first page is missing");
}

/// A copy of the whole table, by one page.
fn whole(number: i64, changes: Vec<Change>) -> Page {
    Page { end: Bookmark::behind("e", number), ..copy(changes, None, true) }
}

#[tokio::test]
async fn a_database_that_was_put_back_is_not_filled_from_the_middle() {
    let mut case = Case::new("ticket_v1");
    case.takes(&whole(1, vec![ticket(1, 10, "a")])).await;
    case.takes(&upto(2, vec![ticket(2, 20, "b")])).await;
    case.query(
        "create table kept as table theirs.mirror;
         create table kept_mirrors as table theirs.rowgate_mirrors",
    );
    case.takes(&upto(3, vec![ticket(3, 30, "c"), gone(1, 10)])).await;
    case.query(
        "truncate theirs.mirror, theirs.rowgate_mirrors;
         insert into theirs.mirror table kept;
         insert into theirs.rowgate_mirrors table kept_mirrors",
    );
    let next = upto(4, vec![ticket(4, 40, "d")]);
    assert_eq!(case.apply(&next).await, Outcome::Lost, "over the connection that was there");
    assert_eq!(case.apply(&next).await, Outcome::Lost, "over a new one");
    let (b, c, d) = (ticket(2, 20, "b"), ticket(3, 30, "c"), ticket(4, 40, "d"));
    case.takes(&whole(4, vec![b, c, d])).await;
    let expected = [(2, 20, "b".to_owned()), (3, 30, "c".to_owned()), (4, 40, "d".to_owned())];
    assert_eq!(case.tickets(), expected);
    case.takes(&upto(5, vec![gone(2, 20)])).await;
}

#[tokio::test]
async fn behind_a_lost_acknowledgement_it_goes_on() {
    let mut case = Case::new("ticket_v1");
    case.takes(&whole(1, vec![ticket(1, 10, "a")])).await;
    for _ in 0..2 {
        let outcome = case.apply(&upto(2, vec![ticket(2, 20, "b")])).await;
        assert_eq!(outcome, Outcome::Taken);
    }
    // Read again it holds more.
    case.takes(&upto(3, vec![ticket(2, 20, "b"), ticket(3, 30, "c")])).await;
    case.takes(&upto(4, vec![gone(1, 10)])).await;
    assert_eq!(case.tickets(), [(2, 20, "b".to_owned()), (3, 30, "c".to_owned())]);
    // Of two pages that we know nothing of one may be missing.
    let (known, page) = (case.target.taken.clone(), upto(5, vec![ticket(5, 50, "e")]));
    case.takes(&page).await;
    case.takes(&upto(6, vec![ticket(6, 60, "f")])).await;
    case.target.taken = known;
    assert_eq!(case.apply(&page).await, Outcome::Lost);
}

/// The feed isn't gone on with behind the beginning of a copy: the rest of it would be missing.
#[tokio::test]
async fn a_copy_whose_beginning_was_not_acknowledged_begins_again() {
    let mut case = Case::new("ticket_v1");
    case.takes(&whole(1, vec![ticket(1, 10, "a"), ticket(2, 20, "b")])).await;
    let begun = Page {
        end: Bookmark::Copying { epoch: "e".into(), number: 2, id: "c".into(), after_pk: Some(1) },
        ..copy(vec![ticket(1, 10, "c")], None, false)
    };
    assert_eq!(case.apply(&begun).await, Outcome::Taken);
    let change = upto(3, vec![ticket(3, 30, "d")]);
    assert_eq!(case.apply(&change).await, Outcome::Lost);
    case.takes(&begun).await;
    case.takes(&Page {
        end: Bookmark::behind("e", 2),
        ..copy(vec![ticket(2, 20, "c")], Some(1), true)
    })
    .await;
    case.takes(&change).await;
}
