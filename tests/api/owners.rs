//! How owners are, over the API.

use serde_json::{Value, json};

use crate::setup::{Api, Person};
use crate::steps::{EVENT, LIST, OF, SECRET};

#[tokio::test]
async fn owners_and_their_streams_are_shown() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let member = api.member(&owner).await;
    let [list, ..] = owner.make_tree().await;
    let path = format!("{OF}/{LIST}/owners");
    assert_eq!(member.get(&path).await.ok()["total_count"], 0);
    for one in ["ana", "bob", "c/ä ?", "dan"] {
        api.link(&list, one).await;
    }
    api.host.settle().await;
    // Any integration of the tree will do.
    let all = member.get(&format!("{OF}/{EVENT}/owners")).await.ok();
    assert_eq!((&all["total_count"], &all["has_more"]), (&json!(4), &json!(false)));
    let local = api.host.owner("ana").await;
    let ana = member.get(&format!("{path}/ana")).await.ok();
    assert!(ana["message"].as_str().unwrap().contains("current"), "{ana}");
    for same in ["external_owner_id", "integration", "state", "streams", "rows", "inbox_waiting"] {
        assert_eq!(ana[same], local[same], "{same}");
    }
    assert_eq!((&ana["state"], &ana["integration"]), (&json!("current"), &json!(list.id)));
    assert!(ana["rows"].as_i64().unwrap() >= 2, "{ana}");
    for time in ["last_success", "last_full_read", "next_due", "linked_at"] {
        assert!(ana[time].is_string(), "{time}: {ana}");
    }
    let odd = member.get(&format!("{path}/c%2F%C3%A4%20%3F")).await.ok();
    assert_eq!(odd["external_owner_id"], "c/ä ?");
    let streams = member.get(&format!("{path}/ana/streams")).await.ok();
    let kinds: Vec<&Value> =
        streams["items"].as_array().unwrap().iter().map(|one| &one["service"]).collect();
    assert_eq!(kinds.len(), usize::try_from(ana["streams"].as_i64().unwrap()).unwrap());
    assert!(streams["items"].as_array().unwrap().iter().all(|one| one["state"] == "current"));
    for stream in streams["items"].as_array().unwrap() {
        let whose = (&stream["external_owner_id"], &stream["integration"]);
        assert_eq!(whose, (&json!("ana"), &json!(list.id)));
    }
    let local = api.host.json(&["owners", "show", "ana"]).await;
    assert_eq!(local["stream_list"], streams["items"]);

    let first = member.get(&format!("{path}?limit=3")).await.ok();
    assert_eq!(first["has_more"], true);
    let last = first["items"][2]["external_owner_id"].as_str().unwrap();
    assert_eq!(last, "c/ä ?");
    let rest = member.get(&format!("{path}?limit=3&after=c%2F%C3%A4%20%3F")).await.ok();
    assert_eq!((&rest["total_count"], &rest["has_more"]), (&json!(1), &json!(false)));
    assert_eq!(rest["items"][0]["external_owner_id"], "dan");
    for wrong in ["0", "1001", "x"] {
        let refused = member.get(&format!("{path}?limit={wrong}")).await;
        assert_eq!(refused.refused(), (400, "validation_error"), "{wrong}");
    }
    let unknown = member.get(&format!("{path}/nobody")).await;
    assert_eq!(unknown.refused(), (403, "no_such_owner"));
    let streams = member.get(&format!("{path}/nobody/streams")).await;
    assert_eq!(streams.refused(), (403, "no_such_owner"));
}

#[tokio::test]
async fn streams_of_a_tree_come_in_pages() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let member = api.member(&owner).await;
    let [list, ..] = owner.make_tree().await;
    let path = format!("{OF}/{EVENT}/streams");
    assert_eq!(member.get(&path).await.ok()["total_count"], 0);
    for one in ["bob", "ana", "c/ä ?"] {
        api.link(&list, one).await;
    }
    api.host.settle().await;
    let all = member.get(&path).await.ok()["items"].as_array().unwrap().clone();
    let whose = |streams: &[Value]| {
        let mut owners: Vec<Value> =
            streams.iter().map(|one| one["external_owner_id"].clone()).collect();
        owners.dedup();
        owners
    };
    assert_eq!(whose(&all), ["ana", "bob", "c/ä ?"]);
    assert_eq!(api.host.json(&["streams", "list"]).await, json!(all));

    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let (mut seen, mut after) = (Vec::new(), String::new());
    for _ in 0..all.len() {
        let page = member.get(&format!("{path}?limit=1&after={after}")).await.ok();
        let one = page["items"][0].clone();
        let place = json!([one["external_owner_id"], one["service"], one["kind"], one["key"]]);
        after = encoded(&place.to_string());
        seen.push(one);
        assert_eq!(page["has_more"], seen.len() < all.len());
    }
    assert_eq!(seen, all);
    let of_one = member.get(&format!("{path}?owner={}", encoded("c/ä ?"))).await.ok();
    let of_one = of_one["items"].as_array().unwrap();
    assert_eq!(whose(of_one), ["c/ä ?"]);
    let path_of_one = format!("{OF}/{LIST}/owners/{}/streams", encoded("c/ä ?"));
    assert_eq!(member.get(&path_of_one).await.ok()["items"], json!(of_one));
    assert_eq!(member.get(&format!("{path}?owner=nobody")).await.ok()["total_count"], 0);
    for wrong in ["x", "[]", r#"["a","b","c"]"#, r#"["\u0000","b","c","d"]"#] {
        let refused = member.get(&format!("{path}?after={}", encoded(wrong))).await;
        assert_eq!(refused.refused(), (400, "validation_error"), "{wrong}");
    }
    let refused = member.get(&format!("{path}?limit=0")).await;
    assert_eq!(refused.refused(), (400, "validation_error"));
}

#[tokio::test]
async fn a_dead_grant_says_why() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let [list, ..] = owner.make_tree().await;
    let body = json!({
        "type": "LINKED", "external_owner_id": "eve", "refresh_token": "1//unknown",
    });
    assert_eq!(api.hook(&list.id, SECRET, &body).await, 202);
    let path = format!("{OF}/{}/owners/eve", list.id);
    api.host
        .until("the grant is dead", async || owner.get(&path).await.ok()["state"] == "grant dead")
        .await;
    let eve = owner.get(&path).await.ok();
    assert!(eve["reason"].is_string() && !eve.to_string().contains("1//unknown"), "{eve}");
    assert_eq!(eve["last_success"], Value::Null);
}

#[tokio::test]
async fn of_keys_only_that_of_the_top_reads_owners() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let [list, _, event] = owner.make_tree().await;
    api.link(&list, "ana").await;
    api.host.settle().await;
    let mut programs = Vec::new();
    for id in [&list.id, &event.id] {
        let rolled = owner.post(&format!("{OF}/{id}/roll_api_key"), json!({})).await.ok();
        let key = rolled["webhookdb_api_key"].as_str().unwrap().to_owned();
        programs.push(Person { api: &api, token: Some(key) });
    }
    for below in ["owners", "owners/ana", "owners/nobody", "owners/ana/streams", "streams"] {
        let (of_top, of_part) =
            (format!("{OF}/{}/{below}", list.id), format!("{OF}/{}/{below}", event.id));
        // Whether there is such an owner isn't told either.
        assert_eq!(programs[1].get(&of_part).await.refused(), (403, "forbidden"), "{below}");
        assert_eq!(programs[1].get(&of_top).await.status, 401, "{below}");
        let (read, seen) = (programs[0].get(&of_top).await, owner.get(&of_top).await);
        assert_eq!((read.status, &read.body), (seen.status, &seen.body), "{below}");
    }
    programs[1].get(&format!("{OF}/{}/stats", event.id)).await.ok();
}
