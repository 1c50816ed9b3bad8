//! A host, and how somebody comes to a session on it.

use serde_json::{Value, json};
use tests::{Settings, TestHost};

use crate::client::{Conversation, GoClient};

pub(crate) const EMAIL: &str = "ana@example.com";
pub(crate) const SECRET: &str = "s3cret0s3cret0";
pub(crate) const LIST: &str = "google_calendar_list_v1";
pub(crate) const CALENDAR: &str = "google_calendar_v1";
pub(crate) const EVENT: &str = "google_calendar_event_v1";

/// A host that lets receivers on this machine be posted to.
pub(crate) async fn host() -> TestHost {
    Settings::default().env("ROWGATE_DELIVERY_ALLOW_HTTP", "true").start().await
}

/// The codes for an address that the host's log holds, the last one last.
pub(crate) fn codes(host: &TestHost, email: &str) -> Vec<String> {
    let (log, says) = (host.log(), format!("login code for {email}: "));
    let codes = log.lines().filter_map(|line| line.split_once(&says));
    codes.map(|(_, code)| code.chars().take_while(char::is_ascii_digit).collect()).collect()
}

/// Logs in as the client does; answers the customer.
pub(crate) async fn log_in(host: &TestHost, client: &mut GoClient, email: &str) -> Value {
    let before = codes(host, email).len();
    let step = client.post("/v1/auth", json!({ "email": email, "token": "" })).await;
    assert_eq!(step.status, 202, "{}", step.body);
    host.until("the code is logged", async || codes(host, email).len() > before).await;
    let body = json!({ "email": email, "token": codes(host, email).pop() });
    let done = client.post("/v1/auth", body).await.ok();
    assert!(client.is_logged_in(), "{done}");
    done["extras"]["current_customer"].clone()
}

/// The root, its client being the simulator's, and the two that hang under it by Enter.
pub(crate) async fn make_tree(host: &TestHost, client: &mut GoClient, of: &str) -> [Value; 3] {
    let (id, secret) = {
        let model = host.simulator.model();
        (model.client_id.clone(), model.client_secret.clone())
    };
    create(client, of, LIST, &[SECRET, &id, &secret]).await;
    let list = integrations(client, of).await.remove(0);
    // What the real one never needs: this Google is elsewhere.
    for (step, url) in
        [("api_url", host.simulator.api_url()), ("token_url", host.simulator.token_url())]
    {
        let list = list["opaque_id"].as_str().unwrap();
        let path = format!("{of}/service_integrations/{list}/transition/{step}");
        client.post(&path, json!({ "value": url })).await.ok();
    }
    create(client, of, CALENDAR, &[""]).await;
    create(client, of, EVENT, &[""]).await;
    integrations(client, of).await.try_into().unwrap()
}

/// `integrations create`.
pub(crate) async fn create(
    client: &mut GoClient,
    of: &str,
    service: &str,
    answers: &[&str],
) -> Conversation {
    let path = format!("{of}/service_integrations/create");
    let made = client.converse(&path, json!({ "service_name": service }), answers).await;
    made.complete();
    made
}

pub(crate) async fn integrations(client: &mut GoClient, of: &str) -> Vec<Value> {
    client.get(&format!("{of}/service_integrations")).await.items()
}
