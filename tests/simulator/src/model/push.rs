//! Notifications: which channels a change concerns, and what becomes of each on its way.

use std::collections::BTreeSet;

use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Model;
use super::channel::{CHANNEL_TTL_MAX_S, Channel};
use super::error::ApiError;
use super::time::{http_date, timestamp};

/// What watches are given, and what happens to notifications. Chances go from 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PushRules {
    /// Take addresses without TLS.
    pub allow_http: bool,
    /// Addresses that begin so are refused with 401.
    pub unauthorized: Vec<String>,
    /// Calendars whose id ends so can't be watched.
    pub unwatchable: Vec<String>,
    /// Longest life of a channel, seconds; one that asks for more gets this.
    pub life_max_s: i64,
    /// Answer `expiration` as a number instead of text.
    pub numeric_expiration: bool,
    /// When the `sync` message goes out.
    pub sync: SyncTime,
    /// Origin that stands in for that of every address, as a proxy which ends TLS does.
    pub via: Option<String>,
    /// Keep notifications until they are released.
    pub hold: bool,
    /// Chance to get lost.
    pub drop: f64,
    /// Chance to be sent twice.
    pub duplicate: f64,
    /// Chance to step behind the next notification of the channel.
    pub reorder: f64,
    /// Real time that a notification is late, at least and at most; others overtake it.
    pub delay_ms: (u64, u64),
    /// A change joins a notification of its channel that hasn't left yet.
    pub coalesce: bool,
    /// How many message numbers are left out at most.
    pub gap_max: u64,
    /// How long a stopped channel still gets notifications, on the service's clock.
    pub late_s: i64,
    /// How often a notification is repeated that met 500, 502, 503, 504 or nobody.
    pub retries: u32,
    /// Real time before the first repetition; it doubles each time.
    pub retry_ms: u64,
    /// Whoever hasn't answered after so much real time counts as nobody.
    pub answer_ms: u64,
}

impl Default for PushRules {
    fn default() -> Self {
        Self {
            allow_http: false,
            unauthorized: Vec::new(),
            unwatchable: vec!["@group.v.calendar.google.com".to_owned()],
            life_max_s: CHANNEL_TTL_MAX_S,
            numeric_expiration: false,
            sync: SyncTime::Late,
            via: None,
            hold: false,
            drop: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            delay_ms: (0, 0),
            coalesce: false,
            gap_max: 9,
            late_s: 0,
            retries: 5,
            retry_ms: 100,
            answer_ms: 10_000,
        }
    }
}

/// When the `sync` message of a new channel goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncTime {
    /// It is there before the answer to the watch.
    Early,
    /// It leaves when the answer has left.
    Late,
    /// It gets lost.
    Never,
}

/// `X-Goog-Resource-State`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The channel is open.
    Sync,
    /// Something changed.
    Exists,
    /// What was watched is gone.
    NotExists,
}

/// A notification that the service means to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Counted from 1 over all channels.
    pub number: u64,
    /// Id of the channel.
    pub channel: String,
    /// What it says.
    pub state: State,
    /// `X-Goog-Message-Number`.
    pub message_number: u64,
    /// What happens to it before it leaves.
    pub start: Start,
    /// How late it leaves, real time.
    pub delay_ms: u64,
    /// It lets the next one of its channel pass.
    pub steps_back: bool,
    /// One of its channel that hasn't left yet stands for it as well.
    pub joins: bool,
}

/// What happens to a notification before it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nothing.
    Leaves,
    /// It waits for its release.
    Held,
    /// It is lost.
    Dropped,
}

/// A notification on the wire; its body is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Where to.
    pub address: String,
    /// Google's headers.
    pub headers: Vec<(&'static str, String)>,
}

impl Model {
    /// Changes the rules that `changes` names, in their JSON form.
    pub fn set_push_rules(&mut self, changes: Map<String, Value>) -> Result<(), ApiError> {
        let bad = |error: serde_json::Error| ApiError::bad_body(&error.to_string());
        let mut rules = serde_json::to_value(&self.push_rules).map_err(bad)?;
        if let Some(rules) = rules.as_object_mut() {
            rules.extend(changes);
        }
        self.push_rules = serde_json::from_value(rules).map_err(bad)?;
        Ok(())
    }

    /// Sends the `sync` message of a channel; returns the number of the push.
    pub fn push_sync(&mut self, channel: &str) -> Option<u64> {
        let channel = self.channels.by_id.get(channel)?.id.clone();
        Some(self.push(channel, State::Sync, 1))
    }

    /// Takes the pushes that were made since they were last taken.
    pub fn take_pushes(&mut self) -> Vec<Push> {
        std::mem::take(&mut self.channels.outbox)
    }

    /// What a push looks like now. None: its channel has ended.
    pub fn notification(&self, push: &Push) -> Option<Notification> {
        let channel = self.channels.by_id.get(&push.channel)?;
        if !channel.is_heard(self.now_us, self.push_rules.late_s) {
            return None;
        }
        let mut headers = vec![
            ("x-goog-channel-id", channel.id.clone()),
            ("x-goog-channel-expiration", http_date(timestamp(channel.expires_at_us))),
            ("x-goog-resource-id", channel.resource_id.clone()),
            ("x-goog-resource-uri", channel.resource_uri.clone()),
            ("x-goog-resource-state", push.state.name().to_owned()),
            ("x-goog-message-number", push.message_number.to_string()),
        ];
        headers.extend(channel.token.clone().map(|token| ("x-goog-channel-token", token)));
        Some(Notification { address: channel.address.clone(), headers })
    }

    /// Tells everybody who watches the events of a calendar.
    pub(super) fn notify_events(&mut self, calendar: &str, state: State, seq: u64) {
        let watching = self.channels.on_events.get(calendar).cloned();
        self.notify(watching.unwrap_or_default(), state, seq);
    }

    /// Tells the channels on a user's calendar list.
    pub(super) fn notify_list(&mut self, email: &str, seq: u64) {
        let watching = self.channels.on_list.get(email).cloned();
        self.notify(watching.unwrap_or_default(), State::Exists, seq);
    }

    fn notify(&mut self, watching: BTreeSet<String>, state: State, seq: u64) {
        let (now_us, late_s) = (self.now_us, self.push_rules.late_s);
        let mut told = Vec::new();
        for id in watching {
            let Some(channel) = self.channels.by_id.get_mut(&id) else { continue };
            // A change may touch several things, and is still one.
            if channel.notified != seq && channel.is_heard(now_us, late_s) {
                channel.notified = seq;
                let gap = self.channels.rng.random_range(0..=self.push_rules.gap_max);
                channel.last_message += 1 + gap;
                told.push((id, channel.last_message));
            }
        }
        for (channel, message_number) in told {
            self.push(channel, state, message_number);
        }
    }

    fn push(&mut self, channel: String, state: State, message_number: u64) -> u64 {
        let (rules, channels) = (&self.push_rules, &mut self.channels);
        let rng = &mut channels.rng;
        let mut chance = |chance: f64| rng.random_bool(chance.clamp(0.0, 1.0));
        let (dropped, twice) = (chance(rules.drop), chance(rules.duplicate));
        let steps_back = chance(rules.reorder);
        let first = channels.last_push + 1;
        for _ in 0..=u64::from(twice) {
            let (least, most) = rules.delay_ms;
            channels.last_push += 1;
            channels.outbox.push(Push {
                number: channels.last_push,
                channel: channel.clone(),
                state,
                message_number,
                start: match (dropped, rules.hold) {
                    (true, _) => Start::Dropped,
                    (false, true) => Start::Held,
                    (false, false) => Start::Leaves,
                },
                delay_ms: rng.random_range(least..=most.max(least)),
                steps_back,
                joins: rules.coalesce && state == State::Exists,
            });
        }
        first
    }
}

impl Channel {
    /// A stopped channel may get notifications for a while; an expired one gets none.
    fn is_heard(&self, now_us: i64, late_s: i64) -> bool {
        let late_us = late_s.saturating_mul(1_000_000);
        now_us < self.expires_at_us
            && self.stopped_at_us.is_none_or(|at| now_us < at.saturating_add(late_us))
    }
}

impl State {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Exists => "exists",
            Self::NotExists => "not_exists",
        }
    }
}
