//! Request parameters of the two list methods, checked the way the service checks them.

use jiff::Timestamp;

use super::error::ApiError;
use super::event::Event;
use super::fnv1a;
use super::time::EventTime;

/// Parameters of a request, decoded, in the order given.
#[derive(Clone, Debug, Default)]
pub struct Params(pub Vec<(String, String)>);

/// Parameters that never change what is listed.
const STANDARD: &[&str] =
    &["alt", "fields", "key", "oauth_token", "prettyPrint", "quotaUser", "userIp", "$.xgafv"];

impl Params {
    /// The last value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a repeated parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// `true` or `false`; absent is None.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(invalid_value(name, other)),
        }
    }

    /// A number of at least 1; larger values are capped.
    pub fn count(&self, name: &str, max: usize) -> Result<Option<usize>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number: Option<usize> = text.parse().ok().filter(|number| *number > 0);
        Ok(Some(number.ok_or_else(|| invalid_value(name, text))?.min(max)))
    }

    /// An RFC 3339 time with offset, in microseconds since 1970.
    pub fn time_us(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let parsed = text.parse::<Timestamp>().map_err(|_| {
            ApiError::new(400, "global", "badRequest", &format!("Bad Request: {name}={text}"))
        })?;
        Ok(Some(parsed.as_microsecond()))
    }

    /// Of the parameters that `keep` names; `false` counts as absent.
    pub(super) fn fingerprint(&self, keep: impl Fn(&str) -> bool, extra: &str) -> u64 {
        let mut kept: Vec<&(String, String)> =
            self.0.iter().filter(|(name, value)| keep(name) && value != "false").collect();
        kept.sort();
        fnv1a(&format!("{kept:?}{extra}"))
    }

    /// Everything but the page token and what never matters.
    pub(super) fn page_fingerprint(&self) -> u64 {
        self.fingerprint(|name| name != "pageToken" && !STANDARD.contains(&name), "page")
    }
}

fn invalid_value(name: &str, value: &str) -> ApiError {
    ApiError::invalid(name, &format!("Invalid value '{value}' for parameter {name}."))
}

/// A refusal of parameters that don't go with a sync token.
pub(super) fn refuse_with_sync_token(params: &Params, names: &[&str]) -> Result<(), ApiError> {
    match names.iter().find(|name| params.get(name).is_some()) {
        Some(name) => {
            let message = format!("Sync token cannot be combined with parameter {name}.");
            Err(ApiError::new(400, "global", "badRequest", &message))
        }
        None => Ok(()),
    }
}

/// Deletions are part of every delta: asking for none is an error.
pub(super) fn refuse_false_with_sync_token(params: &Params, name: &str) -> Result<(), ApiError> {
    match params.flag(name)? {
        Some(false) => {
            let message = format!("{name} cannot be false when a sync token is given.");
            Err(ApiError::new(400, "global", "badRequest", &message))
        }
        _ => Ok(()),
    }
}

/// Parameters of events.list.
#[derive(Clone, Debug)]
pub struct EventQuery {
    /// As given.
    pub params: Params,
    /// Items of a page, at most.
    pub max_results: usize,
    /// Instances instead of masters.
    pub single_events: bool,
    /// Cancelled ones in a full listing, and their details in any.
    pub show_deleted: bool,
    /// Sorted.
    pub order_by: Option<OrderBy>,
    /// Exclusive lower bound of the end.
    pub time_min_us: Option<i64>,
    /// Exclusive upper bound of the start.
    pub time_max_us: Option<i64>,
    /// Lower bound of the last change.
    pub updated_min_us: Option<i64>,
    /// Longest list of attendees.
    pub max_attendees: Option<usize>,
}

/// Sort orders of events.list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Google's")]
pub enum OrderBy {
    StartTime,
    Updated,
}

const NOT_WITH_SYNC_TOKEN: &[&str] = &[
    "orderBy",
    "timeMin",
    "timeMax",
    "updatedMin",
    "q",
    "iCalUID",
    "privateExtendedProperty",
    "sharedExtendedProperty",
];

/// A listing with one of these ends without a sync token.
const WITHOUT_SYNC_TOKEN: &[&str] =
    &["orderBy", "updatedMin", "q", "iCalUID", "privateExtendedProperty", "sharedExtendedProperty"];

const SAME_WITH_SYNC_TOKEN: &[&str] =
    &["showHiddenInvitations", "eventTypes", "maxAttendees", "timeZone"];

impl EventQuery {
    /// Checks parameters; the error is the service's 400.
    pub fn parse(params: Params) -> Result<Self, ApiError> {
        if params.get("syncToken").is_some() {
            refuse_with_sync_token(&params, NOT_WITH_SYNC_TOKEN)?;
            refuse_false_with_sync_token(&params, "showDeleted")?;
        }
        let single_events = params.flag("singleEvents")?.unwrap_or(false);
        let order_by = match params.get("orderBy") {
            None => None,
            Some("startTime") if single_events => Some(OrderBy::StartTime),
            Some("updated") => Some(OrderBy::Updated),
            Some(_) => {
                let message = "The requested ordering is not available for the particular query.";
                return Err(ApiError::invalid("orderBy", message));
            }
        };
        let query = Self {
            max_results: params.count("maxResults", 2_500)?.unwrap_or(250),
            single_events,
            show_deleted: params.flag("showDeleted")?.unwrap_or(false),
            order_by,
            time_min_us: params.time_us("timeMin")?,
            time_max_us: params.time_us("timeMax")?,
            updated_min_us: params.time_us("updatedMin")?,
            max_attendees: params.count("maxAttendees", usize::MAX)?,
            params,
        };
        match (query.time_min_us, query.time_max_us) {
            (Some(min), Some(max)) if max <= min => {
                Err(super::error::preset("timeRangeEmpty").unwrap_or_else(ApiError::not_found))
            }
            _ => Ok(query),
        }
    }

    pub(super) fn yields_sync_token(&self) -> bool {
        WITHOUT_SYNC_TOKEN.iter().all(|name| self.params.get(name).is_none())
    }

    pub(super) fn sync_fingerprint(&self) -> u64 {
        let extra = format!("{}/{}", self.max_results, self.single_events);
        self.params.fingerprint(|name| SAME_WITH_SYNC_TOKEN.contains(&name), &extra)
    }
}

impl EventQuery {
    pub(super) fn has_window(&self) -> bool {
        self.time_min_us.is_some() || self.time_max_us.is_some()
    }

    /// Whether an event passes the filters, if it stands at one of `starts`.
    pub(super) fn matches(&self, event: &Event, starts: &[EventTime]) -> bool {
        let length_us = event.end.micros() - event.start.micros();
        let in_window = |start: &EventTime| {
            let start_us = start.micros();
            self.time_min_us.is_none_or(|min| start_us + length_us > min)
                && self.time_max_us.is_none_or(|max| start_us < max)
        };
        if self.has_window() && !starts.iter().any(in_window) {
            return false;
        }
        if self.updated_min_us.is_some_and(|min| event.updated_us < min) {
            return false;
        }
        let text = |name: &str| event.fields.get(name).and_then(|value| value.as_str());
        let mut types = self.params.all("eventTypes").peekable();
        let type_fits = types.peek().is_none() || {
            let own = text("eventType").unwrap_or("default");
            types.any(|wanted| wanted == own)
        };
        let uid_fits = self.params.get("iCalUID").is_none_or(|uid| text("iCalUID") == Some(uid));
        let words_fit = self.params.get("q").is_none_or(|words| {
            let words = words.to_lowercase();
            let places = ["summary", "description", "location"];
            places.iter().filter_map(|name| text(name)).any(|t| t.to_lowercase().contains(&words))
        });
        type_fits && uid_fits && words_fit && self.properties_fit(event)
    }

    fn properties_fit(&self, event: &Event) -> bool {
        let kinds = [("privateExtendedProperty", "private"), ("sharedExtendedProperty", "shared")];
        kinds.iter().all(|(parameter, kind)| {
            self.params.all(parameter).all(|constraint| {
                let (name, value) = constraint.split_once('=').unwrap_or((constraint, ""));
                let properties = event.fields.get("extendedProperties");
                let own = properties.and_then(|all| all.get(kind)?.get(name)?.as_str());
                own == Some(value)
            })
        })
    }
}
