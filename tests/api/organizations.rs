//! Organizations, members, roles.

use serde_json::json;
use tests::Settings;

use crate::setup::{Api, MEMBER, OWNER, Person};
use crate::steps::SECRET;

#[tokio::test]
async fn an_organization_has_several_names() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let prompt = owner.post("/v1/organizations/create", json!({})).await;
    assert_eq!(prompt.header("whdb-prompt"), Some("name"));
    let made = owner.answer(&prompt.body, "Acme, Inc.").await.ok();
    assert_eq!((&made["name"], &made["key"]), (&json!("Acme, Inc."), &json!("acme_inc")));
    assert!(made["message"].is_string() && made["display_headers"].is_array());
    let id = made["id"].to_string();
    for path in [
        format!("/v1/organizations/{id}"),
        "/v1/organizations/acme_inc".into(),
        "/v1/organizations/Acme,%20Inc.".into(),
        "/v1/organizations/-?org=acme_inc".into(),
        format!("/v1/organizations/-?org={id}"),
    ] {
        assert_eq!(owner.get(&path).await.ok()["id"], made["id"], "{path}");
    }
    let taken = owner.post("/v1/organizations/create", json!({ "name": "acme inc" })).await;
    assert_eq!(taken.refused(), (409, "conflict"));
    let renamed = json!({ "field": "name", "value": "Acme" });
    let renamed = owner.post("/v1/organizations/acme_inc/update", renamed).await.ok();
    assert_eq!((&renamed["name"], &renamed["key"]), (&json!("Acme"), &json!("acme_inc")));
}

#[tokio::test]
async fn others_do_not_even_learn_that_it_is_there() {
    let api = Api::start().await;
    let owner = api.owner().await;
    owner.post("/v1/organizations/create", json!({ "name": "Secret" })).await.ok();
    let member = api.member(&owner).await;
    for path in ["secret", "nothing", "1000", "-", "-?org=secret", "-?org=%00", "%00"] {
        let reply = member.get(&format!("/v1/organizations/{path}")).await;
        assert!(matches!(reply.status, 400 | 403), "{path}: {}", reply.body);
    }
    for path in
        ["/v1/db/secret/connection", "/v1/db/secret/tables", "/v1/organizations/secret/services"]
    {
        assert_eq!(member.get(path).await.refused(), (403, "forbidden"));
    }
    let sql = member.post("/v1/db/secret/sql", json!({ "query": "select 1" })).await;
    assert_eq!(sql.refused(), (403, "forbidden"));
}

#[tokio::test]
async fn members_are_invited_join_and_go() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let members = "/v1/organizations/default/members";
    let invited = owner.post("/v1/organizations/default/invite", json!({ "email": MEMBER })).await;
    let code = invited.ok()["invitation_code"].as_str().unwrap().to_owned();
    assert!(code.starts_with("join-") && code.len() >= "join-".len() + 12, "{code}");
    let listed = owner.get(members).await.ok();
    assert_eq!(listed["total_count"], 2);
    assert_eq!(listed["items"][0]["status"], "invited");

    let member = api.person(MEMBER).await;
    let wrong = member.post("/v1/organizations/join", json!({ "invitation_code": "join-0" })).await;
    assert_eq!(wrong.refused(), (400, "validation_error"));
    assert!(wrong.body["error"]["field_errors"]["invitation_code"].is_array());
    let joined = json!({ "invitation_code": code });
    let answered = member.post("/v1/organizations/join", joined.clone()).await.ok();
    assert_eq!(answered["organization"]["key"], "default");
    assert_eq!(member.post("/v1/organizations/join", joined).await.status, 400, "used once");
    assert_eq!(member.get(members).await.ok()["items"][0]["status"], "active");

    // What members may not.
    for (path, body) in [
        ("invite", json!({ "email": "x@example.com" })),
        ("remove_member", json!({ "email": OWNER, "guard_confirm": "" })),
        ("change_roles", json!({ "emails": [MEMBER], "role_name": "admin" })),
        ("rename", json!({ "name": "x" })),
        ("service_integrations/create", json!({ "service_name": "google_calendar_list_v1" })),
    ] {
        let reply = member.post(&format!("/v1/organizations/default/{path}"), body).await;
        assert_eq!(reply.refused(), (403, "forbidden"), "{path}");
    }
    let roll = member.post("/v1/db/default/roll_credentials", json!({ "guard_confirm": "" })).await;
    assert_eq!(roll.refused(), (403, "forbidden"));

    let roles = json!({ "emails": MEMBER, "role_name": "admin" });
    owner.post("/v1/organizations/default/change_roles", roles).await.ok();
    let prompt =
        member.post("/v1/organizations/default/remove_member", json!({ "email": OWNER })).await;
    assert_eq!(prompt.header("whdb-prompt"), Some("guard_confirm"));
    member.answer(&prompt.body, "").await.ok();
    assert_eq!(owner.get(members).await.status, 403);
    let last = json!({ "email": MEMBER, "guard_confirm": "" });
    let last = member.post("/v1/organizations/default/remove_member", last).await;
    assert_eq!(last.refused(), (409, "conflict"), "the last admin");
    let last = json!({ "emails": [MEMBER], "role_name": "member" });
    let last = member.post("/v1/organizations/default/change_roles", last).await;
    assert_eq!(last.refused(), (409, "conflict"), "the last admin");
}

#[tokio::test]
async fn organizations_and_invitations_are_few() {
    let few = Settings::default()
        .env("ROWGATE_LIMITS_CUSTOMER_ORGANIZATIONS_MAX", "2")
        .env("ROWGATE_LIMITS_INVITATIONS_MAX", "2")
        .env("ROWGATE_LIMITS_INVITATIONS_A_DAY_MAX", "5");
    let api = Api::start_with(few).await;
    let owner = api.owner().await;
    let member = api.member(&owner).await;
    let create = async |person: &Person<'_>, name: &str| {
        person.post("/v1/organizations/create", json!({ "name": name })).await
    };
    for name in ["One", "Two"] {
        create(&owner, name).await.ok();
    }
    let refused = create(&owner, "Three").await;
    assert_eq!(refused.refused(), (409, "conflict"));
    assert!(refused.body.to_string().contains("may have 2 at most"), "{}", refused.body);
    owner.post("/v1/organizations/one/close", json!({ "confirm": "one" })).await.ok();
    create(&owner, "Three").await.ok();
    // One was made for them at their first login.
    create(&member, "Theirs").await.ok();
    assert_eq!(create(&member, "Another").await.refused(), (409, "conflict"));

    let post = async |of: &str, verb: &str, name: &str| {
        let body = json!({ "email": format!("{name}@example.com"), "guard_confirm": "" });
        owner.post_unchecked(&format!("/v1/organizations/{of}/{verb}"), body).await
    };
    // The member's was the first of the day.
    post("default", "invite", "a").await.ok();
    post("default", "invite", "b").await.ok();
    let refused = post("default", "invite", "c").await;
    assert_eq!(refused.refused(), (409, "conflict"));
    assert!(refused.body.to_string().contains("wait to be accepted"), "{}", refused.body);
    post("default", "invite", "a").await.ok();
    post("default", "remove_member", "a").await.ok();
    post("default", "invite", "c").await.ok();
    post("default", "remove_member", "c").await.ok();
    let refused = post("default", "invite", "d").await;
    assert_eq!(refused.refused(), (429, "too_many_requests"));
    let seconds: i64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=24 * 3_600 + 1).contains(&seconds), "{seconds}");
    post("two", "invite", "a").await.ok();
}

#[tokio::test]
async fn there_is_no_billing() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let of = "/v1/organizations/default/subscriptions";
    assert_eq!(owner.get(of).await.ok()["plan_name"], "none");
    assert_eq!(owner.get(&format!("{of}/plans")).await.ok()["items"], json!([]));
    assert_eq!(owner.post(&format!("{of}/open_portal"), json!({})).await.status, 409);
}

#[tokio::test]
async fn a_closed_organization_is_gone_with_all_that_was_its() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let member = api.member(&owner).await;
    let [list, ..] = owner.make_tree().await;
    api.link(&list, "ana").await;
    api.host.settle().await;
    let kept = json!({ "description": "d", "sql": "select 1", "public": true });
    let kept = owner.post("/v1/organizations/default/saved_queries/create", kept).await.ok();
    owner.post("/v1/organizations/create", json!({ "name": "Other" })).await.ok();
    let close = "/v1/organizations/default/close";
    let refused = member.post(close, json!({ "confirm": "default" })).await;
    assert_eq!(refused.refused(), (403, "forbidden"));
    let prompt = owner.post(close, json!({})).await;
    assert_eq!(prompt.refused(), (422, "prompt_required_params"));
    assert_eq!(prompt.header("whdb-prompt"), Some("confirm"));
    let wrong = owner.answer(&prompt.body, "yes").await;
    assert_eq!(wrong.status, 422);
    assert_eq!(owner.listed().await.len(), 3, "nothing happened yet");

    let done = owner.answer(&prompt.body, "default").await.ok();
    assert_eq!((&done["complete"], &done["error_code"]), (&json!(true), &json!("")));
    for (person, path) in [
        (&owner, "/v1/organizations/default"),
        (&member, "/v1/organizations/default/members"),
        (&owner, "/v1/db/default/connection"),
    ] {
        assert_eq!(person.get(path).await.refused(), (403, "forbidden"), "{path}");
    }
    let body = json!({ "type": "UNLINKED", "external_owner_id": "ana" });
    assert_eq!(api.hook(&list.id, SECRET, &body).await, 400, "No integration with that id");
    let run = format!("/v1/saved_queries/{}/run", kept["id"].as_str().unwrap());
    assert_eq!(api.nobody().get(&run).await.refused(), (403, "forbidden"));
    assert!(!api.host.data_dir().join("replication/default.db").exists());
    for table in ["integrations", "owners", "streams", "inbox", "saved_queries"] {
        let left = format!("select count(*) from {table}");
        assert_eq!(api.host.number(&left).await, 0, "{table}");
    }
    owner.get("/v1/organizations/other").await.ok();

    // One of the same name begins at nothing.
    owner.post("/v1/organizations/create", json!({ "name": "default" })).await.ok();
    assert!(owner.listed().await.is_empty());
    assert_eq!(owner.get("/v1/db/default/tables").await.ok()["tables"], json!([]));
    let [list, calendar, _] = owner.make_tree().await;
    api.link(&list, "ana").await;
    api.host.settle().await;
    assert_eq!(owner.sql(&format!("select count(*) from {}", calendar.table)).await, [json!([1])]);
}

/// Else what was deleted takes room on the disk until the host ends.
#[tokio::test]
async fn a_host_lets_go_of_the_tables_of_a_closed_organization() {
    let api = Api::start_with(Settings::default().on_files()).await;
    let owner = api.owner().await;
    let [list, ..] = owner.make_tree().await;
    api.link(&list, "ana").await;
    api.host.settle().await;
    let open = || {
        let handles = std::fs::read_dir(format!("/proc/{}/fd", api.host.pid())).unwrap();
        let files = handles.filter_map(|handle| std::fs::read_link(handle.ok()?.path()).ok());
        files.filter(|file| file.to_string_lossy().contains("replication/default.db")).count()
    };
    assert!(open() > 0);
    owner.post("/v1/organizations/default/close", json!({ "confirm": "default" })).await.ok();
    api.host.until("no file is open", async || open() == 0).await;
}
