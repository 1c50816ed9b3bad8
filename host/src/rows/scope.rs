//! The scope of a full listing as text: how an open bracket is found again.

use std::borrow::Cow;

use rowgate_manifest::ColumnType;
use serde_json::Value as Json;

use super::batch::{key_text, push_part};
use super::json::push_string;
use super::{Role, TableSpec, Test, Value};
use crate::model::Op;

const OPS: [(Op, &str); 7] = [
    (Op::Equal, "="),
    (Op::NotEqual, "<>"),
    (Op::Less, "<"),
    (Op::LessOrEqual, "<="),
    (Op::Greater, ">"),
    (Op::GreaterOrEqual, ">="),
    (Op::StartsWith, "^"),
];

/// Canonical JSON of a scope, `[["column","op",value],..]`: the same set of conditions gives the
/// same text.
pub fn scope_key(spec: &TableSpec, scope: &[Test<'_>]) -> String {
    let mut texts: Vec<String> = scope.iter().map(|test| test_text(spec, test)).collect();
    texts.sort();
    texts.dedup();
    format!("[{}]", texts.join(","))
}

fn test_text(spec: &TableSpec, test: &Test<'_>) -> String {
    let op = OPS.iter().find(|(op, _)| *op == test.op).map_or("", |(_, text)| text);
    let mut text = format!("[\"{}\",\"{op}\",", spec.columns[test.column].name);
    match &test.value {
        Value::Null => text.push_str("null"),
        Value::Boolean(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Integer(value) => text.push_str(&value.to_string()),
        // As a string: infinity is no JSON number. The column's type tells it from text.
        Value::Double(value) => push_string(&format!("{value:?}"), &mut text),
        Value::Text(value) => push_string(value, &mut text),
        Value::Bytes(value) => {
            let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            push_string(&digits, &mut text);
        }
    }
    text.push(']');
    text
}

/// What the unique keys of all rows of an owner that meet the tests begin with, as far as owner and
/// conditions tell. None: they tell nothing, or the unique key isn't a computed one.
pub fn key_prefix(spec: &TableSpec, owner: Option<&str>, tests: &[Test<'_>]) -> Option<String> {
    let Role::Computed(parts) = &spec.unique_column().role else { return None };
    let mut prefix = String::new();
    for (at, part) in parts.iter().enumerate() {
        let last = at + 1 == parts.len();
        let on = |op: Op| tests.iter().find(|test| test.column == *part && test.op == op);
        if Some(*part) == spec.owner {
            push_part(owner?, last, &mut prefix);
        } else if let Some(test) = on(Op::Equal) {
            push_part(&key_text(&test.value), last, &mut prefix);
        } else if let Some(test) = on(Op::StartsWith).filter(|_| last) {
            push_part(&key_text(&test.value), last, &mut prefix);
        } else {
            break;
        }
    }
    (!prefix.is_empty()).then_some(prefix)
}

/// Reads what [`scope_key`] wrote. None: a column is gone or has another type now.
pub fn parse_scope(spec: &TableSpec, text: &str) -> Option<Vec<Test<'static>>> {
    let tests: Vec<(String, String, Json)> = serde_json::from_str(text).ok()?;
    tests.into_iter().map(|(column, op, value)| parse_test(spec, &column, &op, value)).collect()
}

fn parse_test(spec: &TableSpec, column: &str, op: &str, value: Json) -> Option<Test<'static>> {
    let column = spec.position(column)?;
    let (op, _) = *OPS.iter().find(|(_, text)| *text == op)?;
    let value = match (value, spec.columns[column].kind) {
        (Json::Null, _) => Value::Null,
        (Json::Bool(value), ColumnType::Bool) => Value::Boolean(value),
        (Json::Number(value), ColumnType::Int) => Value::Integer(value.as_i64()?),
        (Json::String(value), ColumnType::Double) => Value::Double(value.parse().ok()?),
        (Json::String(value), ColumnType::Bytes) => Value::Bytes(Cow::Owned(bytes(&value)?)),
        (Json::String(_), ColumnType::Bool | ColumnType::Int) => return None,
        (Json::String(value), _) => Value::Text(Cow::Owned(value)),
        _ => return None,
    };
    Some(Test { column, op, value })
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
