use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::model::{Column, Condition, Existing, Op, Utf8, Values};
use crate::rows::Rows;
use crate::rows::fixture::{batch, column, condition, documents, is, spec, texts};

fn rejected(columns: Vec<Column>) -> String {
    let mut all = vec![texts("id", &[Some("a"), Some("b")]), texts("shelf", &[Some("s"); 2])];
    all.retain(|column| columns.iter().all(|other| other.name != column.name));
    all.extend(columns);
    let error = check_batch(&spec("thing_v1"), &batch("thing_v1", 2, all), 10).unwrap_err();
    format!("{error:?}")
}

#[test]
fn what_is_wrong_with_a_batch_is_named() {
    let text = |offsets: &[u32], data: &[u8]| {
        Values::Text(Utf8 { offsets: offsets.to_vec(), data: data.to_vec() })
    };
    let red = || texts("color", &[Some("r"); 2]);
    let cases = [
        (vec![column("nope", Values::Constant(Scalar::Null))], "UnknownColumn(\"table thing_v1"),
        (vec![texts("owner_id", &[Some("o"); 2])], "owner_id is filled by the host"),
        (vec![texts("identity", &[Some("o"); 2])], "identity is filled by the host"),
        (vec![column("pk", Values::Integer(vec![1, 2]))], "UnknownColumn"),
        (vec![column("row_updated_at", Values::Timestamp(vec![1, 2]))], "UnknownColumn"),
        (vec![column("page_size", Values::Integer(vec![1, 2]))], "page_size is filled by the host"),
        (vec![texts("channel", &[Some("o"); 2])], "channel is filled by the host"),
        (vec![red(), red()], "column color is there twice"),
        (
            vec![column("color", Values::Integer(vec![1, 2]))],
            "WrongType(\"table thing_v1: column color",
        ),
        (vec![column("color", Values::Constant(Scalar::Integer(1)))], "WrongType"),
        (vec![column("weight", Values::Double(vec![1.0]))], "1 values for 2 rows"),
        (vec![column("on_sale", Values::Boolean(vec![1, 2]))], "row 1: neither 0 nor 1"),
        (vec![Column { validity: vec![1, 1], ..red() }], "2 bytes of validity for 2 rows"),
        (vec![column("color", text(&[], b""))], "no offsets"),
        (vec![column("color", text(&[1, 2], b"abc"))], "offsets don't begin with 0"),
        (vec![column("color", text(&[0, 2, 1], b"abc"))], "row 1: offsets go backwards"),
        (vec![column("color", text(&[0, 1, 4], b"abc"))], "offsets reach beyond 3 bytes"),
        (vec![column("color", text(&[0, 1, 2], b"a\xff"))], "row 1: not UTF-8"),
        (vec![column("color", text(&[0, 1, 2], "é".as_bytes()))], "row 0: an offset inside"),
        (vec![texts("id", &[Some("a"), None])], "key column id is null in row 1"),
        (vec![column("id", Values::Constant(Scalar::Null))], "key column id is null in row 0"),
    ];
    for (columns, expected) in cases {
        let error = rejected(columns);
        assert!(error.contains(expected), "{error} instead of {expected}");
    }
}

#[test]
fn a_batch_needs_its_key_and_room() {
    let spec = spec("thing_v1");
    let error = check_batch(&spec, &batch("thing_v1", 1, vec![texts("id", &[Some("a")])]), 10);
    assert_eq!(error.unwrap_err().to_string(), "table thing_v1: key column shelf is missing");
    let error = check_batch(&spec, &batch("thing_v1", 11, Vec::new()), 10);
    assert!(matches!(error, Err(Rejected::Limit(_))));
    // No memory is reserved for rows that are only claimed.
    let error = check_batch(&spec, &batch("thing_v1", usize::MAX, Vec::new()), 10);
    assert!(matches!(error, Err(Rejected::Limit(_))));
}

#[test]
fn broken_documents_and_decimals_show_when_normalised() {
    let spec = spec("thing_v1");
    for values in [
        documents("notes", &[Some("{}"), Some("{")]),
        column("price", Values::Decimal(crate::rows::fixture::utf8(&[Some("1.0"), Some("1,0")]))),
    ] {
        let keys = [texts("id", &[Some("a"), Some("b")]), texts("shelf", &[Some("s"); 2])];
        let batch = batch("thing_v1", 2, keys.into_iter().chain([values]).collect());
        check_batch(&spec, &batch, 2).unwrap();
        let error = Rows::new(&spec, &batch, Some("o")).unwrap_err();
        assert!(matches!(&error, Rejected::WrongType(text) if text.contains("row 1")), "{error}");
    }
}

#[test]
fn conditions_and_assignments() {
    let spec = spec("thing_v1");
    let test = |column: &str, op, value| {
        tests(&spec, &[condition(column, op, value)]).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(test("color", Op::Equal, Scalar::Null), Ok(()));
    assert_eq!(test("identity", Op::Equal, Scalar::Text("x".into())), Ok(()));
    assert!(test("color", Op::Less, Scalar::Null).unwrap_err().contains("null"));
    assert!(
        test("weight", Op::StartsWith, Scalar::Double(1.0)).unwrap_err().contains("comparison")
    );
    assert!(
        test("price", Op::Less, Scalar::Decimal("1".into())).unwrap_err().contains("comparison")
    );
    assert!(test("weight", Op::Equal, Scalar::Double(f64::NAN)).unwrap_err().contains("NaN"));
    assert!(test("sold_at", Op::Less, Scalar::Timestamp(i64::MAX)).unwrap_err().contains("9999"));
    assert!(
        test("row_updated_at", Op::Equal, Scalar::Null).unwrap_err().contains("unknown column")
    );
    let many = vec![is("color", "red"); 33];
    assert!(matches!(tests(&spec, &many), Err(Rejected::Limit(_))));

    let set = |values: &[(&str, Scalar)]| {
        let values: Vec<_> =
            values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        assignments(&spec, &values).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(set(&[("color", Scalar::Null), ("data", Scalar::Null)]), Ok(()));
    for host in ["id", "shelf", "owner_id", "identity", "page_size", "channel", "row_created_at"] {
        assert!(set(&[(host, Scalar::Null)]).unwrap_err().contains("unknown column"), "{host}");
    }
    assert!(set(&[]).unwrap_err().contains("nothing to set"));
    assert!(
        set(&[("color", Scalar::Null), ("color", Scalar::Null)]).unwrap_err().contains("twice")
    );
    assert!(set(&[("notes", Scalar::Json("{".into()))]).unwrap_err().contains("no JSON"));
    let long = |length| Scalar::Text("x".repeat(length));
    assert_eq!(set(&[("color", long(65_536))]), Ok(()));
    assert!(set(&[("color", long(65_537))]).unwrap_err().contains("upsert it"));
}

#[test]
fn lookups_need_the_whole_key() {
    let spec = spec("thing_v1");
    let key = [Scalar::Text("s".into()), Scalar::Text("a".into())];
    assert_eq!(check_lookup(&spec, &key, &["color".into()]), Ok(()));
    assert!(check_lookup(&spec, &key[..1], &[]).is_err());
    assert!(check_lookup(&spec, &[Scalar::Null, Scalar::Null], &[]).is_err());
    assert!(check_lookup(&spec, &[Scalar::Integer(1), Scalar::Integer(1)], &[]).is_err());
    assert!(check_lookup(&spec, &key, &["pk".into()]).is_err());
    let many = vec!["color".to_owned(); spec.columns.len() + 1];
    assert!(matches!(check_lookup(&spec, &key, &many), Err(Rejected::Limit(_))));
}

/// Garbage is refused or accepted, but never a panic; what is accepted can be normalised.
#[test]
fn garbage_never_panics() {
    let specs = ["thing_v1", "ticket_v1", "account_v1", "issue_v1"].map(spec);
    let mut accepted = 0;
    for seed in 0..20_000 {
        println!("seed {seed}");
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let spec = specs.choose(&mut random).unwrap();
        let write = garbage(&mut random, spec);
        let Ok(()) = check_write(spec, &write, 10) else { continue };
        accepted += 1;
        if let Write::Upsert(batch) = &write {
            // Only a document or a decimal may still turn out to be none.
            if let Err(error) = Rows::new(spec, batch, Some("o")) {
                assert!(matches!(error, Rejected::WrongType(_)), "{error}");
            }
        }
    }
    assert!(accepted > 1_000, "only {accepted} accepted");
}

fn garbage(random: &mut ChaCha8Rng, spec: &TableSpec) -> Write {
    let rows = random.random_range(0..4);
    let sane = random.random_bool(0.5);
    let names: Vec<&str> = spec.columns.iter().map(|column| column.name.as_str()).collect();
    let count = random.random_range(0..4);
    let mut columns = Vec::new();
    for key in &spec.key {
        columns.push(random_column(random, names[*key], rows, sane));
    }
    for _ in 0..count {
        let name = names.choose(random).unwrap();
        columns.push(random_column(random, name, rows, sane));
    }
    let table = spec.service.clone();
    let conditions: Vec<Condition> = (0..random.random_range(0..3))
        .map(|_| {
            let ops = [Op::Equal, Op::NotEqual, Op::Less, Op::GreaterOrEqual, Op::StartsWith];
            condition(names.choose(random).unwrap(), *ops.choose(random).unwrap(), value(random))
        })
        .collect();
    match random.random_range(0..4) {
        0 => {
            let set =
                (0..count).map(|_| ((*names.choose(random).unwrap()).to_owned(), value(random)));
            Write::Update { table, set: set.collect(), conditions }
        }
        1 => Write::Delete { table, conditions },
        _ => Write::Upsert(batch(&table, rows, columns)),
    }
}

fn random_column(random: &mut ChaCha8Rng, name: &str, rows: usize, sane: bool) -> Column {
    let length = if sane { rows } else { random.random_range(0..5) };
    let values = match random.random_range(0..6) {
        0 => Values::Integer((0..length).map(|_| random.random()).collect()),
        1 => Values::Constant(value(random)),
        2 => Values::Timestamp((0..length).map(|_| random.random()).collect()),
        3 => Values::Json(random_utf8(random, length, sane)),
        _ => Values::Text(random_utf8(random, length, sane)),
    };
    let validity = if sane || random.random_bool(0.5) { 0 } else { random.random_range(0..3) };
    let existing = *[Existing::Replace, Existing::Merge, Existing::Keep].choose(random).unwrap();
    let validity = (0..validity).map(|_| random.random()).collect();
    Column { name: name.to_owned(), validity, values, existing }
}

fn random_utf8(random: &mut ChaCha8Rng, rows: usize, sane: bool) -> Utf8 {
    let data: Vec<u8> = match sane {
        true => b"{}".repeat(rows),
        false => (0..random.random_range(0..8)).map(|_| random.random()).collect(),
    };
    let offsets = match sane {
        true => (0..=rows as u32).map(|row| row * 2).collect(),
        false => (0..random.random_range(0..6)).map(|_| random.random_range(0..9)).collect(),
    };
    Utf8 { offsets, data }
}

fn value(random: &mut ChaCha8Rng) -> Scalar {
    match random.random_range(0..8) {
        0 => Scalar::Null,
        1 => Scalar::Boolean(random.random()),
        2 => Scalar::Integer(random.random()),
        3 => Scalar::Double(f64::from_bits(random.random())),
        4 => Scalar::Date(random.random()),
        5 => Scalar::Timestamp(random.random()),
        6 => Scalar::Json("{\"a\":1".repeat(random.random_range(0..2))),
        _ => Scalar::Text("\u{10ffff}a\0-%".chars().take(random.random_range(0..5)).collect()),
    }
}
