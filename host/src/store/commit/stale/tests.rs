//! On a file and on a server.

use rowgate_manifest::{Literal, PartialCondition, Stale};

use super::*;
use crate::rows::fixture::google_calendar;
use crate::store::commit::fixture::{CALENDARS, Case, EXPANDED, FENCE, NOW, under};
use crate::store::fixture::on_both;
use crate::store::{Dialect, query_as, query_scalar};

on_both! {
    they_go_in_slices_under_the_holders_fence,
    streams_of_rows_that_go_end,
}

const BEFORE: Micros = 500_000_000;
/// What was written then is old.
const OLD: &str = "1970-01-01T00:00:01.000000Z";
const YOUNG: &str = "1970-01-01T00:10:00.000000Z";

async fn forget(case: &Case, fence: i64) -> Result<Forgotten, Error> {
    let (under, tree) = (under(fence, 0), Arc::clone(&case.tree));
    forget_stale(&case.replication, under, tree, NOW, BEFORE).await
}

async fn swept_at(case: &Case) -> Micros {
    case.number("select stale_swept_at from rowgate_owners").await
}

async fn they_go_in_slices_under_the_holders_fence(dialect: Dialect) {
    let case = Case::new(dialect, google_calendar()).await;
    case.events("a", 0..1_500, "cancelled", OLD).await;
    case.events("a", 1_500..1_600, "confirmed", OLD).await;
    case.events("a", 1_600..1_610, "cancelled", YOUNG).await;
    case.events("b", 0..10, "cancelled", OLD).await;
    let events = format!("select count(*) from {EXPANDED}");

    assert!(matches!(forget(&case, FENCE - 1).await, Err(Error::Superseded(_))));
    assert_eq!((case.number(&events).await, swept_at(&case).await), (1_620, 0));

    let first = forget(&case, FENCE).await.unwrap();
    assert_eq!(first, Forgotten { rows: 1_000, outbox: false, unfinished: true });
    assert_eq!(swept_at(&case).await, 0, "whoever comes next goes on");
    let last = forget(&case, FENCE).await.unwrap();
    assert_eq!(last, Forgotten { rows: 500, outbox: false, unfinished: false });
    assert_eq!(swept_at(&case).await, NOW);
    let kept = format!(
        "select external_owner_id, status, count(*) from {EXPANDED}
         group by external_owner_id, status order by external_owner_id, status"
    );
    let kept: Vec<(String, String, i64)> =
        query_as(kept).fetch_all(&case.replication).await.unwrap();
    let kept: Vec<_> = kept.iter().map(|(a, b, n)| (a.as_str(), b.as_str(), *n)).collect();
    assert_eq!(kept, [("a", "cancelled", 10), ("a", "confirmed", 100), ("b", "cancelled", 10)]);

    // Receivers hear of each, and of two commits.
    let told = "select count(*) from rowgate_feed where deleted";
    assert_eq!(case.number(told).await, 1_500);
    let commits = "select count(*) from rowgate_commits where owner_id = 1";
    assert_eq!(case.number(commits).await, 2);
    // Where there is none, no commit is told of.
    assert_eq!(forget(&case, FENCE).await.unwrap(), Forgotten::default());
    assert_eq!(case.number(commits).await, 2);
    assert_eq!(case.number("select commit_no from rowgate_owners").await, 3);
}

async fn streams_of_rows_that_go_end(dialect: Dialect) {
    let mut manifest = google_calendar();
    let gone = PartialCondition::Equal(Literal::Bool(true));
    manifest.services[CALENDARS].stale = Some(Stale {
        conditions: [("deleted".to_owned(), gone)].into_iter().collect(),
        since: None,
    });
    // A stream for each calendar, whatever became of it.
    manifest.stream_kinds["per_calendar"].per_row.unless.clear();
    let case = Case::new(dialect, manifest).await;
    for (calendar, deleted) in [("c", true), ("d", false)] {
        case.calendar(calendar, deleted, OLD).await;
    }
    case.events("a", 0..1, "confirmed", OLD).await;
    let gone = forget(&case, FENCE).await.unwrap();
    assert_eq!(gone, Forgotten { rows: 1, outbox: true, unfinished: false });
    let keys: Vec<String> =
        query_scalar("select key from rowgate_cursors").fetch_all(&case.replication).await.unwrap();
    assert_eq!(keys, ["d"]);
    // As when a calendar leaves in any other way.
    let statuses = format!("select count(*) from {EXPANDED} where status = 'cancelled'");
    assert_eq!(case.number(&statuses).await, 1);
}
