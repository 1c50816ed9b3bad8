//! The first day of somebody with WebhookDB's client: each request that it sends, in the order in
//! which they are typed, from login to logout.

use serde_json::{Value, json};
use tests::{TestHost, Vendor, VendorAnswer, is_on_postgres};

use crate::client::{GoClient, is_step};
use crate::setup::{CALENDAR, EMAIL, EVENT, LIST, SECRET, codes, create, host, integrations};

#[tokio::test]
async fn from_login_to_logout() {
    let host = host().await;
    let mut client = GoClient::new(host.base_url());
    let of = log_in(&host, &mut client).await;
    look_around(&mut client, &of).await;
    let list = make_integrations(&host, &mut client, &of).await;
    query(&host, &mut client, &of, &list).await;
    sync(&host, &mut client, &of).await;
    ask_for_more(&mut client, &of).await;

    assert!(client.post("/v1/auth/logout", json!({})).await.ok()["message"].is_string());
    assert_eq!(client.get("/v1/me").await.refused(401), "Unauthorized");
    client.forget();
    assert_eq!(client.get("/v1/me").await.refused(401), "Unauthorized");
}

/// `auth login`; answers the prefix of what follows, with the organization's number.
async fn log_in(host: &TestHost, client: &mut GoClient) -> String {
    assert_eq!(client.get("/v1/me").await.refused(401), "Unauthorized");
    let step = client.post("/v1/auth", json!({ "email": EMAIL, "token": "" })).await;
    assert_eq!(step.status, 202);
    let step = step.body;
    is_step(&step);
    assert_eq!((&step["needs_input"], &step["complete"]), (&json!(true), &json!(false)));
    assert_eq!(step["post_to_url"], "/v1/auth");
    assert_eq!(step["post_params"], json!({ "email": EMAIL }));
    assert_eq!(step["post_params_value_key"], "token");
    assert!(!client.is_logged_in(), "a code is no session");
    host.until("the code is logged", async || !codes(host, EMAIL).is_empty()).await;

    let typed = json!({ "email": EMAIL, "token": codes(host, EMAIL).pop() });
    let done = client.post("/v1/auth", typed).await;
    assert!(client.is_logged_in());
    assert!(done.headers["whdb-auth-token"].to_str().unwrap().ends_with("; path=/"));
    let done = done.ok();
    is_step(&done);
    assert_eq!((&done["complete"], &done["error_code"]), (&json!(true), &json!("")));
    // Without these nothing is stored.
    let customer = &done["extras"]["current_customer"];
    assert_eq!(customer["email"], EMAIL);
    assert!(customer["name"].is_string(), "{customer}");
    let organization = &customer["default_organization"];
    assert!(organization["name"].is_string() && organization["key"].is_string(), "{customer}");
    let id = organization["id"].as_i64().unwrap();
    format!("/v1/organizations/{id}")
}

/// `auth whoami`, `org list`, `org activate`, `services list`.
async fn look_around(client: &mut GoClient, of: &str) {
    let me = client.get("/v1/me").await.single();
    assert_eq!(me["email"], EMAIL);
    let (_, id) = of.rsplit_once('/').unwrap();
    let active = format!("/v1/me/organization_memberships?active_org_identifier={id}");
    assert_eq!(client.get(&active).await.blocks()[0]["type"], "table");
    let key = me["default_organization"]["key"].as_str().unwrap();
    let shown = client.get(&format!("/v1/organizations/-?org={key}")).await.single();
    assert_eq!(shown["id"].to_string(), id);
    assert!(shown["name"].is_string() && shown["key"] == key, "{shown}");
    let services = client.get(&format!("{of}/services")).await.items();
    for service in [LIST, CALENDAR, EVENT] {
        assert!(services.iter().any(|one| one["name"] == service), "{service}: {services:?}");
    }
    let fixtures = client.get(&format!("/v1/services/{EVENT}/fixtures")).await.ok();
    let sql = fixtures["schema_sql"].as_str().unwrap();
    assert!(sql.contains(&format!("\"{EVENT}_fixture\"")), "{sql}");
}

/// `integrations create`, three times: secrets are typed, dependencies accepted by Enter.
async fn make_integrations(host: &TestHost, client: &mut GoClient, of: &str) -> String {
    assert!(integrations(client, of).await.is_empty());
    let path = format!("{of}/service_integrations/create");
    let early = client.converse(&path, json!({ "service_name": CALENDAR }), &[]);
    let early = early.await.last.ok();
    assert_eq!(early["error_code"], "no_candidate_dependency");
    let (id, secret) = {
        let model = host.simulator.model();
        (model.client_id.clone(), model.client_secret.clone())
    };
    let made = create(client, of, LIST, &[SECRET, &id, &secret]).await;
    assert_eq!(made.prompts.len(), 3, "{:?}", made.prompts);
    assert_eq!(made.hidden, made.prompts, "nothing of it is shown");
    let list = integrations(client, of).await.remove(0);
    let opaque_id = list["opaque_id"].as_str().unwrap().to_owned();
    assert!(opaque_id.starts_with("svi_") && opaque_id.len() <= "svi_".len() + 25, "{opaque_id}");
    let endpoint = format!("{}/v1/service_integrations/{opaque_id}", host.base_url());
    assert!(made.output.contains(&endpoint) && made.output.contains(SECRET), "{}", made.output);

    // Another one only for who says so.
    let again = client.post(&path, json!({ "service_name": LIST })).await;
    assert_eq!(again.headers["whdb-prompt"], "guard_confirm");
    again.refused(422);

    for (step, url) in
        [("api_url", host.simulator.api_url()), ("token_url", host.simulator.token_url())]
    {
        let path = format!("{of}/service_integrations/{opaque_id}/transition/{step}");
        client.post(&path, json!({ "value": url })).await.ok();
    }
    for service in [CALENDAR, EVENT] {
        let made = create(client, of, service, &[""]).await;
        assert_eq!(made.prompts, ["Parent integration number:"]);
        assert!(made.hidden.is_empty());
        assert!(made.output.contains("1 - google_calendar"), "{}", made.output);
    }
    let all = integrations(client, of).await;
    let names: Vec<&Value> = all.iter().map(|one| &one["service_name"]).collect();
    assert_eq!(names, [LIST, CALENDAR, EVENT]);
    for one in &all {
        let (table, service) = (one["table_name"].as_str(), one["service_name"].as_str());
        let suffix = table.unwrap().strip_prefix(service.unwrap()).unwrap();
        let is_hex = |digit: char| digit.is_ascii_digit() || ('a'..='f').contains(&digit);
        assert!(suffix.len() == 5 && suffix[1..].chars().all(is_hex), "{suffix}");
    }
    opaque_id
}

/// `integrations info`, the backend's LINKED, `db connection`, `db tables`, `db sql`.
async fn query(host: &TestHost, client: &mut GoClient, of: &str, list: &str) {
    let info = format!("{of}/service_integrations/{LIST}/info");
    let all = client.post(&info, json!({ "field": "" })).await.blocks();
    assert_eq!(all[0]["value"]["headers"], json!(["Field", "Value"]));
    let url = client.post(&info, json!({ "field": "url" })).await.blocks().remove(0);
    let endpoint = format!("{}/v1/service_integrations/{list}", host.base_url());
    assert_eq!((&url["type"], &url["value"]), (&json!("line"), &json!(endpoint)));

    let token = host.simulator.model().create_user("ana@google.example");
    let linked = json!({
        "type": "LINKED", "external_owner_id": "ana", "refresh_token": token,
    });
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let posted = http.post(endpoint).header("Whdb-Webhook-Secret", SECRET);
    let posted = posted.body(linked.to_string()).send().await.unwrap();
    assert_eq!(posted.status(), 202);
    assert_eq!(posted.text().await.unwrap(), "{\"o\":\"k\"}");
    host.settle().await;

    let db = of.replace("/organizations/", "/db/");
    let connection = client.get(&format!("{db}/connection")).await.ok();
    let scheme = if is_on_postgres() { "postgres://" } else { "file:" };
    assert!(connection["connection_url"].as_str().unwrap().starts_with(scheme), "{connection}");
    let tables = client.get(&format!("{db}/tables")).await.ok();
    assert_eq!((tables["tables"].as_array().unwrap().len(), &tables["message"]), (3, &json!("")));
    let calendars = integrations(client, of).await.remove(1);
    let calendars = calendars["table_name"].as_str().unwrap();
    let sql = format!("select external_owner_id, 1 as one from {calendars}");
    let answer = client.post(&format!("{db}/sql"), json!({ "query": sql })).await.ok();
    let whole = json!({
        "headers": ["external_owner_id", "one"], "rows": [["ana", 1]], "max_rows_reached": false,
    });
    assert_eq!(answer, whole);
    let wrong = client.post(&format!("{db}/sql"), json!({ "query": "select * from x" })).await;
    assert_eq!(wrong.body["error"]["code"], "invalid_query");
    wrong.refused(403);
}

/// `httpsync create`, `list`, `trigger`.
async fn sync(host: &TestHost, client: &mut GoClient, of: &str) {
    let receiver = Vendor::start(|_| VendorAnswer::reply(200, ""));
    let url = receiver.base_url().replace("http://", "http://user:pass@");
    let targets = format!("{of}/sync_targets/http");
    let body = json!({
        "service_integration_identifier": CALENDAR, "connection_url": url, "schema": "", "table": "",
    });
    let made = client.converse(&format!("{targets}/create"), body, &["600"]).await;
    assert_eq!((made.prompts.len(), made.hidden.len()), (1, 0), "{:?}", made.prompts);
    let made = made.last.single();
    let has_all = |target: &Value| {
        assert!(target["opaque_id"].as_str().unwrap().starts_with("syt_"), "{target}");
        assert!(target["connection_url"].as_str().unwrap().contains("***:***@"), "{target}");
        assert_eq!((&target["period_seconds"], &target["page_size"]), (&json!(600), &json!(200)));
        for name in ["last_synced_at", "latency", "associated_type", "associated_id"] {
            assert!(target.get(name).is_some(), "{name}: {target}");
        }
        assert!(target["associated_object_display"].is_string(), "{target}");
    };
    has_all(&made);
    let listed = client.get(&targets).await.items();
    assert_eq!(listed.len(), 1);
    has_all(&listed[0]);
    let trigger = format!("{targets}/{}/sync", made["opaque_id"].as_str().unwrap());
    assert!(
        !client.post(&trigger, json!({})).await.single()["message"].as_str().unwrap().is_empty()
    );
    let has_rows = |post: &tests::VendorRequest| {
        let body: Value = serde_json::from_slice(&post.body).unwrap();
        body["rows"].as_array().is_some_and(|rows| !rows.is_empty())
    };
    host.until("rows are posted", async || receiver.seen().iter().any(has_rows)).await;
}

/// `integrations stats`, `backfill`, `subscription info`, `debug statusz`.
async fn ask_for_more(client: &mut GoClient, of: &str) {
    client.get(&format!("{of}/service_integrations/{LIST}/stats")).await.single();
    for below in ["backfill", "backfill/reset"] {
        let path = format!("{of}/service_integrations/{EVENT}/{below}");
        let refused = client.post(&path, json!({})).await.refused(409);
        assert!(refused.contains("RESYNC"), "it says what to do instead: {refused}");
    }
    client.get(&format!("{of}/subscriptions")).await.single();
    assert!(client.get("/statusz").await.ok().is_object());
    assert_eq!(client.get("/healthz").await.ok(), json!({ "o": "k" }));
}
