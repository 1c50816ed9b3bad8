//! Channels: who watches what, until when, and where notifications go.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use super::Model;
use super::error::ApiError;
use super::fnv1a;
use super::push::{Push, PushRules};
use super::time::millis_text;

/// Life of a channel that asks for none, seconds.
pub const CHANNEL_TTL_S: i64 = 604_800;
/// Longer lives are cut, seconds, unless the rules say otherwise.
pub const CHANNEL_TTL_MAX_S: i64 = 30 * 86_400;

const ID_CHARS_MAX: usize = 64;
const TOKEN_CHARS_MAX: usize = 256;
const API: &str = "https://www.googleapis.com/calendar/v3";

/// What a channel watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The events of a calendar.
    Events(String),
    /// The list of the channel's own user.
    CalendarList,
}

/// A channel, alive or not: its id is never free again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The client's name for it.
    pub id: String,
    /// Email of the user who watches.
    pub user: String,
    /// What is watched.
    pub resource: Resource,
    /// The same for every channel of a user on a resource.
    pub resource_id: String,
    /// The resource as the request named it.
    pub resource_uri: String,
    /// Where notifications go.
    pub address: String,
    /// Sent along with each of them.
    pub token: Option<String>,
    /// End of its life, microseconds since 1970.
    pub expires_at_us: i64,
    /// When it was stopped.
    pub stopped_at_us: Option<i64>,
    /// Number of its last message; 1 is the `sync` message.
    pub last_message: u64,
    pub(super) client_id: String,
    /// Last change that it was notified of.
    pub(super) notified: u64,
}

/// The channels, and pushes that wait to be taken.
#[derive(Clone, Debug)]
pub(super) struct Channels {
    pub(super) by_id: BTreeMap<String, Channel>,
    /// Ids by the calendar whose events are watched, and by the user whose list is: a change looks at
    /// no other channel.
    pub(super) on_events: BTreeMap<String, BTreeSet<String>>,
    pub(super) on_list: BTreeMap<String, BTreeSet<String>>,
    pub(super) outbox: Vec<Push>,
    pub(super) last_push: u64,
    /// Of its own, so that the data don't depend on who watches.
    pub(super) rng: ChaCha8Rng,
}

impl Channels {
    pub(super) fn new(seed: u64) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed ^ 0x9054);
        Self {
            by_id: BTreeMap::new(),
            on_events: BTreeMap::new(),
            on_list: BTreeMap::new(),
            outbox: Vec::new(),
            last_push: 0,
            rng,
        }
    }

    fn add(&mut self, channel: Channel) {
        let watching = match &channel.resource {
            Resource::Events(calendar) => self.on_events.entry(calendar.clone()),
            Resource::CalendarList => self.on_list.entry(channel.user.clone()),
        };
        watching.or_default().insert(channel.id.clone());
        self.by_id.insert(channel.id.clone(), channel);
    }
}

impl Model {
    /// Opens a channel; `query` is the request's. Returns the body of the answer.
    pub fn watch(
        &mut self,
        user: &str,
        resource: Resource,
        path: &str,
        query: &str,
        body: &Value,
    ) -> Result<Value, ApiError> {
        let asked = Asked::parse(body, self.now_us, &self.push_rules)?;
        if let Resource::Events(calendar) = &resource {
            let ends_so = |end: &String| calendar.ends_with(end.as_str());
            if self.push_rules.unwatchable.iter().any(ends_so) {
                return Err(ApiError::push_not_supported());
            }
        }
        if self.channels.by_id.contains_key(&asked.id) {
            return Err(ApiError::channel_id_not_unique(&asked.id));
        }
        let channel = Channel {
            resource_id: resource_id(user, &resource),
            resource_uri: resource_uri(path, query),
            user: user.to_owned(),
            resource,
            address: asked.address,
            token: asked.token,
            expires_at_us: asked.expires_at_us,
            stopped_at_us: None,
            last_message: 1,
            client_id: self.client_id.clone(),
            notified: 0,
            id: asked.id,
        };
        let answer = channel.answer(self.push_rules.numeric_expiration);
        self.channels.add(channel);
        Ok(answer)
    }

    /// Ends a channel, as only its user and OAuth client can.
    pub fn stop_channel(&mut self, user: &str, body: &Value) -> Result<(), ApiError> {
        let body = fields(body)?;
        let (id, resource_id) = (required(body, "id")?, required(body, "resourceId")?);
        let (now_us, client_id) = (self.now_us, &self.client_id);
        let mine = |channel: &&mut Channel| {
            channel.resource_id == resource_id
                && channel.user == user
                && channel.client_id == *client_id
                && channel.is_live(now_us)
        };
        let channel = self.channels.by_id.get_mut(id).filter(mine);
        let channel = channel.ok_or_else(|| ApiError::channel_unknown(id))?;
        channel.stopped_at_us = Some(now_us);
        Ok(())
    }

    /// Ends the life of one channel, of a user's, or of all, without notice. Returns how many.
    pub fn expire_channels(&mut self, id: Option<&str>, user: Option<&str>) -> usize {
        let now_us = self.now_us;
        let channels = self.channels.by_id.values_mut().filter(|channel| {
            channel.is_live(now_us)
                && id.is_none_or(|id| channel.id == id)
                && user.is_none_or(|user| channel.user == user)
        });
        channels.map(|channel| channel.expires_at_us = now_us).count()
    }

    /// Every channel that ever was, by id.
    pub fn channels(&self) -> &BTreeMap<String, Channel> {
        &self.channels.by_id
    }
}

impl Channel {
    /// Neither expired nor stopped.
    pub fn is_live(&self, now_us: i64) -> bool {
        now_us < self.expires_at_us && self.stopped_at_us.is_none()
    }

    /// What control calls show of it.
    pub fn to_json(&self, now_us: i64) -> Value {
        let (kind, calendar) = match &self.resource {
            Resource::Events(calendar) => ("events", Some(calendar)),
            Resource::CalendarList => ("calendar_list", None),
        };
        json!({
            "id": self.id,
            "user": self.user,
            "resource": kind,
            "calendar": calendar,
            "resource_id": self.resource_id,
            "resource_uri": self.resource_uri,
            "address": self.address,
            "token": self.token,
            "expiration": millis_text(self.expires_at_us),
            "stopped": self.stopped_at_us.is_some(),
            "live": self.is_live(now_us),
            "last_message": self.last_message,
        })
    }

    fn answer(&self, numeric_expiration: bool) -> Value {
        let expires_at_ms = self.expires_at_us / 1_000;
        let mut answer = json!({
            "kind": "api#channel",
            "id": self.id,
            "resourceId": self.resource_id,
            "resourceUri": self.resource_uri,
            "expiration": match numeric_expiration {
                true => json!(expires_at_ms),
                false => json!(expires_at_ms.to_string()),
            },
        });
        if let Some(token) = &self.token {
            answer["token"] = token.as_str().into();
        }
        answer
    }
}

/// What a request for a channel asks for.
struct Asked {
    id: String,
    address: String,
    token: Option<String>,
    expires_at_us: i64,
}

impl Asked {
    fn parse(body: &Value, now_us: i64, rules: &PushRules) -> Result<Self, ApiError> {
        let body = fields(body)?;
        let id = required(body, "id")?;
        if id.chars().count() > ID_CHARS_MAX {
            return Err(invalid("id"));
        }
        let kind = required(body, "type")?;
        if !["web_hook", "webhook"].contains(&kind) {
            return Err(ApiError::channel_type_not_supported(kind));
        }
        let address = required(body, "address")?;
        let is_http = rules.allow_http && address.starts_with("http://");
        if !address.starts_with("https://") && !is_http {
            return Err(ApiError::webhook_not_https(address));
        }
        if rules.unauthorized.iter().any(|start| address.starts_with(start.as_str())) {
            return Err(ApiError::webhook_unauthorized(address));
        }
        let token = match body.get("token") {
            None | Some(Value::Null) => None,
            Some(Value::String(token)) if token.chars().count() <= TOKEN_CHARS_MAX => Some(token),
            Some(_) => return Err(invalid("token")),
        };
        Ok(Self {
            id: id.to_owned(),
            address: address.to_owned(),
            token: token.cloned(),
            expires_at_us: end_of_life(body, now_us, rules.life_max_s)?,
        })
    }
}

/// The sooner of what is asked for, or the default; never beyond the limit. Whole milliseconds.
fn end_of_life(body: &Map<String, Value>, now_us: i64, max_s: i64) -> Result<i64, ApiError> {
    let now_ms = now_us / 1_000;
    let until_ms = match body.get("expiration") {
        None => None,
        Some(value) => Some(integer(value).ok_or_else(|| invalid("expiration"))?),
    };
    let ttl_ms = match body.get("params").and_then(|params| params.get("ttl")) {
        None => None,
        Some(value) => {
            let ttl_s = integer(value).ok_or_else(|| invalid("params.ttl"))?;
            Some(now_ms.saturating_add(ttl_s.saturating_mul(1_000)))
        }
    };
    let asked_ms = until_ms.into_iter().chain(ttl_ms).min();
    let end_ms = asked_ms.unwrap_or(now_ms + CHANNEL_TTL_S * 1_000);
    if end_ms <= now_ms {
        return Err(invalid("expiration"));
    }
    Ok(end_ms.min(now_ms + max_s * 1_000) * 1_000)
}

/// An int64 is text on the wire; a number is taken as well.
fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn fields(body: &Value) -> Result<&Map<String, Value>, ApiError> {
    let body = super::change::object(body)?;
    if body.is_empty() { Err(ApiError::required_field("entity.resource")) } else { Ok(body) }
}

fn required<'a>(body: &'a Map<String, Value>, name: &str) -> Result<&'a str, ApiError> {
    let text = body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or_else(|| ApiError::required_field(&format!("channel.{name}")))
}

fn invalid(name: &str) -> ApiError {
    ApiError::bad_body(&format!("Invalid value for: channel.{name}"))
}

/// As long as Google's.
fn resource_id(user: &str, resource: &Resource) -> String {
    let parts = (0..3).map(|part| fnv1a(&format!("{part} {user} {resource:?}")));
    let bytes: Vec<u8> = parts.flat_map(u64::to_be_bytes).take(20).collect();
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Names the calendar as the request did: `primary` stays `primary`.
fn resource_uri(path: &str, query: &str) -> String {
    let others = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("alt="));
    let query: Vec<&str> = std::iter::once("alt=json").chain(others).collect();
    format!("{API}/{path}?{}", query.join("&"))
}
