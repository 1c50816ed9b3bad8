//! Calls that pages of any origin may make (CORS). They go by headers that a page has to set itself,
//! never by what a browser sends along.

use std::collections::BTreeSet;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::endpoint::Endpoint;

/// How long a browser may remember the answer to its question.
const REMEMBERED_S: HeaderValue = HeaderValue::from_static("7200");

/// Paths that browsers may ask about.
pub(super) fn open_paths(endpoints: &[Endpoint]) -> BTreeSet<&'static str> {
    endpoints.iter().filter(|one| one.any_origin).map(|one| one.path).collect()
}

/// The answer to a browser that asks before it calls.
pub(super) async fn preflight() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    open(&mut response);
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST")),
        // The star stands for all but the first.
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, *")),
        (header::ACCESS_CONTROL_MAX_AGE, REMEMBERED_S),
    ] {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Lets the page read the answer.
pub(super) fn open(response: &mut Response) {
    let all: [HeaderName; 2] =
        [header::ACCESS_CONTROL_ALLOW_ORIGIN, header::ACCESS_CONTROL_EXPOSE_HEADERS];
    for name in all {
        response.headers_mut().insert(name, HeaderValue::from_static("*"));
    }
}
