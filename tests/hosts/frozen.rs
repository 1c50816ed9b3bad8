//! A host stands still in the middle of a page, longer than its lease lives. Another one takes over;
//! what the first one commits when it goes on is refused.

use postgres_cluster::{Client, Cluster};
use serde_json::{Value, json};
use simulator::{Fault, Moment, Then, When};
use tests::{TestHost, Tree};

use crate::posts::email;
use crate::{ALONE, LEASE_TTL_MS, settings};

const OWNER: &str = "ann";

/// It has asked the vendor, and waits for the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_commit_is_refused() {
    let _alone = ALONE.lock().await;
    let (slow, tree) = linked().await;
    let when = When { count: Some(1), ..When::path("*/events") };
    slow.simulator.add_fault(Fault::when(when, Then::Hold(Moment::After)));
    slow.refresh(&tree, OWNER, &email(OWNER)).await;
    slow.simulator.await_held(1).await;
    slow.freeze().await;
    let (quick, taken_over) = take_over(&slow, &tree).await;

    slow.thaw().await;
    slow.simulator.release_held(None);
    slow.until("the slow host is refused", async || slow.log().contains("a page is refused")).await;
    nothing_has_moved(&slow, &quick, &tree, &taken_over).await;
}

/// The one that took over has committed nothing when the frozen one goes on: it is the fence alone that
/// refuses the late commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_commit_is_refused_before_anybody_else_has_committed() {
    let _alone = ALONE.lock().await;
    let (slow, tree) = linked().await;
    let held = |moment| {
        let when = When { count: Some(1), ..When::path("*/events") };
        slow.simulator.add_fault(Fault::when(when, Then::Hold(moment)));
    };
    held(Moment::After);
    slow.refresh(&tree, OWNER, &email(OWNER)).await;
    let late = slow.simulator.await_held(1).await[0].id;
    slow.freeze().await;
    let before = committed(&slow).await;
    // Without any post: the lease runs out, and what was being read is read again.
    add(&slow, "late");
    held(Moment::Before);
    let quick = settings().start_beside(&slow).await;
    slow.simulator.await_held(2).await;
    let taken_over = committed(&quick).await;
    assert!(taken_over.fence > before.fence, "{before:?}, then {taken_over:?}");
    assert_eq!(taken_over, Committed { fence: taken_over.fence, ..before.clone() });
    let rows_before = rows(&quick, &tree).await;

    slow.thaw().await;
    assert_eq!(slow.simulator.release_held(Some(late)), 1, "the frozen host still waits");
    slow.until("the slow host is refused", async || slow.log().contains("a page is refused")).await;
    assert!(slow.log().contains("another holder, link or unlink came between"));
    assert_eq!(committed(&quick).await, taken_over, "the slow host has committed");
    assert_eq!(rows(&quick, &tree).await, rows_before, "the slow host has written");

    slow.simulator.release_held(None);
    quick.settle().await;
    slow.idle().await;
    quick.assert_matches_model(&tree).await;
    // The answer that came too late would have brought the first one alone.
    let written = format!(
        "select count(*), count(distinct commit_id) from rowgate_feed where table_name = '{}'",
        tree.events()
    );
    assert_eq!(quick.beside_tables::<(i64, i64)>(&written).await, [(2, 1)], "once, and together");
}

/// It holds the owner's row in the database of the tables: it has made the first change of its commit,
/// not yet the last.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_stands_still_holds_nobody_up() {
    let _alone = ALONE.lock().await;
    let (mut slow, tree) = linked().await;
    note_limits(&slow);
    slow.set_env("ROWGATE_FAILPOINT", Some("page_begun:1:freeze"));
    slow.restart().await;
    slow.refresh(&tree, OWNER, &email(OWNER)).await;
    slow.until("the host stands still in a commit", async || {
        tokio::task::yield_now().await;
        stands_still(slow.pid())
    })
    .await;
    let limits = noted_limits(&slow);
    assert_eq!(limits.len(), LIMITS.len(), "{limits:?}");
    for (name, ms) in &limits {
        assert!((1..LEASE_TTL_MS).contains(ms), "{name} is {ms} ms: others would wait longer");
    }
    // It stays so until another host is done: what it holds has to be taken from it.
    let (quick, taken_over) = take_over(&slow, &tree).await;
    assert!(stands_still(slow.pid()), "it was to stand still all the time");
    let ended = format!(
        " {} FATAL:  terminating connection due to idle-in-transaction timeout",
        tables_of(&slow)
    );
    slow.until("the server says what it ended", async || Cluster::shared().log().contains(&ended))
        .await;

    slow.thaw().await;
    let broke_off = async || slow.log().contains("a run broke off");
    slow.until("the slow host's commit is refused", broke_off).await;
    nothing_has_moved(&slow, &quick, &tree, &taken_over).await;
}

/// What the checks of a commit go by, but for those of the call itself.
#[derive(Clone, Debug, PartialEq)]
struct Committed {
    fence: i64,
    generation: i64,
    commit_no: i64,
    /// Of all cursors.
    versions: Vec<(String, i64)>,
}

async fn committed(host: &TestHost) -> Committed {
    let owner = "select fence, generation, commit_no from rowgate_owners";
    let (fence, generation, commit_no) = host.beside_tables::<(i64, i64, i64)>(owner).await[0];
    let cursors = "select service || ' ' || key, version from rowgate_cursors order by 1";
    let versions = host.beside_tables(cursors).await;
    Committed { fence, generation, commit_no, versions }
}

/// A host with a linked owner, up to date but for one event.
async fn linked() -> (TestHost, Tree) {
    let host = settings().start().await;
    let tree = host.integrations().await;
    host.link(&tree, OWNER, &email(OWNER)).await;
    host.settle().await;
    add(&host, "early");
    (host, tree)
}

/// Another host goes on with the owner; answers with the rows it leaves.
async fn take_over(slow: &TestHost, tree: &Tree) -> (TestHost, Vec<Value>) {
    // The answer that the frozen host has knows nothing of these.
    add(slow, "late");
    let gone = slow.simulator.model().cancel_event(&email(OWNER), "early");
    gone.expect("the event is there");
    let quick = settings().start_beside(slow).await;
    quick.refresh(tree, OWNER, &email(OWNER)).await;
    quick.settle().await;
    quick.assert_matches_model(tree).await;
    let rows = rows(&quick, tree).await;
    (quick, rows)
}

async fn nothing_has_moved(slow: &TestHost, quick: &TestHost, tree: &Tree, before: &[Value]) {
    quick.settle().await;
    slow.idle().await;
    assert_eq!(rows(quick, tree).await, before, "the slow host has written");
    quick.assert_matches_model(tree).await;
}

/// What a session of a host may take, by the names of the server's settings.
const LIMITS: [&str; 3] =
    ["idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout"];

/// The database of the tables.
fn tables_of(host: &TestHost) -> String {
    format!("{}_data", host.database().expect("they share one").name())
}

fn connect(host: &TestHost) -> Client {
    Cluster::shared().connect(&tables_of(host)).expect("the server runs")
}

/// Has each session that commits write down its limits: no other session could ask for them.
fn note_limits(host: &TestHost) {
    let noted = format!(
        "create schema noted;
         create table noted.limits (name text, ms bigint);
         create function noted.note() returns trigger language plpgsql as $$
         begin
           insert into noted.limits
           select name, setting::bigint from pg_settings where name in ('{}');
           return new;
         end $$;
         create trigger noted before update on rowgate_default.rowgate_owners
           for each row execute function noted.note();",
        LIMITS.join("', '")
    );
    connect(host).query(&noted).expect("a schema that hosts don't look at");
}

/// The largest of each that was written down.
fn noted_limits(host: &TestHost) -> Vec<(String, u64)> {
    let noted = "select name, max(ms) from noted.limits group by name order by name";
    let rows = connect(host).query(noted).expect("it was made before");
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    rows.iter().map(|row| (text(&row[0]), text(&row[1]).parse().unwrap_or(0))).collect()
}

/// As SIGSTOP leaves a process.
fn stands_still(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

fn add(host: &TestHost, id: &str) {
    let event = json!({
        "id": id, "start": { "date": "2026-11-03" }, "end": { "date": "2026-11-04" },
    });
    host.simulator.model().add_event(&email(OWNER), &event).expect("the account is there");
}

async fn rows(host: &TestHost, tree: &Tree) -> Vec<Value> {
    host.sql(&format!("select * from {} order by google_id", tree.events())).await
}
