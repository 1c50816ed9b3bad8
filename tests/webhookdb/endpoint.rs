//! The endpoint that backends post to: which status, which body, whatever is sent.

use serde_json::{Value, json};
use tests::TestHost;

use crate::client::GoClient;
use crate::setup::{EMAIL, SECRET, host, log_in, make_tree};

const OF: &str = "/v1/organizations/default";

/// A host with three integrations, and their paths.
struct Case {
    host: TestHost,
    http: reqwest::Client,
    list: String,
    calendar: String,
    event: String,
}

/// What was answered.
#[derive(Debug)]
struct Reply {
    status: u16,
    kind: String,
    rejected: Option<String>,
    body: String,
}

impl Case {
    async fn start() -> Self {
        let host = host().await;
        let mut client = GoClient::new(host.base_url());
        log_in(&host, &mut client, EMAIL).await;
        let all = make_tree(&host, &mut client, OF).await;
        let [list, calendar, event] = all
            .map(|one| format!("/v1/service_integrations/{}", one["opaque_id"].as_str().unwrap()));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { host, http, list, calendar, event }
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Reply {
        let url = format!("{}{path}", self.host.base_url());
        let mut request = self.http.request(method.parse().unwrap(), url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let header =
            |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (kind, rejected) = (header("content-type"), header("whdb-rejected-reason"));
        Reply {
            status: answer.status().as_u16(),
            kind: kind.unwrap_or_default(),
            rejected,
            body: answer.text().await.unwrap(),
        }
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &[("Whdb-Webhook-Secret", SECRET)], body.to_string()).await
    }
}

fn resync(owner: &str) -> Value {
    json!({ "type": "RESYNC", "external_owner_id": owner })
}

#[tokio::test]
async fn each_situation_has_its_status_and_body() {
    let case = Case::start().await;
    let (right, wrong) = (("Whdb-Webhook-Secret", SECRET), ("Whdb-Webhook-Secret", "wrong"));
    let blank = ("Whdb-Webhook-Secret", "");
    let bot = ("User-Agent", "Googlebot/2.1");
    let body = resync("o").to_string();
    let nowhere = "/v1/service_integrations/svi_none".to_owned();
    let unknown = r#"{"error":{"message":"No integration with that id","status":400}}"#;
    let missing = r#"{"message":"missing secret header"}"#;
    let mismatch = r#"{"message":"secret mismatch"}"#;
    for (method, path, headers, status, said) in [
        ("POST", &case.list, vec![right], 202, r#"{"o":"k"}"#),
        ("POST", &case.list, vec![], 401, missing),
        ("POST", &case.list, vec![wrong], 401, mismatch),
        ("POST", &case.list, vec![blank], 401, mismatch),
        ("POST", &nowhere, vec![right], 400, unknown),
        ("POST", &case.calendar, vec![right], 401, missing),
        ("POST", &case.event, vec![right], 401, missing),
        // Whoever isn't known is answered before anybody looks at what they say.
        ("POST", &case.list, vec![wrong, bot], 401, mismatch),
        ("GET", &nowhere, vec![bot], 400, unknown),
    ] {
        let reply = case.send(method, path, &headers, body.clone()).await;
        let answered = (reply.status, reply.kind.as_str(), reply.body.as_str());
        assert_eq!(answered, (status, "application/json", said), "{method} {path} {headers:?}");
        let message = (status == 401).then(|| {
            let said: Value = serde_json::from_str(said).unwrap();
            said["message"].as_str().unwrap().to_owned()
        });
        assert_eq!(reply.rejected, message, "{method} {path} {headers:?}");
    }
    let crawled = case.send("GET", &case.list, &[bot], "").await;
    assert_eq!(crawled.status, 403);
    assert!(crawled.kind.starts_with("text/plain") && !crawled.body.is_empty(), "{crawled:?}");
    let asked = case.send("GET", &format!("{}?skipbotcheck=1", case.list), &[bot], "").await;
    assert_eq!(asked.status, 401, "to be no crawler is no secret");
}

#[tokio::test]
async fn whatever_verb_path_and_type_a_body_comes_by_it_is_taken() {
    let case = Case::start().await;
    let secret = ("Whdb-Webhook-Secret", SECRET);
    for (at, method) in ["GET", "POST", "PUT", "PATCH", "DELETE"].into_iter().enumerate() {
        for below in ["", "/", "/and/anything?a=b"] {
            let kinds = ["application/json", "application/x-www-form-urlencoded", "text/plain"];
            let kind = ("Content-Type", kinds[at % kinds.len()]);
            let path = format!("{}{below}", case.list);
            let reply = case.send(method, &path, &[secret, kind], resync("o").to_string()).await;
            assert_eq!(
                (reply.status, reply.body.as_str()),
                (202, r#"{"o":"k"}"#),
                "{method} {path}"
            );
        }
    }
    // WebhookDB's own replays carry this; it opens nothing.
    let retry = ("whdb-logged-webhook-retry", "1");
    let body = resync("o").to_string();
    assert_eq!(case.send("POST", &case.list, &[retry], body.clone()).await.status, 401);
    assert_eq!(case.send("POST", &case.list, &[retry, secret], body).await.status, 202);
}

/// WebhookDB takes these and fails later, where no sender sees it.
#[tokio::test]
async fn what_nobody_could_use_is_refused_at_once() {
    let case = Case::start().await;
    for (body, field) in [
        (json!({ "type": "NOPE", "external_owner_id": "o" }), "type"),
        (json!({ "external_owner_id": "o" }), "type"),
        (json!({ "type": "LINKED", "external_owner_id": "o" }), "refresh_token"),
        (json!({ "type": "UNLINKED" }), "external_owner_id"),
        (json!({ "type": "UNLINKED", "external_owner_id": "" }), "external_owner_id"),
        (json!({ "type": "UNLINKED", "external_owner_id": {} }), "external_owner_id"),
    ] {
        let reply = case.post(&case.list, &body).await;
        assert_eq!(reply.status, 400, "{body}: {reply:?}");
        let error: Value = serde_json::from_str(&reply.body).unwrap();
        assert!(error["error"]["field_errors"][field].is_array(), "{body}: {error}");
    }
    for body in ["", "{", "[]", "\"x\"", "null"] {
        let headers = [("Whdb-Webhook-Secret", SECRET)];
        let reply = case.send("POST", &case.list, &headers, body).await;
        assert_eq!(reply.status, 400, "{body}: {reply:?}");
    }
    assert!(case.host.owners().await.is_empty());
}

/// A token beside the value that counts is a secret as well, whatever the post is.
#[tokio::test]
async fn a_repeated_key_leaves_no_token_in_the_inbox() {
    let case = Case::start().await;
    for verb in ["LINKED", "RESYNC", "UNLINKED"] {
        for (first, last) in [("\"planted\"", "null"), ("null", "\"planted\"")] {
            let body = format!(
                "{{\"type\":\"{verb}\",\"external_owner_id\":\"o\",\"refresh_token\":{first},\
                 \"refresh_token\":{last}}}"
            );
            let reply = case.send("POST", &case.list, &[("Whdb-Webhook-Secret", SECRET)], body);
            // The last value counts, as everywhere: LINKED needs one.
            let missing = verb == "LINKED" && last == "null";
            assert_eq!(
                reply.await.status,
                if missing { 400 } else { 202 },
                "{verb} {first} {last}"
            );
        }
    }
    let bodies: Vec<(Vec<u8>,)> = case.host.control("select body from inbox order by id").await;
    let bodies: Vec<String> =
        bodies.into_iter().map(|(body,)| String::from_utf8(body).unwrap()).collect();
    assert_eq!(bodies.len(), 5);
    for body in bodies {
        assert!(!body.contains("planted"), "{body}");
        assert_eq!(body.matches("refresh_token").count(), 1, "{body}");
    }
}

/// A closed organization's or a deleted integration's id is one that nobody knows.
#[tokio::test]
async fn a_deleted_integration_is_unknown() {
    let case = Case::start().await;
    let mut client = GoClient::new(case.host.base_url());
    log_in(&case.host, &mut client, EMAIL).await;
    let id = case.list.rsplit('/').next().unwrap();
    let delete = format!("{OF}/service_integrations/{id}/delete");
    let table = client.post(&delete, json!({})).await;
    let prompt = table.body["error"]["state_machine_step"]["prompt"].as_str().unwrap().to_owned();
    table.refused(422);
    let name = prompt.split_whitespace().find(|word| word.starts_with("google_calendar_list_v1_"));
    let confirm = json!({ "confirm": name.unwrap().trim_end_matches(',') });
    client.post(&delete, confirm).await.single();
    assert_eq!(case.post(&case.list, &resync("o")).await.status, 400);
}
