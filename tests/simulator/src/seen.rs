//! The record of requests that arrived, complete enough to search for leaks.

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::http::Call;

/// A request that arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Counted from 1.
    pub number: u64,
    /// Request method.
    pub method: String,
    /// Path as on the wire.
    pub path: String,
    /// Raw query.
    pub query: String,
    /// Email of the user, if the request's token is known.
    pub user: Option<String>,
    /// Every header, Authorization too.
    pub headers: Vec<(String, String)>,
    /// Body as text.
    pub body: String,
    /// Status of the answer; None: not answered yet, or never.
    pub status: Option<u16>,
    /// Ids of the faults that hit it.
    pub faults: Vec<u64>,
}

impl Seen {
    /// A header's value; names are in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(known, _)| known == name);
        named.next().map(|(_, value)| value.as_str())
    }

    pub(crate) fn new(call: &Call, user: Option<String>, hits: &[(u64, Fault)]) -> Self {
        let text = |value: &hyper::header::HeaderValue| {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        let headers = call.headers.iter();
        Self {
            number: 0,
            method: call.method.to_string(),
            path: call.path.clone(),
            query: call.query.clone(),
            user,
            headers: headers.map(|(name, value)| (name.to_string(), text(value))).collect(),
            body: String::from_utf8_lossy(&call.body).into_owned(),
            status: None,
            faults: hits.iter().map(|(id, _)| *id).collect(),
        }
    }
}
