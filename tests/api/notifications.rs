//! Notifications over the API.

use serde_json::{Value, json};
use tests::{Settings, Vendor, VendorAnswer};

use crate::setup::Api;
use crate::steps::CALENDAR;

const OF: &str = "/v1/organizations/default/webhook_subscriptions";
const HUSH: &str = "hush-3381";

#[tokio::test]
async fn a_subscription_is_made_tested_and_told() {
    let settings = Settings::default().env("ROWGATE_DELIVERY_ALLOW_HTTP", "true");
    let api = Api::start_with(settings).await;
    let owner = api.owner().await;
    let member = api.member(&owner).await;
    let [list, calendar, _] = owner.make_tree().await;
    let receiver = Vendor::start(|_| VendorAnswer::reply(200, ""));
    let create = format!("{OF}/create");
    let of = json!({ "service_integration_identifier": CALENDAR });
    let asked = owner.post(&create, of).await;
    assert_eq!(asked.header("whdb-prompt"), Some("url"));
    let asked = owner.answer(&asked.body, &format!("{}/x", receiver.base_url())).await;
    assert_eq!(asked.refused(), (422, "prompt_required_params"));
    assert_eq!(asked.header("whdb-prompt"), Some("webhook_secret"));
    assert_eq!(asked.body["error"]["state_machine_step"]["prompt_is_secret"], true);
    let made = owner.answer(&asked.body, HUSH).await.ok();
    assert_eq!(made["associated_id"], calendar.id.as_str());
    assert_eq!(made["service_integration"], calendar.table.as_str());
    assert_eq!((&made["state"], &made["events"]), (&json!("ok"), &json!(["rows"])));
    assert!(made["opaque_id"].as_str().unwrap().starts_with("wsb_"), "{made}");
    let all = json!({ "url": receiver.base_url(), "webhook_secret": HUSH, "events": ["synced"] });
    let all = owner.post(&create, all).await.ok();
    assert_eq!(
        (&all["associated_type"], &all["associated_id"]),
        (&json!("organization"), &Value::Null)
    );

    let listed = member.get(OF).await.ok();
    assert_eq!(listed["total_count"], 2);
    assert!(!listed.to_string().contains(HUSH), "{listed}");
    let one = format!("{OF}/{}", made["opaque_id"].as_str().unwrap());
    for below in ["test", "resume", "delete"] {
        let refused = member.post(&format!("{one}/{below}"), json!({})).await;
        assert_eq!(refused.refused(), (403, "forbidden"), "{below}");
    }
    owner.post(&format!("{one}/test"), json!({})).await.ok();
    let test = receiver.seen().pop().unwrap();
    assert_eq!((test.header("whdb-test-event"), test.path()), (Some("1"), "/x"));

    api.link(&list, "ana").await;
    api.host.settle().await;
    let told = |holds: fn(&Value) -> bool| {
        let posts = receiver.seen().into_iter();
        posts
            .filter(|post| serde_json::from_slice(&post.body).is_ok_and(|body| holds(&body)))
            .count()
    };
    let rows = |body: &Value| body["external_id_column"] == "compound_identity";
    let synced = |body: &Value| body["event"] == "synced";
    // One for each of the organization's tables.
    api.host.until("all is told", async || told(rows) >= 1 && told(synced) == 3).await;
    for wrong in [
        json!({ "url": "https://10.0.0.1/", "webhook_secret": "s" }),
        json!({ "url": "http://a.example/", "webhook_secret": "s" }),
        json!({ "url": receiver.base_url(), "webhook_secret": "a b" }),
        json!({ "url": receiver.base_url(), "webhook_secret": "s", "events": "all" }),
    ] {
        let refused = owner.post(&create, wrong.clone()).await;
        assert_eq!(refused.refused(), (400, "validation_error"), "{wrong}");
    }
    owner.post(&format!("{one}/resume"), json!({})).await.ok();
    owner.post(&format!("{one}/delete"), json!({})).await.ok();
    assert_eq!(owner.get(OF).await.ok()["total_count"], 1);
    let gone = owner.post(&format!("{one}/test"), json!({})).await;
    assert_eq!(gone.refused(), (403, "no_such_subscription"));
    assert!(!api.host.log().contains(HUSH));
}
