//! A request for every place that may hold a secret: the body form of the token request, a bearer
//! header, Basic, the query, a JSON body. Item `request-PLACE` holds the answer.

use crate::bindings::rowgate::plugin::http::{self, Body, Part, Presence, Request};
use crate::bindings::rowgate::plugin::types::{Context, Failure, Retry, RetryScope};
use crate::{config, rows};

pub(crate) fn send_all(context: &Context) -> Result<(), Failure> {
    if http::secret("access_token", true) == Presence::Missing {
        write("form", &send(&token_request(context))?)?;
    }
    let bearer = header(
        api(context, "GET", "bearer"),
        "authorization",
        vec![text("Bearer "), secret("access_token")],
    );
    let basic = header(
        api(context, "GET", "basic"),
        "authorization",
        vec![text("Basic "), Part::Basic(("client_id".to_owned(), "client_secret".to_owned()))],
    );
    let mut query = api(context, "GET", "query");
    query.query = vec![field("q", text("a b&c=d")), field("key", secret("client_secret"))];
    let mut json = api(context, "POST", "json");
    let key = secret("client_secret");
    json.body = Body::Json(vec![text("{\"key\":"), key, text(",\"limit\":7}")]);
    let mut bytes = api(context, "POST", "bytes");
    bytes.body = Body::Bytes(b"plain".to_vec());
    bytes = header(bytes, "content-type", vec![text("text/plain")]);

    for (place, request) in
        [("bearer", bearer), ("basic", basic), ("query", query), ("json", json), ("bytes", bytes)]
    {
        write(place, &send(&request)?)?;
    }
    Ok(())
}

fn write(place: &str, answer: &http::Response) -> Result<(), Failure> {
    let headers: Vec<_> =
        answer.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let body = String::from_utf8_lossy(&answer.body);
    let note = format!("{}\n{}\n\n{body}", answer.status, headers.join("\n"));
    rows::write_item(&format!("request-{place}"), &note)
}

/// The vendor's list of items.
pub(crate) fn items(context: &Context) -> Result<http::Response, Failure> {
    let request = api(context, "GET", "items");
    send(&header(request, "authorization", vec![text("Bearer "), secret("access_token")]))
}

/// Send, and refuse a 401 as a plugin should: the token is forgotten and the call made again.
fn send(request: &Request) -> Result<http::Response, Failure> {
    let answer = http::send(request).map_err(|error| match error {
        http::Error::Denied(said) => Failure::Bug(said),
        http::Error::TooLarge(cap) => Failure::TooLarge(format!("more than {cap} bytes")),
        http::Error::Timeout => Failure::TooSlow("no answer in time".to_owned()),
        http::Error::Connect(said) | http::Error::Transfer(said) | http::Error::Other(said) => {
            retry(said)
        }
    })?;
    if answer.status == 401 {
        http::forget("access_token");
        return Err(retry(format!("401 from {}", request.url)));
    }
    Ok(answer)
}

fn retry(reason: String) -> Failure {
    Failure::Retry(Retry { reason, after_ms: None, scope: RetryScope::ThisStream })
}

fn token_request(context: &Context) -> Request {
    let same = |name: &str| field(name, secret(name));
    let grant = field("grant_type", text("refresh_token"));
    let fields = vec![grant, same("refresh_token"), same("client_id"), same("client_secret")];
    Request { body: Body::Form(fields), ..request("POST", config(context, "token_url").to_owned()) }
}

fn api(context: &Context, method: &str, place: &str) -> Request {
    request(method, format!("{}/{place}", config(context, "api_url")))
}

fn request(method: &str, url: String) -> Request {
    Request {
        method: method.to_owned(),
        url,
        query: Vec::new(),
        headers: Vec::new(),
        body: Body::None,
        timeout_ms: Some(10_000),
    }
}

fn header(mut request: Request, name: &str, value: Vec<Part>) -> Request {
    request.headers.push((name.to_owned(), value));
    request
}

fn field(name: &str, value: Part) -> (String, Part) {
    (name.to_owned(), value)
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn secret(name: &str) -> Part {
    Part::Secret(name.to_owned())
}
