//! One request from the socket to the answer: who asks, which faults hit, what the service says.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response};
use percent_encoding::percent_decode_str;

use crate::control;
use crate::fault::Subject;
use crate::hold::Held;
use crate::model::Model;
use crate::model::account::TokenError;
use crate::model::error::ApiError;
use crate::model::query::Params;
use crate::model::time::{http_date, timestamp};
use crate::seen::Seen;
use crate::shared::{Shared, locked};

mod calendar;
mod channels;
mod compressed;
mod oauth;
mod plan;
mod projection;
mod transport;

pub(crate) use compressed::Compressed;
use plan::Plan;

/// A request, read completely.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// An answer before it goes through gzip and transport faults.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Channel that this answer opens.
    pub(crate) opened: Option<String>,
}

/// A connection that ends without an answer: hyper closes it on an error of the service.
#[derive(Debug)]
pub(crate) struct NoAnswer;

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("no answer, on purpose")
    }
}

impl std::error::Error for NoAnswer {}

/// Serves one request.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<transport::Body>, NoAnswer> {
    let call = Call::read(request).await.ok_or(NoAnswer)?;
    if call.path == "/control" || call.path.starts_with("/control/") {
        let reply = control::serve(&shared, &call).await;
        return Ok(transport::send(reply, &call, &Plan::default(), &shared.compressed));
    }
    let user = call.user(&shared.model());
    let hits = locked(&shared.faults).hits(&Subject {
        method: call.method.as_str(),
        path: &call.path,
        query: &call.query,
        user: user.as_deref(),
    });
    let number = shared.record(Seen::new(&call, user.clone(), &hits));
    let plan = Plan::new(hits);
    let held = |fault| Held {
        id: 0,
        fault,
        method: call.method.to_string(),
        path: call.path.clone(),
        query: call.query.clone(),
        user: user.clone(),
    };
    plan.wait_before(&shared, held).await;
    if plan.no_answer {
        return Err(NoAnswer);
    }
    let mut reply = match plan.answer(&call) {
        Some(reply) => reply,
        None => answer(&shared, &call, &plan),
    };
    let sync = channels::sync(&shared, reply.opened.take()).await;
    plan.wait_after(&shared, held).await;
    reply.headers.extend(plan.headers.clone());
    shared.record_status(number, reply.status);
    let response = transport::send(reply, &call, &plan, &shared.compressed);
    Ok(response.map(|body| transport::before(body, sync)))
}

/// What the service says without faults other than those of pages.
fn answer(shared: &Shared, call: &Call, plan: &Plan) -> Reply {
    let segments = call.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let mut model = shared.model();
    let mut reply = match (&call.method, &segments[..]) {
        (&Method::POST, ["token"] | ["oauth2", "v4", "token"] | ["o", "oauth2", "token"]) => {
            oauth::token(&mut model, call)
        }
        (&Method::POST, ["revoke"]) => oauth::revoke(&mut model, call),
        (_, ["calendar", "v3", rest @ ..]) => calendar::serve(shared, &mut model, call, rest, plan)
            .unwrap_or_else(|error| Reply::api_error(&error)),
        _ => Reply::api_error(&ApiError::not_found()),
    };
    reply.finish(call, model.now_us);
    reply
}

impl Call {
    async fn read(request: Request<Incoming>) -> Option<Self> {
        let (parts, body) = request.into_parts();
        Some(Self {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers,
            body: body.collect().await.ok()?.to_bytes(),
        })
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The bearer token.
    pub(crate) fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// Path segments, decoded.
    fn segments(&self) -> Vec<String> {
        let parts = self.path.trim_matches('/').split('/');
        parts.map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect()
    }

    /// Query parameters, decoded.
    pub(crate) fn params(&self) -> Params {
        Params(form_pairs(&self.query))
    }

    /// Form fields of the body, decoded.
    fn form(&self) -> Params {
        Params(form_pairs(&String::from_utf8_lossy(&self.body)))
    }

    /// Whom the request speaks for, even if its token has expired.
    fn user(&self, model: &Model) -> Option<String> {
        let user = match self.bearer() {
            Some(token) => model.holder(token),
            None => self.form().get("refresh_token").and_then(|token| model.holder(token)),
        };
        user.map(str::to_owned)
    }
}

fn form_pairs(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

impl Reply {
    pub(crate) fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let kind = ("content-type".to_owned(), "application/json; charset=UTF-8".to_owned());
        Self { status, headers: vec![kind], body: body.into(), opened: None }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), opened: None }
    }

    /// HTML if there is a body.
    pub(crate) fn text(status: u16, body: &str) -> Self {
        let kind = ("content-type".to_owned(), "text/html; charset=UTF-8".to_owned());
        Self { status, headers: vec![kind], body: body.as_bytes().to_vec(), opened: None }
    }

    pub(crate) fn api_error(error: &ApiError) -> Self {
        let mut reply = Self::json(error.status, format!("{:#}", error.body()));
        if let Some(challenge) = error.authenticate {
            reply.header("www-authenticate", challenge);
        }
        reply
    }

    pub(crate) fn token_error(error: &TokenError) -> Self {
        Self::json(error.status, format!("{:#}", error.body()))
    }

    pub(crate) fn header(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// What every answer of the service carries.
    fn finish(&mut self, call: &Call, now_us: i64) {
        let date = http_date(timestamp(now_us));
        self.header("date", &date);
        self.header("server", "ESF");
        self.header("vary", "Origin, X-Origin, Referer");
        if self.status < 400 {
            self.header("expires", &date);
            self.header("cache-control", "private, max-age=0, must-revalidate, no-transform");
        } else {
            self.header("cache-control", "no-cache, no-store, max-age=0, must-revalidate");
            self.header("pragma", "no-cache");
        }
        let etag = self.headers.iter().find(|(name, _)| name == "etag").map(|(_, etag)| etag);
        let known = call.header("if-none-match");
        if call.method == Method::GET && etag.is_some() && etag.map(String::as_str) == known {
            self.status = 304;
            self.body.clear();
        }
    }
}
