//! Stored webhooks once more, and what webhooks were answered.

use serde_json::json;

use crate::setup::Api;
use crate::steps::{EVENT, LIST, OF, SECRET};

const REPLAY: &str = "/v1/organizations/default/replay";

#[tokio::test]
async fn what_was_accepted_is_handled_again_in_order() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let member = api.member(&owner).await;
    let [list, calendar, _] = owner.make_tree().await;
    let body = |verb: &str| json!({ "type": verb, "external_owner_id": "ana" });
    api.link(&list, "ana").await;
    assert_eq!(api.hook(&list.id, SECRET, &body("UNLINKED")).await, 202);
    api.link(&list, "ana").await;
    assert_eq!(api.hook(&list.id, SECRET, &body("RESYNC")).await, 202);
    api.host.settle().await;
    assert_eq!(api.host.owner("ana").await["state"], "current");

    // The token of the first link is gone, that of the second is the owner's; what came before it
    // must not end it.
    let replayed = owner.post(REPLAY, json!({})).await.ok();
    assert_eq!((&replayed["replayed"], &replayed["left_out"]), (&json!(2), &json!(2)));
    assert_eq!(replayed["left_out_owners"], json!(["ana"]));
    let is = async |state: &str| api.host.owner("ana").await["state"] == state;
    api.host.until("it is handled", async || is("current").await).await;
    let one = owner.post(REPLAY, json!({ "webhook_id": 2 })).await.ok();
    assert_eq!(one["left_out"], 1, "it unlinked ana: {one}");
    let count = format!("select count(*) from {} where external_owner_id = 'ana'", calendar.table);
    assert_eq!(owner.sql(&count).await, [json!([1])]);

    // Whoever is unlinked stays so: what linked them can't come again.
    assert_eq!(api.hook(&list.id, SECRET, &body("UNLINKED")).await, 202);
    api.host.settle().await;
    let of = json!({ "service_integration_identifier": LIST, "hours": "2" });
    let replayed = owner.post(REPLAY, of).await.ok();
    assert_eq!(replayed["left_out"], 3, "{replayed}");
    api.host.until("the rest is handled", async || is("unlinked").await).await;
    let none = json!({ "service_integration_identifier": EVENT });
    assert_eq!(owner.post(REPLAY, none).await.ok()["replayed"], 0);

    let one = owner.post(REPLAY, json!({ "webhook_id": 2 })).await.ok();
    assert_eq!(one["replayed"], 1, "{one}");
    for wrong in [
        json!({ "webhook_id": 1_000_000 }),
        json!({ "hours": 5 }),
        json!({ "hours": 0 }),
        json!({ "after": "yesterday" }),
        json!({ "after": "2020-01-01T00:00:00Z", "before": "2020-01-01T01:00:00Z" }),
    ] {
        let refused = owner.post(REPLAY, wrong.clone()).await;
        assert_eq!(refused.refused(), (400, "validation_error"), "{wrong}");
    }
    assert_eq!(member.post(REPLAY, json!({})).await.refused(), (403, "forbidden"));
}

#[tokio::test]
async fn answers_are_counted_for_each_integration() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let [list, calendar, _] = owner.make_tree().await;
    let stats = async |of: &str| owner.get(&format!("{OF}/{of}/stats")).await.ok();
    let none = stats(&list.id).await;
    assert_eq!(
        (&none["count_last_7_days"], &none["success_last_7_days_percent"]),
        (&json!(0), &json!(0.0))
    );
    assert!(none["message"].as_str().unwrap().contains("No webhook"), "{none}");
    let body = json!({ "type": "RESYNC", "external_owner_id": "ana" });
    for _ in 0..9 {
        assert_eq!(api.hook(&list.id, SECRET, &body).await, 202);
    }
    for _ in 0..2 {
        assert_eq!(api.hook(&list.id, "wrong", &body).await, 401);
    }
    assert_eq!(api.hook(&list.id, SECRET, &json!({ "type": "?" })).await, 400);
    assert_eq!(api.hook(&calendar.id, SECRET, &body).await, 401);
    assert_eq!(api.hook("svi_nothing", SECRET, &body).await, 400);
    let of_list = stats(&list.id).await;
    for (name, value) in [
        ("count_last_7_days", json!(12)),
        ("success_last_7_days", json!(9)),
        ("success_last_7_days_formatted", json!("9")),
        ("success_last_7_days_percent", json!(0.75)),
        ("success_last_7_days_percent_formatted", json!("75.0%")),
        ("rejected_last_7_days", json!(3)),
        ("rejected_last_7_days_percent_formatted", json!("25.0%")),
        ("successful_of_last_10", json!(7)),
        ("rejected_of_last_10", json!(3)),
        ("message", json!("")),
    ] {
        assert_eq!(of_list[name], value, "{name}: {of_list}");
    }
    let headers = of_list["display_headers"].as_array().unwrap();
    assert_eq!(headers[0], json!(["count_last_7_days_formatted", "Count Last 7 Days"]));
    // Of that integration alone.
    let of_calendar = stats(&calendar.id).await;
    assert_eq!(
        (&of_calendar["count_last_7_days"], &of_calendar["rejected_of_last_10"]),
        (&json!(1), &json!(1))
    );
    // They outlive the host.
    let mut api = api;
    api.host.restart().await;
    let kept = api.host.json(&["integrations", "stats", &list.id]).await;
    assert_eq!(kept["count_last_7_days"], 12, "{kept}");
}
