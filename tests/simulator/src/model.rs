//! The simulated service as plain data: accounts, calendars, events, their history, and time.
//!
//! Nothing here does I/O, and chance comes from the seed: the same calls give the same model. Every
//! change gets a number; a sync token is little more than such a number.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub mod account;
pub mod calendar;
pub mod calendar_list;
pub mod change;
pub mod channel;
pub mod directory;
pub mod error;
pub mod event;
pub mod expected;
pub mod feed;
pub mod generate;
mod listing;
pub mod push;
pub mod query;
pub mod random;
pub mod recurrence;
pub mod series;
pub mod time;
mod token;

use account::{AccessToken, User};
use calendar::{Calendar, Stamp};
use channel::Channels;
use error::ApiError;
use push::PushRules;
pub use random::random_change;

/// Everything the simulated service knows.
#[derive(Clone, Debug)]
pub struct Model {
    /// The service's clock, microseconds since 1970. Only [`Model::advance`] moves it.
    pub now_us: i64,
    /// The OAuth client that the token endpoint accepts.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// Behaviour that is not certain of the real service.
    pub quirks: Quirks,
    /// What watches are given, and what happens to notifications.
    pub push_rules: PushRules,
    channels: Channels,
    users: BTreeMap<String, User>,
    calendars: BTreeMap<String, Calendar>,
    access_tokens: BTreeMap<String, AccessToken>,
    /// Emails by refresh token, dead ones too.
    token_holders: BTreeMap<String, String>,
    tokens_valid_from: u64,
    seq: u64,
    last_change_us: i64,
    rng: ChaCha8Rng,
}

/// Behaviour that is not certain of the real service, switchable.
#[derive(Clone, Debug)]
pub struct Quirks {
    /// Deltas of the source feed cancel the exceptions of a deleted series, not only its master.
    pub cancel_exceptions_with_series: bool,
    /// Calendars whose id ends so leave deletions out of their deltas.
    pub deltas_without_deletions: Vec<String>,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            cancel_exceptions_with_series: true,
            deltas_without_deletions: vec!["#contacts@group.v.calendar.google.com".to_owned()],
        }
    }
}

/// Which sync tokens to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenScope {
    /// All of them.
    All,
    /// Those of one calendar's events.
    Calendar(String),
    /// Those of one user's calendar list.
    CalendarList(String),
}

impl Model {
    /// An empty service at `now_us`.
    pub fn new(seed: u64, now_us: i64) -> Self {
        Self {
            now_us,
            client_id: "demo-client-id".to_owned(),
            client_secret: "demo-client-secret".to_owned(),
            quirks: Quirks::default(),
            push_rules: PushRules::default(),
            channels: Channels::new(seed),
            users: BTreeMap::new(),
            calendars: BTreeMap::new(),
            access_tokens: BTreeMap::new(),
            token_holders: BTreeMap::new(),
            tokens_valid_from: 0,
            seq: 0,
            last_change_us: now_us,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Moves the clock forward.
    pub fn advance(&mut self, micros: i64) {
        self.now_us += micros.max(0);
    }

    /// Users by email.
    pub fn users(&self) -> &BTreeMap<String, User> {
        &self.users
    }

    /// Calendars by id, deleted ones too.
    pub fn calendars(&self) -> &BTreeMap<String, Calendar> {
        &self.calendars
    }

    /// A calendar that exists; `primary` needs [`Model::resolve`] first.
    pub fn calendar(&self, id: &str) -> Result<&Calendar, ApiError> {
        let calendar = self.calendars.get(id).filter(|calendar| !calendar.deleted);
        calendar.ok_or_else(ApiError::not_found)
    }

    /// The real id behind `primary`.
    pub fn resolve<'a>(&self, user: &'a str, calendar: &'a str) -> &'a str {
        if calendar == "primary" { user } else { calendar }
    }

    /// Ends sync tokens: their next use answers 410.
    pub fn expire_sync_tokens(&mut self, scope: &TokenScope) -> Result<(), ApiError> {
        let seq = self.stamp().seq;
        match scope {
            TokenScope::All => self.tokens_valid_from = seq,
            TokenScope::Calendar(id) => self.calendar_mut(id)?.tokens_valid_from = seq,
            TokenScope::CalendarList(email) => self.user_mut(email)?.list_tokens_valid_from = seq,
        }
        Ok(())
    }

    fn user(&self, email: &str) -> Result<&User, ApiError> {
        self.users.get(email).ok_or_else(|| ApiError::bad_body(&format!("No user {email:?}.")))
    }

    fn user_mut(&mut self, email: &str) -> Result<&mut User, ApiError> {
        let missing = || ApiError::bad_body(&format!("No user {email:?}."));
        self.users.get_mut(email).ok_or_else(missing)
    }

    fn calendar_mut(&mut self, id: &str) -> Result<&mut Calendar, ApiError> {
        let calendar = self.calendars.get_mut(id).filter(|calendar| !calendar.deleted);
        calendar.ok_or_else(ApiError::not_found)
    }

    /// Each change has a time of its own, at least a millisecond after the one before.
    fn stamp(&mut self) -> Stamp {
        self.seq += 1;
        self.last_change_us = self.now_us.max(self.last_change_us + 1_000);
        Stamp { seq: self.seq, at_us: self.last_change_us, now_us: self.now_us }
    }
}

/// FNV-1a.
fn fnv1a(text: &str) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, mix)
}
