//! Databases of a server that are put back from dumps of different moments.

use std::collections::BTreeMap;
use std::fs;

use postgres_cluster::Dump;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use tests::{Settings, TestHost, Tree, Vendor};

use crate::setup::{change, email, linked, receiver, refused};

const OWNERS: [&str; 4] = ["ann", "bob", "cy", "dot"];
const EVENTS: usize = 40;

/// A host that was killed is known to be dead soon.
fn settings() -> Settings {
    Settings::default()
        .on_postgres()
        .env("ROWGATE_DELIVERY_ALLOW_HTTP", "true")
        .env("ROWGATE_DELIVERY_BACK_OFF_BASE_MS", "20")
        .env("ROWGATE_RUN_LEASE_TTL_MS", "3000")
}

/// The two databases of a host.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    Control,
    Tables,
}

/// A host whose owners are linked, with a receiver of its events.
struct Case {
    host: TestHost,
    tree: Tree,
    receiver: Vendor,
    random: ChaCha8Rng,
}

impl Case {
    async fn start() -> Self {
        let (host, tree) = linked(settings(), &OWNERS, EVENTS).await;
        fs::write(host.data_dir().join("rowgate.toml"), "[delivery]\nallow_http = true\n").unwrap();
        let receiver = receiver();
        let url = receiver.base_url().replace("http://", "http://ana:secret@");
        let target = ["--url", url.as_str(), "--period", "3600", "--deletions"];
        host.json(&[&["httpsync", "create", tree.events()], &target[..]].concat()).await;
        let case = Self { host, tree, receiver, random: ChaCha8Rng::seed_from_u64(5) };
        case.is_delivered().await;
        case
    }

    fn dump(&self, of: Of) -> Dump {
        let database = self.host.database().unwrap();
        let name = match of {
            Of::Control => database.name().to_owned(),
            Of::Tables => format!("{}_data", database.name()),
        };
        database.cluster().dump(&name).unwrap()
    }

    fn put_back(&self, dump: &Dump) {
        self.host.database().unwrap().cluster().put_back(dump).unwrap();
    }

    /// The vendor's calendars change, and all that is due is done.
    async fn goes_on(&mut self) {
        change(&self.host, 20, &mut self.random);
        self.host.settle().await;
    }

    /// The vendor's calendars change, and these owners are read once more.
    async fn read_again(&mut self, owners: &[&str]) {
        self.goes_on().await;
        for owner in owners {
            self.host.resync(&self.tree, owner).await;
        }
        self.is_right().await;
    }

    /// Waits until the receiver has the table as it stands.
    async fn is_delivered(&self) {
        let (host, tree, receiver) = (&self.host, &self.tree, &self.receiver);
        host.until("the receiver has the table", async || {
            copy_of(receiver) == table(host, tree).await
        })
        .await;
    }

    /// Tables and copy are what they should be.
    async fn is_right(&self) {
        self.host.settle().await;
        self.host.assert_matches_model(&self.tree).await;
        self.is_delivered().await;
    }
}

/// Whose row it is, calendar, id, and how it is.
type Row = [String; 4];

fn row(row: &Value) -> (i64, Row) {
    let text = |name: &str| row[name].as_str().unwrap_or("null").to_owned();
    let row_of = ["external_owner_id", "google_calendar_id", "google_id", "status"].map(text);
    (row["pk"].as_i64().unwrap(), row_of)
}

async fn table(host: &TestHost, tree: &Tree) -> BTreeMap<i64, Row> {
    let rows = host.sql(&format!("select * from {}", tree.events())).await;
    rows.iter().map(row).collect()
}

/// What a receiver has that did as its deliveries say.
fn copy_of(receiver: &Vendor) -> BTreeMap<i64, Row> {
    let (mut rows, mut seen_in) = (BTreeMap::new(), BTreeMap::new());
    let mut fence = 0;
    for request in receiver.seen() {
        let Ok(body) = serde_json::from_slice::<Value>(&request.body) else { continue };
        let Some(of) = body["position"]["fence"].as_i64() else { continue };
        if of < fence {
            // It refuses what comes from a holder that was replaced.
            continue;
        }
        fence = of;
        for gone in body["deleted"].as_array().into_iter().flatten() {
            rows.remove(&gone["pk"].as_i64().unwrap());
        }
        for (pk, row) in body["rows"].as_array().into_iter().flatten().map(row) {
            rows.insert(pk, row);
            seen_in.insert(pk, body["copy"]["id"].clone());
        }
        if body["copy"]["last"] == true {
            rows.retain(|pk, _| seen_in[pk] == body["copy"]["id"]);
        }
    }
    rows
}

/// What was done while the dumps were made, and before, is done again where the tables lack it. Only what was
/// posted since has to be posted again.
#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_older_catch_up() {
    let mut case = Case::start().await;
    let tables = case.dump(Of::Tables);
    let (host, tree) = (&case.host, &case.tree);
    host.refresh(tree, "ann", &email("ann")).await;
    host.resync(tree, "bob").await;
    host.unlink(tree, "cy").await;
    host.link(tree, "eve", &email("eve")).await;
    case.goes_on().await;
    let control = case.dump(Of::Control);
    case.host.refresh(&case.tree, "dot", &email("dot")).await;
    case.goes_on().await;

    let said = refused(&case.host.command(&["restore", "--server"]).await);
    assert!(said.contains("works on these databases"), "{said}");
    case.host.kill().await;
    case.put_back(&tables);
    case.put_back(&control);
    let restored = case.host.json(&["restore", "--server"]).await;
    assert!(restored["owners_behind"].as_i64().unwrap() >= 3, "{restored}");
    assert_eq!(restored["owners_ahead"], 0, "{restored}");
    assert_eq!(restored["owners_unknown"], 0, "{restored}");
    assert_eq!(restored["organizations"], 1, "{restored}");
    assert_eq!(restored["targets"], 1, "{restored}");
    case.host.restart().await;
    case.host.refresh(&case.tree, "dot", &email("dot")).await;
    case.is_right().await;
    case.read_again(&["ann", "bob", "dot", "eve"]).await;
    let owners = case.host.owners().await;
    assert!(owners.iter().all(|one| one["state"] != "grant dead"), "{owners:?}");
}

/// The control database knows nothing of the last posts; what the tables did because of them holds
/// nothing up, and nobody gets what is another's.
#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_newer_go_on() {
    let mut case = Case::start().await;
    let control = case.dump(Of::Control);
    let (host, tree) = (&case.host, &case.tree);
    host.refresh(tree, "ann", &email("ann")).await;
    host.unlink(tree, "cy").await;
    host.link(tree, "eve", &email("eve")).await;
    case.goes_on().await;
    for owner in ["ann", "bob", "eve"] {
        case.host.resync(&case.tree, owner).await;
    }
    case.goes_on().await;
    let tables = case.dump(Of::Tables);
    case.host.kill().await;
    case.put_back(&control);
    case.put_back(&tables);
    // Killed on the way, it keeps hosts out until it has come to its end.
    let failpoint = [("ROWGATE_FAILPOINT", "owners_told:1")];
    let killed = case.host.command_with(&["restore", "--server"], &failpoint).await;
    assert!(!killed.status.success());
    let said = refused(&case.host.command(&["owners", "list"]).await);
    assert!(said.contains("restore --server"), "{said}");
    let restored = case.host.json(&["restore", "--server"]).await;
    assert_eq!(restored["owners_behind"], 0, "{restored}");
    assert_eq!(restored["owners_unknown"], 1, "{restored}");
    case.host.restart().await;

    // An owner that comes now doesn't get the number, and with it the place, of one that only the tables
    // know; posts aren't taken for those that the tables have applied.
    case.host.link(&case.tree, "fay", &email("fay")).await;
    case.host.unlink(&case.tree, "cy").await;
    case.host.link(&case.tree, "eve", &email("eve")).await;
    case.host.refresh(&case.tree, "bob", &email("bob")).await;
    case.is_right().await;
    case.read_again(&["ann", "bob", "dot", "eve", "fay"]).await;
    let owners = case.host.owners().await;
    let linked = owners.iter().filter(|one| one["state"] == "current").count();
    assert_eq!(linked, 5, "{owners:?}");
}

/// Nobody ran the command. (R5)
#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_older_tables_catches_up_by_itself() {
    let mut case = Case::start().await;
    let tables = case.dump(Of::Tables);
    case.host.refresh(&case.tree, "ann", &email("ann")).await;
    case.host.unlink(&case.tree, "cy").await;
    case.goes_on().await;
    case.host.kill().await;
    case.put_back(&tables);
    case.host.restart().await;
    // Cy's does nothing by itself: what it finds undone before it unlinks him once more.
    case.read_again(&OWNERS).await;
}

/// What it knows of the databases may not be true any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stood_still_meanwhile_ends() {
    let mut host = settings().start().await;
    host.freeze().await;
    host.json(&["restore", "--server"]).await;
    host.thaw().await;
    let status = host.ended().await;
    assert_eq!(status.code(), Some(1), "{status}");
    assert!(host.log().contains("was taken for dead"));
    host.restart().await;
    assert!(host.is_healthy().await);
}
