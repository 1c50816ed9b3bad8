//! Queries that an organization keeps.

use serde_json::{Value, json};

use crate::setup::{Api, MEMBER, Person};

const OF: &str = "/v1/organizations/default/saved_queries";

impl Person<'_> {
    async fn keep(&self, sql: &str, public: bool) -> Value {
        let body = json!({ "description": "all of it", "sql": sql, "public": public });
        self.post(&format!("{OF}/create"), body).await.ok()
    }

    async fn change(&self, id: &str, field: &str, value: &str) -> crate::setup::Reply {
        let body = json!({ "field": field, "value": value });
        self.post(&format!("{OF}/{id}/update"), body).await
    }
}

#[tokio::test]
async fn a_query_is_kept_run_changed_and_forgotten() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let empty = owner.get(OF).await.ok();
    assert_eq!(empty["items"], json!([]));
    assert!(empty["message"].as_str().unwrap().contains("saved-query create"), "{empty}");

    let prompt = owner.post(&format!("{OF}/create"), json!({ "public": false })).await;
    assert_eq!(prompt.header("whdb-prompt"), Some("description"));
    let prompt = owner.answer(&prompt.body, "How many?").await;
    assert_eq!(prompt.header("whdb-prompt"), Some("sql"));
    // One that doesn't work is asked for again, with the reason.
    let again = owner.answer(&prompt.body, "select * from nowhere").await;
    assert_eq!(again.refused(), (422, "prompt_required_params"));
    assert_eq!(again.header("whdb-prompt"), Some("sql"));
    let step = &again.body["error"]["state_machine_step"];
    assert!(step["output"].as_str().unwrap().contains("nowhere"), "{step}");
    assert_eq!(step["post_params"]["description"], "How many?");
    let made = owner.answer(&again.body, "select 40 + 2 as n").await.ok();
    let id = made["id"].as_str().unwrap();
    assert!(id.starts_with("svq_") && made["message"].as_str().unwrap().contains(id), "{made}");
    assert_eq!((&made["public"], &made["sql"]), (&json!(false), &json!("select 40 + 2 as n")));
    let path = format!("/v1/saved_queries/{id}/run");
    assert!(made["run_url"].as_str().unwrap().ends_with(&path), "{made}");

    let ran = owner.get(&format!("{OF}/{id}/run")).await.ok();
    let whole = json!({ "headers": ["n"], "rows": [[42]], "max_rows_reached": false });
    assert_eq!(ran, whole);
    assert_eq!(owner.get(&path).await.ok(), whole);
    assert_eq!(owner.get(OF).await.ok()["items"][0]["id"], id);
    assert_eq!(owner.get(&format!("{OF}/{id}")).await.ok()["description"], "How many?");

    owner.change(id, "description", "The answer").await.ok();
    owner.change(id, "public", "yes").await.ok();
    let wrong = owner.change(id, "public", "perhaps").await;
    assert_eq!(wrong.refused(), (400, "validation_error"));
    let wrong = owner.change(id, "sql", "delete from x").await;
    assert_eq!(wrong.header("whdb-prompt"), Some("value"));
    owner.answer(&wrong.body, "select 43 as n").await.ok();
    for field in ["description", "sql"] {
        let wrong = owner.change(id, field, &"x".repeat(40_000)).await;
        assert_eq!(wrong.refused(), (400, "validation_error"), "{field} is too long");
    }
    let wrong = owner.change(id, "created_by", "1").await;
    assert_eq!(wrong.refused(), (400, "validation_error"));
    let info = owner.post(&format!("{OF}/{id}/info"), json!({ "field": "" })).await.ok();
    let rows = &info["blocks"][0]["value"]["rows"];
    assert_eq!(rows[1], json!(["Description", "The answer"]));
    assert_eq!(rows[2], json!(["Public", "true"]));
    let info = owner.post(&format!("{OF}/{id}/info"), json!({ "field": "sql" })).await.ok();
    assert_eq!(info["blocks"][0]["value"], "select 43 as n");

    owner.post(&format!("{OF}/{id}/delete"), json!({})).await.ok();
    let gone = owner.get(&format!("{OF}/{id}")).await;
    assert_eq!(gone.refused(), (403, "no_such_query"));
    assert_eq!(owner.get(&path).await.refused(), (403, "forbidden"));
}

#[tokio::test]
async fn who_made_a_query_and_admins_change_it() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let member = api.member(&owner).await;
    let of_owner = owner.keep("select 1", false).await["id"].as_str().unwrap().to_owned();
    let of_member = member.keep("select 2", false).await["id"].as_str().unwrap().to_owned();
    let refused = member.change(&of_owner, "description", "mine").await;
    assert_eq!(refused.refused(), (403, "forbidden"));
    let refused = member.post(&format!("{OF}/{of_owner}/delete"), json!({})).await;
    assert_eq!(refused.refused(), (403, "forbidden"));
    member.get(&format!("{OF}/{of_owner}/run")).await.ok();
    member.change(&of_member, "description", "mine").await.ok();
    owner.change(&of_member, "description", "ours").await.ok();

    // Of another organization it isn't even there.
    owner.post("/v1/organizations/create", json!({ "name": "Other" })).await.ok();
    let other = format!("/v1/organizations/other/saved_queries/{of_owner}");
    assert_eq!(owner.get(&other).await.refused(), (403, "no_such_query"));
    let away = json!({ "email": MEMBER, "guard_confirm": "" });
    owner.post("/v1/organizations/default/remove_member", away).await.ok();
    let anywhere = format!("/v1/saved_queries/{of_owner}/run");
    assert_eq!(member.get(&anywhere).await.refused(), (403, "forbidden"));
}

#[tokio::test]
async fn a_public_query_is_anybodys_to_run_from_any_page() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let path = |made: &Value| format!("/v1/saved_queries/{}/run", made["id"].as_str().unwrap());
    let public = path(&owner.keep("select 1 as n", true).await);
    let private = path(&owner.keep("select 2 as n", false).await);
    let nobody = api.nobody();
    let ran = nobody.get(&public).await;
    assert_eq!(ran.header("access-control-allow-origin"), Some("*"));
    assert_eq!(ran.header("access-control-allow-credentials"), None);
    assert_eq!(ran.ok()["rows"], json!([[1]]));
    for refused in [&private, &path(&json!({ "id": "svq_none" }))] {
        let refused = nobody.get(refused).await;
        assert_eq!(refused.header("access-control-allow-origin"), Some("*"));
        assert_eq!(refused.refused(), (403, "forbidden"));
    }
    // No other call is open to pages of other origins.
    assert_eq!(owner.get(OF).await.header("access-control-allow-origin"), None);

    // What was dropped meanwhile isn't told to strangers.
    let made = owner.make(crate::steps::LIST, &["planted", "id", "secret"]).await;
    let broken = owner.keep(&format!("select * from {}", made.table), true).await;
    let delete = format!("{}/{}/delete", crate::steps::OF, made.id);
    owner.post(&delete, json!({ "confirm": made.table })).await.ok();
    let refused = nobody.get(&path(&broken)).await;
    assert!(!refused.body.to_string().contains(&made.table), "{}", refused.body);
    assert_eq!(refused.refused(), (400, "invalid_query"));
    let id = broken["id"].as_str().unwrap();
    let told = owner.get(&format!("{OF}/{id}/run")).await;
    assert!(told.body.to_string().contains(&made.table), "{}", told.body);
}
