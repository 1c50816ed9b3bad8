//! Page and sync tokens: opaque on the wire, bound to everything that they depend on.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::error::ApiError;

/// What a token carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Token {
    #[serde(rename = "k")]
    pub(super) kind: Kind,
    /// Whose list it is.
    #[serde(rename = "u")]
    pub(super) user: String,
    /// Which calendar; empty for a calendar list.
    #[serde(rename = "c")]
    pub(super) calendar: String,
    /// Of the parameters that must stay the same.
    #[serde(rename = "f")]
    pub(super) fingerprint: u64,
    /// Last change when the listing began: its sync token starts there.
    #[serde(rename = "a")]
    pub(super) anchor: u64,
    /// Of a delta: the anchor of the sync token that it came from.
    #[serde(rename = "s")]
    pub(super) since: Option<u64>,
    /// Where the page starts.
    #[serde(rename = "p")]
    pub(super) position: Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Page,
    Sync,
}

/// Where a page starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Position {
    Start,
    /// At event or calendar `id`; of a master, at the instance with this original start.
    Item {
        id: String,
        instance: String,
    },
    /// The same among the remains of vanished instances.
    Lost {
        id: String,
    },
    /// Sorted listings count.
    Offset(usize),
}

impl Token {
    pub(super) fn encode(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        BASE64_URL_SAFE_NO_PAD.encode(text)
    }

    fn decode(text: &str) -> Option<Self> {
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }

    /// A page token must fit its request to the letter.
    pub(super) fn page(text: &str, wanted: &Token) -> Result<Self, ApiError> {
        let fits = |token: &Token| {
            token.kind == Kind::Page
                && token.user == wanted.user
                && token.calendar == wanted.calendar
                && token.fingerprint == wanted.fingerprint
        };
        let invalid = || ApiError::invalid("pageToken", "Invalid page token value.");
        Self::decode(text).filter(fits).ok_or_else(invalid)
    }

    /// A sync token that doesn't fit is gone; one that never was a token is a bad request.
    pub(super) fn sync(text: &str, wanted: &Token, valid_from: u64) -> Result<Self, ApiError> {
        let token = Self::decode(text).filter(|token| token.kind == Kind::Sync);
        let invalid = || ApiError::invalid("syncToken", "Invalid sync token value.");
        let token = token.ok_or_else(invalid)?;
        let fits = token.user == wanted.user
            && token.calendar == wanted.calendar
            && token.fingerprint == wanted.fingerprint
            && token.anchor >= valid_from;
        if fits { Ok(token) } else { Err(ApiError::full_sync_required()) }
    }
}
