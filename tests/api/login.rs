//! Login, sessions, and who may come in.

use serde_json::{Value, json};
use tests::{Settings, is_on_postgres};

use crate::setup::{Api, MEMBER, OWNER, Person};

/// A code that isn't this one.
fn another(code: &str) -> &'static str {
    if code == "123456789" { "987654321" } else { "123456789" }
}

#[tokio::test]
async fn a_login_step_by_step() {
    let api = Api::start().await;
    let nobody = api.nobody();
    let prompt = nobody.post("/v1/auth", json!({})).await;
    assert_eq!(prompt.refused(), (422, "prompt_required_params"));
    assert_eq!(prompt.header("whdb-prompt"), Some("email"));

    let step = nobody.answer(&prompt.body, OWNER).await;
    assert_eq!(step.status, 202);
    let step = step.body;
    assert_eq!(step["post_to_url"], "/v1/auth");
    assert_eq!(step["post_params"], json!({ "email": OWNER }));
    assert_eq!(step["post_params_value_key"], "token");
    assert_eq!((&step["needs_input"], &step["prompt_is_secret"]), (&json!(true), &json!(true)));
    assert!(!step["prompt"].as_str().unwrap().is_empty());

    let code = api.code(OWNER).await;
    let wrong = another(&code);
    let again = nobody.answer(&step, wrong).await.ok();
    assert_eq!(again["error_code"], "invalid_otp");
    let done = nobody.answer(&again, &code).await;
    assert_eq!((done.status, &done.body["complete"]), (200, &json!(true)));
    assert_eq!(done.body["error_code"], "");
    let customer = &done.body["extras"]["current_customer"];
    assert_eq!(customer["email"], OWNER);
    let organization = &customer["default_organization"];
    assert!(organization["id"].is_i64());
    assert_eq!(
        (&organization["name"], &organization["key"]),
        (&json!("default"), &json!("default"))
    );
    let header = done.header("whdb-auth-token").unwrap();
    assert!(header.starts_with("sess=") && header.ends_with("; path=/"), "{header}");

    // As the client sends it, as a program may, and as it came.
    let token = header.split(';').next().unwrap().to_owned();
    for token in [token.clone(), header.to_owned(), token["sess=".len()..].to_owned()] {
        let me = Person { api: &api, token: Some(token) }.get("/v1/me").await.ok();
        assert_eq!(me["email"], OWNER);
        assert_eq!(me["operator"], true);
    }
    let owner = Person { api: &api, token: Some(token) };
    let reply = owner.post("/v1/auth", json!({ "email": OWNER })).await;
    assert_eq!(reply.refused(), (403, "already_logged_in"));
    let blocks = owner.get("/v1/me/organization_memberships?active_org_identifier=default").await;
    let table = blocks.ok()["blocks"][0]["value"].clone();
    assert_eq!(table["rows"], json!([["*", "default", "default", "admin", "active"]]));

    assert!(owner.post("/v1/auth/logout", json!({})).await.ok()["message"].is_string());
    assert_eq!(owner.get("/v1/me").await.status, 401);
}

#[tokio::test]
async fn without_a_session_nothing_is_told() {
    let api = Api::start().await;
    let stolen = Person { api: &api, token: Some("sess=abc".into()) };
    for person in [api.nobody(), stolen] {
        for path in [
            "/v1/me",
            "/v1/organizations/default",
            "/v1/organizations/nothing/members",
            "/v1/organizations/default/service_integrations",
            "/v1/db/default/connection",
        ] {
            let reply = person.get(path).await;
            let unauthorized = json!({ "error": { "message": "Unauthorized", "status": 401 } });
            assert_eq!((reply.status, reply.body), (401, unauthorized), "{path}");
        }
        assert_eq!(
            person.post("/v1/organizations/create", json!({ "name": "x" })).await.status,
            401
        );
    }
}

#[tokio::test]
async fn strangers_stay_outside() {
    let allowed =
        Settings::default().env("ROWGATE_LOGIN_ALLOWED_EMAILS", "*@friends.example, x@y.z");
    let api = Api::start_with(allowed).await;
    let owner = api.owner().await;
    let nobody = api.nobody();
    let stranger = nobody.post("/v1/auth", json!({ "email": "s@stranger.example" })).await;
    assert_eq!(stranger.refused(), (402, "signup_disabled"));
    let unknown = json!({ "email": "s@stranger.example", "token": "123456789" });
    let unknown = nobody.post("/v1/auth", unknown).await.ok();
    assert_eq!(unknown["error_code"], "email_not_exist");
    assert_eq!(unknown["complete"], true);

    let friend = api.person("f@friends.example").await;
    let me = friend.get("/v1/me").await.ok();
    assert_eq!(me["operator"], false);
    assert_eq!(me["default_organization"]["name"], "f@friends.example Org");

    let invite = json!({ "email": "s@stranger.example", "role_name": "admin" });
    owner.post("/v1/organizations/default/invite", invite).await.ok();
    let invited = api.person("s@stranger.example").await;
    assert_eq!(invited.get("/v1/organizations/default").await.status, 403, "not yet accepted");
}

#[tokio::test]
async fn guesses_and_codes_are_few() {
    let api = Api::start().await;
    let nobody = api.nobody();
    let code = api.code(OWNER).await;
    let wrong = another(&code);
    for _ in 0..5 {
        let guess = nobody.post("/v1/auth", json!({ "email": OWNER, "token": wrong })).await.ok();
        assert_eq!(guess["error_code"], "invalid_otp");
    }
    let right = nobody.post("/v1/auth", json!({ "email": OWNER, "token": code })).await.ok();
    assert_eq!(right["error_code"], "invalid_otp", "void after so many guesses");
    for _ in 0..4 {
        api.code(OWNER).await;
    }
    let more = nobody.post("/v1/auth", json!({ "email": OWNER })).await;
    assert_eq!(more.refused(), (429, "too_many_requests"));
    // Who has the data directory comes in all the same.
    let made = api.host.command(&["auth", "code", OWNER]).await;
    let code = String::from_utf8(made.stdout).unwrap();
    let body = json!({ "email": OWNER, "token": code.trim() });
    assert_eq!(nobody.post("/v1/auth", body).await.ok()["complete"], true);
}

#[tokio::test]
async fn a_network_has_few_guesses_and_locks_nobody_else_out() {
    let allowed = Settings::default().env("ROWGATE_LOGIN_ALLOWED_EMAILS", "*@friends.example");
    let api = Api::start_with(allowed).await;
    api.owner().await;
    let code = api.code(OWNER).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/v1/auth", api.host.base_url());
    let guess = async |email: &str, code: &str, network: &str| {
        let request = client.post(&url).header("content-type", "application/json");
        let body = json!({ "email": email, "token": code }).to_string();
        let request = request.header("x-forwarded-for", network).body(body);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        (status, body["complete"] == true)
    };
    for nth in 0..20 {
        let email = format!("{nth}@friends.example");
        assert_eq!(guess(&email, "123456789", "203.0.113.1").await, (200, false), "{nth}");
    }
    let refused = guess("20@friends.example", "123456789", "203.0.113.1").await;
    assert_eq!(refused, (429, false));
    assert_eq!(guess(OWNER, another(&code), "203.0.113.1").await, (429, false));
    assert_eq!(guess(OWNER, &code, "203.0.113.2").await, (200, true));
}

#[tokio::test]
async fn made_up_addresses_lock_nobody_out() {
    let few = Settings::default()
        .env("ROWGATE_LOGIN_ALLOWED_EMAILS", "*@friends.example, named@friends.example")
        .env("ROWGATE_LOGIN_STRANGERS_MAX", "4")
        .env("ROWGATE_LOGIN_CLIENT_STRANGERS_MAX", "2");
    let api = Api::start_with(few).await;
    let owner = api.owner().await;
    let invited = json!({ "email": "invited@else.example" });
    owner.post("/v1/organizations/default/invite", invited).await.ok();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/v1/auth", api.host.base_url());
    for (email, forwarded, status) in [
        ("1@friends.example", "203.0.113.1", 202),
        ("2@friends.example", "203.0.113.1", 202),
        ("3@friends.example", "203.0.113.1", 429),
        // What is written before it is whatever they say.
        ("3@friends.example", "198.51.100.7, 203.0.113.1", 429),
        ("1@friends.example", "203.0.113.1", 202),
        ("3@friends.example", "203.0.113.2", 202),
        ("4@friends.example", "203.0.113.3", 202),
        ("5@friends.example", "203.0.113.4", 429),
        (OWNER, "203.0.113.1", 202),
        ("invited@else.example", "203.0.113.1", 202),
        ("named@friends.example", "203.0.113.1", 202),
    ] {
        let request = client.post(&url).header("content-type", "application/json");
        let request = request.header("x-forwarded-for", forwarded);
        let answer = request.body(json!({ "email": email }).to_string()).send().await.unwrap();
        assert_eq!(answer.status(), status, "{email} {forwarded}");
    }
    assert_eq!(api.owner().await.get("/v1/me").await.ok()["email"], OWNER);
}

#[tokio::test]
async fn tokens_are_not_stored() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let token = owner.token.as_deref().unwrap().trim_start_matches("sess=");
    if is_on_postgres() {
        return;
    }
    for name in ["control.db", "control.db-wal"] {
        let Ok(bytes) = std::fs::read(api.host.data_dir().join(name)) else { continue };
        let holds = |text: &str| bytes.windows(text.len()).any(|at| at == text.as_bytes());
        assert!(!holds(token), "{name}");
    }
    assert!(!api.host.log().contains(token));
}

#[tokio::test]
async fn a_customer_logs_in_by_id() {
    let api = Api::start().await;
    api.owner().await;
    let ids = api.host.control::<(String,)>("select opaque_id from customers").await;
    let path = format!("/v1/auth/login_otp/{}", ids[0].0);
    let nobody = api.nobody();
    let code = api.code(OWNER).await;
    let prompt = nobody.post(&path, json!({})).await;
    assert_eq!(prompt.header("whdb-prompt"), Some("value"));
    assert_eq!(prompt.body["error"]["state_machine_step"]["prompt_is_secret"], true);
    let wrong = another(&code);
    let again = nobody.answer(&prompt.body, wrong).await.ok();
    assert_eq!(again["error_code"], "invalid_otp");
    assert_eq!(again["post_to_url"], path.as_str());
    assert!(!again.to_string().contains(OWNER), "an id tells no address: {again}");
    let done = nobody.answer(&again, &code).await;
    assert!(done.header("whdb-auth-token").unwrap().starts_with("sess="));
    assert_eq!(done.ok()["extras"]["current_customer"]["email"], OWNER);
    let unknown = nobody.post("/v1/auth/login_otp/cus_x", json!({ "value": "1" })).await.ok();
    assert_eq!(unknown["error_code"], "email_not_exist");
}

#[tokio::test]
async fn all_sessions_end_at_once() {
    let api = Api::start().await;
    let (one, two) = (api.owner().await, api.owner().await);
    one.post("/v1/auth/logout", json!({ "everywhere": true })).await.ok();
    assert_eq!((one.get("/v1/me").await.status, two.get("/v1/me").await.status), (401, 401));
}

#[tokio::test]
async fn the_operator_ends_the_sessions_of_others() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let member = api.member(&owner).await;
    let status = async |person: &Person<'_>| person.get("/v1/me").await.status;
    let revoke = |email: &str| json!({ "email": email });
    // Whoever isn't the operator ends nobody's, nor does somebody unknown.
    let refused = member.post("/v1/auth/revoke", revoke(OWNER)).await;
    assert_eq!(refused.refused(), (403, "forbidden"));
    assert_eq!(api.nobody().post("/v1/auth/revoke", revoke(OWNER)).await.status, 401);
    assert_eq!((status(&owner).await, status(&member).await), (200, 200));
    let ended = owner.post("/v1/auth/revoke", revoke(" Member@Example.com ")).await.ok();
    assert_eq!(ended["message"], "Sessions of member@example.com ended: 1");
    assert_eq!((status(&owner).await, status(&member).await), (200, 401));
    // On the host's machine too; who still belongs to an organization may log in again.
    let member = api.person(MEMBER).await;
    assert_eq!(status(&member).await, 200);
    let revoked = api.host.command(&["auth", "revoke", MEMBER]).await;
    let stderr = String::from_utf8_lossy(&revoked.stderr).into_owned();
    assert!(revoked.status.success() && stderr.contains("ended: 1"), "{stderr}");
    assert_eq!((status(&owner).await, status(&member).await), (200, 401));
}

#[tokio::test]
async fn what_is_not_json_is_refused() {
    let api = Api::start().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/v1/auth", api.host.base_url());
    for (kind, body, status) in [
        ("application/json", "{", 400),
        ("application/json", "[]", 400),
        ("text/plain", "{}", 415),
        ("application/json", "{\"email\": {}}", 400),
        ("application/json", "{\"email\": \"nobody\"}", 400),
        ("application/json", "{\"email\": \"a@b\\u0000c\"}", 400),
    ] {
        let request = client.post(&url).header("content-type", kind).body(body);
        assert_eq!(request.send().await.unwrap().status(), status, "{body}");
    }
    let large = client.post(&url).header("content-type", "application/json");
    let large = large.body(format!("{{\"email\": \"{}\"}}", "x".repeat(2 << 20)));
    assert_eq!(large.send().await.unwrap().status(), 413);
    // Refused before its body is read.
    let unread = client.post(format!("{}/v1/organizations/create", api.host.base_url()));
    let unread = unread.body("x".repeat(2 << 20)).send().await;
    assert_eq!(unread.unwrap().status(), 401);
    assert_eq!(client.get(&url).send().await.unwrap().status(), 405);
}
