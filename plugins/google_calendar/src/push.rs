//! Push channels: Google posts without a body when a calendar or the list of calendars changes.

use rowgate_plugin::{
    Answer, Channel, Context, Failure, Json, Request, Result, Subscription, Topic,
};
use serde::Deserialize;
use serde_json::Value;

use crate::api;
use crate::manifest::{config, push};
use crate::refusal::Refusal;

/// Google's answer to `watch`. The time comes as text, and as a number in its guide.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Watched {
    resource_id: Option<String>,
    expiration: Option<Value>,
}

/// Each attempt has a channel id of its own: Google refuses one that it knows, even a stopped one.
pub(crate) fn subscribe(
    cx: &Context,
    topic: &Topic,
    channel: &Channel,
) -> Result<Option<Subscription>> {
    let path: &[&str] = match topic.push.as_str() {
        push::CALENDAR_LIST => &["users", "me", "calendarList", "watch"],
        push::EVENTS => &["calendars", &topic.key, "events", "watch"],
        other => return Err(Failure::bug(format!("no push channel `{other}`"))),
    };
    let ttl = channel.ttl_ms.map(|ms| (ms / 1_000).to_string());
    let params = ttl.map(|ttl_s| ("params", Json::object([("ttl", Json::from(ttl_s))])));
    let body = [
        ("id", Json::from(channel.id.as_str())),
        ("type", Json::from("web_hook")),
        ("address", Json::from(channel.address.as_str())),
        ("token", Json::secret(&channel.token)),
    ];
    let body = Json::object(body.into_iter().chain(params));
    let answer = api::call(cx, &post(cx, path)?.json(body))?;
    if answer.is_success() {
        return subscription(&answer, channel).map(Some);
    }
    let refusal = Refusal::of(&answer);
    match answer.status {
        // Holidays, birthdays and other public calendars are only polled.
        400 if refusal.is(&["pushNotSupportedForRequestedResource"]) => Ok(None),
        // The next attempt has another id.
        400 if refusal.is(&["channelIdNotUnique"]) => Err(Failure::retry(refusal.text())),
        400 | 401 if refusal.is_push() => Err(Failure::Misconfigured(refusal.text())),
        // Its own stream meets the 404 too, and stops.
        404 => Err(Failure::retry(refusal.text())),
        _ => Err(refusal.failure(cx.now)),
    }
}

/// A channel that is gone, or that nobody can stop any more, has ended too.
pub(crate) fn unsubscribe(cx: &Context, subscription: &Subscription) -> Result<()> {
    let Some(vendor_id) = &subscription.vendor_id else { return Ok(()) };
    let body = Json::object([
        ("id", Json::from(subscription.channel_id.as_str())),
        ("resourceId", Json::from(vendor_id.as_str())),
    ]);
    let answer = match api::call(cx, &post(cx, &["channels", "stop"])?.json(body)) {
        Ok(answer) => answer,
        Err(Failure::Reauthorise(_)) => return Ok(()),
        Err(failure) => return Err(failure),
    };
    if answer.is_success() || answer.status == 404 {
        return Ok(());
    }
    Err(Refusal::of(&answer).failure(cx.now))
}

fn post(cx: &Context, path: &[&str]) -> Result<Request> {
    Ok(api::request(Request::post(cx.config(config::API_URL)?), path))
}

/// The time that Google gives counts: it cuts long lives short.
fn subscription(answer: &Answer, channel: &Channel) -> Result<Subscription> {
    let watched: Watched = answer.json()?;
    let ms = match watched.expiration {
        Some(Value::String(text)) => text.parse::<i64>().ok(),
        Some(Value::Number(number)) => number.as_i64(),
        _ => None,
    };
    Ok(Subscription {
        channel_id: channel.id.clone(),
        vendor_id: watched.resource_id,
        expires_at: ms.and_then(|ms| ms.checked_mul(1_000)),
    })
}
