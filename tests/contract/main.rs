//! What a guest sends holds the secrets; what it sees, and what it and the host leave behind, holds
//! none of them. The guest is `probe`.

mod setup;

use serde_json::json;
use tests::VendorRequest;

use setup::{ACCESS_TOKEN, CLIENT_ID, CLIENT_SECRET, Probe, REFRESH_TOKEN, ROTATED_TOKEN};

#[tokio::test]
async fn every_place_holds_the_secret_at_the_vendor() {
    let probe = Probe::start().await;
    probe.link("acme").await;
    probe.host.settle().await;

    let form = probe.one("/token");
    assert_eq!(form.header("content-type"), Some("application/x-www-form-urlencoded"));
    let fields = setup::decoded(&form.text());
    let expected = [
        ("grant_type", "refresh_token"),
        ("refresh_token", REFRESH_TOKEN),
        ("client_id", CLIENT_ID),
        ("client_secret", CLIENT_SECRET),
    ];
    assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));

    let bearer = format!("Bearer {ACCESS_TOKEN}");
    assert_eq!(probe.one("/bearer").header("authorization"), Some(bearer.as_str()));
    // `printf '%s' "$CLIENT_ID:$CLIENT_SECRET" | base64 -w 0`
    let basic = "Basic cHJvYmUtY2xpZW50LWlkLTcxOkdPQ1NQWC1xInVcby90K2U9JiAlNDEgw7xzZWNyZXQ=";
    assert_eq!(probe.one("/basic").header("authorization"), Some(basic));
    let query = setup::decoded(probe.one("/query").query());
    let expected = [("q", "a b&c=d"), ("key", CLIENT_SECRET)];
    assert_eq!(query, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let body: serde_json::Value = serde_json::from_slice(&probe.one("/json").body).unwrap();
    assert_eq!(body, json!({ "key": CLIENT_SECRET, "limit": 7 }));
    assert_eq!(probe.one("/bytes").text(), "plain");
    assert_eq!(probe.one("/bytes").header("authorization"), None);
}

/// What is behind the endpoint's own address is the plugin's to read.
#[tokio::test]
async fn a_post_below_the_endpoint_shows_where_it_went() {
    let probe = Probe::start().await;
    for (below, said) in [
        ("", "POST path= query= "),
        ("/", "POST path=/ query= "),
        ("/a/b%20c?x=1&y", "POST path=/a/b%20c query=x=1&y "),
    ] {
        let owner = format!("at{below}");
        assert_eq!(probe.post_below(below, &setup::linked(&owner)).await, 202, "{below}");
        probe.host.settle().await;
        let note = probe.account_note(&owner).await;
        assert!(note.contains(said), "{below}: {note}");
    }
}

#[tokio::test]
async fn what_is_left_behind_holds_no_secret() {
    let mut probe = Probe::start().await;
    probe.link("acme").await;
    probe.host.settle().await;

    // The vendor repeats each request, so the notes would show whatever the guest saw of them.
    let notes = probe.notes().await;
    let echoes = notes.iter().filter(|(id, _)| id.starts_with("request-"));
    let echoes: Vec<_> = echoes.filter(|(id, _)| *id != "request-bytes").collect();
    assert_eq!(echoes.len(), 5, "{notes:?}");
    for (id, note) in echoes {
        assert!(note.contains("***"), "{id}: {note}");
    }
    let account = probe.account_note("acme").await;
    assert!(account.contains(r#""refresh_token":null"#), "a sealed field: {account}");
    assert_eq!(probe.leaks().await, [] as [String; 0]);

    // The databases also as they are without a WAL.
    probe.host.stop().await;
    let left = probe.host.scan_storage(&probe.scanner);
    assert_eq!(left, [] as [String; 0]);
}

#[tokio::test]
async fn error_texts_hold_no_secret() {
    let probe = Probe::start().await;
    // The vendor's refusal repeats the request; a client's error may hold the URL with its query.
    for (path, words) in [("/token", "access_token"), ("/query", "connection closed")] {
        let owner = format!("broken{path}");
        probe.break_at(Some(path));
        probe.link(&owner).await;
        let failed = probe.until_error(&owner).await;
        assert!(failed.contains(words), "{owner}: {failed}");
        assert_eq!(probe.leaks().await, [] as [String; 0]);
    }
    // What failed with `retry` mends itself.
    probe.break_at(None);
    let mended = async || probe.host.owner("broken/query").await["state"] == "current";
    probe.host.until("the vendor is there again", mended).await;
    assert_eq!(probe.leaks().await, [] as [String; 0]);
}

#[tokio::test]
async fn a_planted_leak_is_found() {
    let probe = Probe::start().await;
    // The guest writes down what it sees of a post, and only `refresh_token` is sealed.
    let told = json!({
        "type": "LINKED",
        "external_owner_id": "acme",
        "refresh_token": REFRESH_TOKEN,
        "memo": ROTATED_TOKEN,
    });
    assert_eq!(probe.post(&told).await.0, 202);
    probe.host.settle().await;
    let leaks = probe.leaks().await;
    let in_row = format!("table {}: rotated token in plain", probe.account.table);
    assert!(leaks.contains(&in_row), "{leaks:?}");
    let stored = |leak: &&String| {
        let place = leak.contains(".db") || leak.contains("_data org_default.");
        place && leak.ends_with("rotated token in plain")
    };
    assert!(leaks.iter().any(|leak| stored(&leak)), "{leaks:?}");
    let others = leaks.iter().filter(|leak| !leak.contains(": rotated token in ")).count();
    assert_eq!(others, 0, "{leaks:?}");
}

#[test]
fn the_scanner_knows_every_encoding() {
    const SECRET: &str = "s3cr\"t/\\+= ü";
    let scanner = tests::LeakScanner::new([("it", SECRET)]);
    // Made with Python's json, urllib, base64 and bytes.hex.
    for (text, encoding) in [
        ("<s3cr\"t/\\+= ü>", "plain"),
        (r#"{"a":"s3cr\"t/\\+= ü"}"#, "JSON"),
        (r#"{"a":"s3cr\"t\/\\+= ü"}"#, "JSON"),
        (r#"{"a":"{\"b\": \"s3cr\\\"t/\\\\+= ü\"}"}"#, "JSON in JSON"),
        ("?key=s3cr%22t%2F%5C%2B%3D%20%C3%BC&x", "percent"),
        ("?key=s3cr%22t%2f%5c%2b%3d%20%c3%bc&x", "percent"),
        ("key=s3cr%22t%2F%5C%2B%3D+%C3%BC&x", "a form"),
        ("733363722274 2f", ""),
        ("x7333637222742f5c2b3d20c3bcx", "hex"),
        ("X7333637222742F5C2B3D20C3BCX", "hex"),
        ("czNjciJ0L1wrPSDDvA==", "base64"),
        ("YTpzM2NyInQvXCs9IMO8OmI=", "base64"),
        ("YWI6czNjciJ0L1wrPSDDvDpi", "base64"),
        ("OnMzY3IidC9cKz0gw7w6Yg==", "base64"),
        ("s3cr\"t/\\+= u", ""),
    ] {
        let found = scanner.scan("text", text.as_bytes());
        let expected: Vec<_> = match encoding {
            "" => Vec::new(),
            encoding => vec![format!("text: it in {encoding}")],
        };
        assert!(expected.iter().all(|one| found.contains(one)), "{text}: {found:?}");
        assert_eq!(found.is_empty(), expected.is_empty(), "{text}: {found:?}");
    }
}

impl Probe {
    /// The one request to this path.
    fn one(&self, path: &str) -> VendorRequest {
        let mut found: Vec<_> =
            self.vendor.seen().into_iter().filter(|request| request.path() == path).collect();
        assert_eq!(found.len(), 1, "requests to {path}");
        found.remove(0)
    }
}
