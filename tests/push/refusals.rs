//! Vendors that refuse to push, and hosts that they can't reach.

use serde_json::Value;
use tests::Settings;

use crate::setup::{ANA, Case, OWNER};

#[tokio::test]
async fn a_refused_address_stops_push_alone() {
    let case = Case::patient().await;
    let address = case.base_url().to_owned();
    case.rules(|rules| rules.unauthorized = vec![address]);
    case.host.link(&case.tree, OWNER, ANA).await;
    case.rest().await;
    case.host.assert_matches_model(&case.tree).await;
    assert_eq!(case.owner(OWNER).await["state"], "current");
    assert_eq!(case.asked("/watch").len(), 1, "one topic has tried for the whole tree");
    assert_eq!(case.log().matches("the vendor refuses to push").count(), 1);
    assert_eq!(case.integration_state(&case.tree.list).await.0, "ok");
    let doctor = case.json(&["doctor"]).await;
    let told = |row: &Value| row["detail"].as_str().is_some_and(|text| text.contains("no push"));
    assert!(doctor.as_array().unwrap().iter().any(told), "{doctor}");
}

#[tokio::test]
async fn without_https_push_is_off() {
    let host = Settings::default().start().await;
    let tree = host.integrations().await;
    host.link(&tree, OWNER, ANA).await;
    host.settle().await;
    host.assert_matches_model(&tree).await;
    assert!(host.simulator.requests().iter().all(|seen| !seen.path.ends_with("/watch")));
    assert_eq!(host.log().matches("push is off").count(), 1);
    let doctor = host.json(&["doctor"]).await;
    let told = |row: &Value| row["check"] == "push" && row["state"] == "warning";
    assert!(doctor.as_array().unwrap().iter().any(told), "{doctor}");
}
