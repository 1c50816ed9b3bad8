//! Errors in WebhookDB's envelope. 404 and 5xx are avoided: its client reports them to its makers.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::answer::Step;
use crate::app::integrations::Refusal;
use crate::store::Error;
use crate::webhook;

/// After which a database that was away may be back.
const UNAVAILABLE_S: u32 = 2;
const PROMPT: &str = "whdb-prompt";

/// Why a call is refused, or failed.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    message: String,
    code: Option<&'static str>,
    /// Further members of the envelope.
    members: Map<String, Value>,
    prompt: Option<Box<str>>,
    retry_after_s: Option<u32>,
    /// For the log.
    pub(super) cause: Option<String>,
}

impl Failure {
    fn new(status: StatusCode, code: Option<&'static str>, message: impl Into<String>) -> Self {
        let (members, message) = (Map::new(), message.into());
        Self { status, message, code, members, prompt: None, retry_after_s: None, cause: None }
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, None, "Unauthorized")
    }

    pub(super) fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, Some(code), message)
    }

    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, Some("conflict"), message)
    }

    pub(super) fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some(code), message)
    }

    pub(super) fn payment(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYMENT_REQUIRED, Some(code), message)
    }

    pub(super) fn too_many(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, Some("too_many_requests"), message)
    }

    pub(super) fn body(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, Some("invalid_body"), message)
    }

    /// A value of the request doesn't fit. A client that asked for it asks again.
    pub(super) fn field(name: &str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        let message = format!("{name} {reason}");
        let mut failure =
            Self::new(StatusCode::BAD_REQUEST, Some("validation_error"), message.clone());
        failure.members.insert("errors".into(), json!([message]));
        failure.members.insert("field_errors".into(), json!({ name: [reason] }));
        failure
    }

    /// The client is to ask for a value, and to post again with it.
    pub(super) fn prompt(param: &str, step: &Step) -> Self {
        let mut failure = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            Some("prompt_required_params"),
            "Prompt for required params",
        );
        failure.members.insert("state_machine_step".into(), step.json());
        failure.prompt = Some(param.into());
        failure
    }

    /// What is told of a refusal to whoever answered a prompt: WebhookDB's client shows what is wrong with the
    /// `value` that was typed, and asks again; of what else is in the way it says nothing there, so that
    /// ends the conversation as a step does.
    pub(super) fn behind_prompt(self, value: &str) -> Result<Step, Self> {
        let asks_again = self.prompt.is_some()
            || self.members.get("field_errors").is_some_and(|errors| errors.get(value).is_some());
        let stands_in_the_way = matches!(
            self.status,
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::CONFLICT
        );
        match self.code {
            Some(code) if stands_in_the_way && !asks_again => {
                Ok(Step::complete(self.message).error(code))
            }
            _ => Err(self),
        }
    }

    pub(super) fn into_response(self) -> Response {
        let mut error = self.members;
        error.insert("message".into(), self.message.into());
        error.insert("status".into(), self.status.as_u16().into());
        error.extend(self.code.map(|code| ("code".to_owned(), Value::from(code))));
        let mut response = webhook::json_response(self.status, &json!({ "error": error }));
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(param) = self.prompt.and_then(|param| HeaderValue::from_str(&param).ok()) {
            response.headers_mut().insert(PROMPT, param);
        }
        response
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let told = |status, code, message: &str, cause: String| Self {
            cause: Some(cause),
            ..Self::new(status, Some(code), message)
        };
        match error {
            Error::Refused(reason) => Self::conflict(reason),
            Error::Busy { reason, retry_after_s } => {
                Self { retry_after_s: Some(retry_after_s), ..Self::too_many(reason) }
            }
            Error::Unavailable(cause) => Self {
                retry_after_s: Some(UNAVAILABLE_S),
                ..told(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "unavailable",
                    "The database is away just now; try again",
                    cause,
                )
            },
            other => told(
                StatusCode::INTERNAL_SERVER_ERROR,
                "api_error",
                "Something went wrong; the host's log says what",
                other.to_string(),
            ),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::UnknownService { .. } => Self::invalid("invalid_service", text),
            Refusal::UnknownSetting { .. } => Self::invalid("invalid_input", text),
            Refusal::Invalid { name, reason } => Self::field(&name, reason),
            Refusal::Operator { .. } => Self::forbidden("operator_only", text),
            Refusal::Unknown(_) => Self::forbidden("no_such_integration", text),
            Refusal::NoParent { .. } | Refusal::Conflict(_) => Self::conflict(text),
            Refusal::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code with which a conversation ends. None: the client is answered with the error.
    #[test]
    fn a_refusal_ends_a_conversation_unless_another_value_helps() {
        let prompt = Failure::prompt("value", &Step::ask("Which:", "/v1/here", "value"));
        let cases: [(Failure, Option<&str>); 8] = [
            (Failure::field("value", "must not be empty"), None),
            (Failure::field("other", "must not be empty"), Some("validation_error")),
            (Failure::conflict("there is one"), Some("conflict")),
            (
                Failure::forbidden("no_such_integration", "there is none"),
                Some("no_such_integration"),
            ),
            (Failure::too_many("later"), None),
            (prompt, None),
            (Error::Unavailable("away".into()).into(), None),
            (Error::Inconsistent("broken".into()).into(), None),
        ];
        for (failure, ends) in cases {
            let said = failure.message.clone();
            let step = failure.behind_prompt("value").ok();
            let code = step.as_ref().map(|step| step.error_code.as_str());
            assert_eq!(code, ends, "{said}");
            if let Some(step) = step {
                assert_eq!((step.complete, step.output), (true, said));
            }
        }
    }
}
