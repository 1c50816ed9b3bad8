//! Posts alerts to error handlers: JSON as WebhookDB's handlers know it, or an envelope where the URL is
//! a Sentry DSN. A few tries a minute apart, then it is given up.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use url::Url;

use super::destination::{DestinationRules, url};
use super::receiver::Receiver;
use crate::egress::Poster;
use crate::model::{Micros, OrganizationId};
use crate::store::alerts::{self, Claimed};
use crate::store::{Error, Store};

/// A handler has so long to answer.
const TIMEOUT: Duration = Duration::from_secs(7);

/// Posts at once.
const WORKERS: usize = 8;

/// Posts what is due. Never ends.
pub async fn keep(store: Arc<Store>, poster: Poster, rules: DestinationRules, poll: Duration) {
    let mut posting = JoinSet::new();
    // Whose post was claimed last.
    let mut told_last = OrganizationId::MIN;
    loop {
        while posting.try_join_next().is_some() {}
        if posting.len() >= WORKERS {
            posting.join_next().await;
            continue;
        }
        let now = store.clock().now();
        match next(&store, told_last, now).await {
            Ok(Some(claimed)) => {
                told_last = claimed.organization_id;
                posting.spawn(tell(Arc::clone(&store), poster.clone(), rules, claimed));
            }
            Ok(None) => store.clock().sleep(poll).await,
            Err(error) => {
                tracing::error!(%error, "no alert can be posted");
                store.clock().sleep(poll).await;
            }
        }
    }
}

/// Looks before it writes.
async fn next(
    store: &Store,
    told_last: OrganizationId,
    now: Micros,
) -> Result<Option<Claimed>, Error> {
    match alerts::next_due(store.control()).await? {
        Some(due_at) if due_at <= now => alerts::claim(store.control(), told_last, now).await,
        _ => Ok(None),
    }
}

async fn tell(store: Arc<Store>, poster: Poster, rules: DestinationRules, claimed: Claimed) {
    let handler = claimed.handler_id.as_str();
    let told = match store.alert_post(&claimed).await {
        Ok(Some((url, body))) => post(&poster, rules, &url, &body, store.clock().now()).await,
        Ok(None) => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    match &told {
        Ok(()) => {}
        Err(error) if claimed.attempts >= alerts::TRIES => {
            tracing::error!(handler, error, "an alert is given up");
        }
        Err(error) => tracing::info!(handler, error, "an alert is posted again"),
    }
    if told.is_err() && claimed.attempts < alerts::TRIES {
        return;
    }
    if let Err(error) = alerts::settle(store.control(), &claimed).await {
        tracing::warn!(handler, %error, "an alert may be posted again");
    }
}

async fn post(
    poster: &Poster,
    rules: DestinationRules,
    url: &str,
    body: &str,
    now: Micros,
) -> Result<(), String> {
    let Handler { receiver, sentry } = Handler::parse(url, rules)?;
    let (own, body) = match sentry {
        None => (HeaderMap::new(), body.to_owned()),
        Some(sentry) => (sentry.headers(), sentry.envelope(body, now)),
    };
    match receiver.post(poster, own, body, TIMEOUT).await {
        Ok(posted) if posted.is_taken() => Ok(()),
        Ok(posted) => Err(format!("answered {}", posted.status)),
        Err(error) => Err(error.to_string()),
    }
}

/// Where an error handler is.
pub struct Handler {
    receiver: Receiver,
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

/// A lease of a post outlives its timeout.
const _: () = assert!(TIMEOUT.as_secs() < 60);

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
