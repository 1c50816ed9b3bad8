//! Batches, and the rules of the contract by which a host applies them.

use super::*;
use crate::db;
use crate::testing::{Host, Tables, Write};

struct Things;

#[derive(Clone, Copy, Default)]
struct Thing<'a> {
    id: Cell<&'a str>,
    count: Cell<i64>,
    note: Cell<&'a str>,
    on: Cell<bool>,
}

impl Table for Things {
    type Row<'a> = Thing<'a>;
    const NAME: &'static str = "thing";
    const COLUMNS: &'static [&'static str] = &["id", "count", "note", "on"];
    const KEY: &'static [&'static str] = &["id"];
}

impl Row for Thing<'_> {
    fn cells(&self, set: &mut dyn FnMut(usize, Option<Value<'_>>)) {
        if let Some(value) = self.id.said() {
            set(0, value.map(Value::Text));
        }
        if let Some(value) = self.count.said() {
            set(1, value.map(Value::Int));
        }
        if let Some(value) = self.note.said() {
            set(2, value.map(Value::Text));
        }
        if let Some(value) = self.on.said() {
            set(3, value.map(Value::Bool));
        }
    }
}

fn thing(id: &str) -> Thing<'_> {
    Thing { id: Cell::Value(id), ..Thing::default() }
}

fn batch(rows: &[Thing<'_>]) -> Batch<Things> {
    let mut batch = Batch::new("thing_v1");
    rows.iter().for_each(|row| batch.push(row));
    batch
}

fn written(host: &Host) -> wit::Batch {
    match host.take().writes.pop() {
        Some(Write::Upsert(batch)) => batch,
        other => panic!("{other:?}"),
    }
}

fn column<'a>(batch: &'a wit::Batch, name: &str) -> &'a wit::Column {
    batch.columns.iter().find(|column| column.name == name).unwrap()
}

#[test]
fn columns_with_gaps() {
    let host = Host::new();
    let rows: Vec<_> = (0..10)
        .map(|n| Thing {
            count: if n % 3 == 0 { Cell::Value(n) } else { Cell::Null },
            note: Cell::Null,
            ..thing(["a", "bb", ""][n as usize % 3])
        })
        .collect();
    batch(&rows).upsert().unwrap();
    let batch = written(&host);
    assert_eq!((batch.table.as_str(), batch.rows, batch.columns.len()), ("thing_v1", 10, 3));
    let id = column(&batch, "id");
    let (offsets, data) = (vec![0, 1, 3, 3, 4, 6, 6, 7, 9, 9, 10], b"abbabbabba".to_vec());
    assert_eq!(id.values, Values::Text(Utf8 { offsets, data }));
    assert!(id.validity.is_empty(), "all present");
    let count = column(&batch, "count");
    assert_eq!(count.values, Values::Integer(vec![0, 0, 0, 3, 0, 0, 6, 0, 0, 9]));
    assert_eq!(count.validity, [0b0100_1001, 0b10]);
    assert_eq!(column(&batch, "note").values, Values::Constant(Scalar::Null));
}

#[test]
fn what_would_erase_or_has_no_key_is_refused() {
    let host = Host::new();
    let some = batch(&[Thing { count: Cell::Value(1), ..thing("a") }, thing("b")]);
    let error = some.upsert().unwrap_err();
    assert!(matches!(&error, Failure::Bug(text) if text.contains("`count`")), "{error:?}");
    let keyless = batch(&[Thing { count: Cell::Value(1), ..Thing::default() }]);
    let error = keyless.upsert().unwrap_err();
    assert!(matches!(&error, Failure::Bug(text) if text.contains("key column `id`")), "{error:?}");
    assert!(batch(&[]).is_empty());
    batch(&[]).upsert().unwrap();
    assert_eq!(host.take().writes, []);
}

#[test]
fn what_writes_come_to() {
    let host = Host::new();
    let mut tables = Tables::new().with::<Things>("thing_v1");
    let full = |id, count| Thing { count: Cell::Value(count), note: Cell::Value("n"), ..thing(id) };
    batch(&[full("a", 1), full("b", 2), full("c", 3)]).upsert().unwrap();
    // Merge: null leaves what is there; keep: so does a value; a row that is new takes both.
    let merged = Thing { count: Cell::Null, note: Cell::Value("m"), ..thing("a") };
    batch(&[merged, Thing { note: Cell::Value("m"), ..thing("d") }])
        .merge()
        .keep("note")
        .constant("on", true)
        .upsert()
        .unwrap();
    batch(&[Thing { count: Cell::Null, ..thing("b") }, Thing { count: Cell::Null, ..thing("x") }])
        .patch()
        .unwrap();
    let more = db::condition("count", db::Op::Greater, Scalar::Integer(2));
    db::update("thing_v1", &[("note", "many".into())], &[more]).unwrap();
    tables.commit(&host.take().writes);
    let shown: Vec<_> = tables
        .rows("thing_v1")
        .iter()
        .map(|row| {
            let get = |name: &str| match row.get(name) {
                None => "-".to_owned(),
                Some(Scalar::Text(text)) => text.clone(),
                Some(Scalar::Integer(n)) => n.to_string(),
                Some(other) => format!("{other:?}").replace("Scalar::", ""),
            };
            ["id", "count", "note", "on"].map(get).join(" ")
        })
        .collect();
    assert_eq!(shown, ["a 1 n Boolean(true)", "b - n -", "c 3 many -", "d - m Boolean(true)"]);
}

#[test]
fn a_full_listing_sweeps_what_it_did_not_show() {
    let host = Host::new();
    let mut tables = Tables::new().with::<Things>("thing_v1");
    batch(&[thing("a"), thing("b"), thing("c")]).upsert().unwrap();
    db::begin_full("thing_v1", &[]).unwrap();
    batch(&[thing("b")]).upsert().unwrap();
    batch(&[Thing { count: Cell::Value(1), ..thing("c") }]).patch().unwrap();
    db::end_full_delete("thing_v1", &[]).unwrap();
    tables.commit(&host.take().writes);
    assert_eq!(tables.rows("thing_v1").len(), 2);
}
