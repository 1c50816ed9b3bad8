//! A stand-in for the host, for native unit tests: answers that the test scripts, everything the
//! plugin did on record, and tables in memory to see what its writes come to.
//!
//! State is kept per thread, as tests are. [`Host::new`] begins afresh.

pub(crate) mod imports;
mod tables;

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};

pub use crate::bindings::rowgate::plugin::db::{Batch, Column, Values};
pub use crate::bindings::rowgate::plugin::http::Error as HttpError;
use crate::bindings::rowgate::plugin::http::{self, Body, Part};
use crate::db::{Condition, Scalar, Unseen};
use crate::log::Level;
use crate::{Context, StreamId, Webhook};
pub use tables::{Record, Tables};

/// The time of calls in tests: 2026-01-01T00:00:00Z.
pub const NOW: i64 = 1_767_225_600_000_000;

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

#[derive(Default)]
struct State {
    answers: VecDeque<Result<http::Response, HttpError>>,
    requests: Vec<Sent>,
    secrets: BTreeSet<String>,
    captures: Vec<(String, String, String)>,
    tables: Tables,
    did: Did,
}

/// What a call did beside sending requests, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Did {
    /// Through `db`.
    pub writes: Vec<Write>,
    /// Through `streams`.
    pub streams: Vec<StreamChange>,
    /// Through `owners`: `link`, `unlink`, `resync`.
    pub owners: Vec<&'static str>,
    /// Secrets that it told the host to forget.
    pub forgotten: Vec<String>,
    /// Log lines.
    pub logs: Vec<(Level, String)>,
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of the contract")]
pub enum Write {
    Upsert(Batch),
    Patch(Batch),
    Update { table: String, set: Vec<(String, Scalar)>, conditions: Vec<Condition> },
    Delete { table: String, conditions: Vec<Condition> },
    BeginFull { table: String, scope: Vec<Condition> },
    EndFull { table: String, scope: Vec<Condition>, unseen: Unseen },
}

/// One change of a stream's schedule.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of the contract")]
pub enum StreamChange {
    Activate { stream: StreamId, at: Option<i64> },
    Reset(StreamId),
    Remove(StreamId),
}

/// A request as it was sent; a secret shows as `<name>`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Sent {
    pub method: String,
    pub url: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub timeout_ms: Option<u32>,
}

impl Sent {
    /// A query value.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The test's side of the host.
#[derive(Debug)]
pub struct Host(());

impl Host {
    /// Begins afresh: no answers, no secrets, nothing recorded.
    #[allow(clippy::new_without_default, reason = "it resets the thread's state")]
    pub fn new() -> Self {
        STATE.with_borrow_mut(|state| *state = State::default());
        Self(())
    }

    /// The next request is answered so.
    pub fn answer(&self, status: u16, body: impl ToString) -> &Self {
        self.answer_with(status, &[], body)
    }

    /// The next request is answered so, with headers.
    pub fn answer_with(&self, status: u16, headers: &[(&str, &str)], body: impl ToString) -> &Self {
        let headers = headers.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let response = http::Response { status, headers, body: body.to_string().into_bytes() };
        STATE.with_borrow_mut(|state| state.answers.push_back(Ok(response)));
        self
    }

    /// The next request fails so.
    pub fn fail(&self, error: HttpError) -> &Self {
        STATE.with_borrow_mut(|state| state.answers.push_back(Err(error)));
        self
    }

    /// The owner has this secret.
    pub fn secret(&self, name: &str) -> &Self {
        STATE.with_borrow_mut(|state| state.secrets.insert(name.into()));
        self
    }

    /// As the manifest's `captured`: 2xx answers of URLs that begin with `from` bring the secret, in
    /// the top-level field `field`.
    pub fn capture(&self, name: &str, from: &str, field: &str) -> &Self {
        let capture = (name.into(), from.into(), field.into());
        STATE.with_borrow_mut(|state| state.captures.push(capture));
        self
    }

    /// What `db::lookup` finds from now on, in calls that don't see their own writes.
    pub fn show(&self, tables: &Tables) -> &Self {
        STATE.with_borrow_mut(|state| state.tables = tables.clone());
        self
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Sent> {
        STATE.with_borrow(|state| state.requests.clone())
    }

    /// How many scripted answers nobody asked for yet.
    pub fn answers_left(&self) -> usize {
        STATE.with_borrow(|state| state.answers.len())
    }

    /// What was done since the last time, and forgets it (as the host does after a failure).
    pub fn take(&self) -> Did {
        STATE.with_borrow_mut(|state| std::mem::take(&mut state.did))
    }
}

/// A context of a call at [`NOW`], of the owner `owner`, without configuration.
pub fn context(service: &str) -> Context {
    Context {
        now: NOW,
        integration: "svi_test".into(),
        service: service.into(),
        owner: Some("owner".into()),
        config: Vec::new(),
    }
}

/// A stream.
pub fn stream(service: &str, kind: &str, key: &str) -> StreamId {
    StreamId::new(service, kind, key)
}

/// A POST without headers.
pub fn webhook(body: impl ToString) -> Webhook {
    Webhook {
        received_at: NOW,
        method: "POST".into(),
        path: String::new(),
        query: String::new(),
        headers: Vec::new(),
        body: body.to_string().into_bytes(),
        topic: None,
    }
}

fn sent(request: &http::Request) -> Sent {
    let text = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Secret(name) => format!("<{name}>"),
        Part::Basic((user, password)) => format!("<{user}>:<{password}>"),
    };
    let pairs = |pairs: &[(String, Part)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, part)| (name.clone(), text(part))).collect()
    };
    let joined = |parts: &[Part]| parts.iter().map(text).collect::<String>();
    let body = match &request.body {
        Body::None => String::new(),
        Body::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Body::Form(fields) => {
            pairs(fields).iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("&")
        }
        Body::Json(parts) => joined(parts),
    };
    Sent {
        method: request.method.clone(),
        url: request.url.clone(),
        query: pairs(&request.query),
        headers: request.headers.iter().map(|(k, parts)| (k.clone(), joined(parts))).collect(),
        body,
        timeout_ms: request.timeout_ms,
    }
}
