//! `org invite` and `org join`: how somebody comes into an organization of others.

use serde_json::json;

use crate::client::GoClient;
use crate::setup::{EMAIL, host, log_in};

const OTHER: &str = "bob@example.com";

/// The client keeps what it is told as the organization of what follows, and none if nothing is told.
#[tokio::test]
async fn who_joins_is_told_of_the_organization() {
    let host = host().await;
    let (mut ana, mut bob) = (GoClient::new(host.base_url()), GoClient::new(host.base_url()));
    log_in(&host, &mut ana, EMAIL).await;
    let invite = json!({ "email": OTHER, "role_name": "member" });
    let invited = ana.post("/v1/organizations/default/invite", invite).await.single();
    log_in(&host, &mut bob, OTHER).await;
    let code = json!({ "invitation_code": invited["invitation_code"] });
    let joined = bob.post("/v1/organizations/join", code).await.ok();
    let shown = bob.get("/v1/organizations/-?org=default").await.single();
    for name in ["id", "name", "key"] {
        assert_eq!(joined["organization"][name], shown[name], "{joined}");
    }
    assert!(joined["message"].as_str().unwrap().contains("default"), "{joined}");
    let change = json!({ "emails": format!("{OTHER}, nobody@example.com"), "role_name": "admin" });
    let changed = ana.post("/v1/organizations/default/change_roles", change).await.single();
    let said = format!("Now admin: {OTHER}. Not in the organization: nobody@example.com.");
    assert_eq!(changed["message"], said);
}
