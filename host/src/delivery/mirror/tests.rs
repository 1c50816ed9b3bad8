//! Pages by hand, applied to a real server.

mod copies;
mod pages;
mod servers;
mod trial;
mod unstorable;
mod whose;

use postgres_cluster::{Cluster, Database};

use super::*;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::delivery::{DestinationRules, payload};
use crate::rows::Value;
use crate::rows::fixture::spec;
use crate::store::feed::{Bookmark, Change};
use crate::store::targets::Kind;

const TIMEOUT: Duration = Duration::from_secs(30);
const RULES: DestinationRules =
    DestinationRules { allow_http: true, allow_private_addresses: false };

/// A database, and a mirror in it.
struct Case {
    database: Database<'static>,
    address: DatabaseAddress,
    relays: Relays,
    target: Target,
    spec: TableSpec,
    session: Option<Session>,
    fence: i64,
    timeout: Duration,
}

fn target(id: &str) -> Target {
    Target {
        id: id.into(),
        table_name: "ticket_v1".into(),
        kind: Kind::Db,
        to_schema: "theirs".into(),
        to_table: "mirror".into(),
        page_size: PAGE_ROWS,
        fence: 1,
        ..payload::tests::target(true)
    }
}

/// `pk`, owner, number, title, times, data.
fn ticket(pk: i64, number: i64, title: &str) -> Change {
    let at = || Value::Text("2026-11-01T10:00:00.000001Z".into());
    let row = vec![
        Value::Integer(pk),
        Value::Text("ann".into()),
        Value::Integer(number),
        Value::Text(title.to_owned().into()),
        at(),
        at(),
        Value::Text("{\"a\":[1.5,\"ü\"]}".into()),
    ];
    Change::new(pk, number.to_string(), Some(row))
}

fn gone(pk: i64, number: i64) -> Change {
    Change::new(pk, number.to_string(), None)
}

fn page(changes: Vec<Change>) -> Page {
    Page { changes, copy: None, end: Bookmark::Start, more: false }
}

/// Behind it the reader has come so far.
fn upto(number: i64, changes: Vec<Change>) -> Page {
    Page { end: Bookmark::behind("e", number), ..page(changes) }
}

fn copy(changes: Vec<Change>, after_pk: Option<i64>, last: bool) -> Page {
    let part = CopyPart { id: "c".into(), after_pk, last };
    Page { copy: Some(part), ..page(changes) }
}

impl Case {
    fn new(service: &str) -> Self {
        let database = Cluster::shared().create_database().unwrap();
        Self {
            address: DatabaseAddress::parse(&database.url(), RULES).unwrap(),
            relays: Relays::new(Chance::from_system(), Clock::System).unwrap(),
            target: target("syt_1"),
            spec: spec(service),
            session: None,
            fence: 1,
            timeout: TIMEOUT,
            database,
        }
    }

    /// The acknowledgement is lost.
    async fn apply(&mut self, page: &Page) -> Outcome {
        let Self { target, spec, fence, session, relays, address, timeout, .. } = self;
        let holder = Holder { target, spec, fence: *fence, timeout: *timeout };
        apply(session, relays, address, &holder, page).await
    }

    async fn takes(&mut self, page: &Page) {
        assert_eq!(self.apply(page).await, Outcome::Taken);
        self.target.taken = Some(page.end.text());
    }

    fn query(&self, sql: &str) -> Vec<postgres_cluster::Row> {
        let answered = self.database.connect().unwrap().query(sql);
        answered.unwrap_or_else(|error| panic!("{sql}: {error:#}"))
    }

    /// Number, key and title of each row.
    fn tickets(&self) -> Vec<(i64, i64, String)> {
        let rows = self.query("select pk, number, title from theirs.mirror order by pk");
        let number = |text: &Option<String>| text.as_ref().unwrap().parse().unwrap();
        let rows = rows
            .iter()
            .map(|row| (number(&row[0]), number(&row[1]), row[2].clone().unwrap_or_default()));
        rows.collect()
    }
}

fn refused(outcome: Outcome) -> String {
    match outcome {
        Outcome::Unanswered(reason) => reason,
        other => panic!("{other:?}"),
    }
}
