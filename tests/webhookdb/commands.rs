//! Every command of WebhookDB's client has an answer in a form that it can read, whether or not there is
//! something behind it here.

use serde_json::{Value, json};
use tests::is_on_postgres;

use crate::client::{Answer, GoClient, is_step};
use crate::setup::{CALENDAR, EMAIL, EVENT, LIST, SECRET, create, host, log_in};

const OF: &str = "/v1/organizations/default";

/// What the client makes of an answer.
#[derive(Clone, Copy, Debug)]
enum Form {
    Single,
    Items,
    Blocks,
    Step,
    /// An object with these members.
    Object(&'static [&'static str]),
    /// It asks for this parameter.
    Prompt(&'static str),
    /// An error of this status, whose message it prints.
    Refused(u16),
}

fn check(answer: Answer, form: Form, said: &str) {
    match form {
        Form::Single => drop(answer.single()),
        Form::Items => drop(answer.items()),
        Form::Blocks => drop(answer.blocks()),
        Form::Step => is_step(&answer.ok()),
        Form::Object(members) => {
            let body = answer.ok();
            for member in members {
                assert!(body.get(member).is_some(), "{said}: {member}: {body}");
            }
        }
        Form::Prompt(param) => {
            assert_eq!(answer.headers.get("whdb-prompt").map(|p| p.to_str().unwrap()), Some(param));
            is_step(&answer.body["error"]["state_machine_step"]);
            answer.refused(422);
        }
        Form::Refused(status) => assert!(!answer.refused(status).is_empty(), "{said}"),
    }
}

/// A path, what is posted to it (nothing: it is a GET), and what the client makes of the answer.
type Command = (String, Option<Value>, Form);

#[tokio::test]
async fn each_has_an_answer_that_can_be_read() {
    let host = host().await;
    let mut client = GoClient::new(host.base_url());
    log_in(&host, &mut client, EMAIL).await;
    create(&mut client, OF, LIST, &[SECRET, "id", "secret"]).await;
    create(&mut client, OF, CALENDAR, &[""]).await;
    let all = [of_organizations(), of_integrations(), of_tables(), of_notifications()];
    for (path, body, form) in all.into_iter().flatten() {
        let said = format!("{path} {body:?} {form:?}");
        let answer = match body {
            None => client.get(&path).await,
            Some(body) => client.post(&path, body).await,
        };
        eprintln!("{said} -> {} {}", answer.status, answer.body);
        check(answer, form, &said);
    }
}

fn of(below: &str) -> String {
    format!("{OF}/{below}")
}

fn of_organizations() -> Vec<Command> {
    use Form::{Blocks, Items, Prompt, Refused, Single};
    vec![
        ("/v1/me".into(), None, Single),
        ("/v1/me/organization_memberships?active_org_identifier=1".into(), None, Blocks),
        (of("services"), None, Items),
        (of("members"), None, Items),
        (of("subscriptions"), None, Single),
        (of("subscriptions/plans"), None, Items),
        (of("subscriptions/open_portal"), Some(json!({ "plan": "x" })), Refused(409)),
        (of("invite"), Some(json!({ "email": "b@example.com", "role_name": "member" })), Single),
        (
            of("change_roles"),
            Some(json!({ "emails": "b@example.com", "role_name": "admin" })),
            Single,
        ),
        (of("remove_member"), Some(json!({ "email": "b@example.com" })), Prompt("guard_confirm")),
        (of("rename"), Some(json!({ "name": "default" })), Single),
        (of("update"), Some(json!({ "field": "name", "value": "default" })), Single),
        (of("update"), Some(json!({})), Prompt("field")),
        (of("close"), Some(json!({})), Prompt("confirm")),
        ("/v1/organizations/create".into(), Some(json!({})), Prompt("name")),
        ("/v1/organizations/join".into(), Some(json!({})), Prompt("invitation_code")),
    ]
}

fn of_integrations() -> Vec<Command> {
    use Form::{Blocks, Items, Object, Prompt, Refused, Single, Step};
    let list = |below: &str| format!("{OF}/service_integrations/{LIST}/{below}");
    vec![
        (of("service_integrations"), None, Items),
        (of("service_integrations/create"), Some(json!({})), Prompt("service_name")),
        (list("info"), Some(json!({ "field": "" })), Blocks),
        (list("setup"), Some(json!({})), Step),
        (list("roll_api_key"), Some(json!({})), Object(&["webhookdb_api_key"])),
        (list("stats"), None, Single),
        (list("rename_table"), Some(json!({})), Prompt("new_name")),
        (list("delete"), Some(json!({ "confirm": "" })), Prompt("confirm")),
        (list("upsert"), Some(json!({ "a": 1 })), Refused(409)),
        (list("backfill"), Some(json!({})), Refused(409)),
        (list("backfill/reset"), Some(json!({})), Refused(409)),
        (list("backfill/job"), Some(json!({ "incremental": true })), Refused(409)),
        (list("backfill/job/bfj_1"), None, Refused(409)),
        (list("reset"), Some(json!({})), Step),
        (format!("/v1/services/{EVENT}/fixtures"), None, Object(&["schema_sql"])),
    ]
}

fn of_notifications() -> Vec<Command> {
    use Form::{Items, Prompt, Refused, Single};
    let subscription = json!({
        "service_integration_identifier": CALENDAR, "url": "https://a.example/x",
        "webhook_secret": "hush",
    });
    vec![
        (of("webhook_subscriptions"), None, Items),
        (of("webhook_subscriptions/create"), Some(json!({})), Prompt("url")),
        (of("webhook_subscriptions/create"), Some(subscription), Single),
        (of("webhook_subscriptions/wsb_x/test"), Some(json!({})), Refused(403)),
        (of("webhook_subscriptions/wsb_x/delete"), Some(json!({})), Refused(403)),
        (of("error_handlers"), None, Items),
        (of("error_handlers/create"), Some(json!({})), Prompt("url")),
        (of("error_handlers/create"), Some(json!({ "url": "https://a.example/x" })), Single),
        (of("error_handlers/oeh_x"), None, Refused(403)),
        (of("error_handlers/oeh_x/delete"), Some(json!({})), Refused(403)),
        (of("replay"), Some(json!({ "hours": 1 })), Single),
    ]
}

fn of_tables() -> Vec<Command> {
    use Form::{Items, Object, Prompt, Refused, Single};
    let db = |below: &str| format!("/v1/db/default/{below}");
    let foreign = json!({
        "message_fdw": false, "message_views": false, "message_all": true,
        "remote_server_name": "there", "fetch_size": "50000",
        "local_schema": "there", "view_schema": "here",
    });
    let on_server = |form: Form| if is_on_postgres() { form } else { Refused(409) };
    let sql: &[&str] = &["message", "fdw_sql", "views_sql", "compound_sql", "views"];
    vec![
        (of("sync_targets/http"), None, Items),
        (
            of("sync_targets/http/create"),
            Some(json!({ "service_integration_identifier": CALENDAR, "schema": "", "table": "" })),
            Prompt("connection_url"),
        ),
        (of("saved_queries"), None, Items),
        (of("saved_queries/create"), Some(json!({})), Prompt("description")),
        (of("saved_queries/svq_x"), None, Refused(403)),
        (of("saved_views"), None, Items),
        (of("saved_views/create_or_replace"), Some(json!({ "name": "v" })), Refused(403)),
        (of("saved_views/delete"), Some(json!({ "name": "v" })), Refused(403)),
        (db("connection"), None, Object(&["connection_url"])),
        (db("tables"), None, Object(&["tables", "message"])),
        (
            db("sql"),
            Some(json!({ "query": "select 1" })),
            Object(&["headers", "rows", "max_rows_reached"]),
        ),
        (db("sql"), Some(json!({})), Prompt("query")),
        (db("fdw"), Some(foreign), on_server(Object(sql))),
        (db("roll_credentials"), Some(json!({})), Prompt("guard_confirm")),
        (db("roll_credentials"), Some(json!({ "guard_confirm": "" })), on_server(Single)),
        (db("migrations"), None, Items),
        (db("migrate_database"), Some(json!({ "admin_url": "x" })), Refused(403)),
        ("/statusz".into(), None, Object(&["version"])),
        ("/healthz".into(), None, Object(&["o"])),
    ]
}
