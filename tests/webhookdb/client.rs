//! WebhookDB's own command line as the host sees it: the requests that it sends, in the form in which
//! it sends them, and the members of answers without which it fails.

use std::collections::VecDeque;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

type Fits = fn(&Value) -> bool;

/// A step has all of these, of these types.
const STEP: [(&str, Fits); 11] = [
    ("message", Value::is_string),
    ("needs_input", Value::is_boolean),
    ("prompt", Value::is_string),
    ("prompt_is_secret", Value::is_boolean),
    ("post_to_url", Value::is_string),
    ("post_params", Value::is_object),
    ("post_params_value_key", Value::is_string),
    ("complete", Value::is_boolean),
    ("output", Value::is_string),
    ("error_code", Value::is_string),
    ("extras", Value::is_object),
];

/// One who has it installed.
pub(crate) struct GoClient {
    http: reqwest::Client,
    base_url: String,
    /// As its configuration file keeps it.
    auth_token: Option<String>,
}

/// An answer whose body is JSON: it decodes no other.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// How a conversation ended, and which prompts came up.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) last: Answer,
    pub(crate) prompts: Vec<String>,
    /// Prompts whose answer isn't shown while it is typed.
    pub(crate) hidden: Vec<String>,
    pub(crate) output: String,
}

impl GoClient {
    pub(crate) fn new(base_url: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, base_url: base_url.to_owned(), auth_token: None }
    }

    pub(crate) fn is_logged_in(&self) -> bool {
        self.auth_token.is_some()
    }

    /// What is kept of the session is opaque to it.
    pub(crate) fn forget(&mut self) {
        self.auth_token = None;
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    /// Posts, and answers whatever is asked, in order, until there is an end.
    pub(crate) async fn converse(
        &mut self,
        path: &str,
        body: Value,
        answers: &[&str],
    ) -> Conversation {
        let mut answers: VecDeque<&str> = answers.iter().copied().collect();
        let (mut prompts, mut hidden, mut output) = (Vec::new(), Vec::new(), String::new());
        let mut last = self.post(path, body).await;
        loop {
            let step = match last.status {
                422 => {
                    let step = last.body["error"]["state_machine_step"].clone();
                    let asked = last.headers["whdb-prompt"].to_str().unwrap();
                    assert_eq!(step["post_params_value_key"], asked);
                    is_step(&step);
                    step
                }
                200 | 202 if last.body.get("needs_input").is_some() => {
                    is_step(&last.body);
                    last.body.clone()
                }
                _ => return Conversation { last, prompts, hidden, output },
            };
            output.push_str(step["output"].as_str().unwrap());
            if step["complete"] == true || step["needs_input"] == false {
                assert!(answers.is_empty(), "never asked for: {answers:?}");
                return Conversation { last, prompts, hidden, output };
            }
            let prompt = step["prompt"].as_str().unwrap().to_owned();
            assert!(!prompt.is_empty(), "{step}");
            hidden.extend((step["prompt_is_secret"] == true).then(|| prompt.clone()));
            let (path, key) =
                (&step["post_to_url"], step["post_params_value_key"].as_str().unwrap());
            last = loop {
                let Some(answer) = answers.pop_front() else { panic!("no answer to {prompt}") };
                prompts.push(prompt.clone());
                // Whatever is asked for, what was typed is text, and a line.
                let mut body = step["post_params"].clone();
                body[key] = format!("{answer}\n").into();
                let answered = self.post(path.as_str().unwrap(), body).await;
                let error = &answered.body["error"];
                // It says what is wrong with what was typed, and asks for that again.
                if error["code"] != "validation_error" || error["field_errors"][key].is_null() {
                    break answered;
                }
                output.push_str(error["message"].as_str().unwrap());
            };
        }
    }

    async fn send(&mut self, method: Method, path: &str, body: Option<Value>) -> Answer {
        assert!(path.starts_with('/'), "{path}: what a step names is a path on the host");
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.base_url))
            .header("User-Agent", "WebhookDB/v1 webhookdb-cli/0.0.0 linux amd64")
            .header("Whdb-User-Agent", "WebhookDB/v1 webhookdb-cli/0.0.0 linux amd64")
            .header("Whdb-Short-Session", "")
            .header("Accept", "application/json");
        if let Some(token) = &self.auth_token {
            request = request.header("Whdb-Auth-Token", token);
        }
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        let said = format!("{method} {path} -> {status} {text}");
        // It reports these to its makers, with the request.
        assert!(status != 404 && status < 500, "{said}");
        let kind = headers.get("content-type").map(|kind| kind.to_str().unwrap());
        assert!(kind.is_some_and(|kind| kind.starts_with("application/json")), "{said}");
        if let Some(token) = headers.get("whdb-auth-token") {
            let token = token.to_str().unwrap().split(';').next().unwrap();
            assert!(token.contains('='), "{token}");
            self.auth_token = Some(token.to_owned());
        }
        let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{said}"));
        Answer { status, headers, body }
    }
}

impl Answer {
    /// The body of what must have worked.
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }

    /// One thing, with what is printed of it.
    pub(crate) fn single(self) -> Value {
        let body = self.ok();
        assert!(body["message"].is_string(), "{body}");
        has_headers(&body["display_headers"], &body);
        body
    }

    /// A page of things.
    pub(crate) fn items(self) -> Vec<Value> {
        let body = self.ok();
        assert_eq!(body["object"], "list", "{body}");
        for name in ["current_page", "page_count", "total_count"] {
            assert!(body[name].is_u64(), "{name}: {body}");
        }
        assert!(body["has_more"].is_boolean() && body["message"].is_string(), "{body}");
        let items = body["items"].as_array().unwrap().clone();
        assert_eq!(body["total_count"], items.len());
        for item in &items {
            has_headers(&body["display_headers"], item);
        }
        assert!(body["display_headers"].is_array(), "{body}");
        items
    }

    /// Lines and tables; a table's cells are text, for null is shown as `<nil>`.
    pub(crate) fn blocks(self) -> Vec<Value> {
        let body = self.ok();
        let blocks = body["blocks"].as_array().unwrap().clone();
        for block in &blocks {
            let value = &block["value"];
            match block["type"].as_str().unwrap() {
                "line" => assert!(value.is_string(), "{block}"),
                "table" => {
                    let rows = value["rows"].as_array().unwrap().iter();
                    let mut cells = rows.flat_map(|row| row.as_array().unwrap());
                    assert!(cells.all(Value::is_string), "{block}");
                    assert!(value["headers"].is_array(), "{block}");
                }
                other => panic!("a block of type {other}"),
            }
        }
        blocks
    }

    /// The message of an error of this status.
    pub(crate) fn refused(self, status: u16) -> String {
        let error = &self.body["error"];
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(error["status"], status, "{}", self.body);
        error["message"].as_str().unwrap().to_owned()
    }
}

impl Conversation {
    /// The step that ended it well.
    pub(crate) fn complete(&self) -> &Value {
        let step = &self.last.body;
        assert_eq!((&step["complete"], &step["error_code"]), (&json!(true), &json!("")), "{step}");
        step
    }
}

pub(crate) fn is_step(step: &Value) {
    for (name, fits) in STEP {
        assert!(step.get(name).is_some_and(fits), "{name}: {step}");
    }
    let extras = step["extras"].as_object().unwrap();
    assert!(extras.values().all(Value::is_object), "{step}");
}

/// Pairs of a member and its label; each member is there, and not shown as `<nil>`.
fn has_headers(headers: &Value, of: &Value) {
    for pair in headers.as_array().unwrap_or_else(|| panic!("no display_headers: {of}")) {
        let name = pair[0].as_str().unwrap();
        let shown = of.get(name).is_some_and(|value| !value.is_null());
        assert!(pair[1].is_string() && shown, "{name}: {of}");
    }
}
