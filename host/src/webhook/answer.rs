//! What the endpoint answers, in WebhookDB's words.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::body::FieldErrors;
use crate::auth::Rejected;

const REJECTED_REASON: &str = "whdb-rejected-reason";
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("2");

/// How a request ended.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    Accepted,
    Unknown,
    Method,
    Bot,
    Rejected(Rejected),
    TooLarge {
        max_bytes: usize,
    },
    TooSlow,
    Invalid(FieldErrors),
    /// The sender is told to come back; the cause is for the log.
    Unavailable(String),
}

impl Answer {
    pub(super) fn into_response(self) -> Response {
        let text = self.text();
        match self {
            Self::Accepted => json_response(StatusCode::ACCEPTED, &json!({ "o": "k" })),
            // Not 404: WebhookDB's clients know this one.
            Self::Unknown => error(StatusCode::BAD_REQUEST, &text, None),
            Self::Method => with(
                error(StatusCode::METHOD_NOT_ALLOWED, &text, Some("method_not_allowed")),
                header::ALLOW,
                HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE"),
            ),
            Self::Bot => with(
                response(StatusCode::FORBIDDEN, Body::from(text)),
                header::CONTENT_TYPE,
                HeaderValue::from_static("text/plain"),
            ),
            Self::Rejected(_) => {
                let reason = HeaderValue::from_str(&text);
                let answer = json_response(StatusCode::UNAUTHORIZED, &json!({ "message": text }));
                match reason {
                    Ok(reason) => {
                        with(answer, header::HeaderName::from_static(REJECTED_REASON), reason)
                    }
                    Err(_) => answer,
                }
            }
            Self::TooLarge { .. } => {
                error(StatusCode::PAYLOAD_TOO_LARGE, &text, Some("payload_too_large"))
            }
            Self::TooSlow => error(StatusCode::REQUEST_TIMEOUT, &text, Some("request_timeout")),
            Self::Invalid(errors) => {
                let fields: Value = errors.into_iter().map(|(f, e)| (f, json!(e))).collect();
                let body = json!({ "error": { "message": text, "status": 400,
                    "code": "validation_error", "field_errors": fields } });
                json_response(StatusCode::BAD_REQUEST, &body)
            }
            Self::Unavailable(_) => with(
                error(StatusCode::SERVICE_UNAVAILABLE, &text, Some("unavailable")),
                header::RETRY_AFTER,
                RETRY_AFTER_S,
            ),
        }
    }

    /// Names nothing of the request but the integration: headers and bodies hold secrets.
    pub(super) fn log(&self, integration: &str) {
        match self {
            Self::Accepted => {}
            Self::Unavailable(cause) => {
                tracing::error!(integration, cause, "webhook not stored");
            }
            Self::Invalid(errors) => {
                let fields: Vec<&str> = errors.keys().map(String::as_str).collect();
                tracing::warn!(integration, ?fields, "webhook refused: its body is invalid");
            }
            refusal => tracing::warn!(integration, reason = refusal.text(), "webhook refused"),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Accepted => String::new(),
            Self::Unknown => "No integration with that id".into(),
            Self::Method => "Use GET, POST, PUT, PATCH or DELETE".into(),
            Self::Bot => "This is an endpoint for webhooks, not for crawlers. If you are no \
                          crawler, add ?skipbotcheck=1 to the URL.\n"
                .into(),
            Self::Rejected(reason) => reason.to_string(),
            Self::TooLarge { max_bytes } => {
                format!("The request body is larger than {max_bytes} bytes")
            }
            Self::TooSlow => "The request body did not arrive in time".into(),
            Self::Invalid(errors) => {
                let each = errors.iter().flat_map(|(field, errors)| {
                    errors.iter().map(move |error| format!("{field} {error}"))
                });
                each.collect::<Vec<_>>().join("; ")
            }
            Self::Unavailable(_) => {
                "The webhook could not be stored just now; send it again".into()
            }
        }
    }
}

/// An answer in WebhookDB's error envelope.
pub(crate) fn error(status: StatusCode, message: &str, code: Option<&str>) -> Response {
    let mut error = json!({ "message": message, "status": status.as_u16() });
    if let Some(code) = code {
        error["code"] = code.into();
    }
    json_response(status, &json!({ "error": error }))
}

/// An answer in JSON.
pub(crate) fn json_response(status: StatusCode, body: &Value) -> Response {
    let answer = response(status, Body::from(body.to_string()));
    with(answer, header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
}

fn response(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn with(mut response: Response, name: header::HeaderName, value: HeaderValue) -> Response {
    response.headers_mut().insert(name, value);
    response
}
