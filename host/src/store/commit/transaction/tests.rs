//! Sweeps of more rows than one transaction takes, on a file and on a server.

use std::sync::Arc;

use super::*;
use crate::model::{Condition, Effects, Scalar, StreamId, Unseen, Write};
use crate::rows::fixture::{batch, google_calendar, is, texts};
use crate::store::commit::fixture::{CALENDARS, Case, EXPANDED, FENCE, NOW, ready, under};
use crate::store::commit::{READ_MOVED, commit, load_cursor};
use crate::store::fixture::on_both;
use crate::store::{Dialect, query_scalar};

on_both! {
    a_large_sweep_moves_the_cursor_with_its_last_slice,
    whoever_reads_the_page_again_sweeps_the_rest,
    what_moved_between_slices_refuses_the_next,
    an_unlink_between_slices_wins,
    a_receive_sweeps_in_slices_too,
    a_page_that_ends_its_own_stream_may_end_a_listing,
}

const THEN: &str = "1970-01-01T00:00:01.000000Z";
/// Rows that are swept behind the first slice.
const REST: u64 = 10;
const FIRST: u64 = SLICE as u64;

/// A full listing of a calendar with more rows than a slice, of which it shows the first two.
#[derive(Clone, Copy, Debug)]
enum Listing {
    OfOnePage,
    OfTwoPages,
}

impl Listing {
    /// The stream before the commit of the listing's last page, and that page. It changes a row, and
    /// activates a stream.
    async fn of(self, dialect: Dialect) -> (Case, StepCommit) {
        let case = Case::new(dialect, google_calendar()).await;
        case.calendar("c", false, THEN).await;
        case.events("a", 0..SLICE + 2 + REST as u32, "confirmed", THEN).await;
        case.events("b", 0..3, "confirmed", THEN).await;
        let first = vec![begins(), event("e0", "confirmed")];
        let last = vec![event("e1", "tentative"), ends()];
        let page = match self {
            Self::OfOnePage => page(&case, 1, [first, last].concat()),
            Self::OfTwoPages => {
                let first = commit(&case.replication, page(&case, 1, first)).await.unwrap();
                assert!(!first.unfinished && first.rows_changed == 0);
                page(&case, 2, last)
            }
        };
        (case, page)
    }
}

fn stream() -> StreamId {
    StreamId { service: EXPANDED.into(), kind: "events".into(), key: "c".into() }
}

fn scope() -> Vec<Condition> {
    vec![is("google_calendar_id", "c")]
}

fn event(id: &str, status: &str) -> Write {
    let columns = vec![
        texts("google_id", &[Some(id)]),
        texts("google_calendar_id", &[Some("c")]),
        texts("status", &[Some(status)]),
    ];
    Write::Upsert(batch(EXPANDED, 1, columns))
}

fn begins() -> Write {
    Write::BeginFull { table: EXPANDED.into(), scope: scope() }
}

fn ends() -> Write {
    let unseen = Unseen::Set(vec![("status".into(), Scalar::Text("cancelled".into()))]);
    Write::EndFull { table: EXPANDED.into(), scope: scope(), unseen }
}

fn step(case: &Case, step: CommitOf, effects: Effects) -> StepCommit {
    StepCommit {
        under: under(FENCE, 0),
        now: NOW,
        tree: Arc::clone(&case.tree),
        step,
        effects: ready(&case.tree, effects),
        read_at: None,
        stale_before: None,
    }
}

fn page(case: &Case, version: i64, writes: Vec<Write>) -> StepCommit {
    let cursor = Some(format!("behind {version}").into_bytes());
    let of = CommitOf::Page { stream: stream(), version, cursor, half_read: false };
    let streams = vec![StreamChange::Activate { stream: stream(), at: None }];
    let writes = writes.into_iter().map(Arc::new).collect();
    step(case, of, Effects { writes, streams, ..Effects::default() })
}

/// Version and text of the stream's cursor.
async fn cursor(case: &Case) -> Option<(i64, String)> {
    let stored = load_cursor(&case.replication, 1, &stream()).await.unwrap()?;
    let cursor = stored.cursor.unwrap_or_default();
    Some((stored.version, String::from_utf8(cursor).unwrap()))
}

async fn swept(case: &Case) -> u64 {
    let swept = format!("select count(*) from {EXPANDED} where status = 'cancelled'");
    case.number(&swept).await.unsigned_abs()
}

/// The feed's entries, by commit.
async fn told(case: &Case) -> Vec<u64> {
    let told = "select count(*) from rowgate_feed group by commit_id order by commit_id";
    let told = query_scalar::<i64>(told).fetch_all(&case.replication).await.unwrap();
    told.iter().map(|rows| rows.unsigned_abs()).collect()
}

async fn open_listings(case: &Case) -> i64 {
    case.number("select count(*) from rowgate_brackets").await
}

async fn a_large_sweep_moves_the_cursor_with_its_last_slice(dialect: Dialect) {
    for listing in [Listing::OfOnePage, Listing::OfTwoPages] {
        let (case, page) = listing.of(dialect).await;
        let before = cursor(&case).await.unwrap();
        let first = commit(&case.replication, page.clone()).await.unwrap();
        assert!(first.unfinished && !first.outbox, "{first:?}");
        assert_eq!((first.rows_changed, swept(&case).await), (FIRST + 1, FIRST));
        assert_eq!(cursor(&case).await.unwrap(), before, "{listing:?}");
        assert_eq!(open_listings(&case).await, 1);

        let last = commit(&case.replication, page.behind(&first, NOW)).await.unwrap();
        assert!(!last.unfinished && last.outbox, "{last:?}");
        assert_eq!((last.rows_changed, swept(&case).await), (REST, FIRST + REST));
        assert_eq!(last.commit_no, first.commit_no + 1);
        let text = format!("behind {}", before.0);
        assert_eq!(cursor(&case).await.unwrap(), (before.0 + 1, text));
        assert_eq!(open_listings(&case).await, 0);
        assert_eq!(case.number("select count(*) from rowgate_bracket_keys").await, 0);
        assert_eq!(told(&case).await, [FIRST + 1, REST], "each row once");
    }
}

/// Whose host died between two slices has the cursor yet that it had.
async fn whoever_reads_the_page_again_sweeps_the_rest(dialect: Dialect) {
    for listing in [Listing::OfOnePage, Listing::OfTwoPages] {
        let (case, page) = listing.of(dialect).await;
        let first = commit(&case.replication, page.clone()).await.unwrap();
        assert!(first.unfinished);
        let again = commit(&case.replication, page).await.unwrap();
        assert!(!again.unfinished && again.outbox, "{listing:?} {again:?}");
        assert_eq!((again.rows_changed, swept(&case).await), (REST, FIRST + REST));
        assert_eq!(told(&case).await, [FIRST + 1, REST], "what was swept doesn't move again");
        assert_eq!(open_listings(&case).await, 0);
    }
}

async fn what_moved_between_slices_refuses_the_next(dialect: Dialect) {
    let (case, _) = Listing::OfTwoPages.of(dialect).await;
    let mut page = page(&case, 2, vec![ends()]);
    page.read_at = Some(case.number("select commit_no from rowgate_owners").await);
    let first = commit(&case.replication, page.clone()).await.unwrap();
    let next = page.behind(&first, NOW);
    let owners = |set: &str| format!("update rowgate_owners set {set}");
    let cursors = |to: &str| format!("update rowgate_cursors set version = version {to}");
    let brackets = |owner: i64| format!("update rowgate_brackets set owner_id = {owner}");
    let cases = [
        ("another holder", owners("fence = fence + 1"), owners("fence = fence - 1")),
        ("a link", owners("generation = generation + 1"), owners("generation = generation - 1")),
        (
            "after a lookup",
            owners("commit_no = commit_no + 1"),
            owners("commit_no = commit_no - 1"),
        ),
        ("a reset", cursors("+ 1"), cursors("- 1")),
        ("another mapping", brackets(2), brackets(1)),
    ];
    for (what, comes, goes) in cases {
        case.run(comes).await;
        let refused = commit(&case.replication, next.clone()).await;
        match what {
            "after a lookup" => assert!(matches!(refused, Err(Error::Superseded(READ_MOVED)))),
            _ => assert!(matches!(refused, Err(Error::Superseded(_))), "{what}: {refused:?}"),
        }
        assert_eq!(swept(&case).await, FIRST, "{what}");
        case.run(goes).await;
    }
    // The slice itself came between nothing.
    assert!(!commit(&case.replication, next).await.unwrap().unfinished);
    assert_eq!(swept(&case).await, FIRST + REST + 1);
}

async fn an_unlink_between_slices_wins(dialect: Dialect) {
    let (case, page) = Listing::OfTwoPages.of(dialect).await;
    let first = commit(&case.replication, page.clone()).await.unwrap();
    let next = page.behind(&first, NOW);
    let effects = Effects { owner: vec![OwnerChange::Unlink], ..Effects::default() };
    let mut unlink = step(&case, CommitOf::Item { id: 9, grants: false }, effects);
    let mut slices = 0;
    loop {
        let gone = commit(&case.replication, unlink.clone()).await.unwrap();
        slices += 1;
        let refused = commit(&case.replication, next.clone()).await;
        assert!(matches!(refused, Err(Error::Superseded(_))), "{refused:?}");
        if !gone.unfinished {
            break;
        }
        unlink = unlink.behind(&gone, NOW);
        unlink.under = under(FENCE, gone.generation);
    }
    assert_eq!(slices, 2);
    let of_the_owner = format!("select count(*) from {EXPANDED} where external_owner_id = 'a'");
    assert_eq!(case.number(&of_the_owner).await, 0);
    assert_eq!((cursor(&case).await, open_listings(&case).await), (None, 0));
}

async fn a_receive_sweeps_in_slices_too(dialect: Dialect) {
    let (case, _) = Listing::OfOnePage.of(dialect).await;
    let writes = vec![begins(), event("e0", "confirmed"), event("e1", "tentative"), ends()];
    let writes = writes.into_iter().map(Arc::new).collect();
    let effects = Effects { writes, owner: vec![OwnerChange::Resync], ..Effects::default() };
    let item = step(&case, CommitOf::Item { id: 9, grants: false }, effects);
    let applied = "select count(*) from rowgate_applied";
    let first = commit(&case.replication, item.clone()).await.unwrap();
    assert!(first.unfinished && !first.outbox, "{first:?}");
    assert_eq!((swept(&case).await, case.number(applied).await), (FIRST, 0));
    let last = commit(&case.replication, item.behind(&first, NOW)).await.unwrap();
    assert!(!last.unfinished && last.outbox, "{last:?}");
    assert_eq!((swept(&case).await, case.number(applied).await), (FIRST + REST, 1));
}

async fn a_page_that_ends_its_own_stream_may_end_a_listing(dialect: Dialect) {
    let case = Case::new(dialect, google_calendar()).await;
    case.calendar("c", false, THEN).await;
    case.events("a", 0..2, "confirmed", THEN).await;
    let leaves = Write::Update {
        table: CALENDARS.into(),
        set: vec![("deleted".into(), Scalar::Boolean(true))],
        conditions: vec![is("google_id", "c")],
    };
    let page = page(&case, 1, vec![begins(), event("e0", "tentative"), ends(), leaves]);
    let done = commit(&case.replication, page.clone()).await.unwrap();
    assert!(!done.unfinished && done.outbox, "{done:?}");
    assert_eq!((cursor(&case).await, swept(&case).await), (None, 2));
    let refused = commit(&case.replication, page).await;
    assert!(matches!(refused, Err(Error::Superseded(_))), "{refused:?}");
}

/// Its cursor goes with it, so nothing is lost; what the control database was told must not go.
#[tokio::test]
async fn only_a_page_that_nobody_hears_of_may_be_lost() {
    let case = Case::new(Dialect::Sqlite, google_calendar()).await;
    case.calendar("c", false, THEN).await;
    let between = |version, write: Write| {
        let writes = vec![Arc::new(write)];
        let of = CommitOf::Page { stream: stream(), version, cursor: None, half_read: true };
        step(&case, of, Effects { writes, ..Effects::default() })
    };
    let calendar = batch(CALENDARS, 1, vec![texts("google_id", &[Some("d")])]);
    let events = between(1, event("e0", "confirmed"));
    let calendars = between(2, Write::Upsert(calendar));
    assert!(events.is_read_again() && calendars.is_read_again());
    assert!(!page(&case, 1, Vec::new()).is_read_again());
    let last = CommitOf::Page { stream: stream(), version: 1, cursor: None, half_read: false };
    assert!(!step(&case, last, Effects::default()).is_read_again());

    let first = commit(&case.replication, events).await.unwrap();
    assert!(!first.outbox && first.rows_changed == 1, "{first:?}");
    let unsynced = calendars.clone();
    let refused = case.replication.write_unsynced(|connection| {
        Box::pin(async move {
            Transaction::begin(connection, &unsynced).await?.run(Durability::Later).await
        })
    });
    assert!(matches!(refused.await, Err(Error::Superseded(TO_BE_TOLD))));
    assert_eq!(cursor(&case).await.unwrap().0, 2, "nothing of it was kept");
    // A calendar's row brings a stream, which has to be told.
    let told = commit(&case.replication, calendars).await.unwrap();
    assert!(told.outbox, "{told:?}");
    assert_eq!((told.rows_changed, told.commit_no), (1, first.commit_no + 1));
}
