//! Values of a request, checked against what its endpoint takes.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::answer::Step;
use super::endpoint::{Kind, Param};
use super::failure::Failure;
use crate::model::Micros;

/// Values as they were sent; each is known to fit.
#[derive(Debug, Default)]
pub(super) struct Values(Map<String, Value>);

impl Values {
    /// Checks what was sent to this URL. Names that no parameter has are left alone: clients of
    /// WebhookDB send some that mean nothing here.
    pub(super) fn check(
        sent: Map<String, Value>,
        params: &[Param],
        url: &str,
    ) -> Result<Self, Failure> {
        for param in params {
            if let Some(value) = sent.get(param.name).filter(|value| !value.is_null()) {
                fits(param.kind, value).map_err(|reason| Failure::field(param.name, reason))?;
            }
        }
        for param in params {
            let given = sent.get(param.name).is_some_and(is_given);
            if let Some(prompt) = param.prompt.filter(|_| !given) {
                let mut step = Step::ask(prompt, url, param.name).secret(param.secret);
                step.post_params = sent;
                return Err(Failure::prompt(param.name, &step));
            }
        }
        Ok(Self(sent))
    }

    /// Whether it was sent, whatever it is.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// All that was sent.
    pub(super) fn sent(&self) -> &Map<String, Value> {
        &self.0
    }

    /// A text; empty if there is none.
    pub(super) fn text(&self, name: &str) -> String {
        self.0.get(name).and_then(as_text).unwrap_or_default()
    }

    /// A text that says something.
    pub(super) fn given(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.trim().is_empty())
    }

    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        self.0.get(name).and_then(as_integer)
    }

    /// A time, if one was sent.
    pub(super) fn time(&self, name: &str) -> Result<Option<Micros>, Failure> {
        let Some(text) = self.given(name) else { return Ok(None) };
        match text.trim().parse::<jiff::Timestamp>() {
            Ok(at) => Ok(Some(at.as_microsecond())),
            Err(_) => Err(Failure::field(name, "must be a time like 2026-03-20T16:00:00Z")),
        }
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.as_flag(name).unwrap_or(false)
    }

    /// None: it isn't there, or doesn't say yes or no.
    pub(super) fn as_flag(&self, name: &str) -> Option<bool> {
        self.0.get(name).and_then(as_flag)
    }

    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        match self.0.get(name) {
            Some(Value::Array(all)) => all.iter().filter_map(as_text).collect(),
            Some(Value::String(text)) => {
                let all = text.split(',').map(str::trim).filter(|one| !one.is_empty());
                all.map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn named(&self, name: &str) -> BTreeMap<String, String> {
        let members = self.0.get(name).and_then(Value::as_object).into_iter().flatten();
        members.filter_map(|(name, value)| Some((name.clone(), as_text(value)?))).collect()
    }
}

fn is_given(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(all) => !all.is_empty(),
        _ => true,
    }
}

fn fits(kind: Kind, value: &Value) -> Result<(), String> {
    let fits = match kind {
        Kind::Text => as_text(value).is_some(),
        Kind::Integer => is_blank(value) || as_integer(value).is_some(),
        Kind::Flag => as_flag(value).is_some(),
        Kind::Texts => match value {
            Value::Array(all) => all.iter().all(|one| as_text(one).is_some()),
            other => other.is_string(),
        },
        Kind::Named => match value {
            Value::Object(members) => members.values().all(|one| as_text(one).is_some()),
            _ => false,
        },
        Kind::OneOf(words) => {
            as_text(value).is_some_and(|text| text.is_empty() || words.contains(&text.as_str()))
        }
    };
    if fits { Ok(()) } else { Err(format!("must be {}", wanted(kind))) }
}

fn wanted(kind: Kind) -> String {
    match kind {
        Kind::Text => "a text without the character NUL".into(),
        Kind::Integer => "a whole number".into(),
        Kind::Flag => "true or false".into(),
        Kind::Texts => "an array of texts".into(),
        Kind::Named => "an object of texts".into(),
        Kind::OneOf(words) => format!("one of {}", words.join(", ")),
    }
}

/// PostgreSQL takes no NUL, and nothing here has a use for one. WebhookDB's client sends what was typed with its
/// line end (ask_unix.go), which belongs to no value.
fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.contains('\0') => {
            Some(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn is_blank(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.trim().is_empty())
}

fn as_integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn as_flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" => Some(true),
            "false" | "f" | "no" | "n" | "0" | "" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(params: &[Param], sent: Value) -> Result<Values, Failure> {
        let Value::Object(sent) = sent else { panic!("not an object") };
        Values::check(sent, params, "/v1/here")
    }

    #[test]
    fn values_that_people_typed_are_read() {
        let params = [
            Param::text("a", ""),
            Param::text("b", "").of(Kind::Flag),
            Param::text("c", "").of(Kind::Texts),
            Param::text("d", "").of(Kind::Named),
            Param::text("e", "").of(Kind::OneOf(&["x", "y"])),
            Param::text("f", "").of(Kind::Integer),
            Param::text("g", ""),
            Param::text("h", ""),
        ];
        let sent = json!({ "a": 600, "g": " 1970-01-01T00:00:01Z", "b": "Yes", "c": "x, y,", "d": { "k": 1 }, "e": "y\n", "f": " 7\n", "z": [], "h": "a b \r\n" });
        let values = check(&params, sent).unwrap();
        assert_eq!(values.text("a"), "600");
        assert_eq!((values.text("e").as_str(), values.text("h").as_str()), ("y", "a b "));
        assert_eq!(values.integer("f"), Some(7));
        assert_eq!(values.time("g").unwrap(), Some(1_000_000));
        assert!(values.time("a").is_err() && values.time("missing").unwrap().is_none());
        assert!(values.flag("b"));
        assert_eq!(values.texts("c"), ["x", "y"]);
        assert_eq!(values.named("d"), BTreeMap::from([("k".into(), "1".into())]));
        assert!(values.has("z") && values.given("missing").is_none());
        for (name, wrong) in [
            ("a", json!({})),
            ("a", json!("\0")),
            ("b", json!("maybe")),
            ("c", json!([[]])),
            ("d", json!("x")),
            ("e", json!("z")),
            ("f", json!("7.5")),
            ("f", json!(1e300)),
        ] {
            assert!(check(&params, json!({ name: wrong })).is_err(), "{name}");
        }
        assert!(check(&params, json!({ "a": null, "e": "", "f": "" })).is_ok());
    }

    #[test]
    fn what_is_missing_is_asked_with_what_was_sent() {
        let params = [Param::text("a", "").asked("Which a:"), Param::text("b", "")];
        let asked = check(&params, json!({ "b": "1", "a": " " })).unwrap_err();
        let text = format!("{asked:?}");
        assert!(text.contains("Which a:") && text.contains("/v1/here"), "{text}");
        assert!(text.contains("\"prompt_is_secret\": Bool(false)"), "{text}");
        assert!(check(&params, json!({ "a": "1" })).is_ok());
        let hidden = [Param::text("a", "").asked("Which a:").hidden()];
        let text = format!("{:?}", check(&hidden, json!({})).unwrap_err());
        assert!(text.contains("\"prompt_is_secret\": Bool(true)"), "{text}");
    }
}
