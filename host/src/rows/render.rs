//! A row as JSON text, for whoever is told of it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rowgate_manifest::ColumnType;

use super::{TableSpec, Value};

/// Appends a row as a JSON object, in the table's order. Documents are nested, bytes base64, decimals
/// text; times have microseconds and an offset, `2026-03-20T16:00:00.000000+00:00`.
pub fn push_object(out: &mut String, spec: &TableSpec, values: &[Value<'_>]) {
    for (at, (column, value)) in spec.columns.iter().zip(values).enumerate() {
        out.push(if at == 0 { '{' } else { ',' });
        push_text(out, &column.name);
        out.push(':');
        push_value(out, column.kind, value);
    }
    out.push_str(if spec.columns.is_empty() { "{}" } else { "}" });
}

/// Appends a JSON string.
pub fn push_text(out: &mut String, text: &str) {
    out.push_str(&serde_json::to_string(text).expect("a text is JSON"));
}

fn push_value(out: &mut String, kind: ColumnType, value: &Value<'_>) {
    match (value, kind) {
        (Value::Null, _) => out.push_str("null"),
        (Value::Boolean(value), _) => out.push_str(if *value { "true" } else { "false" }),
        (Value::Integer(value), _) => {
            let _infallible = write!(out, "{value}");
        }
        (Value::Double(value), _) => {
            // What JSON has no number for becomes null.
            out.push_str(&serde_json::to_string(value).expect("a number is JSON"));
        }
        (Value::Text(text), ColumnType::Json) => out.push_str(text),
        (Value::Text(text), ColumnType::Timestamptz) => {
            push_text(
                out,
                &text.strip_suffix('Z').map_or(text.to_string(), |t| format!("{t}+00:00")),
            );
        }
        (Value::Text(text), _) => push_text(out, text),
        (Value::Bytes(bytes), _) => push_text(out, &BASE64_STANDARD.encode(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::fixture::spec;

    #[test]
    fn each_type_as_json() {
        let mut spec = spec("thing_v1");
        let shown = |name: &str| {
            ["pk", "id", "on_sale", "weight", "price", "notes", "made_on", "sold_at", "picture"]
                .contains(&name)
        };
        spec.columns.retain(|column| shown(&column.name));
        let text = |text: &'static str| Value::Text(text.into());
        let values = [
            Value::Integer(7),
            text("a\"b\n"),
            Value::Boolean(true),
            Value::Double(1.5),
            text("1.50"),
            text(r#"{"a":[1,null]}"#),
            text("2026-03-20"),
            text("2026-03-20T16:00:00.000001Z"),
            Value::Bytes(vec![0, 255].into()),
        ];
        let mut out = String::new();
        push_object(&mut out, &spec, &values);
        assert_eq!(
            out,
            r#"{"pk":7,"id":"a\"b\n","on_sale":true,"weight":1.5,"price":"1.50","notes":{"a":[1,null]},"made_on":"2026-03-20","sold_at":"2026-03-20T16:00:00.000001+00:00","picture":"AP8="}"#
        );
        let nulls = vec![Value::Null; spec.columns.len()];
        out.clear();
        push_object(&mut out, &spec, &nulls);
        assert!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["sold_at"].is_null());
    }
}
