//! The token endpoint: what it gives, what it refuses, and every documented error on command.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use simulator::model::account::Rotation;
use simulator::{Fault, Then, When};

use crate::client::{Answer, Service};
use crate::setup::ANA;

async fn post(service: &Service, form: &str) -> Answer {
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    service.send("POST", "/token", &kind, form).await.unwrap()
}

fn form(service: &Service) -> String {
    let token = service.refresh_token.replace('/', "%2F");
    format!(
        "grant_type=refresh_token&refresh_token={token}\
         &client_id=demo-client-id&client_secret=demo-client-secret"
    )
}

#[tokio::test]
async fn a_refresh_token_gives_access() {
    let service = Service::start();
    let answer = post(&service, &form(&service)).await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert!(body["access_token"].as_str().unwrap().starts_with("ya29."));
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(3599)));
    assert!(body["scope"].as_str().unwrap().contains("auth/calendar"));
    assert!(body["refresh_token"].is_null());
    assert_eq!(body["id_token"].as_str().unwrap().split('.').count(), 3);
    for alias in ["/oauth2/v4/token", "/o/oauth2/token"] {
        let answer = service.send("POST", alias, &[], &form(&service)).await.unwrap();
        assert_eq!(answer.status, 200, "{alias}");
    }
}

#[tokio::test]
async fn the_client_may_authenticate_with_basic() {
    let service = Service::start();
    let form = format!("grant_type=refresh_token&refresh_token={}", service.refresh_token);
    for (credentials, status) in
        [("demo-client-id:demo-client-secret", 200), ("demo-client-id:wrong", 401)]
    {
        let basic = format!("Basic {}", BASE64_STANDARD.encode(credentials));
        let headers = [("authorization", basic.as_str())];
        let answer = service.send("POST", "/token", &headers, &form).await.unwrap();
        assert_eq!(answer.status, status, "{credentials}");
    }
}

#[tokio::test]
async fn bad_requests_get_their_documented_errors() {
    let service = Service::start();
    let good = form(&service);
    let token = service.refresh_token.replace('/', "%2F");
    for (form, status, error, description) in [
        (
            good.replace("demo-client-id", "other"),
            401,
            "invalid_client",
            "The OAuth client was not found.",
        ),
        (
            good.replace("demo-client-secret", "other"),
            401,
            "invalid_client",
            "The provided client secret is invalid.",
        ),
        (
            good.replace("client_id=", "x="),
            400,
            "invalid_request",
            "Could not determine client ID from request.",
        ),
        (
            good.replace(&format!("refresh_token={token}"), ""),
            400,
            "invalid_request",
            "Missing required parameter: refresh_token",
        ),
        (
            good.replace("grant_type=refresh_token", "grant_type=magic"),
            400,
            "unsupported_grant_type",
            "Invalid grant_type: magic",
        ),
        (good.replace(&token, "1%2F%2F0nobody"), 400, "invalid_grant", "Bad Request"),
    ] {
        let answer = post(&service, &form).await;
        assert_eq!(answer.status, status, "{form}");
        assert_eq!(answer.json(), json!({ "error": error, "error_description": description }));
    }
    let answer = post(&service, &format!("{good}&scope=nothing")).await;
    assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_scope")));
}

#[tokio::test]
async fn scopes_narrow_and_are_enforced() {
    let service = Service::start();
    let answer = post(&service, &format!("{}&scope=openid+email", form(&service))).await;
    assert_eq!(answer.json()["scope"], "openid email");
    let events = "https://www.googleapis.com/auth/calendar.events.readonly".to_owned();
    service.simulator.model().set_scopes(ANA, vec![events]).unwrap();
    let answer = post(&service, &form(&service)).await.json();
    assert!(answer["id_token"].is_null());
    let bearer = format!("Bearer {}", answer["access_token"].as_str().unwrap());
    let headers = [("authorization", bearer.as_str())];
    for (method, path, status) in [
        ("GET", "calendars/primary/events", 200),
        ("GET", "users/me/calendarList", 403),
        ("GET", "calendars/primary", 403),
        ("POST", "calendars/primary/events", 403),
    ] {
        let path = format!("/calendar/v3/{path}");
        let answer = service.send(method, &path, &headers, "{}").await.unwrap();
        assert_eq!(answer.status, status, "{path}");
        if status == 403 {
            assert_eq!(answer.reason(), "insufficientPermissions");
            assert!(answer.header("www-authenticate").unwrap().contains("insufficient_scope"));
        }
    }
}

#[tokio::test]
async fn tokens_rotate_on_request() {
    let service = Service::start();
    for (rotation, old_lives) in [(Rotation::KeepOld, true), (Rotation::KillOld, false)] {
        service.simulator.model().set_rotation(ANA, rotation).unwrap();
        let new = post(&service, &form(&service)).await.json()["refresh_token"].clone();
        assert_ne!(new, service.refresh_token.as_str());
        let again = post(&service, &form(&service)).await;
        assert_eq!(again.status == 200, old_lives, "{rotation:?}");
    }
}

#[tokio::test]
async fn access_ends_by_time_by_command_and_by_revocation() {
    let service = Service::start();
    let status = async || service.get("calendars/primary/events").await.unwrap().status;
    assert_eq!(status().await, 200);
    service.simulator.model().expire_access_tokens(Some("somebody else"));
    assert_eq!(status().await, 200);
    service.simulator.advance(3_599);
    assert_eq!(status().await, 200);
    service.simulator.advance(1);
    assert_eq!(status().await, 401);

    let fresh = post(&service, &form(&service)).await.json()["access_token"].clone();
    let path = format!("/revoke?token={}", fresh.as_str().unwrap());
    assert_eq!(service.send("POST", &path, &[], "").await.unwrap().status, 200);
    let again = service.send("POST", &path, &[], "").await.unwrap();
    assert_eq!((again.status, &again.json()["error"]), (400, &json!("invalid_token")));
    let answer = post(&service, &form(&service)).await.json();
    assert_eq!(answer["error"], "invalid_grant");
    assert_eq!(answer["error_description"], "Token has been expired or revoked.");
}

#[tokio::test]
async fn every_token_error_can_be_injected() {
    let service = Service::start();
    for (name, status, error, subtype) in [
        ("invalid_grant", 400, "invalid_grant", json!(null)),
        ("invalid_grant-rapt", 400, "invalid_grant", json!("invalid_rapt")),
        ("invalid_client", 401, "invalid_client", json!(null)),
        ("unauthorized_client", 401, "unauthorized_client", json!(null)),
        ("deleted_client", 401, "deleted_client", json!(null)),
        ("admin_policy_enforced", 400, "admin_policy_enforced", json!(null)),
        ("access_denied", 403, "access_denied", json!(null)),
        ("rate_limit_exceeded-429", 429, "rate_limit_exceeded", json!(null)),
        ("internal_failure-400", 400, "internal_failure", json!(null)),
        ("temporarily_unavailable", 503, "temporarily_unavailable", json!(null)),
    ] {
        let when = When { user: Some(ANA.to_owned()), ..When::path("/token") };
        service.simulator.add_fault(Fault::when(when.times(1), Then::Error(name.to_owned())));
        let answer = post(&service, &form(&service)).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(error)));
        assert_eq!(answer.json()["error_subtype"], subtype, "{name}");
        assert_eq!(post(&service, &form(&service)).await.status, 200, "after {name}");
    }
}
