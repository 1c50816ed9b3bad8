//! On a file and on a server.

use std::collections::HashMap;

use rowgate_manifest::{Literal, Manifest, PartialCondition, Stale};

use super::*;
use crate::clock::Clock;
use crate::rows::TableSpec;
use crate::rows::fixture::google_calendar;
use crate::store::fixture::{self, Opened, on_both};
use crate::store::{Dialect, query_as, query_scalar};

on_both! {
    they_go_in_slices_under_the_holders_fence,
    streams_of_rows_that_go_end,
}

const EXPANDED: &str = "google_calendar_event_v1";
const CALENDARS: &str = "google_calendar_v1";
const FENCE: i64 = 3;
const NOW: Micros = 1_000_000_000;
const BEFORE: Micros = 500_000_000;
/// What was written then is old.
const OLD: &str = "1970-01-01T00:00:01.000000Z";
const YOUNG: &str = "1970-01-01T00:10:00.000000Z";

/// A tree's tables and one owner, `a`.
struct Case {
    _store: Opened,
    replication: Database,
    tree: Arc<TreeTables>,
}

impl Case {
    async fn new(dialect: Dialect, manifest: Manifest) -> Self {
        let store = fixture::open(dialect, Clock::simulated(NOW)).await;
        let organization = store.organization("default").await.unwrap().id;
        let replication = store.replication(organization).await.unwrap();
        let spec = |service: &str| Arc::new(TableSpec::new(&manifest, service, service).unwrap());
        let tables: HashMap<String, Arc<TableSpec>> =
            [EXPANDED, CALENDARS].map(|service| (service.to_owned(), spec(service))).into();
        let layout = tables::layout(&replication).await.unwrap();
        let specs = tables.values().cloned().collect();
        tables::create_all(&replication, specs, layout).await.unwrap();
        let tree = Arc::new(TreeTables { manifest: Arc::new(manifest), tables });
        let case = Self { _store: store, replication, tree };
        let owner = format!("insert into rowgate_owners (owner_id, fence) values (1, {FENCE})");
        case.run(owner).await;
        case
    }

    async fn run(&self, sql: String) {
        let ran = self
            .replication
            .write(move |connection| Box::pin(async move { Ok(connection.run(&sql).await?) }));
        ran.await.unwrap();
    }

    /// Events of an owner, numbered from the first on.
    async fn events(&self, owner: &str, numbers: std::ops::Range<u32>, status: &str, at: &str) {
        let (first, last) = (numbers.start, numbers.end - 1);
        self.run(format!(
            "with recursive n (n) as (select {first} union all select n + 1 from n where n < {last})
             insert into {EXPANDED} (compound_identity, external_owner_id, google_calendar_id,
               google_id, status, row_created_at, row_updated_at)
             select '{owner}-c-' || n, '{owner}', 'c', 'e' || n, '{status}', '{at}', '{at}' from n"
        ))
        .await;
    }

    async fn forget(&self, fence: i64) -> Result<Forgotten, Error> {
        let external_owner_id = Some("a".to_owned());
        let under = Under { owner_id: 1, external_owner_id, fence, generation: 0 };
        forget_stale(&self.replication, under, Arc::clone(&self.tree), NOW, BEFORE).await
    }

    async fn number(&self, sql: &str) -> i64 {
        query_scalar(sql.to_owned()).fetch_one(&self.replication).await.unwrap()
    }

    async fn swept_at(&self) -> Micros {
        self.number("select stale_swept_at from rowgate_owners").await
    }
}

async fn they_go_in_slices_under_the_holders_fence(dialect: Dialect) {
    let case = Case::new(dialect, google_calendar()).await;
    case.events("a", 0..1_500, "cancelled", OLD).await;
    case.events("a", 1_500..1_600, "confirmed", OLD).await;
    case.events("a", 1_600..1_610, "cancelled", YOUNG).await;
    case.events("b", 0..10, "cancelled", OLD).await;
    let events = format!("select count(*) from {EXPANDED}");

    assert!(matches!(case.forget(FENCE - 1).await, Err(Error::Superseded(_))));
    assert_eq!((case.number(&events).await, case.swept_at().await), (1_620, 0));

    let first = case.forget(FENCE).await.unwrap();
    assert_eq!(first, Forgotten { rows: 1_000, outbox: false, unfinished: true });
    assert_eq!(case.swept_at().await, 0, "whoever comes next goes on");
    let last = case.forget(FENCE).await.unwrap();
    assert_eq!(last, Forgotten { rows: 500, outbox: false, unfinished: false });
    assert_eq!(case.swept_at().await, NOW);
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
    assert_eq!(case.forget(FENCE).await.unwrap(), Forgotten::default());
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
        case.run(format!(
            "insert into {CALENDARS} (compound_identity, external_owner_id, google_id, deleted,
               row_created_at, row_updated_at)
             values ('a-{calendar}', 'a', '{calendar}', {deleted}, '{OLD}', '{OLD}');
             insert into rowgate_cursors (owner_id, service, kind, key, version)
             values (1, '{EXPANDED}', 'events', '{calendar}', 1)"
        ))
        .await;
    }
    case.events("a", 0..1, "confirmed", OLD).await;
    let gone = case.forget(FENCE).await.unwrap();
    assert_eq!(gone, Forgotten { rows: 1, outbox: true, unfinished: false });
    let keys: Vec<String> =
        query_scalar("select key from rowgate_cursors").fetch_all(&case.replication).await.unwrap();
    assert_eq!(keys, ["d"]);
    // As when a calendar leaves in any other way.
    let statuses = format!("select count(*) from {EXPANDED} where status = 'cancelled'");
    assert_eq!(case.number(&statuses).await, 1);
}
