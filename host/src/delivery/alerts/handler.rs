//! Where an error handler is, and what it is sent: an alert as it is, or in an envelope of Sentry's.

use axum::http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use url::Url;

use crate::delivery::destination::{DestinationRules, url};
use crate::delivery::receiver::Receiver;
use crate::model::Micros;
use crate::store::alerts;

/// Where an error handler is.
pub struct Handler {
    pub(super) receiver: Receiver,
    sentry: Option<Sentry>,
}

/// A project of Sentry's.
struct Sentry {
    auth: HeaderValue,
    level: String,
}

const LEVELS: [&str; 5] = ["fatal", "error", "warning", "info", "debug"];

impl Handler {
    /// Checks an address: https, or a DSN of Sentry's.
    ///
    /// # Errors
    /// What is wrong with it, without its secrets.
    pub fn parse(text: &str, rules: DestinationRules) -> Result<Self, String> {
        let text = text.trim();
        let dsn = text.strip_prefix("sentry://").map(|rest| format!("https://{rest}"));
        let at_sentry = |url: &Url| url.host_str().is_some_and(|host| host.ends_with(".sentry.io"));
        let url = url(dsn.as_deref().unwrap_or(text))?;
        if dsn.is_none() && !at_sentry(&url) {
            return Ok(Self { receiver: Receiver::parse_open(url, rules)?, sentry: None });
        }
        let (dsn, mut envelope) = (url.clone(), url);
        let (key, project) = (dsn.username(), dsn.path().trim_matches('/'));
        if key.is_empty() || project.is_empty() || project.contains('/') {
            return Err("must be like https://KEY@HOST.sentry.io/PROJECT".into());
        }
        let level = dsn.query_pairs().find(|(name, _)| name == "level");
        let level = level.map_or("error".to_owned(), |(_, level)| level.into_owned());
        if !LEVELS.contains(&level.as_str()) {
            return Err(format!("has a level that must be one of {}", LEVELS.join(", ")));
        }
        let agent = concat!("rowgate/", env!("CARGO_PKG_VERSION"));
        let auth = format!("Sentry sentry_version=7, sentry_client={agent}, sentry_key={key}");
        let mut auth = HeaderValue::from_str(&auth).map_err(|_| "has a key that can't be sent")?;
        auth.set_sensitive(true);
        // Else it would be sent as a user too.
        let _same_host = envelope.set_username("").and_then(|()| envelope.set_password(None));
        envelope.set_path(&format!("/api/{project}/envelope/"));
        envelope.set_query(None);
        let receiver = Receiver::parse_open(envelope, rules)?;
        Ok(Self { receiver, sentry: Some(Sentry { auth, level }) })
    }

    /// An alert as it is sent there, with headers of its own.
    pub(super) fn sent(&self, alert: &str, now: Micros) -> (HeaderMap, String) {
        match &self.sentry {
            None => (HeaderMap::new(), alert.to_owned()),
            Some(sentry) => (sentry.headers(), sentry.envelope(alert, now)),
        }
    }

    /// The address as it may be shown.
    pub fn shown(&self) -> String {
        self.receiver.shown()
    }
}

impl Sentry {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/x-sentry-envelope");
        headers.insert("content-type", kind);
        headers.insert("x-sentry-auth", self.auth.clone());
        headers
    }

    /// An event with the alert in it.
    fn envelope(&self, body: &str, now: Micros) -> String {
        let alert: Value = serde_json::from_str(body).unwrap_or_default();
        // The same within a day is the same event to Sentry; the day after it is another.
        let signature = alert["signature"].as_str().unwrap_or_default();
        let day = now.div_euclid(alerts::QUIET);
        let event_id: String =
            signature.chars().take(24).chain(format!("{day:08x}").chars()).collect();
        let at = jiff::Timestamp::from_microsecond(now).unwrap_or_default().to_string();
        let event = json!({
            "event_id": event_id,
            "timestamp": at,
            "platform": "other",
            "logger": "rowgate",
            "level": self.level,
            "message": { "formatted": alert["message"] },
            "fingerprint": [alert["signature"]],
            "tags": {
                "error_type": alert["error_type"],
                "organization_key": alert["organization_key"],
                "service_integration_id": alert["service_integration_id"],
                "service_integration_name": alert["service_integration_name"],
                "service_integration_table": alert["service_integration_table"],
            },
            "extra": alert["details"],
        })
        .to_string();
        let head = json!({ "event_id": event_id, "sent_at": at });
        let item = json!({ "type": "event", "length": event.len() });
        format!("{head}\n{item}\n{event}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: DestinationRules =
        DestinationRules { allow_http: false, allow_private_addresses: false };

    #[test]
    fn a_dsn_becomes_an_envelope() {
        let of = |text| Handler::parse(text, RULES).unwrap();
        for (dsn, url, level) in [
            (
                "https://k1@o1.ingest.sentry.io/42",
                "https://o1.ingest.sentry.io/api/42/envelope/",
                "error",
            ),
            (
                "sentry://k1@errors.example/7?level=warning",
                "https://errors.example/api/7/envelope/",
                "warning",
            ),
        ] {
            let handler = of(dsn);
            assert_eq!(handler.shown(), url);
            let sentry = handler.sentry.unwrap();
            assert_eq!(sentry.level, level);
            assert!(sentry.auth.to_str().unwrap().ends_with("sentry_key=k1"));
            let body = r#"{"signature":"ab","message":"revoked","error_type":"grant_dead"}"#;
            let envelope = sentry.envelope(body, 1_000_000);
            let lines: Vec<&str> = envelope.lines().collect();
            let [head, item, event] = lines.as_slice() else { panic!("{envelope}") };
            let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            assert_eq!(json(head)["event_id"], "ab00000000");
            assert_eq!(json(item), json!({ "type": "event", "length": event.len() }));
            assert_eq!(json(event)["message"]["formatted"], "revoked");
        }
        assert!(of("https://a.example/x").sentry.is_none());
        for refused in [
            "https://o1.sentry.io/42",
            "sentry://k@a.example/",
            "http://a.example/",
            "sentry://k@a.example/1?level=loud",
            "https://10.0.0.1/",
        ] {
            assert!(Handler::parse(refused, RULES).is_err(), "{refused}");
        }
    }
}
