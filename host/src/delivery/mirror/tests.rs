//! Pages by hand, applied to a real server.

use postgres_cluster::{Cluster, Database};
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use url::Url;

use super::*;
use crate::chance::Chance;
use crate::delivery::{DestinationRules, payload};
use crate::rows::Value;
use crate::rows::fixture::spec;
use crate::store::feed::{Bookmark, Change};
use crate::store::targets::Kind;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A database, and a mirror in it.
struct Case {
    database: Database<'static>,
    address: DatabaseAddress,
    relays: Relays,
    target: Target,
    spec: TableSpec,
    session: Option<Session>,
    fence: i64,
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

fn copy(changes: Vec<Change>, after_pk: Option<i64>, last: bool) -> Page {
    let part = CopyPart { id: "c".into(), after_pk, last };
    Page { copy: Some(part), ..page(changes) }
}

impl Case {
    fn new(service: &str) -> Self {
        let database = Cluster::shared().create_database().unwrap();
        let rules = DestinationRules { allow_http: true, allow_private_addresses: false };
        let url = Url::parse(&database.url()).unwrap();
        Self {
            address: DatabaseAddress::parse(&url, rules).unwrap(),
            relays: Relays::new(Chance::from_system()).unwrap(),
            target: target("syt_1"),
            spec: spec(service),
            session: None,
            fence: 1,
            database,
        }
    }

    async fn apply(&mut self, page: &Page) -> Outcome {
        let Self { target, spec, fence, session, relays, address, .. } = self;
        let holder = Holder { target, spec, fence: *fence, timeout: TIMEOUT };
        apply(session, relays, address, &holder, page).await
    }

    async fn takes(&mut self, page: &Page) {
        assert_eq!(self.apply(page).await, Outcome::Taken);
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

#[tokio::test]
async fn pages_come_to_the_same_however_often_they_are_applied() {
    let mut case = Case::new("ticket_v1");
    let first = copy(vec![ticket(1, 10, "a"), ticket(2, 20, "b")], None, true);
    let then = page(vec![gone(1, 10), ticket(2, 20, "c"), ticket(3, 30, "d")]);
    for of in [&first, &first, &then, &then] {
        case.takes(of).await;
    }
    let expected = [(2, 20, "c".to_owned()), (3, 30, "d".to_owned())];
    assert_eq!(case.tickets(), expected);
    // A row that is the same isn't written.
    let version = "select xmin::text, ctid::text from theirs.mirror where pk = 3";
    let before = case.query(version);
    case.takes(&then).await;
    assert_eq!(case.query(version), before);
    // A connection that was cut is made anew.
    case.database.cut_connections().unwrap();
    refused(case.apply(&then).await);
    case.takes(&then).await;
    assert_eq!(case.tickets(), expected);
}

#[tokio::test]
async fn rows_are_found_by_their_key_whatever_their_numbers() {
    let mut case = Case::new("ticket_v1");
    let rows = vec![ticket(1, 10, "a"), ticket(2, 20, "b"), ticket(3, 30, "c")];
    case.takes(&copy(rows, None, true)).await;
    // Linked again after its tombstones were forgotten: the same keys have new numbers.
    case.takes(&page(vec![ticket(4, 10, "a"), ticket(5, 20, "b")])).await;
    // After an older copy was put back, numbers are others'.
    case.takes(&page(vec![ticket(5, 10, "a"), ticket(4, 20, "b")])).await;
    case.takes(&page(vec![gone(3, 30), ticket(3, 40, "d")])).await;
    let expected = [(3, 40, "d".to_owned()), (4, 20, "b".to_owned()), (5, 10, "a".to_owned())];
    assert_eq!(case.tickets(), expected);
}

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
async fn a_column_that_the_table_got_is_added() {
    let mut case = Case::new("ticket_v1");
    let whole = case.spec.clone();
    let title = whole.position("title").unwrap();
    case.spec.columns.remove(title);
    let without = |change: Change| {
        let mut row = change.row.unwrap();
        row.remove(title);
        Change::new(change.pk, change.key, Some(row))
    };
    case.takes(&copy(vec![without(ticket(1, 10, "a"))], None, true)).await;
    // The next holder has the next version.
    (case.spec, case.session) = (whole, None);
    case.takes(&page(vec![ticket(2, 20, "b")])).await;
    assert_eq!(case.tickets(), [(1, 10, String::new()), (2, 20, "b".to_owned())]);
}

#[tokio::test]
async fn every_type_arrives_exactly() {
    let mut case = Case::new("thing_v1");
    let value = |name: &str| -> Value<'static> {
        let text = |text: &'static str| Value::Text(text.into());
        match name {
            "pk" => Value::Integer(i64::MAX),
            "version" | "page_size" => Value::Integer(i64::MIN),
            "on_sale" => Value::Boolean(true),
            "weight" => Value::Double(0.1 + 0.2),
            "price" => text("12345678901234567890.000000000123"),
            "notes" => text("{\"b\":1e2,\"a\":\"\\u00fc \\\"\"}"),
            "data" => text("{}"),
            "made_on" => text("0001-01-31"),
            "sold_at" => text("9999-12-31T23:59:59.999999Z"),
            "row_created_at" | "row_updated_at" => text("1969-12-31T23:59:59.000001Z"),
            "picture" => Value::Bytes(vec![0, 255, 39].into()),
            "color" | "expires_at" => Value::Null,
            _ => text("ü'\"\\ \n"),
        }
    };
    let row: Vec<Value<'static>> =
        case.spec.columns.iter().map(|column| value(&column.name)).collect();
    let key = "ü'\"\\ \n".to_owned();
    case.takes(&copy(vec![Change::new(i64::MAX, key, Some(row))], None, true)).await;
    let found = case.query(
        "set timezone = 'UTC'; set extra_float_digits = 3;
         select pk, version, on_sale, weight, price, notes = '{\"a\": \"ü \\\"\", \"b\": 100}', made_on,
           sold_at, row_updated_at, encode(picture, 'hex'), color is null, id from theirs.mirror",
    );
    let expected = [
        "9223372036854775807",
        "-9223372036854775808",
        "t",
        "0.30000000000000004",
        "12345678901234567890.000000000123",
        "t",
        "0001-01-31",
        "9999-12-31 23:59:59.999999+00",
        "1969-12-31 23:59:59.000001+00",
        "00ff27",
        "t",
        "ü'\"\\ \n",
    ];
    assert_eq!(found, [expected.map(|text| Some(text.to_owned())).to_vec()]);
}

#[tokio::test]
async fn who_was_replaced_is_refused_whenever_it_comes() {
    let mut case = Case::new("ticket_v1");
    case.takes(&copy(vec![ticket(1, 10, "a")], None, true)).await;
    case.fence = 3;
    case.takes(&page(vec![ticket(1, 10, "c")])).await;
    case.fence = 2;
    let reason = refused(case.apply(&page(vec![ticket(1, 10, "b")])).await);
    assert_eq!(reason, "another host has gone on meanwhile");
    assert_eq!(case.tickets(), [(1, 10, "c".to_owned())]);
    // Another target's fence is its own.
    case.target = target("syt_2");
    case.takes(&copy(vec![ticket(1, 10, "c")], None, true)).await;
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

#[tokio::test]
async fn somebody_elses_table_is_left_alone() {
    let mut case = Case::new("ticket_v1");
    for (columns, says) in [
        ("id bigint, title text", "column pk is missing and can't be added"),
        ("pk bigint primary key, owner_id text, number text", "column number has type text"),
    ] {
        case.query("drop schema if exists theirs cascade; create schema theirs");
        case.query(&format!("create table theirs.mirror ({columns})"));
        let reason = refused(case.apply(&copy(vec![ticket(1, 1, "a")], None, true)).await);
        assert!(reason.starts_with("table mirror: ") && reason.contains(says), "{reason}");
        assert_eq!(case.query("select count(*) from theirs.mirror"), [[Some("0".to_owned())]]);
    }
}

#[tokio::test]
async fn databases_that_do_not_answer_are_told_of_without_secrets() {
    let case = Case::new("ticket_v1");
    let with = |user: &str, database: &str| {
        let url = case.database.url();
        let (start, _) = url.rsplit_once('/').unwrap();
        let url = format!("{start}/{database}").replace("rowgate@", &format!("{user}:hush@"));
        let rules = DestinationRules { allow_http: true, allow_private_addresses: false };
        DatabaseAddress::parse(&Url::parse(&url).unwrap(), rules).unwrap()
    };
    assert_eq!(verify(&case.relays, &with("rowgate", case.database.name()), TIMEOUT).await, Ok(()));
    for (address, says) in [
        (with("nobody", "postgres"), "it refuses the user and password"),
        (with("rowgate", "nothing"), "database \"nothing\" does not exist (SQLSTATE 3D000)"),
    ] {
        let reason = verify(&case.relays, &address, TIMEOUT).await.unwrap_err();
        assert_eq!(reason, format!("must answer `select 1`: {says}"));
    }
    let mut closed = with("rowgate", "postgres");
    closed.server.port = 1;
    let reason = verify(&case.relays, &closed, TIMEOUT).await.unwrap_err();
    assert!(reason.contains("no connection: 127.0.0.1:1: "), "{reason}");
}

/// What answers the first messages of a client, one after the other, and isn't PostgreSQL.
async fn saying(answers: Vec<Vec<u8>>) -> DatabaseAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for answer in answers {
            if stream.read(&mut [0; 4_096]).await.unwrap_or(0) == 0 {
                return;
            }
            stream.write_all(&answer).await.unwrap();
        }
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let rules = DestinationRules { allow_http: true, allow_private_addresses: false };
    let url = format!("postgres://ana:hush@127.0.0.1:{port}/d?sslmode=disable");
    DatabaseAddress::parse(&Url::parse(&url).unwrap(), rules).unwrap()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind], length.to_be_bytes().as_slice(), body].concat()
}

#[tokio::test]
async fn servers_that_mean_harm_do_none() {
    let relays = Relays::new(Chance::from_system()).unwrap();
    let scram = || message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    for (answers, says) in [
        // Without its kind.
        (vec![message(b'R', b"")], "it doesn't speak as PostgreSQL does"),
        (vec![scram(), message(b'R', b"\0\0\0\x0br=x,,")], "it doesn't speak as PostgreSQL does"),
        // An hour of hashing, which nothing could interrupt.
        (
            vec![scram(), message(b'R', b"\0\0\0\x0br=x,s=AAAA,i=4294967295")],
            "the server wants the password hashed too often (SQLSTATE 08P01)",
        ),
        (
            vec![message(b'E', b"SFATAL\0C08006\0M\x1b]0;gone\x07\n hush \"ana\"\0\0")],
            "]0;gone *** \"***\" (SQLSTATE 08006)",
        ),
    ] {
        let address = saying(answers).await;
        let reason = verify(&relays, &address, TIMEOUT).await.unwrap_err();
        let reason = reason.strip_prefix("must answer `select 1`: ").unwrap();
        assert!(reason.starts_with(says), "{reason}");
    }
}
