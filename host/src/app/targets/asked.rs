//! What is asked of targets, and why it can't be done.

use std::ops::RangeInclusive;

use crate::model::Micros;
use crate::rows::{is_identifier, timestamp_text};
use crate::store::Error;
use crate::store::targets::Target;

/// Rows of a delivery.
const PAGE_SIZES: RangeInclusive<i64> = 1..=1_000;

/// A target that is asked for.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Asked<'a> {
    /// Opaque id, name of the table, or service.
    pub integration: &'a str,
    pub connection_url: &'a str,
    pub period_seconds: i64,
    pub to: AskedTo<'a>,
}

/// How it is delivered to.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum AskedTo<'a> {
    Receiver {
        page_size: Option<i64>,
        /// Deliveries tell of deleted rows too.
        deletions: bool,
    },
    /// Where the mirror stands. Empty: in `public`, and called like the table.
    Database { schema: &'a str, table: &'a str },
}

/// What of a target is changed. None: it stays.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Change<'a> {
    pub period_seconds: Option<i64>,
    pub page_size: Option<i64>,
    pub deletions: Option<bool>,
    /// Where the mirror stands, or empty: it can't be moved.
    pub schema: &'a str,
    /// The mirror's name, or empty.
    pub table: &'a str,
}

/// Where deliveries go on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewind {
    /// Every row as it stands, then what changes.
    Beginning,
    /// What changed behind this number of the feed.
    Number(i64),
    /// What changed at this time or later.
    Time(Micros),
}

/// Why not.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// A value that can't be taken.
    #[error("{field} {reason}")]
    Field {
        /// Name of the value.
        field: &'static str,
        /// What it must be.
        reason: String,
    },
    /// Nothing of the organization is called so.
    #[error("there is no integration `{0}`")]
    NoIntegration(String),
    /// The service of several integrations.
    #[error("{0}")]
    SeveralIntegrations(String),
    /// Nothing of the organization has this id.
    #[error("there is no target `{0}`")]
    NoTarget(String),
    /// Somebody asked for a pause.
    #[error(
        "the target has been paused since {since} ({reason}): `rowgate {kind}sync resume {id}` ends that, or a \
         POST to .../sync_targets/{kind}/{id}/resume"
    )]
    #[allow(missing_docs, reason = "see Target")]
    Paused { id: String, kind: &'static str, since: String, reason: String },
    /// The database's.
    #[error(transparent)]
    Store(#[from] Error),
}

impl TargetError {
    /// What is said of the target's pause, if somebody asked for it.
    pub fn paused(target: &Target) -> Option<Self> {
        let since = timestamp_text(target.pause_asked_at?).unwrap_or_default();
        let reason = target.paused.clone().unwrap_or_default();
        Some(Self::Paused { id: target.id.clone(), kind: target.kind.name(), since, reason })
    }
}

/// A name at the destination. Those that begin with `rowgate_` are ours.
pub(super) fn identifier(
    field: &'static str,
    asked: &str,
    default: &str,
) -> Result<String, TargetError> {
    let name = match asked.trim() {
        "" => default,
        asked => asked,
    };
    if is_identifier(name) && !name.starts_with("rowgate_") {
        return Ok(name.to_owned());
    }
    let reason =
        "must be lower-case letters, digits and `_`, at most 63 of them, and not begin with \
                  a digit or `rowgate_`"
            .to_owned();
    Err(TargetError::Field { field, reason })
}

/// A mirror isn't moved: what is there would stay behind, and be nobody's.
pub(super) fn stays(field: &'static str, asked: &str, is: &str) -> Result<(), TargetError> {
    match asked.trim() {
        "" => Ok(()),
        asked if asked == is => Ok(()),
        _ => {
            let reason = format!("stays {is}: make another target, and delete this one");
            Err(TargetError::Field { field, reason })
        }
    }
}

pub(super) fn page_size(rows: i64) -> Result<i64, TargetError> {
    if PAGE_SIZES.contains(&rows) {
        return Ok(rows);
    }
    let reason = format!("must be from {} to {} rows", PAGE_SIZES.start(), PAGE_SIZES.end());
    Err(TargetError::Field { field: "page_size", reason })
}
