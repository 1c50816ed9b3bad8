//! On a file and on a server.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::*;
use crate::clock::Clock;
use crate::model::{Values, Write};
use crate::rows::fixture::{batch, column, condition, is, spec, texts};
use crate::store::fixture::{Opened, on_both, open};
use crate::store::tables::{self, ApplyScope};
use crate::store::{Connection, Dialect, query_as, query_scalar};

mod epochs;
mod old;
mod random;

on_both! {
    changes_come_in_the_order_of_commits,
    a_copy_is_read_in_pages_while_the_table_changes,
    number_keys_find_their_rows,
    pages_are_cut_by_bytes_too,
}

const MANY: PageLimits = PageLimits { rows: 100, bytes: 1 << 20 };

struct Fixture {
    store: Opened,
    database: Database,
    tables: HashMap<String, Arc<TableSpec>>,
}

impl Fixture {
    async fn new(dialect: Dialect) -> Self {
        let store = open(dialect, Clock::simulated(1_000_000)).await;
        let organization = store.organization("default").await.unwrap().id;
        let database = store.replication(organization).await.unwrap();
        let specs: Vec<Arc<TableSpec>> =
            ["thing_v1", "ticket_v1"].map(|service| Arc::new(spec(service))).into();
        let layout = tables::layout(&database).await.unwrap();
        tables::create_all(&database, specs.clone(), layout).await.unwrap();
        let tables = specs.into_iter().map(|spec| (spec.service.clone(), spec)).collect();
        Self { store, database, tables }
    }

    fn things(&self) -> &TableSpec {
        &self.tables["thing_v1"]
    }

    async fn commit(&self, owner: &str, writes: Vec<Write>) {
        let (owner, tables) = (owner.to_owned(), self.tables.clone());
        let written = self.database.write(move |connection| {
            Box::pin(async move {
                write(connection, &owner, &tables, &writes).await;
                Ok(())
            })
        });
        written.await.unwrap();
    }

    async fn read(&self, bookmark: &Bookmark, limits: PageLimits) -> Page {
        read(&self.database, self.things(), bookmark, limits, "copy").await.unwrap()
    }

    /// Behind a copy of everything.
    async fn bookmark(&self) -> Bookmark {
        self.read(&Bookmark::Start, MANY).await.end
    }

    /// Unique keys of the table, with the whole row.
    async fn table(&self) -> BTreeMap<String, Vec<Value<'static>>> {
        let copy = read(
            &self.database,
            self.things(),
            &Bookmark::Start,
            PageLimits { rows: 10_000, bytes: usize::MAX },
            "all",
        );
        copy.await.unwrap().changes.into_iter().map(|one| (one.key, one.row.unwrap())).collect()
    }
}

/// All of a commit; the caller's transaction ends it.
async fn write(
    connection: &mut Connection,
    owner: &str,
    tables: &HashMap<String, Arc<TableSpec>>,
    writes: &[Write],
) {
    let (commit_id,): (i64,) = query_as(
        "insert into rowgate_commits (owner_id, committed_at) values ($1, 0) returning id",
    )
    .bind(i64::from(owner.as_bytes()[0]))
    .fetch_one(&mut *connection)
    .await
    .unwrap();
    query_as::<(i64,)>(
        "update rowgate_commits set committed_at = id * 10 where id = $1 returning id",
    )
    .bind(commit_id)
    .fetch_one(&mut *connection)
    .await
    .unwrap();
    let scope = ApplyScope {
        owner_id: i64::from(owner.as_bytes()[0]),
        external_owner_id: Some(owner.to_owned()),
        now: commit_id * 1_000_000,
        commit_id,
        mapping_version: 1,
        stale_before: None,
    };
    let prepare = |write| tables::prepare(Some(owner), tables, write).unwrap();
    let prepared: Vec<_> = writes.iter().filter_map(prepare).collect();
    tables::apply(connection, &scope, &prepared, u32::MAX).await.unwrap();
}

fn put(ids: &[&str], color: &str) -> Write {
    let all: Vec<_> = ids.iter().map(|id| Some(*id)).collect();
    let colors: Vec<_> = ids.iter().map(|_| Some(color)).collect();
    let shelves: Vec<_> = ids.iter().map(|_| Some("s")).collect();
    let columns = vec![texts("id", &all), texts("shelf", &shelves), texts("color", &colors)];
    Write::Upsert(batch("thing_v1", ids.len(), columns))
}

fn delete(id: &str) -> Write {
    Write::Delete { table: "thing_v1".into(), conditions: vec![is("id", id)] }
}

/// `key` or `-key`, in the order of the page.
fn shown(page: &Page) -> Vec<String> {
    let shown = |change: &Change| match change.row {
        Some(_) => change.key.clone(),
        None => format!("-{}", change.key),
    };
    page.changes.iter().map(shown).collect()
}

async fn changes_come_in_the_order_of_commits(dialect: Dialect) {
    let fixture = Fixture::new(dialect).await;
    let start = fixture.bookmark().await;
    assert_eq!(fixture.read(&start, MANY).await.changes, []);
    fixture.commit("a", vec![put(&["x", "y", "z"], "red")]).await;
    fixture.commit("b", vec![put(&["x"], "red")]).await;
    fixture.commit("a", vec![put(&["q", "y"], "blue"), delete("z")]).await;
    let all = fixture.read(&start, MANY).await;
    // What was superseded doesn't come; within a commit deletions come first.
    assert_eq!(shown(&all), ["a-s-x", "b-s-x", "-a-s-z", "a-s-y", "a-s-q"]);
    assert!(!all.more && all.copy.is_none());
    assert_eq!(fixture.read(&all.end, MANY).await.changes, []);
    // One at a time: the same, and each place can be gone on from.
    let (mut bookmark, mut one_by_one) = (start.clone(), Vec::new());
    loop {
        let page = fixture.read(&bookmark, PageLimits { rows: 1, ..MANY }).await;
        if page.changes.is_empty() {
            break;
        }
        one_by_one.extend(page.changes);
        bookmark = page.end;
    }
    assert_eq!(one_by_one, all.changes);
    // A row that comes back keeps its pk.
    let gone = all.changes[2].pk;
    fixture.commit("a", vec![put(&["z"], "red")]).await;
    let back = fixture.read(&all.end, MANY).await;
    assert_eq!((shown(&back), back.changes[0].pk), (vec!["a-s-z".to_owned()], gone));
    // Unchanged rows don't move.
    fixture.commit("a", vec![put(&["z"], "red")]).await;
    assert_eq!(fixture.read(&back.end, MANY).await.changes, []);
}

async fn a_copy_is_read_in_pages_while_the_table_changes(dialect: Dialect) {
    let fixture = Fixture::new(dialect).await;
    fixture.commit("a", vec![put(&["1", "2", "3", "4"], "red")]).await;
    let two = PageLimits { rows: 2, ..MANY };
    let first = fixture.read(&Bookmark::Start, two).await;
    assert_eq!(shown(&first), ["a-s-1", "a-s-2"]);
    assert_eq!(first.copy, Some(CopyPart { id: "copy".into(), after_pk: None, last: false }));
    fixture
        .commit("a", vec![put(&["1"], "blue"), delete("2"), delete("4"), put(&["5"], "red")])
        .await;
    let second = fixture.read(&first.end, two).await;
    assert_eq!(shown(&second), ["a-s-3", "a-s-5"]);
    // A full page may be the last: that shows in an empty one.
    let third = fixture.read(&second.end, two).await;
    assert_eq!((shown(&third), third.more), (Vec::new(), true));
    let after_pk = Some(second.changes[1].pk);
    assert_eq!(third.copy, Some(CopyPart { id: "copy".into(), after_pk, last: true }));
    let then = fixture.read(&third.end, MANY).await;
    assert_eq!(shown(&then), ["-a-s-2", "-a-s-4", "a-s-1", "a-s-5"]);
    assert_eq!(then.copy, None);
}

async fn number_keys_find_their_rows(dialect: Dialect) {
    let fixture = Fixture::new(dialect).await;
    let tickets = &fixture.tables["ticket_v1"];
    let read = async |bookmark: &Bookmark| {
        read(&fixture.database, tickets, bookmark, MANY, "copy").await.unwrap()
    };
    let start = read(&Bookmark::Start).await.end;
    let numbers = column("number", Values::Integer(vec![-7, 10, 9]));
    fixture.commit("a", vec![Write::Upsert(batch("ticket_v1", 3, vec![numbers]))]).await;
    let conditions =
        vec![condition("number", crate::model::Op::Equal, crate::model::Scalar::Integer(9))];
    fixture.commit("a", vec![Write::Delete { table: "ticket_v1".into(), conditions }]).await;
    assert_eq!(shown(&read(&start).await), ["-7", "10", "-9"]);
    assert!(read(&start).await.changes[0].row.is_some());
}

async fn pages_are_cut_by_bytes_too(dialect: Dialect) {
    let fixture = Fixture::new(dialect).await;
    let start = fixture.bookmark().await;
    let (wide, narrow) = ("w".repeat(500), "n".repeat(10));
    fixture.commit("a", vec![put(&["1", "2"], &wide), put(&["3", "4"], &narrow)]).await;
    let small = PageLimits { rows: 100, bytes: 700 };
    let (mut bookmark, mut pages) = (start, Vec::new());
    loop {
        let page = fixture.read(&bookmark, small).await;
        pages.push(shown(&page).len());
        bookmark = page.end;
        if !page.more {
            break;
        }
    }
    assert_eq!(pages, [1, 1, 2]);
}

async fn epoch(fixture: &Fixture) -> String {
    head(&fixture.database).await.unwrap().epoch
}

/// A transaction that is open while others commit gets its number when it is seen.
#[tokio::test]
async fn who_commits_late_is_not_missed() {
    let fixture = Fixture::new(Dialect::Postgres).await;
    let start = fixture.bookmark().await;
    let mut slow = fixture.database.reader().await.unwrap();
    slow.run("begin").await.unwrap();
    write(&mut slow, "a", &fixture.tables, &[put(&["late"], "red")]).await;
    fixture.commit("b", vec![put(&["early"], "red")]).await;
    let before = fixture.read(&start, MANY).await;
    assert_eq!(shown(&before), ["b-s-early"]);
    slow.run("commit").await.unwrap();
    let after = fixture.read(&before.end, MANY).await;
    assert_eq!(shown(&after), ["a-s-late"]);
    // An idle writer doesn't hold others up, and ids of commits aren't their numbers.
    let ids: Vec<i64> = query_scalar("select id from rowgate_commits order by number")
        .fetch_all(fixture.database.readers())
        .await
        .unwrap();
    assert_eq!(ids, [2, 1]);
}

/// A long feed is entered at the bookmark.
#[tokio::test]
async fn a_page_is_a_range_of_the_order() {
    let fixture = Fixture::new(Dialect::Sqlite).await;
    for within in [false, true] {
        let sql = page::changed_sql(Dialect::Sqlite, fixture.things(), within);
        let mut explained =
            query_as::<(i64, i64, i64, String)>(format!("explain query plan {sql}"))
                .bind(1_i64)
                .bind(1_i64);
        if within {
            explained = explained.bind(true).bind(7_i64);
        }
        let steps = explained.fetch_all(fixture.database.readers()).await.unwrap();
        let steps: Vec<String> = steps.into_iter().map(|(_, _, _, detail)| detail).collect();
        let ranges = "SEARCH feed USING INDEX rowgate_feed_order (commit_id>?)";
        assert!(steps.iter().any(|step| step == ranges), "{steps:?}");
        assert!(
            steps
                .iter()
                .any(|step| step == "SEARCH live USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN"),
            "{steps:?}"
        );
    }
}

/// A row whose latest change could still be taken back isn't in the page, and would come back behind it.
#[tokio::test]
async fn what_a_page_shows_is_on_disk() {
    let fixture = Fixture::new(Dialect::Sqlite).await;
    let database = &fixture.database;
    for bookmark in [Bookmark::Start, fixture.bookmark().await] {
        let head = head(database).await.unwrap();
        let bookmark = bookmark.on(&head, "copy");
        let between = "insert into rowgate_commits (owner_id, committed_at) values (1, 0)";
        let unsynced = database.write_unsynced(move |connection| {
            Box::pin(async move { Ok(connection.run(between).await?) })
        });
        unsynced.await.unwrap();
        assert!(database.is_behind());
        page(database, fixture.things(), &bookmark, &head, MANY).await.unwrap();
        assert!(!database.is_behind());
    }
}
