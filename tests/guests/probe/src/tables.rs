//! Every type of column, written and read back in the same call, and every way to write.
//! Item `types` holds the values, `merged` what three batches with different modes leave.

use crate::ITEMS;
use crate::bindings::rowgate::plugin::db::{self, Condition, Existing, Op, Scalar, Values};
use crate::bindings::rowgate::plugin::types::{Context, Failure};
use crate::rows;

pub(crate) fn write_and_read(context: &Context) -> Result<(), Failure> {
    types(context)?;
    existing()?;
    update_and_delete()
}

fn types(context: &Context) -> Result<(), Failure> {
    let mut batch = rows::items(&[("types", "Grüße, 🌍")]);
    batch.columns.extend([
        rows::column("flag", Values::Boolean(vec![1])),
        rows::column("count", Values::Integer(vec![i64::MIN])),
        rows::column("ratio", Values::Double(vec![0.1])),
        rows::column("amount", Values::Decimal(rows::utf8(&["-12345678901234567890.125"]))),
        rows::column("day", Values::Date(vec![-719_162])),
        rows::column("at", Values::Timestamp(vec![context.now])),
        rows::column("blob", Values::Bytes(rows::utf8(&[[0, 0xff, 0x27]]))),
        rows::column("document", Values::Json(rows::utf8(&["{\"a\":[1,null]}"]))),
    ]);
    rows::upsert(&batch)?;
    let expected = [
        ("note", Scalar::Text("Grüße, 🌍".to_owned())),
        ("flag", Scalar::Boolean(true)),
        ("count", Scalar::Integer(i64::MIN)),
        ("ratio", Scalar::Double(0.1)),
        ("amount", Scalar::Decimal("-12345678901234567890.125".to_owned())),
        ("day", Scalar::Date(-719_162)),
        ("at", Scalar::Timestamp(context.now)),
        ("blob", Scalar::Bytes(vec![0, 0xff, 0x27])),
        ("document", Scalar::Json("{\"a\":[1,null]}".to_owned())),
    ];
    expect("types", &expected)
}

/// `replace` takes a null, `merge` and `keep` don't; `keep` takes nothing over a value.
fn existing() -> Result<(), Failure> {
    rows::write_item("merged", "first")?;
    for (note, existing, left) in [
        (None, Existing::Merge, Some("first")),
        (Some("second"), Existing::Keep, Some("first")),
        (Some("second"), Existing::Merge, Some("second")),
        (None, Existing::Replace, None),
        (Some("third"), Existing::Keep, Some("third")),
    ] {
        let mut batch = rows::items(&[("merged", note.unwrap_or_default())]);
        batch.columns[1].existing = existing;
        batch.columns[1].validity = vec![u8::from(note.is_some())];
        rows::upsert(&batch)?;
        expect("merged", &[("note", text_or_null(left))])?;
    }
    Ok(())
}

fn update_and_delete() -> Result<(), Failure> {
    let batch = rows::items(&[("updated", "a"), ("deleted", "a"), ("unpatched", "a")]);
    rows::upsert(&batch)?;
    let set = [("note".to_owned(), Scalar::Text("b".to_owned()))];
    db::update(ITEMS, &set, &[id_is("updated")]).map_err(rows::refused)?;
    db::delete(ITEMS, &[id_is("deleted")]).map_err(rows::refused)?;
    db::patch(&rows::items(&[("never-there", "c"), ("updated", "c")])).map_err(rows::refused)?;
    expect("updated", &[("note", Scalar::Text("c".to_owned()))])?;
    expect("unpatched", &[("note", Scalar::Text("a".to_owned()))])?;
    for gone in ["deleted", "never-there"] {
        if let Some(row) = lookup(gone, &["note"])? {
            return Err(Failure::Bug(format!("item {gone} is there: {row:?}")));
        }
    }
    Ok(())
}

fn expect(id: &str, expected: &[(&str, Scalar)]) -> Result<(), Failure> {
    let columns: Vec<_> = expected.iter().map(|(name, _)| *name).collect();
    let row = lookup(id, &columns)?;
    let row: Vec<_> = row.iter().flatten().map(shown).collect();
    let expected: Vec<_> = expected.iter().map(|(_, value)| shown(value)).collect();
    if row == expected {
        return Ok(());
    }
    Err(Failure::Bug(format!("item {id} is {row:?} instead of {expected:?}")))
}

/// A scalar to compare. A database may keep a document in a form of its own.
fn shown(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Json(document) => serde_json::from_str::<serde_json::Value>(document)
            .map_or_else(|error| error.to_string(), |document| format!("Json({document})")),
        other => format!("{other:?}"),
    }
}

fn lookup(id: &str, columns: &[&str]) -> Result<Option<Vec<Scalar>>, Failure> {
    let columns: Vec<_> = columns.iter().map(|column| (*column).to_owned()).collect();
    db::lookup(ITEMS, &[Scalar::Text(id.to_owned())], &columns).map_err(rows::refused)
}

fn id_is(id: &str) -> Condition {
    let value = Scalar::Text(id.to_owned());
    Condition { column: "item_id".to_owned(), op: Op::Equal, value }
}

fn text_or_null(text: Option<&str>) -> Scalar {
    text.map_or(Scalar::Null, |text| Scalar::Text(text.to_owned()))
}
