//! What WebhookDB's client shows of what was typed wrongly. Behind a prompt of `integrations` it says
//! nothing of other errors than those of the value that was asked for.

use serde_json::json;
use tests::{Vendor, VendorAnswer};

use crate::client::GoClient;
use crate::setup::{CALENDAR, EMAIL, LIST, SECRET, create, host, integrations, log_in};

const OF: &str = "/v1/organizations/default";

#[tokio::test]
async fn a_wrong_answer_is_asked_for_again() {
    let host = host().await;
    let mut client = GoClient::new(host.base_url());
    log_in(&host, &mut client, EMAIL).await;
    let made = create(&mut client, OF, LIST, &[SECRET, "", "id", "secret"]).await;
    assert_eq!(made.prompts[1], made.prompts[2], "{:?}", made.prompts);
    assert!(made.output.contains("must not be empty"), "{}", made.output);
    let made = create(&mut client, OF, CALENDAR, &["7", "x", "1"]).await;
    assert_eq!(made.prompts, ["Parent integration number:"; 3]);
    assert_eq!(made.output.matches("must be a number from 1 to 1").count(), 2, "{}", made.output);
}

#[tokio::test]
async fn what_another_value_would_not_help_ends_the_command() {
    let host = host().await;
    let mut client = GoClient::new(host.base_url());
    log_in(&host, &mut client, EMAIL).await;
    create(&mut client, OF, LIST, &[SECRET, "id", "secret"]).await;
    let begin = json!({ "service_name": CALENDAR });
    let step = client.post(&format!("{OF}/service_integrations/create"), begin).await.ok();
    // Somebody else is faster.
    create(&mut client, OF, CALENDAR, &["1"]).await;
    let answer = client.post(step["post_to_url"].as_str().unwrap(), json!({ "value": "1" })).await;
    let ended = answer.ok();
    assert_eq!((&ended["complete"], &ended["error_code"]), (&json!(true), &json!("conflict")));
    assert!(ended["output"].as_str().unwrap().contains("already under each"), "{ended}");
    assert_eq!(integrations(&mut client, OF).await.len(), 2);
}

#[tokio::test]
async fn each_value_of_a_target_is_checked_when_it_is_typed() {
    let host = host().await;
    let mut client = GoClient::new(host.base_url());
    log_in(&host, &mut client, EMAIL).await;
    create(&mut client, OF, LIST, &[SECRET, "id", "secret"]).await;
    let receiver = Vendor::start(|_| VendorAnswer::reply(200, ""));
    let good = receiver.base_url().replace("http://", "http://user:pass@");
    let body = json!({ "service_integration_identifier": LIST, "schema": "", "table": "" });
    let answers = ["x", receiver.base_url(), &good, "1", "many", "600"];
    let made = client.converse(&format!("{OF}/sync_targets/http/create"), body, &answers).await;
    let url = "Paste the URL to post to, like https://user:password@example.com/:";
    let period = "Seconds without a delivery, at most (60 to 86400):";
    assert_eq!(made.prompts, [url, url, url, period, period, period]);
    for said in ["connection_url must", "must be from 60 to 86400", "must be a whole number"] {
        assert!(made.output.contains(said), "{said}: {}", made.output);
    }
    assert_eq!(made.last.single()["period_seconds"], 600);
}
