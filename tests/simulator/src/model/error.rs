//! Errors of the Calendar API in Google's envelope, and every documented one by name.

use serde_json::{Map, Value, json};

mod push;

/// An error answer of the Calendar API.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// `error.message`.
    pub message: String,
    /// `domain` and `reason` of the one entry of `errors[]`; None: no such list.
    pub legacy: Option<(&'static str, &'static str)>,
    /// `locationType` and `location` of that entry.
    pub location: Option<(&'static str, Box<str>)>,
    /// What the newer form adds.
    pub rpc: Option<Box<Rpc>>,
    /// The `WWW-Authenticate` header.
    pub authenticate: Option<&'static str>,
}

/// What the newer form of an error adds.
#[derive(Clone, Debug, PartialEq)]
pub struct Rpc {
    /// `error.status`.
    pub status: &'static str,
    /// `details[0]`: reason and metadata of an `ErrorInfo`.
    pub info: Option<(&'static str, Value)>,
}

const REALM: &str = r#"Bearer realm="https://accounts.google.com/", error="invalid_token""#;
const SCOPE: &str = concat!(
    r#"Bearer realm="https://accounts.google.com/", error="insufficient_scope", "#,
    r#"scope="https://www.googleapis.com/auth/calendar""#
);

impl ApiError {
    /// An error with one entry in `errors[]`.
    pub fn new(status: u16, domain: &'static str, reason: &'static str, message: &str) -> Self {
        Self {
            status,
            message: message.to_owned(),
            legacy: Some((domain, reason)),
            location: None,
            rpc: None,
            authenticate: None,
        }
    }

    /// 404, for what doesn't exist or isn't visible.
    pub fn not_found() -> Self {
        Self::new(404, "global", "notFound", "Not Found")
    }

    /// 400 for a bad request parameter.
    pub fn invalid(parameter: &str, message: &str) -> Self {
        Self::new(400, "global", "invalid", message).at("parameter", parameter)
    }

    /// 400 for a bad request body.
    pub fn bad_body(message: &str) -> Self {
        Self::new(400, "global", "invalid", message)
    }

    /// 410: the sync token can't be used any more.
    pub fn full_sync_required() -> Self {
        let message = "Sync token is no longer valid, a full sync is required.";
        Self::new(410, "calendar", "fullSyncRequired", message).at("parameter", "syncToken")
    }

    /// 401 for a missing, unknown or expired access token.
    pub fn invalid_credentials() -> Self {
        let message = "Request had invalid authentication credentials. Expected OAuth 2 access \
            token, login cookie or other valid authentication credential. See \
            https://developers.google.com/identity/sign-in/web/devconsole-project.";
        let mut error = Self::new(401, "global", "authError", message);
        error.authenticate = Some(REALM);
        error.at("header", "Authorization").rpc("UNAUTHENTICATED", None)
    }

    /// 403 when a request limit per minute is used up.
    pub fn quota_per_minute(per_user: bool) -> Self {
        let (name, limit, value, unit) = match per_user {
            true => ("per minute per user", "defaultPerMinutePerUser", "600", "/{user}"),
            false => ("per minute", "defaultPerMinutePerProject", "10000", ""),
        };
        let message = format!(
            "Quota exceeded for quota metric 'Queries' and limit 'Queries {name}' of service \
             'calendar-json.googleapis.com' for consumer 'project_number:490000000000'."
        );
        let metadata = json!({
            "service": "calendar-json.googleapis.com",
            "consumer": "projects/490000000000",
            "quota_metric": "calendar-json.googleapis.com/default",
            "quota_limit": limit,
            "quota_limit_value": value,
            "quota_location": "global",
            "quota_unit": format!("1/min/{{project}}{unit}"),
        });
        Self::new(403, "usageLimits", "rateLimitExceeded", &message)
            .rpc("PERMISSION_DENIED", Some(("RATE_LIMIT_EXCEEDED", metadata)))
    }

    fn at(mut self, kind: &'static str, name: &str) -> Self {
        self.location = Some((kind, name.into()));
        self
    }

    fn rpc(mut self, status: &'static str, info: Option<(&'static str, Value)>) -> Self {
        self.rpc = Some(Box::new(Rpc { status, info }));
        self
    }

    /// The body on the wire.
    pub fn body(&self) -> Value {
        let mut error = Map::new();
        error.insert("code".into(), self.status.into());
        error.insert("message".into(), self.message.as_str().into());
        if let Some((domain, reason)) = self.legacy {
            let mut entry = json!({ "message": self.message, "domain": domain, "reason": reason });
            if let Some((kind, name)) = &self.location {
                entry["locationType"] = (*kind).into();
                entry["location"] = (**name).into();
            }
            error.insert("errors".into(), json!([entry]));
        }
        if let Some(rpc) = &self.rpc {
            error.insert("status".into(), rpc.status.into());
        }
        if let Some((reason, metadata)) = self.rpc.as_ref().and_then(|rpc| rpc.info.as_ref()) {
            let info = json!({
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": reason,
                "domain": "googleapis.com",
                "metadata": metadata,
            });
            error.insert("details".into(), json!([info]));
        }
        json!({ "error": error })
    }
}

/// Names of [`preset`], for error messages and documentation.
pub const PRESETS: &[&str] = &[
    "badRequest",
    "invalid",
    "invalidParameter",
    "required",
    "parseError",
    "timeRangeEmpty",
    "authError",
    "loginRequired",
    "rateLimitExceeded",
    "quota-per-user",
    "quota-per-project",
    "userRateLimitExceeded",
    "quotaExceeded",
    "dailyLimitExceeded",
    "accessNotConfigured",
    "billingDisabled",
    "insufficientPermissions",
    "forbidden",
    "requiredAccessLevel",
    "forbiddenForNonOrganizer",
    "notACalendarUser",
    "notFound",
    "duplicate",
    "conflict",
    "fullSyncRequired",
    "gone-without-reason",
    "updatedMinTooLongAgo",
    "deleted",
    "conditionNotMet",
    "too-many-requests",
    "resource-exhausted",
    "backendError",
    "internalError",
    "unavailable",
    "gateway-timeout",
    "channelIdNotUnique",
    "pushNotSupportedForRequestedResource",
    "push.webhookUrlNotHttps",
    "push.webhookUrlUnauthorized",
    "push.channelTypeNotSupported",
    "channelUnknown",
];

/// A documented error by the name that a fault uses. None: no such name.
pub fn preset(name: &str) -> Option<ApiError> {
    let service = bad_request(name).or_else(|| limit(name)).or_else(|| denied(name));
    service.or_else(|| state(name)).or_else(|| push::preset(name))
}

fn bad_request(name: &str) -> Option<ApiError> {
    let global = |reason, message: &str| ApiError::new(400, "global", reason, message);
    Some(match name {
        "badRequest" => global("badRequest", "Bad Request"),
        "invalid" => ApiError::invalid("syncToken", "Invalid sync token value."),
        "invalidParameter" => {
            global("invalidParameter", "Invalid value").at("parameter", "maxResults")
        }
        "required" => global("required", "Required").at("parameter", "calendarId"),
        "parseError" => global("parseError", "Parse Error"),
        "timeRangeEmpty" => {
            let message = "The specified time range is empty.";
            ApiError::new(400, "calendar", "timeRangeEmpty", message).at("parameter", "timeMax")
        }
        _ => return None,
    })
}

fn limit(name: &str) -> Option<ApiError> {
    let usage = |status, reason, message| ApiError::new(status, "usageLimits", reason, message);
    Some(match name {
        "rateLimitExceeded" => usage(403, "rateLimitExceeded", "Rate Limit Exceeded"),
        "quota-per-user" => ApiError::quota_per_minute(true),
        "quota-per-project" => ApiError::quota_per_minute(false),
        "userRateLimitExceeded" => usage(403, "userRateLimitExceeded", "User Rate Limit Exceeded"),
        "quotaExceeded" => usage(403, "quotaExceeded", "Calendar usage limits exceeded."),
        "dailyLimitExceeded" => usage(403, "dailyLimitExceeded", "Daily Limit Exceeded"),
        "too-many-requests" => usage(429, "rateLimitExceeded", "Rate Limit Exceeded"),
        "resource-exhausted" => {
            let mut error = usage(429, "rateLimitExceeded", "Resource has been exhausted");
            error.legacy = None;
            error.rpc("RESOURCE_EXHAUSTED", None)
        }
        _ => return None,
    })
}

fn denied(name: &str) -> Option<ApiError> {
    let global = |reason, message: &str| ApiError::new(403, "global", reason, message);
    let calendar = |reason, message: &str| ApiError::new(403, "calendar", reason, message);
    let project = |reason, message: &str| ApiError::new(403, "usageLimits", reason, message);
    let consumer = json!({
        "service": "calendar-json.googleapis.com", "consumer": "projects/490000000000"
    });
    Some(match name {
        "authError" => ApiError::invalid_credentials(),
        "loginRequired" => ApiError::new(401, "global", "required", "Login Required.")
            .at("header", "Authorization")
            .rpc("UNAUTHENTICATED", Some(("CREDENTIALS_MISSING", consumer))),
        "accessNotConfigured" => {
            let message = "Google Calendar API has not been used in project 490000000000 before \
                or it is disabled.";
            project("accessNotConfigured", message)
                .rpc("PERMISSION_DENIED", Some(("SERVICE_DISABLED", consumer)))
        }
        "billingDisabled" => {
            let message = "This API method requires billing to be enabled.";
            project("accessNotConfigured", message)
                .rpc("PERMISSION_DENIED", Some(("BILLING_DISABLED", consumer)))
        }
        "insufficientPermissions" => {
            let message = "Request had insufficient authentication scopes.";
            let mut error = global("insufficientPermissions", message);
            error.authenticate = Some(SCOPE);
            let info = ("ACCESS_TOKEN_SCOPE_INSUFFICIENT", consumer);
            error.rpc("PERMISSION_DENIED", Some(info))
        }
        "forbidden" => global("forbidden", "Forbidden"),
        "requiredAccessLevel" => {
            calendar("requiredAccessLevel", "You need to have writer access to this calendar.")
        }
        "forbiddenForNonOrganizer" => calendar(
            "forbiddenForNonOrganizer",
            "Shared properties can only be changed by the organizer of the event.",
        ),
        "notACalendarUser" => {
            calendar("notACalendarUser", "The user must be signed up for Google Calendar.")
        }
        _ => return None,
    })
}

fn state(name: &str) -> Option<ApiError> {
    let global = |status, reason, message| ApiError::new(status, "global", reason, message);
    Some(match name {
        "notFound" => ApiError::not_found(),
        "duplicate" => global(409, "duplicate", "The requested identifier already exists."),
        "conflict" => global(409, "conflict", "Conflict"),
        "fullSyncRequired" => ApiError::full_sync_required(),
        "gone-without-reason" => {
            let mut error = global(410, "gone", "Gone");
            error.legacy = None;
            error
        }
        "updatedMinTooLongAgo" => {
            let message = "The requested minimum modification time lies too far in the past.";
            ApiError::new(410, "calendar", "updatedMinTooLongAgo", message)
                .at("parameter", "updatedMin")
        }
        "deleted" => global(410, "deleted", "Resource has been deleted"),
        "conditionNotMet" => {
            global(412, "conditionNotMet", "Precondition Failed").at("header", "If-Match")
        }
        "backendError" => global(500, "backendError", "Backend Error"),
        "internalError" => global(500, "internalError", "Internal Error").rpc("INTERNAL", None),
        "unavailable" => global(503, "backendError", "The service is currently unavailable.")
            .rpc("UNAVAILABLE", None),
        "gateway-timeout" => {
            global(504, "backendError", "Deadline exceeded").rpc("DEADLINE_EXCEEDED", None)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_preset_exists() {
        for name in PRESETS {
            let error = preset(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(error.body()["error"]["code"], error.status);
        }
    }

    #[test]
    fn the_quota_error_says_whose_quota_it_is() {
        let body = ApiError::quota_per_minute(true).body();
        let metadata = &body["error"]["details"][0]["metadata"];
        assert_eq!(metadata["quota_limit"], "defaultPerMinutePerUser");
        assert_eq!(metadata["quota_limit_value"], "600");
        assert_eq!(body["error"]["errors"][0]["reason"], "rateLimitExceeded");
    }
}
