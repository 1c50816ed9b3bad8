//! Targets of HTTP Sync and DB Sync over the API.

use postgres_cluster::{Cluster, Database};
use serde_json::{Value, json};
use tests::{Settings, Vendor, VendorAnswer};

use crate::setup::{Api, Person};
use crate::steps::{CALENDAR, SECRET};

const DATABASES: &str = "/v1/organizations/default/sync_targets/db";
const OF: &str = "/v1/organizations/default/sync_targets/http";

/// Answers 401 to whoever doesn't know the password.
fn receiver() -> Vendor {
    Vendor::start(|request| {
        // user:pass
        let known = request.header("authorization") == Some("Basic dXNlcjpwYXNz");
        VendorAnswer::Reply { status: if known { 200 } else { 401 }, headers: vec![], body: vec![] }
    })
}

#[tokio::test]
async fn a_target_is_made_and_delivered_to() {
    let settings = Settings::default().env("ROWGATE_DELIVERY_ALLOW_HTTP", "true");
    let api = Api::start_with(settings).await;
    let owner = api.owner().await;
    let member = api.member(&owner).await;
    let [list, calendar, _] = owner.make_tree().await;
    let receiver = receiver();
    let url = |password: &str| {
        receiver.base_url().replace("http://", &format!("http://user:{password}@"))
    };
    let body = |password: &str| {
        json!({ "service_integration_identifier": CALENDAR, "connection_url": url(password),
                "schema": "", "table": "" })
    };
    let prompt = owner.post(&format!("{OF}/create"), body("pass")).await;
    assert_eq!(prompt.refused(), (422, "prompt_required_params"));
    assert_eq!(prompt.header("whdb-prompt"), Some("period_seconds"));
    assert_eq!(prompt.body["error"]["state_machine_step"]["prompt_is_secret"], false);
    let unknown =
        json!({ "service_integration_identifier": "nothing_v1", "connection_url": url("pass") });
    let unknown = owner.post(&format!("{OF}/create"), unknown).await;
    assert_eq!(unknown.refused(), (403, "no_such_integration"), "before more is asked");
    let of = json!({ "service_integration_identifier": CALENDAR });
    let of = owner.post(&format!("{OF}/create"), of).await;
    assert_eq!(of.header("whdb-prompt"), Some("connection_url"));
    assert_eq!(of.body["error"]["state_machine_step"]["prompt_is_secret"], true);
    let short = owner.answer(&prompt.body, "1").await;
    assert_eq!(short.refused(), (400, "validation_error"));
    let made = owner.answer(&prompt.body, "600").await.ok();
    assert_eq!((&made["period_seconds"], &made["page_size"]), (&json!(600), &json!(200)));
    let shown = made["connection_url"].as_str().unwrap();
    assert!(shown.contains("***:***@"), "{shown}");
    assert_eq!(made["associated_id"], calendar.id.as_str());
    let mut wrong = body("wrong");
    wrong["period_seconds"] = 600.into();
    let wrong = owner.post(&format!("{OF}/create"), wrong).await;
    assert_eq!(wrong.refused(), (400, "invalid_sync_target_connection"));

    let listed = member.get(OF).await.ok();
    assert_eq!(listed["items"][0]["opaque_id"], made["opaque_id"]);
    let target = format!("{OF}/{}", made["opaque_id"].as_str().unwrap());
    let sync = format!("{target}/sync");
    assert_eq!(member.post(&sync, json!({})).await.refused(), (403, "forbidden"));
    api.link(&list, "ana").await;
    api.host.settle().await;
    owner.post(&sync, json!({})).await.ok();
    let delivered = |post: &tests::VendorRequest| {
        let body: Value = serde_json::from_slice(&post.body).unwrap();
        body["rows"].as_array().is_some_and(|rows| !rows.is_empty())
    };
    api.host.until("a row is posted", async || receiver.seen().iter().any(delivered)).await;

    let smaller = owner.post(&format!("{target}/update"), json!({ "page_size": "5" })).await.ok();
    assert_eq!((&smaller["page_size"], &smaller["period_seconds"]), (&json!(5), &json!(600)));
    let credentials = json!({ "user": "user", "password": "wrong" });
    let credentials = owner.post(&format!("{target}/update_credentials"), credentials).await;
    assert_eq!(credentials.status, 400);
    let prompt = owner.post(&format!("{target}/delete"), json!({})).await;
    assert_eq!(prompt.header("whdb-prompt"), Some("confirm"));
    owner.answer(&prompt.body, &calendar.table).await.ok();
    assert_eq!(owner.get(OF).await.ok()["total_count"], 0);
    assert_eq!(owner.post(&sync, json!({})).await.refused(), (403, "no_such_target"));
    assert!(!api.host.log().contains(SECRET));
}

/// A target of the calendars; answers what was made, and where it is.
async fn made(owner: &Person<'_>, receiver: &Vendor) -> (Value, String) {
    let url = receiver.base_url().replace("http://", "http://user:pass@");
    let body = json!({ "service_integration_identifier": CALENDAR, "connection_url": url,
                       "period_seconds": 3600 });
    let made = owner.post(&format!("{OF}/create"), body).await.ok();
    let target = format!("{OF}/{}", made["opaque_id"].as_str().unwrap());
    (made, target)
}

/// Rows that were posted, over all posts.
fn posted_rows(receiver: &Vendor) -> usize {
    let rows = |post: &tests::VendorRequest| {
        let body: Value = serde_json::from_slice(&post.body).unwrap();
        body["rows"].as_array().map_or(0, Vec::len)
    };
    receiver.seen().iter().map(rows).sum()
}

#[tokio::test]
async fn a_target_is_paused_put_back_and_resumed_by_admins() {
    let settings = Settings::default().env("ROWGATE_DELIVERY_ALLOW_HTTP", "true");
    let api = Api::start_with(settings).await;
    let owner = api.owner().await;
    let member = api.member(&owner).await;
    let [list, ..] = owner.make_tree().await;
    let receiver = receiver();
    let (_, target) = made(&owner, &receiver).await;
    let post = async |call: &str, body: Value| owner.post(&format!("{target}/{call}"), body).await;
    for (call, body) in [
        ("pause", json!({})),
        ("rewind", json!({ "beginning": true })),
        ("rewind", json!({ "number": 0 })),
        ("resume", json!({})),
    ] {
        let refused = member.post(&format!("{target}/{call}"), body).await;
        assert_eq!(refused.refused(), (403, "forbidden"), "{call}");
        let elsewhere = owner.post(&format!("{OF}/syt_x/{call}"), json!({ "number": 0 })).await;
        assert_eq!(elsewhere.refused(), (403, "no_such_target"), "{call}");
    }
    api.link(&list, "ana").await;
    api.host.settle().await;
    api.host.until("rows are posted", async || posted_rows(&receiver) > 0).await;

    let paused = post("pause", json!({ "reason": "they move" })).await.ok();
    assert_eq!((&paused["state"], &paused["reason"]), (&json!("paused"), &json!("they move")));
    assert_eq!(post("pause", json!({})).await.ok()["reason"], "they move", "it is paused already");
    let long = json!({ "reason": "x".repeat(1_001) });
    assert_eq!(post("pause", long).await.refused(), (400, "validation_error"));

    for (wrong, says) in [
        (json!({}), "one of them alone"),
        (json!({ "beginning": false }), "one of them alone"),
        (json!({ "beginning": true, "number": 1 }), "one of them alone"),
        (json!({ "number": 1, "since": "2026-03-20T16:00:00Z" }), "one of them alone"),
        (json!({ "since": "yesterday" }), "must be a time"),
        (json!({ "number": "many" }), "must be a whole number"),
        (json!({ "number": -1 }), "must be from 0 to"),
        (json!({ "number": 1_000_000 }), "must be from 0 to"),
    ] {
        let refused = post("rewind", wrong.clone()).await;
        assert_eq!(refused.refused(), (400, "validation_error"), "{wrong}");
        assert!(refused.body["error"]["message"].as_str().unwrap().contains(says), "{wrong}");
    }
    let triggered = post("sync", json!({})).await;
    assert_eq!(triggered.refused(), (409, "conflict"));
    let message = triggered.body["error"]["message"].as_str().unwrap();
    for said in ["paused since 20", "(they move)", "rowgate httpsync resume syt_"] {
        assert!(message.contains(said), "{message}");
    }
    let credentials = json!({ "user": "user", "password": "pass" });
    let taken = post("update_credentials", credentials).await.ok();
    assert!(taken["message"].as_str().unwrap().contains("httpsync resume"), "{taken}");
    assert_eq!(taken["state"], "paused");
    let before = posted_rows(&receiver);
    for back in [
        json!({ "since": "1970-01-01T00:00:00Z" }),
        json!({ "number": "0" }),
        json!({ "beginning": true }),
    ] {
        post("rewind", back).await.ok();
    }
    assert_eq!(owner.get(OF).await.ok()["items"][0]["state"], "paused", "whatever is asked for");
    assert_eq!(post("resume", json!({})).await.ok()["state"], "ok");
    api.host.until("they come again", async || posted_rows(&receiver) > before).await;
}

#[tokio::test]
async fn a_signing_secret_is_for_admins() {
    let settings = Settings::default().env("ROWGATE_DELIVERY_ALLOW_HTTP", "true");
    let api = Api::start_with(settings).await;
    let owner = api.owner().await;
    let member = api.member(&owner).await;
    owner.make_tree().await;
    let (made, target) = made(&owner, &receiver()).await;
    let secret = made["signing_secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_"), "{secret}");
    let path = format!("{target}/secret");
    assert_eq!(owner.get(&path).await.ok()["signing_secret"], secret);
    assert_eq!(member.get(&path).await.refused(), (403, "forbidden"));
    assert!(!member.get(OF).await.ok().to_string().contains(secret));
    assert!(!owner.get(OF).await.ok().to_string().contains(secret), "it is asked for");
    let unknown = owner.get(&format!("{OF}/syt_x/secret")).await;
    assert_eq!(unknown.refused(), (403, "no_such_target"));
    assert!(!api.host.log().contains(secret));
}

#[tokio::test]
async fn a_database_is_made_and_mirrored_to() {
    let settings = Settings::default().env("ROWGATE_DELIVERY_ALLOW_HTTP", "true");
    let api = Api::start_with(settings).await;
    let owner = api.owner().await;
    let member = api.member(&owner).await;
    let [list, calendar, _] = owner.make_tree().await;
    let database = Cluster::shared().create_database().unwrap();
    let url = database.url().replacen('@', ":hush-0451@", 1);
    let create = format!("{DATABASES}/create");
    let body = |url: &str| {
        json!({ "service_integration_identifier": CALENDAR, "connection_url": url,
                "period_seconds": 600, "schema": "", "table": "calendars" })
    };
    let mut without = body(&url);
    without.as_object_mut().unwrap().remove("period_seconds");
    let prompt = owner.post(&create, without).await;
    assert_eq!(prompt.header("whdb-prompt"), Some("period_seconds"));
    assert_eq!(member.post(&create, body(&url)).await.refused(), (403, "forbidden"));
    for refused in [
        "snowflake://u:hush-0451@a.example/d",
        "postgres://u:hush-0451@169.254.169.254/d",
        "postgres://u:hush-0451@[::ffff:10.0.0.1]/d",
        "postgres://u:hush-0451@127.0.0.1:1/d",
        "postgres://u:hush-0451@127.0.0.1/d?sslrootcert=/etc/passwd",
        &url.replace("rowgate:", "nobody:"),
    ] {
        let reply = owner.post(&create, body(refused)).await;
        assert_eq!(reply.refused(), (400, "invalid_sync_target_connection"), "{refused}");
        assert!(!reply.body.to_string().contains("hush-0451"), "{}", reply.body);
    }
    let mut bad = body(&url);
    bad["schema"] = "a b".into();
    assert_eq!(owner.post(&create, bad).await.refused(), (400, "validation_error"));

    let made = owner.answer(&prompt.body, "600").await.ok();
    assert_eq!((&made["schema"], &made["table"]), (&json!("public"), &json!("calendars")));
    assert!(made["connection_url"].as_str().unwrap().starts_with("postgres://***:***@"), "{made}");
    assert_eq!(made["associated_id"], calendar.id.as_str());
    let again = body(&url.replace("postgres://", "postgresql://"));
    assert_eq!(owner.post(&create, again).await.code(), "conflict", "it has a target");
    let listed = member.get(DATABASES).await.ok();
    assert_eq!(listed["items"][0]["opaque_id"], made["opaque_id"]);
    assert!(!listed.to_string().contains("hush-0451"));
    assert_eq!(member.get(OF).await.ok()["total_count"], 0, "it is no receiver");
    let id = made["opaque_id"].as_str().unwrap();
    let (target, sync) = (format!("{DATABASES}/{id}"), format!("{DATABASES}/{id}/sync"));
    assert_eq!(owner.post(&format!("{OF}/{id}/sync"), json!({})).await.code(), "no_such_target");
    assert_eq!(member.post(&sync, json!({})).await.refused(), (403, "forbidden"));
    api.link(&list, "ana").await;
    api.host.settle().await;
    owner.post(&sync, json!({})).await.ok();
    api.host.until("a row is mirrored", async || has_calendars(&database)).await;

    let change = json!({ "period_seconds": "120" });
    let changed = owner.post(&format!("{target}/update"), change).await.ok();
    assert_eq!(changed["period_seconds"], 120);
    stays_where_it_is(&owner, &target).await;
    let credentials = json!({ "user": "nobody", "password": "hush-0451" });
    let credentials = owner.post(&format!("{target}/update_credentials"), credentials).await;
    assert_eq!(credentials.refused(), (400, "invalid_sync_target_connection"));
    let credentials = json!({ "user": "rowgate", "password": "hush-0452" });
    owner.post(&format!("{target}/update_credentials"), credentials).await.ok();
    let prompt = owner.post(&format!("{target}/delete"), json!({})).await;
    assert_eq!(prompt.header("whdb-prompt"), Some("confirm"));
    owner.answer(&prompt.body, &calendar.table).await.ok();
    assert_eq!(owner.get(DATABASES).await.ok()["total_count"], 0);
    assert!(has_calendars(&database), "the mirror stays");
    assert!(!api.host.log().contains("hush-045"));
}

/// WebhookDB's client sends schema and table with every change.
async fn stays_where_it_is(owner: &Person<'_>, target: &str) {
    let update = async |change: Value| owner.post(&format!("{target}/update"), change).await;
    for same in
        [json!({}), json!({ "schema": "public", "table": "calendars", "period_seconds": 120 })]
    {
        let same = update(same).await.ok();
        assert!(same["message"].as_str().unwrap().contains("Nothing was changed"), "{same}");
    }
    for (other, field) in [
        (json!({ "schema": "other", "table": "" }), "schema"),
        (json!({ "schema": "", "table": "other", "period_seconds": 60 }), "table"),
    ] {
        let refused = update(other).await;
        assert_eq!(refused.refused(), (400, "validation_error"));
        assert!(refused.body["error"]["field_errors"][field].is_array(), "{}", refused.body);
    }
    assert_eq!(owner.get(DATABASES).await.ok()["items"][0]["period_seconds"], 120);
}

fn has_calendars(database: &Database<'_>) -> bool {
    let counted = database.connect().unwrap().value("select count(*) from calendars");
    counted.is_ok_and(|count| count != "0")
}

#[tokio::test]
async fn a_mirror_is_paused_put_back_and_resumed_by_admins() {
    let settings = Settings::default().env("ROWGATE_DELIVERY_ALLOW_HTTP", "true");
    let api = Api::start_with(settings).await;
    let owner = api.owner().await;
    let member = api.member(&owner).await;
    owner.make_tree().await;
    let database = Cluster::shared().create_database().unwrap();
    let body = json!({ "service_integration_identifier": CALENDAR, "period_seconds": 600,
                       "connection_url": database.url().replacen('@', ":hush-0451@", 1) });
    let made = owner.post(&format!("{DATABASES}/create"), body).await.ok();
    assert_eq!(made.get("signing_secret"), None, "nothing is signed there");
    let target = format!("{DATABASES}/{}", made["opaque_id"].as_str().unwrap());
    let post = async |call: &str, body: Value| owner.post(&format!("{target}/{call}"), body).await;
    for call in ["pause", "resume"] {
        let refused = member.post(&format!("{target}/{call}"), json!({})).await;
        assert_eq!(refused.refused(), (403, "forbidden"), "{call}");
    }
    assert_eq!(post("pause", json!({})).await.ok()["reason"], "paused by an operator");
    assert_eq!(post("rewind", json!({ "beginning": true })).await.ok()["state"], "paused");
    assert_eq!(post("rewind", json!({})).await.refused(), (400, "validation_error"));
    assert_eq!(post("resume", json!({})).await.ok()["state"], "ok");
    let asked = post("update_credentials", json!({})).await;
    assert_eq!(asked.header("whdb-prompt"), Some("user"));
    let asked = post("update_credentials", json!({ "user": "rowgate" })).await;
    assert_eq!(asked.header("whdb-prompt"), Some("password"));
    assert_eq!(asked.body["error"]["state_machine_step"]["prompt_is_secret"], true);
}
