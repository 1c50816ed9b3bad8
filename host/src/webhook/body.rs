//! Checks a webhook body against the manifest: pure functions, and texts that a stranger can act
//! on. No text repeats a value, because any value may be a secret in the wrong place.

use std::collections::BTreeMap;
use std::fmt;

use indexmap::IndexMap;
use rowgate_manifest::{BodyField, BodyKind};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// What is wrong, by field; `body` stands for the whole.
pub(super) type FieldErrors = BTreeMap<String, Vec<String>>;

/// A body that passed.
pub(super) struct Checked {
    /// The external owner id, where the manifest names its field.
    pub(super) owner: Option<String>,
    /// As it came; where fields are sealed these are null, an integer that stands for a text is a
    /// text, and a key stands there once.
    pub(super) body: Vec<u8>,
    /// By the name of the secret.
    pub(super) secrets: Vec<(String, Zeroizing<String>)>,
}

/// Of a key that stands there several times the last value counts.
struct Object {
    members: IndexMap<String, Box<RawValue>>,
    /// The bytes that this was read from have a value that isn't here.
    has_repeated: bool,
}

/// Checks `bytes` against the manifest's fields.
pub(super) fn check(
    fields: &IndexMap<String, BodyField>,
    bytes: &[u8],
) -> Result<Checked, FieldErrors> {
    let object = parse(bytes).map_err(|error| BTreeMap::from([("body".into(), vec![error])]))?;
    let mut errors = FieldErrors::new();
    let mut checked = Checked { owner: None, body: Vec::new(), secrets: Vec::new() };
    let mut changed: IndexMap<&str, String> = IndexMap::new();
    for (name, field) in fields {
        let needed = is_needed(field, &object);
        let given = object.members.get(name).map(|raw| raw.get()).filter(|raw| *raw != "null");
        let Some(raw) = given.filter(|_| needed) else {
            if needed && !field.optional {
                errors.entry(name.clone()).or_default().push(missing(field));
            }
            // Nobody asked for it here, but it must not be stored in clear.
            if given.is_some() && field.seal.is_some() {
                changed.insert(name, "null".into());
            }
            continue;
        };
        match value(field, raw) {
            Err(error) => errors.entry(name.clone()).or_default().push(error),
            Ok(text) => {
                if field.owner {
                    checked.owner = Some(text.to_string());
                }
                if let Some(secret) = &field.seal {
                    changed.insert(name, "null".into());
                    checked.secrets.push((secret.clone(), text));
                } else if field.kind == BodyKind::String && !raw.starts_with('"') {
                    changed.insert(name, format!("\"{}\"", *text));
                }
            }
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    // A value that doesn't count may be a secret all the same.
    let as_it_came = changed.is_empty() && !object.has_repeated;
    checked.body = if as_it_came { bytes.to_vec() } else { written(&object, &changed) };
    Ok(checked)
}

/// Names of the secrets that a stored body brought: where those stood it says null.
pub(crate) fn secrets_of(fields: &IndexMap<String, BodyField>, bytes: &[u8]) -> Vec<String> {
    let Ok(object) = parse(bytes) else { return Vec::new() };
    let sealed = fields.iter().filter(|(name, field)| {
        let is_null = object.members.get(*name).is_some_and(|raw| raw.get() == "null");
        is_null && is_needed(field, &object)
    });
    sealed.filter_map(|(_, field)| field.seal.clone()).collect()
}

fn parse(bytes: &[u8]) -> Result<Object, String> {
    if bytes.trim_ascii().is_empty() {
        return Err("is empty: send a JSON object".into());
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return Err("is not UTF-8 text".into()) };
    serde_json::from_str(text).map_err(|error| match error.classify() {
        // serde's own text would repeat the value.
        serde_json::error::Category::Data => "must be a JSON object".into(),
        _ => format!("is not JSON: {error}"),
    })
}

fn is_needed(field: &BodyField, object: &Object) -> bool {
    field.when.iter().all(|(other, values)| {
        let text = object.members.get(other).and_then(|raw| serde_json::from_str(raw.get()).ok());
        text.is_some_and(|text: String| values.contains(&text))
    })
}

fn missing(field: &BodyField) -> String {
    let conditions: Vec<String> = (field.when.iter())
        .map(|(other, values)| format!("{other} is {}", values.join(", ")))
        .collect();
    let when = match conditions.is_empty() {
        true => String::new(),
        false => format!(" (needed when {})", conditions.join(" and ")),
    };
    match field.values.is_empty() {
        true => format!("is missing{when}"),
        false => format!("is missing: must be one of {}{when}", field.values.join(", ")),
    }
}

/// A value as text: of a string what it says, of everything else its JSON.
fn value(field: &BodyField, raw: &str) -> Result<Zeroizing<String>, String> {
    let is_integer = raw.trim_start_matches('-').bytes().all(|digit| digit.is_ascii_digit());
    let fits = match field.kind {
        BodyKind::String => raw.starts_with('"') || is_integer,
        BodyKind::Integer => is_integer,
        BodyKind::Boolean => matches!(raw, "true" | "false"),
        BodyKind::Object => raw.starts_with('{'),
        BodyKind::Array => raw.starts_with('['),
    };
    if !fits {
        return Err(format!("must be {}", name(field.kind)));
    }
    if field.kind != BodyKind::String {
        return Ok(Zeroizing::new(raw.to_owned()));
    }
    let text = match raw.starts_with('"') {
        false => raw.to_owned(),
        // A lone surrogate, e.g. "\ud800".
        true => serde_json::from_str(raw).map_err(|_| "is not valid Unicode text".to_owned())?,
    };
    let text = Zeroizing::new(text);
    check_text(field, &text).map(|()| text)
}

fn check_text(field: &BodyField, text: &str) -> Result<(), String> {
    if !field.values.is_empty() && !field.values.iter().any(|value| value == text) {
        return Err(format!("must be one of {}", field.values.join(", ")));
    }
    let length = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
    match (field.min, field.max) {
        (Some(_), _) if text.is_empty() => return Err("must not be empty".into()),
        (Some(min), _) if length < min => {
            return Err(format!("must have at least {min} characters, it has {length}"));
        }
        (_, Some(max)) if length > max => {
            return Err(format!("must have at most {max} characters, it has {length}"));
        }
        _ => {}
    }
    // Postgres can't store it, and the same id must work on every database.
    if field.owner && text.contains('\0') {
        return Err("must not contain the character NUL".into());
    }
    Ok(())
}

fn name(kind: BodyKind) -> &'static str {
    match kind {
        BodyKind::String => "a string",
        BodyKind::Integer => "an integer",
        BodyKind::Boolean => "true or false",
        BodyKind::Object => "an object",
        BodyKind::Array => "an array",
    }
}

/// The object with some values replaced; the others keep their every byte.
fn written(object: &Object, changed: &IndexMap<&str, String>) -> Vec<u8> {
    let members: Vec<String> = (object.members.iter())
        .map(|(name, raw)| {
            let value = changed.get(name.as_str()).map_or(raw.get(), String::as_str);
            format!("{}:{value}", serde_json::Value::from(name.as_str()))
        })
        .collect();
    format!("{{{}}}", members.join(",")).into_bytes()
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut object = Object { members: IndexMap::new(), has_repeated: false };
        while let Some((name, value)) = map.next_entry()? {
            object.has_repeated |= object.members.insert(name, value).is_some();
        }
        Ok(object)
    }
}

#[cfg(test)]
mod tests;
