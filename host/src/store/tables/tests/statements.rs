//! The text of each write and of a lookup, of a table with a column of each type.

use super::*;
use crate::model::Op;
use crate::rows::Rows;
use crate::store::tables::read::committed_query;
use crate::store::tables::sweep::{Slice, delete_query, update_query};
use crate::store::tables::upsert::sql as upsert_sql;

const UNSEEN: Option<Slice> = Some(Slice { bracket: 7, limit: 5_000 });

#[test]
fn sql_of_writes_and_of_a_lookup() {
    for (dialect, name) in [(Dialect::Sqlite, "sqlite"), (Dialect::Postgres, "postgres")] {
        assert_snapshot(&format!("statements/{name}.sql"), &statements(dialect));
    }
}

fn statements(dialect: Dialect) -> String {
    let spec = spec("thing_v1");
    let scope = ApplyScope {
        owner_id: 97,
        external_owner_id: Some("a".to_owned()),
        now: 0,
        commit_id: 1,
        mapping_version: 1,
        stale_before: None,
    };
    let batch = two_things();
    let rows = Rows::new(&spec, &batch, Some("a")).unwrap();
    let upsert = |patch| upsert_sql(dialect, &spec, &scope, &rows, patch).concat();
    let update = |set: &[(&str, Scalar)], conditions: &[Condition], slice| {
        let set: Vec<_> = set.iter().map(|(name, to)| ((*name).to_owned(), to.clone())).collect();
        let (set, tests) = (assignments(&spec, &set).unwrap(), tests(&spec, conditions).unwrap());
        update_query(dialect, &scope, &spec, &set, &tests, slice).sql().to_owned()
    };
    let delete = |conditions: &[Condition], slice| {
        let tests = tests(&spec, conditions).unwrap();
        delete_query(dialect, &scope, &spec, &tests, slice).sql().to_owned()
    };
    let key = Value::Text("a-s-x".into());
    let lookup = committed_query(dialect, &spec, Some("a"), &key).sql().to_owned();
    let on_shelf = is("shelf", "s");
    let blue = [("color", text("blue")), ("version", Scalar::Integer(3))];
    let swept = update(&[("color", text("gone"))], std::slice::from_ref(&on_shelf), UNSEEN);
    let priced = condition("price", Op::NotEqual, Scalar::Null);
    let statements = [
        ("upsert", upsert(false)),
        ("patch", upsert(true)),
        ("update, by an index", update(&blue, &[on_shelf.clone(), is("color", "red")], None)),
        ("update of what a full listing didn't show", swept),
        ("delete, by the range of the key", delete(&[on_shelf.clone(), priced], None)),
        ("delete of what a full listing didn't show", delete(&[on_shelf], UNSEEN)),
        ("lookup", lookup),
    ];
    statements.map(|(name, sql)| format!("-- {name}\n{sql};\n")).join("\n")
}

/// Columns with a value a row and with one for all; replaced, merged and kept.
fn two_things() -> Batch {
    let constant = |name, value| column(name, Values::Constant(value));
    let columns = vec![
        texts("id", &[Some("x"), Some("y")]),
        shelf("s"),
        constant("version", Scalar::Integer(1)),
        texts("color", &[Some("red"), None]),
        constant("price", Scalar::Decimal("0.1".to_owned())),
        existing(Existing::Merge, documents("notes", &[Some("{}"), None])),
        existing(Existing::Keep, constant("made_on", Scalar::Date(0))),
        constant("sold_at", Scalar::Timestamp(0)),
        documents("data", &[Some("{}"), Some("{\"a\":1}")]),
    ];
    batch("thing_v1", 2, columns)
}
