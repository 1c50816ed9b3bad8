use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::server::{answer, ok};
use super::*;

/// Repeats the request in body, a header and the location, raw and encoded.
fn parrot(request: &str) -> Reply {
    let line = request.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap();
    let encoded =
        percent_encoding::utf8_percent_encode(line, percent_encoding::NON_ALPHANUMERIC).to_string();
    let json = serde_json::to_string(request).unwrap();
    let headers =
        format!("x-echo: {line}\r\nlocation: https://b.example/?next={encoded}&raw={line}\r\n");
    Reply::Whole(answer("302 Found", &headers, json.as_bytes()))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// No planted secret, in any form, in anything a guest can see.
fn assert_clean(seen: &str) {
    let mut forms = Vec::new();
    for secret in [ACCESS, REFRESH, CLIENT] {
        let percent =
            percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC);
        forms.push(percent.to_string());
        forms.push(serde_json::to_string(secret).unwrap().trim_matches('"').to_owned());
        use base64::Engine as _;
        forms.push(base64::engine::general_purpose::STANDARD_NO_PAD.encode(secret));
        forms.push(secret.to_owned());
    }
    for form in forms {
        assert!(!seen.contains(&form), "{form} in {seen}");
    }
}

#[tokio::test]
async fn what_a_vendor_repeats_is_masked() {
    let test = Test::new(parrot).await;
    let mut request = bearer(post(
        &test.url("/v3/x"),
        Body::Json(vec![text("{\"a\":"), secret("client"), text("}")]),
    ));
    request.query = vec![("key".into(), secret("client"))];
    let response = test.send(request).await.unwrap();
    assert_clean(&format!("{response:?} {}", String::from_utf8_lossy(&response.body)));
    assert_eq!(header(&response, "x-echo"), Some("Bearer ***"));
    let location = header(&response, "location").unwrap();
    assert_eq!(location, "https://b.example/?next=Bearer%20***&raw=Bearer ***");
    let body: String = serde_json::from_slice(&response.body).unwrap();
    assert!(body.starts_with("POST /v3/x?key=*** HTTP/1.1\r\n"), "{body}");
    assert!(body.ends_with("{\"a\":\"***\"}"), "{body}");

    let mut request = post(&test.url("/token"), Body::None);
    let basic = Part::Basic { user: "client".into(), password: "refresh".into() };
    request.headers.push(("authorization".into(), vec![text("Basic "), basic]));
    let response = test.send(request).await.unwrap();
    assert_clean(&format!("{response:?} {}", String::from_utf8_lossy(&response.body)));
    assert_eq!(header(&response, "x-echo"), Some("Basic ***"));
}

#[tokio::test]
async fn a_session_remembers_what_it_sent() {
    let test = Test::new(move |request| {
        if request.starts_with("POST") {
            ok("{\"access_token\":\"new-token\"}")
        } else {
            ok(&format!("{ACCESS} new-token"))
        }
    })
    .await;
    test.send(bearer(get(&test.url("/v3")))).await.unwrap();
    test.send(post(&test.url("/token"), Body::None)).await.unwrap();
    let response = test.send(get(&test.url("/v3/later"))).await.unwrap();
    assert_eq!(response.body, b"*** ***");
}

#[tokio::test]
async fn captured_secrets_are_stored_and_taken_out() {
    let body = r#"{"access_token":"ya29.new","also":"ya29.new","expires_in":3599,
        "refresh_token":"1//rotated","scope":"a"}"#;
    let test = Test::new(move |_| ok(body)).await;
    let form = vec![("refresh_token".into(), secret("refresh"))];
    let response = test.send(post(&test.url("/token"), Body::Form(form))).await.unwrap();
    let json: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    let expected = serde_json::json!({"access_token": null, "also": "***", "expires_in": 3599,
        "refresh_token": null, "scope": "a"});
    assert_eq!(json, expected);
    // The replaced secret first; the rest of its answer isn't stale for having replaced it.
    let stored =
        [r#"refresh=1//rotated None [("refresh", 5)]"#, r#"access=ya29.new Some(3539) []"#];
    assert_eq!(test.vault.captured.lock().unwrap()[..], stored);
}

#[tokio::test]
async fn a_capture_outlives_the_call() {
    let signal = Arc::new(Notify::new());
    let answered = Arc::clone(&signal);
    let test = Test::new(move |_| {
        let body = br#"{"access_token":"a-new-one"}"#;
        Reply::After(Arc::clone(&answered), answer("200 OK", "", body))
    });
    let test = test.await;
    {
        let sent = test.send(post(&test.url("/token"), Body::None));
        tokio::pin!(sent);
        tokio::select! {
            _ = &mut sent => panic!("answered before the signal"),
            () = test.server.arrived.notified() => {}
        }
    }
    signal.notify_one();
    test.vault.capture.notified().await;
    assert_eq!(test.vault.captured.lock().unwrap()[..], ["access=a-new-one None []"]);
}

#[tokio::test]
async fn a_capture_that_cannot_be_stored_ends_the_call() {
    let vault = Arc::new(Vault { broken: true, ..Vault::default() });
    let test = Test::with(vault, |_| ok(r#"{"access_token":"a-new-one"}"#)).await;
    let error = test.send(post(&test.url("/token"), Body::None)).await.unwrap_err();
    assert!(matches!(&error, HttpError::Ended(Failure::Retry { .. })), "{error:?}");
    assert!(!error.to_string().contains("a-new-one"));
}

#[tokio::test]
async fn answers_are_capped_after_decoding() {
    let fits = gzip(&vec![b'a'; 100_000]);
    let bomb = gzip(&vec![b'a'; 50_000_000]);
    let test = Test::new(move |request| {
        let encoded = "content-encoding: gzip\r\n";
        if request.contains("/fits") {
            Reply::Whole(answer("200 OK", encoded, &fits))
        } else if request.contains("/bomb") {
            Reply::Whole(answer("200 OK", encoded, &bomb))
        } else if request.contains("/chunks") {
            let chunks = format!("10000\r\n{}\r\n", "a".repeat(0x10000)).repeat(2);
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            Reply::Hang(format!("{head}{chunks}").into_bytes())
        } else {
            Reply::Hang(b"HTTP/1.1 200 OK\r\ncontent-length: 100001\r\n\r\n".to_vec())
        }
    });
    let test = test.await;
    let response = test.send(get(&test.url("/v3/fits"))).await.unwrap();
    assert_eq!(response.body.len(), 100_000);
    assert_eq!(header(&response, "content-encoding"), None);
    assert_eq!(header(&response, "content-length"), None);
    for path in ["/v3/bomb", "/v3/chunks", "/v3/announced"] {
        let error = test.send(get(&test.url(path))).await.unwrap_err();
        assert_eq!(error, HttpError::TooLarge(100_000), "{path}");
    }
}

#[tokio::test]
async fn slow_and_broken_answers() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc";
    let test = Test::new(|request| {
        if request.contains("/slow") {
            Reply::Hang(HEAD.to_vec())
        } else if request.contains("/silent") {
            Reply::Hang(Vec::new())
        } else if request.contains("/nonsense") {
            Reply::Close(b"nonsense\r\n\r\n".to_vec())
        } else {
            Reply::Close(HEAD.to_vec())
        }
    });
    let test = test.await;
    for path in ["/v3/slow", "/v3/silent"] {
        let request = HttpRequest { timeout_ms: Some(50), ..get(&test.url(path)) };
        assert_eq!(test.send(request).await, Err(HttpError::Timeout), "{path}");
    }
    let mut hurried = test.session.clone();
    hurried.deadline = Instant::now() + Duration::from_millis(50);
    let sent = test.egress.send(&hurried, get(&test.url("/v3/slow"))).await;
    assert_eq!(sent, Err(HttpError::Timeout), "the call's deadline holds as well");
    for path in ["/v3/broken", "/v3/nonsense"] {
        let mut request = bearer(get(&test.url(path)));
        request.query = vec![("key".into(), secret("client")), ("plain".into(), text("visible"))];
        let error = test.send(request).await.unwrap_err();
        assert!(matches!(error, HttpError::Transfer(_)), "{error:?}");
        assert_clean(&error.to_string());
        assert!(!error.to_string().contains("visible"), "{error}");
    }
}

#[tokio::test]
async fn no_connection() {
    let test = Test::new(|_| ok("")).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    for base in [base.as_str(), "http://unknown.test"] {
        let session = session(base, &[(base, true)], Arc::<Vault>::default());
        let mut request = get(&format!("{base}/v3"));
        request.query = vec![("key".into(), secret("client")), ("plain".into(), text("visible"))];
        let error = test.egress.send(&session, request).await.unwrap_err();
        let HttpError::Connect(text) = &error else { panic!("{error:?}") };
        assert!(text.starts_with(base) && !text.contains("visible"), "{text}");
        assert_clean(text);
    }
}

#[tokio::test]
async fn redirects_stay_at_their_origin_and_prefix() {
    let to = |location: &str| {
        Reply::Whole(answer("302 Found", &format!("location: {location}\r\n"), b""))
    };
    let test = Test::new(move |request| match request.split(' ').nth(1).unwrap() {
        "/v3/here" => to("/v3/there?x=1"),
        "/v3/away" => to("http://b.test/v3/there"),
        "/v3/outside" => to("/admin"),
        "/v3/token" => to("/token"),
        "/v3/round" => to("/v3/round"),
        _ => ok("there"),
    });
    let test = test.await;
    let seen = || std::mem::take(&mut *test.server.seen.lock().unwrap());

    let response = test.send(bearer(get(&test.url("/v3/here")))).await.unwrap();
    assert_eq!((response.status, &response.body[..]), (200, &b"there"[..]));
    let requests = seen();
    assert!(requests[1].starts_with("GET /v3/there?x=1 ") && requests[1].contains(ACCESS));

    for path in ["/v3/away", "/v3/outside"] {
        let response = test.send(bearer(get(&test.url(path)))).await.unwrap();
        assert_eq!((response.status, seen().len()), (302, 1), "{path}");
    }
    // The token endpoint takes posts, but not the access token.
    let mut request = bearer(post(&test.url("/v3/token"), Body::None));
    request.method = "POST".into();
    assert_eq!(test.send(request).await.unwrap().status, 302);
    assert_eq!(seen().len(), 1);

    let response = test.send(get(&test.url("/v3/round"))).await.unwrap();
    assert_eq!((response.status, seen().len()), (302, 6));
}
