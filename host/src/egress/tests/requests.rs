use std::sync::atomic::Ordering;

use reqwest::dns::Resolve;

use super::server::ok;
use super::*;
use crate::egress::resolve::Guard;

async fn echo() -> Test {
    Test::new(|_| ok("{}")).await
}

#[tokio::test]
async fn secrets_go_into_every_place() {
    let test = echo().await;
    let mut request = bearer(get(&test.url("/v3/x?own=1")));
    request.query = vec![("a b".into(), text("c&d")), ("key".into(), secret("client"))];
    test.send(request).await.unwrap();
    let seen = test.server.last();
    assert!(
        seen.starts_with("GET /v3/x?own=1&a%20b=c%26d&key=client%20%26%20s3cret HTTP/1.1\r\n"),
        "{seen}"
    );
    assert!(seen.contains(&format!("authorization: Bearer {ACCESS}\r\n")), "{seen}");
    assert!(seen.contains("user-agent: rowgate/") && seen.contains("accept-encoding: gzip"));

    let form = vec![("grant".into(), text("a b")), ("secret".into(), secret("client"))];
    let mut request = post(&test.url("/token"), Body::Form(form));
    let basic = Part::Basic { user: "client".into(), password: "refresh".into() };
    request.headers.push(("authorization".into(), vec![text("Basic "), basic]));
    test.send(request).await.unwrap();
    let seen = test.server.last();
    assert!(seen.contains("content-type: application/x-www-form-urlencoded\r\n"), "{seen}");
    assert!(seen.ends_with("\r\n\r\ngrant=a+b&secret=client+%26+s3cret"), "{seen}");
    use base64::Engine as _;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{CLIENT}:{REFRESH}"));
    assert!(seen.contains(&format!("authorization: Basic {pair}\r\n")), "{seen}");

    let json = vec![text("{\"token\":"), secret("refresh"), text(",\"n\":1}")];
    let mut request = post(&test.url("/token"), Body::Json(json));
    request.headers.push(("Content-Type".into(), vec![text("application/vnd.a+json")]));
    request.headers.push(("user-agent".into(), vec![text("mine")]));
    request.headers.push(("accept-encoding".into(), vec![text("identity")]));
    test.send(request).await.unwrap();
    let seen = test.server.last();
    assert!(seen.ends_with(r#"{"token":"1//0gRefresh\"Token","n":1}"#), "{seen}");
    assert!(seen.contains("content-type: application/vnd.a+json\r\n"), "{seen}");
    assert!(seen.contains("user-agent: mine\r\n") && seen.contains("accept-encoding: identity"));
}

#[tokio::test]
async fn a_request_has_so_many_secrets_at_most() {
    let test = echo().await;
    let many = |count| post(&test.url("/token"), Body::Json(vec![secret("refresh"); count]));
    test.send(many(64)).await.unwrap();
    let sent = test.server.seen.lock().unwrap().len();
    let error = test.send(many(65)).await.unwrap_err();
    assert!(matches!(&error, HttpError::Denied(text) if text.contains("64 secrets")), "{error}");
    assert_eq!(test.server.seen.lock().unwrap().len(), sent);
}

#[tokio::test]
async fn forget_names_the_version_that_was_sent() {
    let test = echo().await;
    test.session.forget("access").await;
    test.send(bearer(get(&test.url("/v3")))).await.unwrap();
    test.session.forget("access").await;
    assert_eq!(test.vault.forgotten.lock().unwrap()[..], ["access None", "access Some(3)"]);
    assert_eq!(test.session.presence("absent", true).await, Presence::Missing);
}

#[tokio::test]
async fn what_is_not_allowed_never_reaches_the_network() {
    let test = echo().await;
    let api = test.url("/v3");
    let with = |name: &str, value: Part| {
        let mut request = get(&api);
        request.headers.push((name.into(), vec![value]));
        request
    };
    let unbound = post(&test.url("/token"), Body::Form(vec![("a".into(), secret("access"))]));
    let cases = [
        (get(&test.url("/v3x")), "add an [[egress]]"),
        (get(&test.url("/v3/%2e%2e/admin")), "add an [[egress]]"),
        (get(&test.url("/v3/..%2fadmin")), "dot segments"),
        (get(&api.replace("http://", "http://user@")), "user name"),
        (HttpRequest { method: "DELETE".into(), ..get(&api) }, "`methods`"),
        (HttpRequest { method: "G T\r\n".into(), ..get(&api) }, "HTTP token"),
        (unbound, "isn't bound to"),
        (with("x-a", secret("nobody")), "unknown secret `nobody`"),
        (with("x-a", secret("broken")), "line breaks"),
        (with("x-a", text("a\r\nhost: b")), "line breaks"),
        (with("x-a", text("a\0")), "line breaks"),
        (with("x a", text("a")), "isn't a header name"),
        (with("x-a\r\nb", text("a")), "isn't a header name"),
        (with("Host", text("a")), "leave it out"),
        (with("content-length", text("1")), "leave it out"),
        (with("Transfer-Encoding", text("chunked")), "leave it out"),
        (with("connection", text("close")), "leave it out"),
    ];
    for (request, expected) in cases {
        let shown = format!("{request:?}");
        let error = test.send(request).await.unwrap_err();
        let HttpError::Denied(text) = &error else { panic!("{shown}: {error:?}") };
        assert!(text.contains(expected), "{shown}: {text}");
        assert!(!text.contains("line\r\nbreak"));
    }
    let error = test.send(with("x-a", secret("absent"))).await.unwrap_err();
    assert!(matches!(&error, HttpError::Other(text) if text.contains("`absent`")), "{error:?}");
    assert_eq!(test.server.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn private_addresses_need_a_grant_of_their_own() {
    let test = echo().await;
    let vault = || Arc::<Vault>::default() as Arc<dyn SecretSource>;
    for host in ["api.test", "127.0.0.1", "0x7f.1", "[::ffff:127.0.0.1]"] {
        let base = test.server.url(host);
        let session = session(&base, &[(&base, false)], vault());
        let error = test.egress.send(&session, get(&format!("{base}/v3"))).await.unwrap_err();
        let HttpError::Denied(text) = &error else { panic!("{host}: {error:?}") };
        assert!(text.contains("public address") && text.contains("--private-addresses"), "{text}");
    }
    assert_eq!(test.server.connections.load(Ordering::SeqCst), 0);
    let base = test.server.url("127.0.0.1");
    let session = session(&base, &[(&base, true)], vault());
    assert!(test.egress.send(&session, get(&format!("{base}/v3"))).await.is_ok());
}

#[tokio::test]
async fn a_connection_of_a_grant_serves_that_grant_alone() {
    let test = echo().await;
    test.send(get(&test.url("/v3"))).await.unwrap();
    test.send(get(&test.url("/v3"))).await.unwrap();
    assert_eq!(test.server.connections.load(Ordering::SeqCst), 1, "pooled");
    let base = test.server.url("api.test");
    let other = session(&base, &[(&base, false)], Arc::<Vault>::default());
    let error = test.egress.send(&other, get(&test.url("/v3"))).await.unwrap_err();
    assert!(matches!(error, HttpError::Denied(_)), "the pooled connection isn't its: {error:?}");
}

#[tokio::test]
async fn a_name_that_changes_its_answer_gains_nothing() {
    let answers: &[&[&str]] = &[&["8.8.8.8"], &["127.0.0.1", "9.9.9.9"], &["169.254.169.254"]];
    let lookup = Names::new(&[("rebind.test", answers)]);
    let guard = Guard { lookup: lookup.clone(), private_addresses: false };
    let resolve = async || {
        let found = guard.resolve("rebind.test".parse().unwrap()).await;
        found.map(|found| found.map(|address| address.ip().to_string()).collect::<Vec<_>>())
    };
    assert_eq!(resolve().await.unwrap(), ["8.8.8.8"]);
    assert_eq!(resolve().await.unwrap(), ["9.9.9.9"], "the public one of a mixed answer");
    let text = resolve().await.unwrap_err().to_string();
    assert_eq!(text, "`rebind.test` resolves to 169.254.169.254, which isn't a public address");
}
