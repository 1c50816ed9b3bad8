//! Answers in WebhookDB's envelopes.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::endpoint::{Field, Json, Shape};
use crate::webhook;

/// What a handler answers.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
    pub(super) auth_token: Option<String>,
}

/// What a client does next: print `output`, and either ask `prompt` and post the answer, or stop.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Step {
    pub(super) message: String,
    pub(super) needs_input: bool,
    pub(super) prompt: String,
    pub(super) prompt_is_secret: bool,
    pub(super) post_to_url: String,
    pub(super) post_params: Map<String, Value>,
    pub(super) post_params_value_key: String,
    pub(super) complete: bool,
    pub(super) output: String,
    pub(super) error_code: String,
    pub(super) extras: Map<String, Value>,
}

impl Step {
    /// Asks for a value that is posted under `key`. A prompt ends with a colon: only behind one does
    /// WebhookDB's client leave room for the answer.
    pub(super) fn ask(
        prompt: impl Into<String>,
        post_to_url: impl Into<String>,
        key: &str,
    ) -> Self {
        let prompt = prompt.into();
        debug_assert!(prompt.ends_with(':'), "{prompt}");
        Self {
            needs_input: true,
            prompt,
            post_to_url: post_to_url.into(),
            post_params_value_key: key.to_owned(),
            ..Self::default()
        }
    }

    /// The end.
    pub(super) fn complete(output: impl Into<String>) -> Self {
        Self { complete: true, output: output.into(), ..Self::default() }
    }

    pub(super) fn secret(mut self, secret: bool) -> Self {
        self.prompt_is_secret = secret;
        self
    }

    pub(super) fn output(mut self, output: impl Into<String>) -> Self {
        self.output = output.into();
        self
    }

    pub(super) fn param(mut self, name: &str, value: &str) -> Self {
        self.post_params.insert(name.to_owned(), value.into());
        self
    }

    pub(super) fn error(mut self, code: &str) -> Self {
        self.error_code = code.to_owned();
        self
    }

    pub(super) fn json(&self) -> Value {
        serde_json::to_value(self).expect("names and texts can be written")
    }
}

impl Answer {
    fn ok(body: Value) -> Self {
        Self { status: StatusCode::OK, body, auth_token: None }
    }

    pub(super) fn step(step: &Step) -> Self {
        Self::ok(step.json())
    }

    pub(super) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Just these members.
    pub(super) fn object(body: Value) -> Self {
        Self::ok(body)
    }

    /// One thing, and what a client prints.
    pub(super) fn single(entity: Value, message: impl Into<String>, fields: &[Field]) -> Self {
        let mut entity = without_nil(entity, fields);
        entity["message"] = Value::String(message.into());
        entity["display_headers"] = headers(fields);
        Self::ok(entity)
    }

    /// All things of a kind: there is one page.
    pub(super) fn collection(items: Vec<Value>, if_empty: &str, fields: &[Field]) -> Self {
        let message = if items.is_empty() { if_empty } else { "" };
        let items: Vec<Value> =
            items.into_iter().map(|entity| without_nil(entity, fields)).collect();
        Self::ok(json!({
            "object": "list",
            "total_count": items.len(),
            "items": items,
            "current_page": 1,
            "page_count": 1,
            "has_more": false,
            "message": message,
            "display_headers": headers(fields),
        }))
    }

    /// Says of a collection whether there are things behind it.
    pub(super) fn has_more(mut self, has_more: bool) -> Self {
        self.body["has_more"] = has_more.into();
        self
    }

    /// Lines and tables.
    pub(super) fn blocks(blocks: Vec<Value>) -> Self {
        Self::ok(json!({ "blocks": blocks }))
    }

    pub(super) fn into_response(self) -> Response {
        let mut response = webhook::json_response(self.status, &self.body);
        if let Some(token) = self.auth_token {
            let text = format!("sess={token}; path=/");
            let value = text.parse().expect("a token has letters and digits only");
            response.headers_mut().insert(super::AUTH_TOKEN, value);
        }
        response
    }
}

/// A block that is one line.
pub(super) fn line(text: impl Into<String>) -> Value {
    json!({ "type": "line", "value": text.into() })
}

/// A block that is a table. A cell that holds nothing is empty, not null: see [`without_nil`].
pub(super) fn table(headers: &[&str], rows: Vec<Vec<Option<String>>>) -> Value {
    let cells = |row: Vec<Option<String>>| row.into_iter().map(Option::unwrap_or_default).collect();
    let rows: Vec<Vec<String>> = rows.into_iter().map(cells).collect();
    json!({ "type": "table", "value": { "headers": headers, "rows": rows } })
}

/// Members that are declared as texts are empty where there is none: WebhookDB's client shows null as
/// `<nil>`.
fn without_nil(mut entity: Value, fields: &[Field]) -> Value {
    for field in fields.iter().filter(|field| field.json == Json::Text) {
        if let Some(nil) = entity.get_mut(field.name).filter(|value| value.is_null()) {
            *nil = "".into();
        }
    }
    entity
}

/// Pairs of a member's name and what a table calls it.
fn headers(fields: &[Field]) -> Value {
    let shown = fields.iter().filter(|field| !field.header.is_empty());
    shown.map(|field| json!([field.name, field.header])).collect()
}

/// The members that an answer of this shape has.
pub(super) fn fields(shape: &Shape) -> &'static [Field] {
    match shape {
        Shape::Single(fields) | Shape::Collection(fields) | Shape::Object(fields) => fields,
        Shape::Step | Shape::Blocks | Shape::Document => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::endpoint::field;

    #[test]
    fn no_null_is_shown() {
        let fields = [field("table", "Table", Json::Text), field("reason", "", Json::TextOrNull)];
        let entity = json!({ "table": null, "reason": null });
        let filled = |body: &Value| (body["table"].clone(), body["reason"].clone());
        let single = Answer::single(entity.clone(), "", &fields).body;
        assert_eq!(filled(&single), (json!(""), Value::Null));
        let all = Answer::collection(vec![entity], "", &fields).body;
        assert_eq!(filled(&all["items"][0]), (json!(""), Value::Null));
        let cells = table(&["a", "b"], vec![vec![Some("1".to_owned()), None]]);
        assert_eq!(cells["value"]["rows"], json!([["1", ""]]));
    }

    #[test]
    #[should_panic(expected = "Which?")]
    #[cfg(debug_assertions)]
    fn a_prompt_without_a_colon_is_a_mistake() {
        Step::ask("Which?", "/v1/here", "which");
    }
}
