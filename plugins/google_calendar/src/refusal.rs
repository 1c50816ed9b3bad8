//! Why the Calendar API refused, and what to do about it.

use rowgate_plugin::{Answer, Failure, RetryScope};
use serde_json::Value;

const HOUR_MS: u64 = 3_600_000;

/// An answer that isn't success. Google's older form has `errors[].reason`, the newer one `details`
/// and `status` besides; any of them may be absent, and proxies answer HTML or nothing.
#[derive(Debug)]
pub(crate) struct Refusal<'a> {
    answer: &'a Answer,
    /// `errors[].reason`, `details[].reason`, `status`, in this order.
    reasons: Vec<String>,
    per_user: bool,
    message: String,
}

impl<'a> Refusal<'a> {
    pub(crate) fn of(answer: &'a Answer) -> Self {
        let body: Value = answer.json_lenient();
        let error = &body["error"];
        let reasons_in = |list: &Value| -> Vec<String> {
            let items = list.as_array().into_iter().flatten();
            items.filter_map(|item| item["reason"].as_str()).map(str::to_owned).collect()
        };
        let mut reasons = reasons_in(&error["errors"]);
        reasons.extend(reasons_in(&error["details"]));
        reasons.extend(error["status"].as_str().map(str::to_owned));
        let message = error["message"].as_str().unwrap_or_default().to_owned();
        let details = error["details"].as_array().into_iter().flatten();
        let mut limits = details.filter_map(|detail| detail["metadata"]["quota_limit"].as_str());
        let per_user =
            limits.any(|limit| limit.contains("PerUser")) || message.contains("per user");
        Self { answer, reasons, per_user, message }
    }

    /// Is one of these the reason?
    pub(crate) fn is(&self, reasons: &[&str]) -> bool {
        self.reasons.iter().any(|reason| reasons.contains(&reason.as_str()))
    }

    /// Does it concern the address of a push channel?
    pub(crate) fn is_push(&self) -> bool {
        self.reasons.iter().any(|reason| reason.starts_with("push."))
    }

    /// For the operator.
    pub(crate) fn text(&self) -> String {
        match self.reasons.first() {
            Some(reason) => {
                format!("Google answered {} {reason}: {}", self.answer.status, self.message)
            }
            None => format!("Google: {}", self.answer.excerpt()),
        }
    }

    /// May this calendar not be read, or is it gone, while the owner's grant is fine?
    pub(crate) fn is_unreadable(&self) -> bool {
        match self.answer.status {
            404 => true,
            403 => {
                self.is(&["forbidden", "requiredAccessLevel"]) && !self.is_more_than_this_calendar()
            }
            _ => false,
        }
    }

    /// What the scheduler shall do.
    pub(crate) fn failure(&self, now: i64) -> Failure {
        let text = self.text();
        let retry = |scope, after_ms: Option<u64>| {
            let after_ms = self.answer.retry_after_ms(now).or(after_ms);
            Failure::retry_in(scope, text.clone(), after_ms)
        };
        match self.answer.status {
            403 if self.is(SERVICE_OFF) => Failure::Misconfigured(text),
            403 if self.is_scope() || self.is(NO_CALENDAR) => Failure::Reauthorise(text),
            403 if self.is(&["userRateLimitExceeded"]) => retry(RetryScope::Owner, None),
            // Google's day ends at midnight Pacific: asked again hourly.
            403 | 429 if self.is(&["dailyLimitExceeded"]) => {
                retry(RetryScope::Integration, Some(HOUR_MS))
            }
            403 | 429 if self.is(&["quotaExceeded"]) => retry(RetryScope::Owner, Some(4 * HOUR_MS)),
            403 if self.is(RATE) => retry(self.rate_scope(), None),
            429 => retry(self.rate_scope(), None),
            403 | 408 | 412 | 500.. => retry(RetryScope::ThisStream, None),
            _ => Failure::Bug(text),
        }
    }

    /// The same where a page was asked for: a gateway that gave up waiting for it is a timeout, too.
    pub(crate) fn failure_of_page(&self, now: i64) -> Failure {
        match self.answer.status {
            504 if self.answer.retry_after_ms(now).is_none() => Failure::TooSlow(self.text()),
            _ => self.failure(now),
        }
    }

    fn rate_scope(&self) -> RetryScope {
        let owner = self.per_user || self.is(&["userRateLimitExceeded"]);
        if owner { RetryScope::Owner } else { RetryScope::Integration }
    }

    fn is_scope(&self) -> bool {
        let challenge = self.answer.header("www-authenticate").unwrap_or_default();
        self.is(&["insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"])
            || challenge.contains("insufficient_scope")
    }

    fn is_more_than_this_calendar(&self) -> bool {
        self.is(SERVICE_OFF) || self.is_scope() || self.is(NO_CALENDAR) || self.is(RATE)
    }
}

/// The project may not use the API: the operator's business.
const SERVICE_OFF: &[&str] = &["accessNotConfigured", "SERVICE_DISABLED", "BILLING_DISABLED"];
const NO_CALENDAR: &[&str] = &["notACalendarUser"];
const RATE: &[&str] = &["rateLimitExceeded", "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(status: u16, body: impl ToString) -> Answer {
        Answer { status, headers: Vec::new(), body: body.to_string().into_bytes() }
    }

    fn legacy(status: u16, reason: &str) -> Answer {
        let errors = json!([{"domain": "global", "reason": reason, "message": "m"}]);
        answer(status, json!({"error": {"errors": errors, "code": status, "message": "m"}}))
    }

    fn detailed(status: u16, reason: &str, quota_limit: &str) -> Answer {
        let details = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason, "metadata": {"quota_limit": quota_limit}}]);
        answer(
            status,
            json!({"error": {"code": status, "message": "m", "status": "S",
            "details": details}}),
        )
    }

    fn decision(answer: &Answer) -> String {
        let scope = |scope| match scope {
            RetryScope::ThisStream => "ThisStream",
            RetryScope::Owner => "Owner",
            RetryScope::Integration => "Integration",
        };
        match Refusal::of(answer).failure(0) {
            Failure::Retry(retry) => match retry.after_ms {
                Some(ms) => format!("{} {}s", scope(retry.scope), ms / 1_000),
                None => scope(retry.scope).into(),
            },
            Failure::Reauthorise(_) => "Reauthorise".into(),
            Failure::Misconfigured(_) => "Misconfigured".into(),
            Failure::Bug(_) => "Bug".into(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn every_row_of_the_error_table() {
        let per_user = "defaultPerMinutePerUser";
        let per_project = "defaultPerMinutePerProject";
        let cases = [
            (legacy(400, "timeRangeEmpty"), "Bug"),
            (legacy(400, "required"), "Bug"),
            (legacy(401, "required"), "Bug"),
            (legacy(403, "rateLimitExceeded"), "Integration"),
            (detailed(403, "RATE_LIMIT_EXCEEDED", per_user), "Owner"),
            (detailed(403, "RATE_LIMIT_EXCEEDED", per_project), "Integration"),
            (detailed(429, "RATE_LIMIT_EXCEEDED", per_user), "Owner"),
            (answer(429, json!({"error": {"status": "RESOURCE_EXHAUSTED"}})), "Integration"),
            (
                answer(
                    403,
                    json!({"error": {"status": "RESOURCE_EXHAUSTED",
                "message": "Quota exceeded ... 'Queries per minute per user' of service"}}),
                ),
                "Owner",
            ),
            (answer(429, ""), "Integration"),
            (legacy(429, "userRateLimitExceeded"), "Owner"),
            (legacy(403, "userRateLimitExceeded"), "Owner"),
            (legacy(403, "quotaExceeded"), "Owner 14400s"),
            (legacy(403, "dailyLimitExceeded"), "Integration 3600s"),
            (legacy(403, "accessNotConfigured"), "Misconfigured"),
            (detailed(403, "SERVICE_DISABLED", ""), "Misconfigured"),
            (detailed(403, "BILLING_DISABLED", ""), "Misconfigured"),
            (legacy(403, "insufficientPermissions"), "Reauthorise"),
            (detailed(403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT", ""), "Reauthorise"),
            (legacy(403, "notACalendarUser"), "Reauthorise"),
            (legacy(403, "forbidden"), "ThisStream"),
            (answer(403, ""), "ThisStream"),
            (answer(403, "<html>Forbidden</html>"), "ThisStream"),
            (legacy(409, "conflict"), "Bug"),
            (legacy(412, "conditionNotMet"), "ThisStream"),
            (answer(408, ""), "ThisStream"),
            (legacy(500, "backendError"), "ThisStream"),
            (answer(502, "<html>"), "ThisStream"),
            (answer(503, "{\"error\":"), "ThisStream"),
            (answer(504, ""), "ThisStream"),
            (answer(304, ""), "Bug"),
        ];
        for (answer, expected) in cases {
            assert_eq!(decision(&answer), expected, "{}", answer.excerpt());
        }
    }

    #[test]
    fn a_gateway_s_timeout_means_a_smaller_page_where_one_was_asked_for() {
        for (status, too_slow) in [(500, false), (502, false), (503, false), (504, true)] {
            let answer = answer(status, "<html>");
            let failure = Refusal::of(&answer).failure_of_page(0);
            assert_eq!(matches!(failure, Failure::TooSlow(_)), too_slow, "{status}: {failure:?}");
            assert!(matches!(Refusal::of(&answer).failure(0), Failure::Retry(_)), "{status}");
        }
        let mut later = answer(504, "");
        later.headers.push(("retry-after".into(), "30".into()));
        let failure = Refusal::of(&later).failure_of_page(0);
        assert!(matches!(&failure, Failure::Retry(retry) if retry.after_ms == Some(30_000)));
    }

    #[test]
    fn hints_in_headers_count() {
        let mut later = legacy(403, "userRateLimitExceeded");
        later.headers.push(("retry-after".into(), "30".into()));
        assert_eq!(decision(&later), "Owner 30s");
        let mut scope = answer(403, "");
        let challenge = r#"Bearer realm="x", error="insufficient_scope""#;
        scope.headers.push(("www-authenticate".into(), challenge.into()));
        assert_eq!(decision(&scope), "Reauthorise");
    }

    #[test]
    fn only_a_plain_refusal_concerns_the_calendar_alone() {
        let mixed = answer(
            403,
            json!({"error": {"errors": [{"reason": "forbidden"}],
            "details": [{"reason": "SERVICE_DISABLED"}]}}),
        );
        let cases = [
            (legacy(404, "notFound"), true),
            (answer(404, "<html>"), true),
            (legacy(403, "forbidden"), true),
            (legacy(403, "requiredAccessLevel"), true),
            (legacy(403, "notACalendarUser"), false),
            (legacy(403, "rateLimitExceeded"), false),
            (mixed, false),
            (answer(403, ""), false),
            (legacy(410, "deleted"), false),
        ];
        for (answer, expected) in cases {
            assert_eq!(Refusal::of(&answer).is_unreadable(), expected, "{}", answer.excerpt());
        }
    }
}
