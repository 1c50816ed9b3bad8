//! Requests. A secret is named, never held: the host fills it in on the way out.

use std::fmt::Display;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::bindings::rowgate::plugin::http;
pub use crate::bindings::rowgate::plugin::http::Part;
use crate::{Answer, Failure, Json, Result, imports};

/// What may stand in a path segment as it is: RFC 3986 "unreserved".
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An outbound request, built step by step.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    request: http::Request,
    is_page: bool,
    /// What the builder was given that no request can hold; told by `send`.
    fault: Option<String>,
}

impl Request {
    /// A request of any method (in upper case) to an absolute URL.
    pub fn new(method: &str, url: impl Into<String>) -> Self {
        let request = http::Request {
            method: method.to_owned(),
            url: url.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: http::Body::None,
            timeout_ms: None,
        };
        Self { request, is_page: false, fault: None }
    }

    /// A GET.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A POST.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// Appends path segments, each percent-encoded, so `/`, `#` and `@` in an id are safe.
    pub fn path<S: AsRef<str>>(mut self, segments: impl IntoIterator<Item = S>) -> Self {
        for segment in segments {
            let segment = segment.as_ref();
            // Every URL parser would resolve these, encoded or not.
            if matches!(segment, "" | "." | "..") {
                self.fault = Some(format!("`{segment}` can't be a path segment"));
            }
            self.request.url.push('/');
            self.request.url.extend(utf8_percent_encode(segment, SEGMENT));
        }
        self
    }

    /// Adds a query value; the host encodes it.
    pub fn query(mut self, name: &str, value: impl Display) -> Self {
        self.request.query.push((name.to_owned(), Part::Text(value.to_string())));
        self
    }

    /// Adds a query value, if there is one.
    pub fn query_some(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Adds a secret to the query, e.g. an API key.
    pub fn query_secret(mut self, name: &str, secret: &str) -> Self {
        self.request.query.push((name.to_owned(), Part::Secret(secret.to_owned())));
        self
    }

    /// Adds a header.
    pub fn header(self, name: &str, value: impl Display) -> Self {
        self.header_parts(name, [Part::Text(value.to_string())])
    }

    /// Adds a header, if there is a value.
    pub fn header_some(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    /// Adds a header made of texts and secrets.
    pub fn header_parts(mut self, name: &str, parts: impl IntoIterator<Item = Part>) -> Self {
        self.request.headers.push((name.to_owned(), parts.into_iter().collect()));
        self
    }

    /// `Authorization: Bearer` with a secret.
    pub fn bearer(self, secret: &str) -> Self {
        let parts = [Part::Text("Bearer ".into()), Part::Secret(secret.to_owned())];
        self.header_parts("authorization", parts)
    }

    /// `Authorization: Basic` with two secrets.
    pub fn basic(self, user: &str, password: &str) -> Self {
        let credentials = Part::Basic((user.to_owned(), password.to_owned()));
        self.header_parts("authorization", [Part::Text("Basic ".into()), credentials])
    }

    /// Adds a field to a form body.
    pub fn form(self, name: &str, value: impl Display) -> Self {
        self.form_part(name, Part::Text(value.to_string()))
    }

    /// Adds a secret to a form body.
    pub fn form_secret(self, name: &str, secret: &str) -> Self {
        self.form_part(name, Part::Secret(secret.to_owned()))
    }

    /// A JSON body.
    pub fn json(mut self, body: impl Into<Json>) -> Self {
        self.request.body = http::Body::Json(body.into().parts());
        self
    }

    /// A body of bytes.
    pub fn bytes(mut self, content_type: &str, body: Vec<u8>) -> Self {
        self.request.body = http::Body::Bytes(body);
        self.header("content-type", content_type)
    }

    /// How long to wait for the whole answer, milliseconds.
    pub fn timeout_ms(mut self, timeout_ms: u32) -> Self {
        self.request.timeout_ms = Some(timeout_ms);
        self
    }

    /// It asks for a page of a listing: no answer in time is then `TooSlow`, and when that repeats
    /// the host makes pages smaller. Without this it is a plain retry.
    pub fn page(mut self) -> Self {
        self.is_page = true;
        self
    }

    /// Sends it. Any status is an answer; no answer is a [`Failure`].
    pub fn send(self) -> Result<Answer> {
        if let Some(fault) = self.fault {
            return Err(Failure::Bug(format!("{}: {fault}", self.request.url)));
        }
        match imports::send(&self.request) {
            Ok(response) => Ok(Answer::new(response)),
            Err(http::Error::Timeout) if self.is_page => {
                Err(Failure::TooSlow("no page in time".into()))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn form_part(mut self, name: &str, part: Part) -> Self {
        let field = (name.to_owned(), part);
        match &mut self.request.body {
            http::Body::Form(fields) => fields.push(field),
            body => *body = http::Body::Form(vec![field]),
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Host, HttpError};

    #[test]
    fn segments_are_encoded_one_by_one() {
        let cases = [
            (
                "en.usa#holiday@group.v.calendar.google.com",
                "en.usa%23holiday%40group.v.calendar.google.com",
            ),
            ("a/b?c d%", "a%2Fb%3Fc%20d%25"),
            ("é~_-.", "%C3%A9~_-."),
        ];
        for (segment, encoded) in cases {
            let request = Request::get("https://x/v3").path(["calendars", segment]);
            assert_eq!(request.request.url, format!("https://x/v3/calendars/{encoded}"));
        }
    }

    #[test]
    fn dots_never_leave_the_prefix() {
        let host = Host::new();
        for segment in ["", ".", ".."] {
            let sent = Request::get("https://x/v3").path(["a", segment]).send();
            assert!(matches!(sent, Err(Failure::Bug(_))), "{segment}");
        }
        assert_eq!(host.requests(), []);
    }

    #[test]
    fn only_a_page_can_be_too_slow() {
        let host = Host::new();
        host.fail(HttpError::Timeout).fail(HttpError::Timeout);
        let page = Request::get("https://x").page().send();
        assert!(matches!(page, Err(Failure::TooSlow(_))), "{page:?}");
        let other = Request::get("https://x").send();
        assert!(matches!(other, Err(Failure::Retry(_))), "{other:?}");
    }

    #[test]
    fn secrets_are_named_in_every_place() {
        let text = |text: &str| Part::Text(text.into());
        let secret = |name: &str| Part::Secret(name.into());
        let request = Request::post("https://x")
            .query("q", true)
            .query_some("none", None::<u8>)
            .query_secret("key", "api_key")
            .bearer("token")
            .form("grant_type", "refresh_token")
            .form_secret("refresh_token", "refresh")
            .request;
        assert_eq!(request.query, [("q".into(), text("true")), ("key".into(), secret("api_key"))]);
        assert_eq!(
            request.headers,
            [("authorization".into(), vec![text("Bearer "), secret("token")])]
        );
        let form = vec![
            ("grant_type".into(), text("refresh_token")),
            ("refresh_token".into(), secret("refresh")),
        ];
        assert_eq!(request.body, http::Body::Form(form));
        let basic = Request::get("https://x").basic("user", "password").request;
        let credentials = Part::Basic(("user".into(), "password".into()));
        assert_eq!(basic.headers[0].1, [text("Basic "), credentials]);
        let json = Request::post("https://x").json(Json::secret("s")).request;
        assert_eq!(json.body, http::Body::Json(vec![secret("s")]));
    }
}
