//! The standard parameters `fields` and `prettyPrint`.

use serde_json::{Map, Value};

use crate::model::error::{ApiError, preset};
use crate::model::query::Params;

use super::Reply;

/// Narrows and formats an answer as its request asked. The default is compact, unlike Google's.
pub(crate) fn apply(mut reply: Reply, params: &Params) -> Result<Reply, ApiError> {
    let fields = params.get("fields").filter(|fields| *fields != "*");
    let pretty = params.get("prettyPrint") == Some("true");
    if fields.is_none() && !pretty {
        return Ok(reply);
    }
    let Ok(mut body) = serde_json::from_slice::<Value>(&reply.body) else { return Ok(reply) };
    if let Some(text) = fields {
        let invalid = || preset("invalidParameter").unwrap_or_else(ApiError::not_found);
        body = Mask::parse(text).ok_or_else(invalid)?.of(&body);
    }
    let text = if pretty { format!("{body:#}") } else { body.to_string() };
    reply.body = text.into_bytes();
    Ok(reply)
}

/// A parsed `fields`: names and what is wanted of each; nothing below means everything.
#[derive(Debug, Default, PartialEq)]
struct Mask(Vec<(String, Mask)>);

impl Mask {
    fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let mask = Self::list(&mut rest)?;
        rest.is_empty().then_some(mask)
    }

    fn list(rest: &mut &str) -> Option<Self> {
        let mut mask = Self::default();
        loop {
            mask.0.push(Self::entry(rest)?);
            match rest.strip_prefix(',') {
                Some(tail) => *rest = tail,
                None => return Some(mask),
            }
        }
    }

    fn entry(rest: &mut &str) -> Option<(String, Self)> {
        let end = rest.find([',', '(', ')', '/']).unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        *rest = tail;
        if name.is_empty() {
            return None;
        }
        let below = if let Some(tail) = rest.strip_prefix('/') {
            *rest = tail;
            Self(vec![Self::entry(rest)?])
        } else if let Some(tail) = rest.strip_prefix('(') {
            *rest = tail;
            let below = Self::list(rest)?;
            *rest = rest.strip_prefix(')')?;
            below
        } else {
            Self::default()
        };
        Some((name.to_owned(), below))
    }

    fn of(&self, value: &Value) -> Value {
        match value {
            Value::Array(items) => items.iter().map(|item| self.of(item)).collect(),
            Value::Object(fields) if !self.0.is_empty() => {
                let wanted = |(name, below): &(String, Self)| {
                    let value = fields.get(name)?;
                    Some((name.clone(), below.of(value)))
                };
                Value::Object(self.0.iter().filter_map(wanted).collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn masks_select() {
        let body = json!({
            "nextPageToken": "p", "kind": "k",
            "items": [{ "id": "a", "start": { "date": "d", "x": 1 }, "etag": "e" }],
        });
        for (fields, expected) in [
            ("kind", json!({ "kind": "k" })),
            ("items/id", json!({ "items": [{ "id": "a" }] })),
            (
                "nextPageToken,items(id,start/date)",
                json!({ "nextPageToken": "p", "items": [{ "id": "a", "start": { "date": "d" } }] }),
            ),
            ("nothing", json!({})),
        ] {
            assert_eq!(Mask::parse(fields).unwrap().of(&body), expected, "{fields}");
        }
        for bad in ["", "a,", "items(id", "a)b"] {
            assert_eq!(Mask::parse(bad), None, "{bad}");
        }
    }
}
