//! Queries of programs that know where an organization's tables are read, and of pages in browsers.

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tests::is_on_postgres;

use crate::setup::{Api, Person};

const SPELLINGS: [&str; 2] = ["Whdb-Sha256-Conn", "whdb-sha256-connstr"];

/// Sends a header that stands for a session; answers status and body.
async fn send(
    api: &Api,
    method: Method,
    path: &str,
    header: (&str, &str),
    body: Value,
) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client.request(method.clone(), format!("{}{path}", api.host.base_url()));
    if method != Method::GET {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    let answer = request.header(header.0, header.1).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

async fn digest(person: &Person<'_>) -> String {
    let connection = person.get("/v1/db/default/connection").await.ok();
    let digest = Sha256::digest(connection["connection_url"].as_str().unwrap().as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_digest_of_the_connection_opens_its_organization_alone() {
    let api = Api::start().await;
    let owner = api.owner().await;
    owner.post("/v1/organizations/create", json!({ "name": "Other" })).await.ok();
    owner.post("/v1/db/other/sql", json!({ "query": "select 1" })).await.ok();
    let digest = digest(&owner).await;
    let wrong = "a".repeat(digest.len());
    let body = json!({ "query": "select 1 as n", "org_identifier": "default" });
    let private = json!({ "description": "d", "sql": "select 3 as n" });
    let private = owner.post("/v1/organizations/default/saved_queries/create", private).await.ok();
    let private = format!("/v1/saved_queries/{}/run", private["id"].as_str().unwrap());
    let call = async |path: &str, header: (&str, &str), body: &Value| {
        let method = if path == private { Method::GET } else { Method::POST };
        send(&api, method, path, header, body.clone()).await
    };
    if !is_on_postgres() {
        // Anybody could guess where a file lies.
        for path in ["/v1/db/default/sql", "/v1/db/run_sql"] {
            let (status, refused) = call(path, (SPELLINGS[0], digest.as_str()), &body).await;
            assert_eq!(
                (status, &refused["error"]["code"]),
                (403, &json!("no_connection_password"))
            );
        }
        assert_eq!(call(&private, (SPELLINGS[0], digest.as_str()), &body).await.0, 403);
        return;
    }
    let upper = digest.to_uppercase();
    for (path, n) in [("/v1/db/default/sql", 1), ("/v1/db/run_sql", 1), (private.as_str(), 3)] {
        for header in [
            (SPELLINGS[0], digest.as_str()),
            (SPELLINGS[1], digest.as_str()),
            (SPELLINGS[0], upper.as_str()),
        ] {
            let (status, answer) = call(path, header, &body).await;
            assert_eq!((status, &answer["rows"]), (200, &json!([[n]])), "{path}: {answer}");
        }
        for header in [(SPELLINGS[0], wrong.as_str()), (SPELLINGS[0], "x"), (SPELLINGS[0], "")] {
            let refused = if path == private { 403 } else { 401 };
            assert_eq!(call(path, header, &body).await.0, refused, "{path} {header:?}");
        }
    }
    let (conn, other) = (
        (SPELLINGS[0], digest.as_str()),
        json!({ "query": "select 1", "org_identifier": "other" }),
    );
    assert_eq!(call("/v1/db/other/sql", conn, &other).await.0, 401);
    assert_eq!(call("/v1/db/run_sql", conn, &other).await.0, 401);
    let nowhere = json!({ "query": "select 1", "org_identifier": "nowhere" });
    assert_eq!(call("/v1/db/run_sql", conn, &nowhere).await.0, 401);
    // It is good for queries alone.
    for path in ["/v1/db/default/roll_credentials", "/v1/organizations/default/close"] {
        assert_eq!(call(path, conn, &json!({ "guard_confirm": "" })).await.0, 401, "{path}");
    }
    for path in ["/v1/db/default/connection", "/v1/organizations/default/saved_queries", "/v1/me"] {
        assert_eq!(send(&api, Method::GET, path, conn, Value::Null).await.0, 401, "{path}");
    }
    let rolled = json!({ "guard_confirm": "" });
    owner.post("/v1/db/default/roll_credentials", rolled).await.ok();
    assert_eq!(call("/v1/db/default/sql", conn, &body).await.0, 401, "the URL is another one");
}

#[tokio::test]
async fn a_query_in_a_url() {
    let api = Api::start().await;
    let owner = api.owner().await;
    // `printf 'select 7 as n -- ÿ?>' | base64`, with the letters that are safe in a URL.
    let encoded = "c2VsZWN0IDcgYXMgbiAtLSDDvz8-";
    for (query, n) in [
        ("query=select+6+as+n".to_owned(), 6),
        (format!("query_base64={encoded}"), 7),
        ("query_base64=c2VsZWN0IDggYXMgbg".to_owned(), 8),
        ("query_base64=c2VsZWN0IDggYXMgbg%3D%3D".to_owned(), 8),
    ] {
        let path = format!("/v1/db/run_sql?org_identifier=default&{query}");
        let reply = owner.get(&path).await;
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{path}");
        assert_eq!(reply.ok()["rows"], json!([[n]]), "{path}");
    }
    for query in
        ["", "query=select+1&query_base64=c2VsZWN0IDE", "query_base64=%2B%2F", "query_base64=AA"]
    {
        let path = format!("/v1/db/run_sql?org_identifier=default&{query}");
        assert_eq!(owner.get(&path).await.refused(), (400, "validation_error"), "{path}");
    }
    let nowhere = owner.get("/v1/db/run_sql?query=select+1").await;
    assert_eq!(nowhere.refused(), (400, "validation_error"));
    let other = owner.get("/v1/db/run_sql?org_identifier=other&query=select+1").await;
    assert_eq!(other.refused(), (403, "forbidden"));
    let write = owner.get("/v1/db/run_sql?org_identifier=default&query=drop+table+x").await;
    assert_eq!(write.refused(), (403, "invalid_query"));
    let nobody = api.nobody().get("/v1/db/run_sql?org_identifier=default&query=select+1").await;
    assert_eq!(nobody.refused(), (401, ""));
}

#[tokio::test]
async fn browsers_are_told_what_they_may_send() {
    let api = Api::start().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = async |path: &str| {
        let url = format!("{}{path}", api.host.base_url());
        let asked = client.request(Method::OPTIONS, url).header("origin", "https://a.example");
        asked.header("access-control-request-method", "POST").send().await.unwrap()
    };
    for path in ["/v1/db/run_sql", "/v1/saved_queries/svq_x/run"] {
        let told = ask(path).await;
        assert_eq!(told.status(), 204, "{path}");
        let header = |name: &str| told.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("access-control-allow-origin"), "*");
        assert!(header("access-control-allow-methods").contains("POST"));
        assert!(header("access-control-allow-headers").contains('*'));
    }
    for path in ["/v1/me", "/v1/db/default/sql"] {
        let told = ask(path).await;
        assert_eq!(told.status(), 405, "{path}");
        assert!(!told.headers().contains_key("access-control-allow-origin"), "{path}");
    }
}

#[tokio::test]
async fn another_server_can_read_the_tables() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let made = owner.make(crate::steps::LIST, &["planted", "id", "secret"]).await;
    let body = json!({ "remote_server_name": "there", "fetch_size": "100", "message_views": true });
    let reply = owner.post("/v1/db/default/fdw", body).await;
    if !is_on_postgres() {
        assert_eq!(reply.refused(), (409, "conflict"));
        return;
    }
    let sql = reply.ok();
    assert_eq!(sql["message"], sql["views_sql"]);
    assert!(sql["views_sql"].as_str().unwrap().contains(&made.table), "{sql}");
    assert!(sql["views"][&made.id].is_string(), "{sql}");
    let server = sql["fdw_sql"].as_str().unwrap();
    for words in ["CREATE SERVER \"there\"", "fetch_size '100'", "FROM SERVER \"there\""] {
        assert!(server.contains(words), "{words}: {server}");
    }
    let wrong = owner.post("/v1/db/default/fdw", json!({ "fetch_size": 0 })).await;
    assert_eq!(wrong.refused(), (400, "validation_error"));
}
