//! What WebhookDB's clients see.

use serde_json::json;

use super::*;

const OK: &str = r#"{"o":"k"}"#;

#[tokio::test]
async fn a_post_is_stored_before_it_is_answered_and_wakes_the_scheduler() {
    let host = Host::start().await;
    let body = r#"{"type": "LINKED", "external_owner_id": "o", "refresh_token": "planted0token",
                   "extra": [1]}"#;
    let reply = host.post(&host.list, body).await;
    assert_eq!((reply.status, reply.body.as_str()), (202, OK));
    assert_eq!(reply.headers["content-type"], "application/json");
    let items = host.items().await;
    assert_eq!(items.len(), 1);
    assert_eq!(items[0].external_owner_id, "o");
    assert!(items[0].due);
    assert_eq!(items[0].headers, "[]", "the manifest lists none");
    let stored: serde_json::Value = serde_json::from_slice(&items[0].body).unwrap();
    assert_eq!(
        stored,
        json!({"type": "LINKED", "external_owner_id": "o", "refresh_token": null, "extra": [1]})
    );
    assert_eq!(opened(&host, &items[0], "refresh_token"), "planted0token");
    assert_eq!(host.woken.load(Ordering::Relaxed), 1);
}

fn opened(host: &Host, item: &StoredItem, secret: &str) -> String {
    use base64::Engine as _;
    let sealed: BTreeMap<String, String> = serde_json::from_str(&item.sealed).unwrap();
    let bytes = base64::prelude::BASE64_STANDARD.decode(&sealed[secret]).unwrap();
    let place = crate::store::inbox::place(item.owner_id, secret);
    let opened = host.store.keyring().open(&place, &bytes).unwrap();
    String::from_utf8(opened.to_vec()).unwrap()
}

#[tokio::test]
async fn refusals_come_in_webhookdbs_order_and_words() {
    let host = Host::start().await;
    let (bot, right, wrong) = (
        ("User-Agent", "Googlebot/2.1"),
        ("Whdb-Webhook-Secret", SECRET),
        ("Whdb-Webhook-Secret", "wrong"),
    );
    let blank = ("Whdb-Webhook-Secret", "");
    let channel = ("X-Goog-Channel-ID", "c");
    let unknown = r#"{"error":{"message":"No integration with that id","status":400}}"#;
    let missing = r#"{"message":"missing secret header"}"#;
    let mismatch = r#"{"message":"secret mismatch"}"#;
    let accepted = r#"{"o":"k"}"#;
    let (list, calendar, event) = (&host.list, &host.calendar, &host.event);
    for (method, id, headers, status, body) in [
        ("POST", "svi_none", &[right][..], 400, unknown),
        ("GET", "svi_none", &[bot], 400, unknown),
        ("POST", list, &[], 401, missing),
        ("POST", list, &[wrong], 401, mismatch),
        ("POST", list, &[blank], 401, mismatch),
        ("POST", list, &[bot, wrong], 401, mismatch),
        // Of a channel that we don't know: accepted, or the vendor would send it again and again.
        ("POST", list, &[channel, right], 202, accepted),
        ("POST", calendar, &[right], 401, missing),
        ("POST", calendar, &[channel], 202, accepted),
        ("POST", event, &[right], 401, missing),
        ("POST", event, &[channel], 401, missing),
    ] {
        let path = format!("/v1/service_integrations/{id}");
        let reply = host.request(method, &path, headers, "").await;
        assert_eq!((reply.status, reply.body.as_str()), (status, body), "{method} {headers:?}");
        let reason = reply.headers.get("whdb-rejected-reason").cloned();
        let said = (status == 401).then(|| reply.json()["message"].as_str().unwrap().to_owned());
        assert_eq!(reason, said);
    }
    let path = format!("/v1/service_integrations/{list}");
    let reply = host.request("GET", &path, &[bot], "").await;
    assert_eq!((reply.status, reply.headers["content-type"].as_str()), (403, "text/plain"));
    let reply = host.request("GET", &format!("{path}?skipbotcheck=1"), &[bot], "").await;
    assert_eq!(reply.status, 401);
    assert!(host.items().await.is_empty());
    assert_eq!(host.woken.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn all_verbs_sub_paths_and_content_types_come_through() {
    let host = Host::start().await;
    let verbs = ["GET", "POST", "PUT", "PATCH", "DELETE"];
    let paths = ["", "/", "/anything", "/any/thing%20else", "/x?a=1&b"];
    let types = ["application/json", "text/plain", "application/x-www-form-urlencoded", "a/b"];
    let mut expected = Vec::new();
    for (at, verb) in verbs.iter().enumerate() {
        for below in paths {
            let path = format!("/v1/service_integrations/{}{below}", host.list);
            let kind = ("Content-Type", types[at % types.len()]);
            let headers = [("Whdb-Webhook-Secret", SECRET), kind];
            let reply = host.request(verb, &path, &headers, RESYNC).await;
            assert_eq!((reply.status, reply.body.as_str()), (202, OK), "{verb} {path}");
            let (below, query) = below.split_once('?').unwrap_or((below, ""));
            expected.push(((*verb).to_owned(), below.to_owned(), query.to_owned()));
        }
    }
    let items = host.items().await.into_iter().map(|item| (item.method, item.path, item.query));
    assert_eq!(items.collect::<Vec<_>>(), expected);
    let path = format!("/v1/service_integrations/{}", host.list);
    let reply = host.request("OPTIONS", &path, &[], "").await;
    assert_eq!((reply.status, reply.headers["allow"].contains("POST")), (405, true));
}

#[tokio::test]
async fn seven_spellings_and_an_integer_owner_id() {
    let host = Host::start().await;
    for verb in ["LINK", "LINKED", "REFRESH", "REFRESHED", "UNLINK", "UNLINKED", "RESYNC"] {
        let body =
            format!(r#"{{"type":"{verb}","external_owner_id":77,"refresh_token":"planted"}}"#);
        assert_eq!(host.post(&host.list, &body).await.status, 202, "{verb}");
    }
    let items = host.items().await;
    assert_eq!(items.len(), 7);
    for item in &items {
        assert_eq!(item.external_owner_id, "77");
        let body: serde_json::Value = serde_json::from_slice(&item.body).unwrap();
        assert_eq!(body["external_owner_id"], "77");
        assert_eq!(item.owner_id, items[0].owner_id);
    }
}

#[tokio::test]
async fn a_bad_body_is_answered_with_its_fields() {
    let host = Host::start().await;
    let reply = host.post(&host.list, r#"{"type":"NOPE","external_owner_id":["o"]}"#).await;
    let allowed = "must be one of LINK, LINKED, REFRESH, REFRESHED, UNLINK, UNLINKED, RESYNC";
    assert_eq!(reply.status, 400);
    assert_eq!(
        reply.json(),
        json!({ "error": {
            "message": format!("external_owner_id must be a string; type {allowed}"),
            "status": 400,
            "code": "validation_error",
            "field_errors": {
                "external_owner_id": ["must be a string"],
                "type": [allowed],
            },
        } })
    );
    let reply = host.post(&host.list, "").await;
    assert_eq!(
        (reply.status, reply.json()["error"]["field_errors"]["body"][0].clone()),
        (400, json!("is empty: send a JSON object"))
    );
    assert!(host.items().await.is_empty());
}

#[tokio::test]
async fn the_same_owner_of_two_trees_is_two_owners() {
    let host = Host::start().await;
    let other = create(&host.store, "google_calendar_list_v1", None).await;
    for id in [&host.list, &other] {
        assert_eq!(host.post(id, RESYNC).await.status, 202);
    }
    let items = host.items().await;
    assert_ne!(items[0].owner_id, items[1].owner_id);
}

#[tokio::test]
async fn other_addresses() {
    let host = Host::start().await;
    let reply = host.request("GET", "/healthz", &[], "").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, OK));
    let status = host.request("GET", "/statusz", &[], "").await.json();
    assert_eq!(status["database"], json!({ "kind": "sqlite", "state": "ok" }));
    assert_eq!(status["load"]["plugins"][0]["digest"], "c0ffee");
    assert_eq!((&status["host"], &status["runs_in_flight"]), (&json!("here"), &json!([])));
    let reply = host.request("GET", "/v1/nothing", &[], "").await;
    assert_eq!((reply.status, reply.json()["error"]["status"].clone()), (404, json!(404)));
}
