//! Push channels.

use rowgate_plugin::{Channel, Failure, Plugin, Result, Subscription, Topic};
use serde_json::{Value, json};

use super::{API, GOOGLE_CALENDAR_V1, World, error};
use crate::GoogleCalendar;
use crate::manifest::push;

fn watch(world: &World, push: &str, key: &str) -> Result<Option<Subscription>> {
    let topic = Topic { push: push.into(), key: key.into() };
    let channel = Channel {
        id: "channel-1".into(),
        address: "https://host.test/v1/x".into(),
        token: "channel_token".into(),
        ttl_ms: Some(604_800_000),
    };
    GoogleCalendar::subscribe(&world.cx(GOOGLE_CALENDAR_V1), &topic, &channel)
}

fn stop(world: &World) -> Result<()> {
    let subscription = Subscription {
        channel_id: "channel-1".into(),
        vendor_id: Some("resource".into()),
        expires_at: None,
    };
    GoogleCalendar::unsubscribe(&world.cx(GOOGLE_CALENDAR_V1), None, &subscription)
}

#[test]
fn a_channel_is_asked_for() {
    let expires = Some(1_773_905_359_000_000);
    let cases = [
        (json!("1773905359000"), expires),
        (json!(1_773_905_359_000_i64), expires),
        (Value::Null, None),
        (json!("soon"), None),
    ];
    for (expiration, expires_at) in cases {
        let world = World::new();
        let answer = json!({"id": "channel-1", "resourceId": "r", "expiration": expiration});
        world.host.answer(200, answer);
        let found = watch(&world, push::EVENTS, "a#b@c").unwrap();
        let (channel_id, vendor_id) = ("channel-1".into(), Some("r".into()));
        assert_eq!(found, Some(Subscription { channel_id, vendor_id, expires_at }));
        let request = &world.host.requests()[0];
        assert_eq!(request.method, "POST");
        assert_eq!(request.url, format!("{API}/calendars/a%23b%40c/events/watch"));
        let body = r#"{"id":"channel-1","type":"web_hook","address":"https://host.test/v1/x","token":<channel_token>,"params":{"ttl":"604800"}}"#;
        assert_eq!(request.body, body);
    }
    let world = World::new();
    world.host.answer(200, json!({}));
    watch(&world, push::CALENDAR_LIST, "").unwrap();
    assert_eq!(world.host.requests()[0].url, format!("{API}/users/me/calendarList/watch"));
}

#[test]
fn refusals_of_a_channel() {
    let cases = [
        (400, "pushNotSupportedForRequestedResource", "none"),
        (400, "channelIdNotUnique", "retry"),
        (400, "push.webhookUrlNotHttps", "misconfigured"),
        (401, "push.webhookUrlUnauthorized", "misconfigured"),
        (403, "notACalendarUser", "reauthorise"),
        (404, "notFound", "retry"),
        (429, "rateLimitExceeded", "retry"),
        (400, "required", "bug"),
    ];
    for (status, reason, expected) in cases {
        let world = World::new();
        world.host.answer(status, error(status, reason));
        let found = match watch(&world, push::EVENTS, "c") {
            Ok(None) => "none",
            Err(Failure::Retry(_)) => "retry",
            Err(Failure::Misconfigured(_)) => "misconfigured",
            Err(Failure::Reauthorise(_)) => "reauthorise",
            Err(Failure::Bug(_)) => "bug",
            _ => "?",
        };
        assert_eq!(found, expected, "{status} {reason}");
        assert_eq!(world.host.take().forgotten, Vec::<String>::new());
    }
    assert!(matches!(watch(&World::new(), "other", ""), Err(Failure::Bug(_))));
}

#[test]
fn a_channel_is_stopped() {
    let world = World::new();
    world.host.answer(204, "").answer(404, error(404, "notFound")).answer(500, "");
    stop(&world).unwrap();
    stop(&world).unwrap();
    assert!(matches!(stop(&world), Err(Failure::Retry(_))));
    let request = &world.host.requests()[0];
    assert_eq!(request.url, format!("{API}/channels/stop"));
    assert_eq!(request.body, r#"{"id":"channel-1","resourceId":"resource"}"#);
    rowgate_plugin::secrets::forget("access_token");
    world.host.answer(400, json!({"error": "invalid_grant"}));
    stop(&world).unwrap();
}
