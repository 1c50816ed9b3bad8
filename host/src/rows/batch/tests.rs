use super::*;
use crate::model::{Column, Op, Scalar, Values};
use crate::rows::fixture::{
    batch, column, condition, documents, existing, is, spec, texts, validity,
};
use crate::rows::tests;

fn shelf(ids: &[Option<&str>]) -> Vec<Column> {
    vec![texts("id", ids), column("shelf", Values::Constant(Scalar::Text("s-1".into())))]
}

fn keys(rows: &Rows<'_>) -> Vec<String> {
    (0..rows.rows).map(|row| format!("{:?}", rows.key(row))).collect()
}

#[test]
fn joined_keys_never_collide() {
    let join = |parts: &[&str]| {
        let mut text = String::new();
        for (at, part) in parts.iter().enumerate() {
            push_part(part, at + 1 == parts.len(), &mut text);
        }
        text
    };
    assert_eq!(join(&["a-b", "c%2Dd", "e-f%"]), "a%2Db-c%252Dd-e-f%");
    let mut seen = std::collections::HashSet::new();
    let pieces = ["", "a", "-", "%", "%2D", "a-", "-a", "%25", "é-"];
    for a in pieces {
        for b in pieces {
            for c in pieces {
                assert!(seen.insert(join(&[a, b, c])), "{a} {b} {c}");
            }
        }
    }
}

#[test]
fn values_take_their_stored_form() {
    let spec = spec("thing_v1");
    let mut columns = shelf(&[Some("x\0y"), Some("b")]);
    columns.extend([
        column("on_sale", Values::Boolean(vec![1, 0])),
        column("weight", Values::Double(vec![f64::NAN, 1.5])),
        texts("color", &[None, Some("re\0d")]),
        column("made_on", Values::Date(vec![0, i32::MAX])),
        column("sold_at", Values::Timestamp(vec![1, i64::MIN])),
        documents("notes", &[Some(r#"{"b":1.0,"a":"\u0000"}"#), None]),
    ]);
    let batch = batch("thing_v1", 2, columns);
    let rows = Rows::new(&spec, &batch, Some("o-1")).unwrap();
    let cells = |name: &str| {
        let column = spec.position(name).unwrap();
        let presented = rows.columns.iter().find(|presented| presented.column == column).unwrap();
        [presented.cell(0).clone(), presented.cell(1).clone()]
    };
    let text = |text: &str| Value::Text(text.to_owned().into());
    assert_eq!(cells("identity"), [text("o%2D1-s%2D1-xy"), text("o%2D1-s%2D1-b")]);
    assert_eq!(cells("owner_id"), [text("o-1"), text("o-1")]);
    assert_eq!(cells("id"), [text("xy"), text("b")]);
    assert_eq!(cells("on_sale"), [Value::Boolean(true), Value::Boolean(false)]);
    assert_eq!(cells("weight"), [Value::Null, Value::Double(1.5)]);
    assert_eq!(cells("color"), [Value::Null, text("red")]);
    assert_eq!(cells("made_on"), [text("1970-01-01"), Value::Null]);
    assert_eq!(cells("sold_at"), [text("1970-01-01T00:00:00.000001Z"), Value::Null]);
    assert_eq!(cells("notes"), [text(r#"{"a":"","b":1}"#), Value::Null]);
    assert!(rows.columns.is_sorted_by_key(|presented| presented.column));
}

#[test]
fn repeated_keys_and_missing_data_make_parts() {
    let spec = spec("thing_v1");
    let mut columns = shelf(&[Some("a"), Some("b"), Some("a"), Some("a")]);
    let data = documents("data", &[Some("{}"), None, None, Some("1")]);
    columns.push(existing(Existing::Merge, data));
    let batch = batch("thing_v1", 4, columns);
    let rows = Rows::new(&spec, &batch, Some("o")).unwrap();
    let parts: Vec<(&[usize], bool)> =
        rows.parts.iter().map(|part| (part.rows.as_slice(), part.without_data)).collect();
    let expected: [(&[usize], bool); 4] =
        [(&[0], false), (&[1], true), (&[2], true), (&[3], false)];
    assert_eq!(parts, expected);
}

#[test]
fn data_is_never_null_where_it_replaces() {
    let spec = spec("thing_v1");
    let mut columns = shelf(&[Some("a")]);
    columns.push(documents("data", &[None]));
    let batch = batch("thing_v1", 1, columns);
    let rows = Rows::new(&spec, &batch, Some("o")).unwrap();
    assert_eq!(rows.columns.last().unwrap().cell(0), &Value::Text("{}".into()));
}

#[test]
fn a_table_of_one_row_an_owner_has_the_owner_as_key() {
    let spec = spec("account_v1");
    let batch = batch("account_v1", 2, vec![texts("title", &[Some("a"), Some("b")])]);
    let rows = Rows::new(&spec, &batch, Some("o")).unwrap();
    assert_eq!(keys(&rows), [r#"Text("o")"#, r#"Text("o")"#]);
    assert_eq!(rows.parts.len(), 2);
    assert!(matches!(Rows::new(&spec, &batch, None), Err(Rejected::Other(_))));
}

#[test]
fn a_unique_key_has_2500_bytes_at_most() {
    let spec = spec("thing_v1");
    // Bytes, not letters; `o-s%2D1-` stands before the id, and its `-` is escaped.
    let id = |bytes: usize| "é".repeat((bytes - 8) / 2);
    let make = |owner: &str, id: &str| {
        let batch = batch("thing_v1", 2, shelf(&[Some("short"), Some(id)]));
        Rows::new(&spec, &batch, Some(owner)).map(|rows| match rows.key(1) {
            Value::Text(key) => key.len(),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(make("o", &id(2_500)), Ok(2_500));
    let says = format!(
        "over the limit: table thing_v1: the key that begins with \"o-s%2D1-{}\" has 2502 bytes, \
         not 2500 at most",
        "é".repeat(52),
    );
    assert_eq!(make("o", &id(2_502)).unwrap_err().to_string(), says);
    assert!(make("oo", &id(2_500)).is_err());
    // The longest ids of owners and vendors, where they aren't all `-`.
    assert_eq!(make(&"o".repeat(1_024), &"i".repeat(1_024)), Ok(2_055));
    assert!(matches!(make(&"-".repeat(1_024), "i"), Err(Rejected::Limit(_))));
}

#[test]
fn what_a_row_does_not_say_is_in_scope() {
    let spec = spec("thing_v1");
    let scope = [is("shelf", "s-1"), is("color", "red")];
    let scope = tests(&spec, &scope).unwrap();
    let colors = [Some("red"), Some("blue"), None];
    let in_scope = |column: Option<Column>| {
        let mut columns = shelf(&[Some("a"), Some("b"), Some("c")]);
        columns.extend(column);
        let batch = batch("thing_v1", 3, columns);
        let rows = Rows::new(&spec, &batch, Some("o")).unwrap();
        [0, 1, 2].map(|row| rows.in_scope(&spec, &scope, row))
    };
    let with = |mode| Some(existing(mode, texts("color", &colors)));
    assert_eq!(in_scope(None), [true, true, true]);
    assert_eq!(in_scope(with(Existing::Replace)), [true, false, false]);
    assert_eq!(in_scope(with(Existing::Merge)), [true, false, true]);
    assert_eq!(in_scope(with(Existing::Keep)), [true, true, true]);
    let elsewhere = [condition("shelf", Op::NotEqual, Scalar::Text("s-1".into()))];
    let elsewhere = tests(&spec, &elsewhere).unwrap();
    let batch = batch("thing_v1", 1, shelf(&[Some("a")]));
    let rows = Rows::new(&spec, &batch, Some("o")).unwrap();
    assert!(!rows.in_scope(&spec, &elsewhere, 0));
}

#[test]
fn constants_may_be_absent_in_some_rows() {
    let spec = spec("thing_v1");
    let mut columns = shelf(&[Some("a"), Some("b")]);
    let bits = validity(&[None, Some(())]);
    let red = column("color", Values::Constant(Scalar::Text("red".into())));
    columns.push(Column { validity: bits, ..red });
    let batch = batch("thing_v1", 2, columns);
    let rows = Rows::new(&spec, &batch, Some("o")).unwrap();
    let color = spec.position("color").unwrap();
    let color = rows.columns.iter().find(|presented| presented.column == color).unwrap();
    assert_eq!((color.cell(0), color.cell(1)), (&Value::Null, &Value::Text("red".into())));
}

/// Two threads read it.
#[test]
fn a_large_batch_is_as_it_would_be_in_two() {
    let spec = spec("thing_v1");
    let (rows, last) = (HALVED_ROWS + 1, HALVED_ROWS);
    let make = |wrong: &[usize]| {
        // The last row has the first one's key.
        let ids = Vec::from_iter((0..rows).map(|row| format!("id-{}", row % last)));
        let notes = Vec::from_iter((0..rows).map(|row| match wrong.contains(&row) {
            true => "{".to_owned(),
            false => format!(r#"{{ "n": {row} }}"#),
        }));
        let ids = Vec::from_iter(ids.iter().map(|id| Some(id.as_str())));
        let notes = Vec::from_iter(notes.iter().map(|notes| Some(notes.as_str())));
        let mut columns = shelf(&ids);
        columns.push(documents("notes", &notes));
        batch("thing_v1", rows, columns)
    };
    let whole = make(&[]);
    let read = Rows::new(&spec, &whole, Some("o")).unwrap();
    let readers = check::readers(&spec, &whole, usize::MAX).unwrap();
    assert_eq!(read.rows, rows);
    for row in 0..rows {
        let alone = Rows::select(&spec, &readers, Some("o"), &[row]).unwrap();
        for (one, all) in alone.columns.iter().zip(&read.columns) {
            assert_eq!((one.column, one.cell(0)), (all.column, all.cell(row)), "row {row}");
        }
    }
    let parts = Vec::from_iter(read.parts.iter().map(|part| part.rows.clone()));
    assert_eq!(parts, [Vec::from_iter(0..last), vec![last]]);
    for (wrong, told) in [(vec![3], 3), (vec![last], last), (vec![last, 3], 3)] {
        let error = Rows::new(&spec, &make(&wrong), Some("o")).unwrap_err().to_string();
        assert!(error.contains(&format!("row {told}:")), "{error}");
    }
}
