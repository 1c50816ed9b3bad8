//! JSON Schema as far as the host's OpenAPI document uses it. A word that isn't known here is an
//! error: what isn't checked must not pass for checked.

use serde_json::{Map, Value};

/// What is wrong with `value`, if anything.
pub(crate) fn check(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    at(document, schema, value, "$")
}

fn at(document: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let words = schema.as_object().ok_or_else(|| format!("{place}: no schema: {schema}"))?;
    for (word, says) in words {
        let wrong = |what: &str| Err(format!("{place}: {what}: {value} against {schema}"));
        let fits = match word.as_str() {
            "description" => true,
            "$ref" => {
                let pointer = says.as_str().unwrap().trim_start_matches('#');
                let target = document.pointer(pointer);
                at(document, target.ok_or_else(|| format!("no {pointer}"))?, value, place)?;
                true
            }
            "type" => match says {
                Value::Array(types) => types.iter().any(|one| is(one, value)),
                one => is(one, value),
            },
            "const" => value == says,
            "enum" => says.as_array().unwrap().contains(value),
            "required" => value.as_object().is_none_or(|members| {
                says.as_array()
                    .unwrap()
                    .iter()
                    .all(|name| members.contains_key(name.as_str().unwrap()))
            }),
            "properties" | "additionalProperties" => {
                members(document, words, value, place)?;
                true
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    at(document, says, item, &format!("{place}[{index}]"))?;
                }
                true
            }
            "minItems" => {
                value.as_array().is_none_or(|all| all.len() as u64 >= says.as_u64().unwrap())
            }
            "maxItems" => {
                value.as_array().is_none_or(|all| all.len() as u64 <= says.as_u64().unwrap())
            }
            "oneOf" => {
                let all = says.as_array().unwrap().iter();
                all.filter(|one| at(document, one, value, place).is_ok()).count() == 1
            }
            other => return wrong(&format!("unknown word {other}")),
        };
        if !fits {
            return wrong(word);
        }
    }
    Ok(())
}

fn members(
    document: &Value,
    words: &Map<String, Value>,
    value: &Value,
    place: &str,
) -> Result<(), String> {
    let Value::Object(members) = value else { return Ok(()) };
    for (name, member) in members {
        let place = format!("{place}.{name}");
        if let Some(schema) = words.get("properties").and_then(|all| all.get(name)) {
            at(document, schema, member, &place)?;
            continue;
        }
        match words.get("additionalProperties") {
            None | Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => return Err(format!("{place} isn't in the document")),
            Some(schema) => at(document, schema, member, &place)?,
        }
    }
    Ok(())
}

fn is(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        other => panic!("unknown type {other}"),
    }
}

#[test]
fn what_does_not_fit_is_found() {
    use serde_json::json;
    let document = json!({ "a": { "type": "string" } });
    for (schema, good, bad) in [
        (json!({ "$ref": "#/a" }), json!("x"), json!(1)),
        (json!({ "type": ["integer", "null"] }), json!(null), json!(1.5)),
        (json!({ "const": "list" }), json!("list"), json!("lists")),
        (json!({ "enum": ["x", null] }), json!(null), json!("y")),
        (json!({ "required": ["x"] }), json!({ "x": 1 }), json!({ "y": 1 })),
        (json!({ "properties": { "x": { "type": "string" } } }), json!({}), json!({ "x": 1 })),
        (json!({ "additionalProperties": false }), json!({}), json!({ "x": 1 })),
        (json!({ "additionalProperties": { "type": "string" } }), json!({}), json!({ "x": 1 })),
        (json!({ "items": { "type": "string" } }), json!(["x"]), json!(["x", 1])),
        (json!({ "minItems": 1, "maxItems": 1 }), json!([1]), json!([1, 2])),
        (json!({ "oneOf": [{ "const": 1 }, { "const": 2 }] }), json!(2), json!(3)),
        (json!({ "type": "string" }), json!("x"), json!(null)),
    ] {
        assert_eq!(check(&document, &schema, &good), Ok(()), "{schema}");
        assert!(check(&document, &schema, &bad).is_err(), "{schema} takes {bad}");
    }
    assert!(check(&document, &json!({ "pattern": "x" }), &json!("x")).is_err());
}
