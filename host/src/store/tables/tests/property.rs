//! Random calls against a naive model of the contract: the same rows, feed and row timestamps.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::model::{Condition, Op, Unseen};

mod model;

use model::{Model, Row};

on_both! { tables_agree_with_a_naive_model }

const SEEDS: u64 = 150;
const COMMITS: usize = 25;

/// Columns that the guest may set, and what they may hold: as written, as stored.
const COLORS: [&str; 4] = ["red", "rose", "blue", ""];
const DOCUMENTS: [(&str, &str); 6] = [
    ("{}", "{}"),
    (r#"{"a":1,"b":2}"#, r#"{"a":1,"b":2}"#),
    (r#" {"b":2.0,"a":1} "#, r#"{"a":1,"b":2}"#),
    (r#"{"b":0,"b":2,"a":1e0}"#, r#"{"a":1,"b":2}"#),
    ("1e400", "1e400"),
    ("null", "null"),
];

/// The same calls on either database: both agree with the model, and so with each other.
async fn tables_agree_with_a_naive_model(dialect: Dialect) {
    let mut seen = Seen::default();
    // A database is dear to make on a server.
    let seeds = if dialect == Dialect::Sqlite { SEEDS } else { SEEDS / 3 };
    for seed in 0..seeds {
        println!("seed {seed}");
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut fixture = Fixture::with_services(dialect, &["thing_v1"]).await;
        let mut model = Model::default();
        for _ in 0..COMMITS {
            commit(&mut random, &mut fixture, &mut model, &mut seen).await;
        }
    }
    println!("{seen:?}");
    // The walk is worth nothing if it misses a kind of outcome.
    let Seen { refused, unmoved, changed, deleted, swept, found } = seen;
    assert!([refused, unmoved, changed, deleted, swept, found].into_iter().all(|n| n > 50));
}

/// How often the walks met what.
#[derive(Debug, Default)]
struct Seen {
    refused: u64,
    /// Presented rows that didn't move.
    unmoved: u64,
    changed: u64,
    deleted: u64,
    /// Full listings that ended.
    swept: u64,
    found: u64,
}

async fn commit(
    random: &mut ChaCha8Rng,
    fixture: &mut Fixture,
    model: &mut Model,
    seen: &mut Seen,
) {
    let owner = *["a", "b", "a-s"].choose(random).unwrap();
    let writes: Vec<Write> = (0..random.random_range(1..5)).map(|_| write(random)).collect();
    let mut scope = fixture.scope(owner);
    scope.owner_id += owner.len() as i64 * 1_000;
    // Time may stand still; then a moved row shows in the feed alone.
    scope.now -= random.random_range(0..2) * 1_000_000;
    let spec = Arc::clone(&fixture.tables["thing_v1"]);
    let key = [text(SHELVES.choose(random).unwrap()), text(IDS.choose(random).unwrap())];
    let columns: Vec<String> =
        ["color", "version", "notes", "data", "identity"].map(str::to_owned).to_vec();
    let foreseen = lookup(&mut fixture.conn, &scope, &spec, &key, &columns, &writes).await.unwrap();

    let mut after = model.clone();
    let applied = fixture.apply_in(&scope, &writes).await;
    let Some(changed) = after.apply(&scope, &writes) else {
        let error = applied.expect_err("the model refuses");
        assert!(matches!(error, ApplyError::NotListed(_)), "{error}");
        seen.refused += 1;
        return;
    };
    let applied = applied.unwrap_or_else(|error| panic!("{error}: {writes:#?}"));
    *model = after;
    compare(fixture, model).await;
    let pks = applied.changed_pks.get("thing_v1").cloned().unwrap_or_default();
    assert_eq!(model.pks(&changed), pks, "{writes:#?}");
    assert_eq!(applied.rows_changed, changed.len() as u64);
    let found = lookup(&mut fixture.conn, &scope, &spec, &key, &columns, NONE).await.unwrap();
    assert_eq!(found, foreseen, "lookup of {key:?} before {writes:#?}");
    seen.unmoved += applied.rows_presented.saturating_sub(applied.rows_changed);
    seen.changed += applied.rows_changed;
    seen.deleted += applied.deleted;
    let ended = writes.iter().filter(|write| matches!(write, Write::EndFull { .. })).count();
    seen.swept += ended as u64;
    seen.found += u64::from(found.is_some());
}

async fn compare(fixture: &mut Fixture, model: &mut Model) {
    let rows = fixture
        .rows(
            "select identity, owner_id, shelf, id, version, color, notes, data, row_created_at, \
             row_updated_at from thing_v1 order by identity",
        )
        .await;
    assert_eq!(rows, model.rows.values().map(Row::text).collect::<Vec<_>>());
    let keyed = "rowgate_feed left join thing_v1 using (pk)";
    let feed = format!("select coalesce(unique_key, identity), deleted, commit_id from {keyed}");
    let mut feed = fixture.rows(&feed).await;
    feed.sort();
    let entry = |(key, (deleted, commit_id)): (&String, &(bool, i64))| {
        format!("{key}|{}|{commit_id}", i64::from(*deleted))
    };
    let mut expected: Vec<String> = model.feed.iter().map(entry).collect();
    expected.sort();
    assert_eq!(feed, expected);
    let wrong = "select count(*) from thing_v1 full join rowgate_feed using (pk) \
                 where coalesce(not deleted, false) <> (identity is not null) \
                 or deleted <> (unique_key is not null)";
    assert_eq!(fixture.rows(wrong).await, ["0"]);
    let pks = format!("select coalesce(unique_key, identity), pk from {keyed}");
    for row in fixture.rows(&pks).await {
        let (key, pk) = row.rsplit_once('|').unwrap();
        let pk: i64 = pk.parse().unwrap();
        assert_eq!(*model.pk.entry(key.to_owned()).or_insert(pk), pk, "{key} changed its pk");
    }
    let distinct: std::collections::HashSet<_> = model.pk.values().collect();
    assert_eq!(distinct.len(), model.pk.len(), "a pk was used again");
}

const SHELVES: [&str; 3] = ["s", "s-", "t"];
const IDS: [&str; 4] = ["x", "x_1", "-x", "y"];

fn write(random: &mut ChaCha8Rng) -> Write {
    let table = "thing_v1".to_owned();
    match random.random_range(0..10) {
        0..4 => Write::Upsert(random_batch(random)),
        4 => Write::Patch(random_batch(random)),
        5 => Write::Update { table, set: set(random), conditions: conditions(random) },
        6 => Write::Delete { table, conditions: conditions(random) },
        7 | 8 => Write::BeginFull { table, scope: scope(random) },
        _ => {
            let unseen = if random.random() { Unseen::Delete } else { Unseen::Set(set(random)) };
            Write::EndFull { table, scope: scope(random), unseen }
        }
    }
}

fn random_batch(random: &mut ChaCha8Rng) -> Batch {
    let rows = random.random_range(0..6);
    let mut pick = |values: &[&'static str], null: bool| -> Vec<Option<&'static str>> {
        let mut value =
            || (!null || random.random_bool(0.7)).then(|| *values.choose(random).unwrap());
        (0..rows).map(|_| value()).collect()
    };
    let documents_of = DOCUMENTS.map(|(written, _)| written);
    let mut columns = vec![texts("id", &pick(&IDS, false)), texts("shelf", &pick(&SHELVES, false))];
    let optional = [
        texts("color", &pick(&COLORS, true)),
        documents("notes", &pick(&documents_of, true)),
        documents("data", &pick(&documents_of, true)),
        column("color", Values::Constant(text("constant"))),
        column("data", Values::Constant(Scalar::Null)),
    ];
    for column in optional {
        if random.random_bool(0.5) && columns.iter().all(|other| other.name != column.name) {
            columns.push(existing(mode(random), column));
        }
    }
    if random.random_bool(0.4) {
        let versions: Vec<Option<i64>> =
            (0..rows).map(|_| random.random_bool(0.8).then(|| random.random_range(0..4))).collect();
        let values = Values::Integer(versions.iter().map(|v| v.unwrap_or_default()).collect());
        let validity = crate::rows::fixture::validity(&versions);
        columns.push(Column { validity, ..existing(mode(random), column("version", values)) });
    }
    batch("thing_v1", rows, columns)
}

fn mode(random: &mut ChaCha8Rng) -> Existing {
    *[Existing::Replace, Existing::Merge, Existing::Keep].choose(random).unwrap()
}

fn set(random: &mut ChaCha8Rng) -> Vec<(String, Scalar)> {
    let mut set = vec![("color".to_owned(), text(COLORS.choose(random).unwrap()))];
    if random.random_bool(0.3) {
        set.push(("version".to_owned(), Scalar::Integer(random.random_range(0..4))));
    }
    if random.random_bool(0.2) {
        let (written, _) = DOCUMENTS.choose(random).unwrap();
        set.push(("data".to_owned(), Scalar::Json((*written).to_owned())));
    }
    set
}

fn conditions(random: &mut ChaCha8Rng) -> Vec<Condition> {
    let ops = [Op::Equal, Op::NotEqual, Op::Less, Op::LessOrEqual, Op::Greater, Op::StartsWith];
    let mut conditions = scope(random);
    if random.random_bool(0.5) {
        let op = *ops.choose(random).unwrap();
        conditions.push(condition("id", op, text(IDS.choose(random).unwrap())));
    }
    if random.random_bool(0.5) {
        let op = *ops.choose(random).unwrap();
        conditions.push(condition("color", op, text(COLORS.choose(random).unwrap())));
    }
    if random.random_bool(0.2) {
        let op = if random.random() { Op::Equal } else { Op::NotEqual };
        conditions.push(condition("color", op, Scalar::Null));
    }
    conditions
}

fn scope(random: &mut ChaCha8Rng) -> Vec<Condition> {
    match random.random_range(0..4) {
        0 => Vec::new(),
        1 => vec![condition("color", Op::NotEqual, Scalar::Null)],
        2 => vec![is("shelf", "s"), is("color", "red")],
        _ => vec![is("shelf", SHELVES.choose(random).unwrap())],
    }
}
