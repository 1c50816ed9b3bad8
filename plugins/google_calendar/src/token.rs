//! Keeps an access token at hand. The plugin asks for one and never sees it: the manifest captures
//! the tokens of the answer, with their expiry.

use rowgate_plugin::{Answer, Context, Failure, Request, Result, RetryScope, secrets as held};
use serde::Deserialize;

use crate::manifest::{config, secrets};

const TIMEOUT_MS: u32 = 30_000;

/// What the token endpoint says beside tokens.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    scope: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
    error_subtype: Option<String>,
}

/// Makes sure that the owner has an access token; refreshes it if need be. One call an owner does
/// so, others wait for it.
pub(crate) fn ensure(cx: &Context) -> Result<()> {
    if held::present_or_elected(secrets::ACCESS_TOKEN) {
        return Ok(());
    }
    if !held::present(secrets::REFRESH_TOKEN) {
        return Err(Failure::reauthorise("there is no refresh token"));
    }
    let answer = Request::post(cx.config(config::TOKEN_URL)?)
        .form("grant_type", "refresh_token")
        .form_secret("refresh_token", secrets::REFRESH_TOKEN)
        .form_secret("client_id", secrets::CLIENT_ID)
        .form_secret("client_secret", secrets::CLIENT_SECRET)
        .timeout_ms(TIMEOUT_MS)
        .send()?;
    judge(&answer, cx.now)?;
    if held::present(secrets::ACCESS_TOKEN) {
        Ok(())
    } else {
        Err(Failure::retry_in(RetryScope::Owner, "token endpoint: no access_token in it", None))
    }
}

/// What an answer of the token endpoint means. Error bodies are flat and may be HTML.
fn judge(answer: &Answer, now: i64) -> Result<()> {
    let said: Said = answer.json_lenient();
    let text = said.text(answer);
    let retry = |scope| Err(Failure::retry_in(scope, text.clone(), answer.retry_after_ms(now)));
    let error = said.error.as_deref().unwrap_or_default();
    match (answer.status, error) {
        (200..=299, "") => match said.scope {
            Some(scope) if !scope.is_empty() && !is_enough(&scope) => {
                Err(Failure::reauthorise(format!("granted scopes are too narrow: {scope}")))
            }
            _ => Ok(()),
        },
        (_, "rate_limit_exceeded") => retry(RetryScope::Integration),
        (408 | 429 | 500.., _)
        | (_, "internal_failure" | "server_error" | "temporarily_unavailable") => {
            retry(RetryScope::Owner)
        }
        (_, "invalid_grant" | "admin_policy_enforced" | "org_internal" | "access_denied") => {
            Err(Failure::Reauthorise(text))
        }
        (_, "invalid_client" | "unauthorized_client" | "deleted_client" | "disabled_client") => {
            Err(Failure::Misconfigured(text))
        }
        // Somebody between us and Google: it always names an error.
        (401 | 403, "") => retry(RetryScope::Owner),
        (401 | 404 | 405, _) => Err(Failure::Misconfigured(text)),
        (403, _) => Err(Failure::Reauthorise(text)),
        // invalid_request, unsupported_grant_type, invalid_scope: our doing.
        _ => Err(Failure::Bug(text)),
    }
}

impl Said {
    fn text(&self, answer: &Answer) -> String {
        let Some(error) = &self.error else {
            return format!("token endpoint: {}", answer.excerpt());
        };
        let more = [&self.error_description, &self.error_subtype];
        more.into_iter()
            .flatten()
            .fold(format!("token endpoint: {error}"), |text, part| format!("{text} ({part})"))
    }
}

/// Consent is granular: a user may grant less than was asked.
fn is_enough(granted: &str) -> bool {
    let has = |names: &[&str]| {
        granted.split_whitespace().any(|scope| {
            let name = scope.strip_prefix("https://www.googleapis.com/auth/").unwrap_or(scope);
            names.contains(&name)
        })
    };
    let list = ["calendar.calendarlist.readonly", "calendar.calendarlist"];
    let events = ["calendar.events.readonly", "calendar.events"];
    has(&["calendar", "calendar.readonly"]) || (has(&list) && has(&events))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(result: Result<()>) -> String {
        match result {
            Ok(()) => "ok".into(),
            Err(Failure::Reauthorise(_)) => "reauthorise".into(),
            Err(Failure::Misconfigured(_)) => "misconfigured".into(),
            Err(Failure::Bug(_)) => "bug".into(),
            Err(Failure::Retry(retry)) => {
                format!("retry {:?} {:?}", retry.scope, retry.after_ms)
            }
            Err(other) => format!("{other:?}"),
        }
    }

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = headers.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        Answer { status, headers, body: body.into() }
    }

    #[test]
    fn every_row_of_the_token_table() {
        let owner = "retry RetryScope::Owner None";
        let integration = "retry RetryScope::Integration None";
        let cases = [
            (
                200,
                r#"{"access_token":null,"scope":"x https://www.googleapis.com/auth/calendar"}"#,
                "ok",
            ),
            (200, r#"{"expires_in":3599}"#, "ok"),
            (200, r#"{"scope":""}"#, "ok"),
            (200, r#"{"scope":"openid email"}"#, "reauthorise"),
            (
                400,
                r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#,
                "reauthorise",
            ),
            (400, r#"{"error":"invalid_grant","error_description":"Bad Request"}"#, "reauthorise"),
            (400, r#"{"error":"invalid_grant","error_subtype":"invalid_rapt"}"#, "reauthorise"),
            (
                400,
                r#"{"error":"invalid_request","error_description":"Missing required parameter"}"#,
                "bug",
            ),
            (400, r#"{"error":"unsupported_grant_type"}"#, "bug"),
            (400, r#"{"error":"invalid_scope"}"#, "bug"),
            (
                401,
                r#"{"error":"invalid_client","error_description":"Unauthorized"}"#,
                "misconfigured",
            ),
            (400, r#"{"error":"invalid_client"}"#, "misconfigured"),
            (401, r#"{"error":"unauthorized_client"}"#, "misconfigured"),
            (401, r#"{"error":"deleted_client"}"#, "misconfigured"),
            (401, r#"{"error":"disabled_client"}"#, "misconfigured"),
            (401, r#"{"error":"something_new"}"#, "misconfigured"),
            (400, r#"{"error":"admin_policy_enforced"}"#, "reauthorise"),
            (403, r#"{"error":"org_internal"}"#, "reauthorise"),
            (
                403,
                r#"{"error":"access_denied","error_description":"Account restricted"}"#,
                "reauthorise",
            ),
            (403, r#"{"error":"something_new"}"#, "reauthorise"),
            (403, r#"{"error":"rate_limit_exceeded"}"#, integration),
            (429, r#"{"error":"rate_limit_exceeded"}"#, integration),
            (400, r#"{"error":"internal_failure"}"#, owner),
            (400, r#"{"error":"server_error"}"#, owner),
            (403, r#"{"error":"temporarily_unavailable"}"#, owner),
            (408, "", owner),
            (429, "", owner),
            (500, r#"{"error":"invalid_grant"}"#, owner),
            (502, "<html>Bad Gateway</html>", owner),
            (503, "", owner),
            (504, "", owner),
            (401, "<html>proxy</html>", owner),
            (403, "", owner),
            (404, "<html>Not Found</html>", "misconfigured"),
            (400, "<html>Bad Request</html>", "bug"),
        ];
        for (status, body, expected) in cases {
            assert_eq!(decision(judge(&answer(status, &[], body), 0)), expected, "{status} {body}");
        }
        let later = answer(503, &[("retry-after", "7")], "");
        assert_eq!(decision(judge(&later, 0)), "retry RetryScope::Owner Some(7000)");
    }

    #[test]
    fn texts_tell_the_subtype_and_hold_no_html() {
        let body =
            r#"{"error":"invalid_grant","error_description":"d","error_subtype":"rapt_required"}"#;
        let failure = judge(&answer(400, &[], body), 0).unwrap_err();
        let expected = "token endpoint: invalid_grant (d) (rapt_required)";
        assert_eq!(failure, Failure::reauthorise(expected));
    }

    #[test]
    fn scopes() {
        let auth = "https://www.googleapis.com/auth/";
        let cases = [
            (vec!["calendar"], true),
            (vec!["calendar.readonly", "openid"], true),
            (vec!["calendar.calendarlist.readonly", "calendar.events.readonly"], true),
            (vec!["calendar.events", "calendar.calendarlist"], true),
            (vec!["calendar.events.readonly"], false),
            (vec!["calendar.calendarlist.readonly"], false),
            (vec!["calendar.settings.readonly"], false),
            (vec![], false),
        ];
        for (names, expected) in cases {
            let scope: Vec<_> = names.iter().map(|name| format!("{auth}{name}")).collect();
            assert_eq!(is_enough(&scope.join(" ")), expected, "{names:?}");
        }
    }
}
