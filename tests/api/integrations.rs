//! Integrations over the API: made by prompts, used, changed, deleted.

use serde_json::json;

use crate::setup::{Api, Person};
use crate::steps::{CALENDAR, EVENT, LIST, OF, SECRET};

#[tokio::test]
async fn a_tree_is_made_by_prompts_and_fills_its_tables() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let services = owner.get("/v1/organizations/default/services").await.ok();
    let names: Vec<_> = services["items"].as_array().unwrap().iter().map(|s| &s["name"]).collect();
    assert!(names.contains(&&json!(LIST)) && names.contains(&&json!(EVENT)), "{names:?}");

    let step = owner.begin(LIST).await.ok();
    assert_eq!((&step["needs_input"], &step["prompt_is_secret"]), (&json!(true), &json!(true)));
    assert_eq!(step["post_params_value_key"], "value");
    let url = step["post_to_url"].as_str().unwrap();
    assert!(url.ends_with("/transition/webhook_secret") && url.contains("/svi_"), "{url}");
    assert!(owner.listed().await.is_empty(), "nothing is there before all is answered");
    let step = owner.answer(&step, SECRET).await.ok();
    assert!(step["post_to_url"].as_str().unwrap().ends_with("/transition/backfill_key"));
    // What must not be empty is asked again by a client that sees its field among the errors.
    let empty = owner.answer(&step, "").await;
    assert_eq!(empty.refused(), (400, "validation_error"));
    assert!(empty.body["error"]["field_errors"]["value"].is_array());

    let [list, calendar, event] = owner.make_tree().await;
    api.link(&list, "ana").await;
    api.host.settle().await;
    let count = format!("select count(*) from {} where external_owner_id = 'ana'", calendar.table);
    assert_eq!(owner.sql(&count).await, [json!([1])]);
    assert_eq!(owner.sql(&format!("select count(*) from {}", event.table)).await, [json!([0])]);

    let stats = owner.get(&format!("{OF}/{}/stats", list.id)).await.ok();
    assert_eq!((&stats["owners_linked"], &stats["webhooks_kept"]), (&json!(1), &json!(1)));
    let stats = owner.get(&format!("{OF}/{EVENT}/stats")).await.ok();
    assert_eq!(stats["streams"], 1, "{stats}");
    let backfill = owner.post(&format!("{OF}/{LIST}/backfill"), json!({})).await;
    assert_eq!(backfill.refused(), (409, "conflict"));
    assert!(backfill.body["error"]["message"].as_str().unwrap().contains("RESYNC"));
}

#[tokio::test]
async fn an_empty_answer_makes_a_secret_that_works() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let made = owner.make(LIST, &["", "id", "secret"]).await;
    let field = |name: &str| json!({ "field": name });
    let info = owner.post(&format!("{OF}/{}/info", made.id), field("webhook_secret")).await.ok();
    let secret = info["blocks"][0]["value"].as_str().unwrap();
    assert!(secret.len() > 16, "{secret}");
    let body = json!({ "type": "UNLINKED", "external_owner_id": "o" });
    assert_eq!(api.hook(&made.id, secret, &body).await, 202);
    let all = owner.post(&format!("{OF}/{}/info", made.table), field("")).await.ok();
    let table = &all["blocks"][0]["value"];
    assert_eq!(table["headers"], json!(["Field", "Value"]));
    assert!(table["rows"].as_array().unwrap().contains(&json!(["Webhook secret", secret])));
    let wrong = owner.post(&format!("{OF}/{}/info", made.id), field("x")).await;
    assert_eq!(wrong.refused(), (400, "validation_error"));
}

#[tokio::test]
async fn a_service_stands_once_under_a_parent() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let none = owner.begin(CALENDAR).await.ok();
    assert_eq!(
        (&none["complete"], &none["error_code"]),
        (&json!(true), &json!("no_candidate_dependency"))
    );
    let unknown = owner.begin("nothing_v1").await;
    assert_eq!(unknown.refused(), (400, "invalid_service"));

    let first = owner.make(LIST, &[SECRET, "id", "secret"]).await;
    let again = owner.begin(LIST).await;
    assert_eq!(again.refused(), (422, "prompt_required_params"));
    assert_eq!(again.header("whdb-prompt"), Some("guard_confirm"));
    let second = owner.make(LIST, &[SECRET, "id", "secret"]).await;
    let ambiguous = owner.post(&format!("{OF}/{LIST}/info"), json!({})).await;
    assert_eq!(ambiguous.refused(), (409, "conflict"));
    let missing = owner.post(&format!("{OF}/svi_nothing/info"), json!({})).await;
    assert_eq!(missing.refused(), (403, "no_such_integration"));

    let step = owner.begin(CALENDAR).await.ok();
    let output = step["output"].as_str().unwrap();
    assert!(output.contains(&format!("1 - {}\n2 - {}", first.table, second.table)), "{output}");
    for wrong in ["0", "3", "x"] {
        let refused = owner.answer(&step, wrong).await;
        assert_eq!(refused.refused(), (400, "validation_error"), "{wrong}");
        assert!(refused.body["error"]["field_errors"]["value"].is_array(), "{wrong}");
    }
    let done = owner.answer(&step, "2").await.ok();
    assert_eq!(done["complete"], true);
    assert_eq!(owner.answer(&step, "2").await.ok()["complete"], true, "repeated");
    let under = owner.listed().await.pop().unwrap();
    assert_eq!(under["depends_on"], second.id.as_str());
    // What was begun before and names the same parent is refused too.
    let taken = json!({ "service_name": CALENDAR, "depends_on": second.id, "guard_confirm": "" });
    let taken = owner.post(&format!("{OF}/create"), taken).await;
    assert_eq!(taken.refused(), (409, "conflict"));
    owner.make(CALENDAR, &["1"]).await;
    let full = json!({ "service_name": CALENDAR, "guard_confirm": "" });
    let full = owner.post(&format!("{OF}/create"), full).await;
    assert_eq!(full.refused(), (409, "conflict"));
}

#[tokio::test]
async fn members_see_no_secrets_and_admins_grant_no_addresses() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let member = api.member(&owner).await;
    let made = owner.make(LIST, &[SECRET, "id", "secret"]).await;
    let info = member.post(&format!("{OF}/{}/info", made.id), json!({})).await.ok();
    assert!(!info.to_string().contains(SECRET), "{info}");
    assert!(info.to_string().contains(&made.table), "{info}");
    let secret = json!({ "field": "webhook_secret" });
    let secret = member.post(&format!("{OF}/{}/info", made.id), secret).await;
    assert_eq!(secret.refused(), (403, "forbidden"));
    for below in ["setup", "reset", "roll_api_key", "delete", "rename_table", "transition/api_url"]
    {
        let reply = member.post(&format!("{OF}/{}/{below}", made.id), json!({})).await;
        assert_eq!(reply.refused(), (403, "forbidden"), "{below}");
    }
    let admin = json!({ "emails": [crate::setup::MEMBER], "role_name": "admin" });
    owner.post("/v1/organizations/default/change_roles", admin).await.ok();
    // An admin of an organization isn't the host's operator.
    let inside = json!({ "value": "http://169.254.169.254/latest" });
    let inside = member.post(&format!("{OF}/{}/transition/api_url", made.id), inside).await;
    assert_eq!(inside.refused(), (400, "validation_error"));
    assert!(inside.body.to_string().contains("only the host's operator"), "{}", inside.body);
    let settings = json!({
        "service_name": LIST, "guard_confirm": "", "settings": { "api_url": "http://127.0.0.1:1" },
    });
    let settings = member.post(&format!("{OF}/create"), settings).await;
    assert_eq!(settings.refused(), (403, "operator_only"));
    let standard = json!({ "value": "https://www.googleapis.com/calendar/v3" });
    member.post(&format!("{OF}/{}/transition/api_url", made.id), standard).await.ok();
}

#[tokio::test]
async fn a_reset_endpoint_takes_nothing_until_it_is_set_up() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let made = owner.make(LIST, &[SECRET, "id", "secret"]).await;
    let body = json!({ "type": "UNLINKED", "external_owner_id": "o" });
    assert_eq!(api.hook(&made.id, SECRET, &body).await, 202);
    let step = owner.post(&format!("{OF}/{}/reset", made.id), json!({})).await.ok();
    assert!(step["post_to_url"].as_str().unwrap().ends_with("/transition/webhook_secret"));
    assert_eq!(api.hook(&made.id, SECRET, &body).await, 401);
    assert_eq!(owner.listed().await[0]["state"], "incomplete");
    let setup = owner.post(&format!("{OF}/{}/setup", made.id), json!({})).await.ok();
    assert_eq!(setup["post_to_url"], step["post_to_url"]);
    let done = owner.answer(&step, "another0secret").await.ok();
    assert_eq!(done["complete"], true);
    assert_eq!(api.hook(&made.id, SECRET, &body).await, 401);
    assert_eq!(api.hook(&made.id, "another0secret", &body).await, 202);
}

#[tokio::test]
async fn a_renamed_table_goes_on() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let [list, calendar, _] = owner.make_tree().await;
    api.link(&list, "ana").await;
    api.host.settle().await;
    let rename = format!("{OF}/{}/rename_table", calendar.id);
    for wrong in ["Upper", "a b", "1a", "a;drop", "rowgate_feed", ""] {
        let refused = owner.post(&rename, json!({ "new_name": wrong })).await;
        assert!(matches!(refused.status, 400 | 422), "{wrong}: {}", refused.body);
    }
    let taken = owner.post(&rename, json!({ "new_name": list.table })).await;
    assert_eq!(taken.refused(), (409, "conflict"));
    let renamed = owner.post(&rename, json!({ "new_name": "calendars" })).await.ok();
    assert_eq!(renamed["table_name"], "calendars");
    api.link(&list, "bob").await;
    api.host.settle().await;
    let owners = "select external_owner_id from calendars order by 1";
    assert_eq!(owner.sql(owners).await, [json!(["ana"]), json!(["bob"])]);
    let tables = owner.get("/v1/db/default/tables").await.ok();
    assert!(tables["tables"].as_array().unwrap().contains(&json!("calendars")));
    let old = json!({ "query": format!("select 1 from {}", calendar.table) });
    assert_eq!(owner.post("/v1/db/default/sql", old).await.refused(), (403, "invalid_query"));
    let back = json!({ "new_name": calendar.table });
    owner.post(&format!("{OF}/calendars/rename_table"), back).await.ok();
    assert_eq!(owner.sql(&format!("select count(*) from {}", calendar.table)).await, [json!([2])]);
}

#[tokio::test]
async fn what_is_deleted_is_gone_with_all_below() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let [list, calendar, event] = owner.make_tree().await;
    api.link(&list, "ana").await;
    api.host.settle().await;
    let delete = |id: &str| format!("{OF}/{id}/delete");
    let prompt = owner.post(&delete(&calendar.id), json!({})).await;
    assert_eq!(prompt.refused(), (422, "prompt_required_params"));
    assert_eq!(prompt.header("whdb-prompt"), Some("confirm"));
    let wrong = owner.post(&delete(&calendar.id), json!({ "confirm": "yes" })).await;
    assert_eq!(wrong.status, 422);
    let gone = owner.answer(&prompt.body, &calendar.table).await.ok();
    assert!(gone["message"].as_str().unwrap().contains(&event.table), "{gone}");
    assert_eq!(owner.listed().await.len(), 1);
    for table in [&calendar.table, &event.table] {
        let query = json!({ "query": format!("select 1 from {table}") });
        assert_eq!(owner.post("/v1/db/default/sql", query).await.status, 403);
    }
    // The root works on, and gets its calendars again with a new dependent.
    let again = owner.make(CALENDAR, &[""]).await;
    let body = json!({ "type": "RESYNC", "external_owner_id": "ana" });
    assert_eq!(api.hook(&list.id, SECRET, &body).await, 202);
    api.host.settle().await;
    assert_eq!(owner.sql(&format!("select count(*) from {}", again.table)).await, [json!([1])]);

    let prompt = owner.post(&delete(&list.id), json!({})).await;
    owner.answer(&prompt.body, &list.table).await.ok();
    assert!(owner.listed().await.is_empty());
    assert_eq!(api.hook(&list.id, SECRET, &body).await, 400, "No integration with that id");
    assert!(api.host.owners().await.is_empty());
    let tables = owner.get("/v1/db/default/tables").await.ok();
    assert_eq!(tables["tables"], json!([]));
    // Whoever comes next begins at nothing.
    let [list, calendar, _] = owner.make_tree().await;
    api.link(&list, "ana").await;
    api.host.settle().await;
    assert_eq!(owner.sql(&format!("select count(*) from {}", calendar.table)).await, [json!([1])]);
}

#[tokio::test]
async fn a_key_is_good_for_its_integration_alone() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let one = owner.make(LIST, &[SECRET, "id", "secret"]).await;
    let two = owner.make(LIST, &[SECRET, "id", "secret"]).await;
    let roll = format!("{OF}/{}/roll_api_key", one.id);
    let old = owner.post(&roll, json!({})).await.ok()["webhookdb_api_key"].clone();
    let key = owner.post(&roll, json!({})).await.ok()["webhookdb_api_key"].clone();
    let program =
        |key: &serde_json::Value| Person { api: &api, token: key.as_str().map(str::to_owned) };
    assert!(key.as_str().unwrap().starts_with(&format!("sk/{}/", one.id)));
    let stats = |id: &str| format!("{OF}/{id}/stats");
    program(&key).get(&stats(&one.id)).await.ok();
    assert_eq!(program(&old).get(&stats(&one.id)).await.status, 401, "rolled");
    assert_eq!(program(&key).get(&stats(&two.id)).await.status, 401);
    assert_eq!(program(&key).get(OF).await.status, 401);
    assert_eq!(program(&key).post(&roll, json!({})).await.status, 403);
    assert_eq!(program(&key).get("/v1/db/default/connection").await.status, 401);
}

#[tokio::test]
async fn fixtures_make_the_table() {
    let api = Api::start().await;
    let path = |service: &str| format!("/v1/services/{service}/fixtures");
    let sql = api.nobody().get(&path(EVENT)).await.ok();
    let sql = sql["schema_sql"].as_str().unwrap();
    assert!(sql.contains("bigserial primary key"), "{sql}");
    assert!(sql.contains(&format!("{EVENT}_fixture")), "{sql}");
    let unknown = api.nobody().get(&path("nothing_v1")).await;
    assert_eq!(unknown.refused(), (400, "invalid_service"));
    let lite = api.nobody().get(&format!("{}?dialect=sqlite", path(EVENT))).await.ok();
    let mut connection =
        <sqlx::SqliteConnection as sqlx::Connection>::connect("sqlite::memory:").await.unwrap();
    let script = lite["schema_sql"].as_str().unwrap();
    sqlx::Executor::execute(&mut connection, script).await.unwrap();
}
