//! Posts alerts to error handlers: JSON as WebhookDB's handlers know it, or an envelope where the URL is
//! a Sentry DSN. A few tries a minute apart, then it is given up.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use url::Url;

use super::destination::{DestinationRules, url};
use super::receiver::Receiver;
use crate::egress::Poster;
use crate::failpoint;
use crate::metrics::Metrics;
use crate::model::{Micros, OrganizationId};
use crate::store::alerts::{self, Claimed};
use crate::store::{Error, Store};

/// A handler has so long to answer.
const TIMEOUT: Duration = Duration::from_secs(7);

/// Posts at once.
const WORKERS: usize = 8;

/// Posts what is due. Never ends.
pub async fn keep(
    store: Arc<Store>,
    poster: Poster,
    metrics: Arc<Metrics>,
    rules: DestinationRules,
    poll: Duration,
) {
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
                let (store, poster, metrics) =
                    (Arc::clone(&store), poster.clone(), Arc::clone(&metrics));
                posting.spawn(async move {
                    let told = tell(&store, &poster, rules, &claimed);
                    settle(&store, &metrics, &claimed, told).await;
                });
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

/// Waits for what is told, and says what became of it. A panic is a failure like others: else the same post
/// would be made for ever.
async fn settle(
    store: &Store,
    metrics: &Metrics,
    claimed: &Claimed,
    told: impl Future<Output = Result<(), String>>,
) {
    let told = AssertUnwindSafe(told).catch_unwind().await.unwrap_or_else(|_| {
        metrics.panicked("alert");
        Err("its post panicked".into())
    });
    let handler = claimed.handler_id.as_str();
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
    if let Err(error) = alerts::settle(store.control(), claimed).await {
        tracing::warn!(handler, %error, "an alert may be posted again");
    }
}

async fn tell(
    store: &Store,
    poster: &Poster,
    rules: DestinationRules,
    claimed: &Claimed,
) -> Result<(), String> {
    match store.alert_post(claimed).await {
        Ok(Some((url, body))) => post(poster, rules, &url, &body, store.clock().now()).await,
        Ok(None) => Ok(()),
        Err(error) => Err(error.to_string()),
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
    let posted = receiver.post(poster, own, body, TIMEOUT).await;
    failpoint::reach("alert_posted");
    match posted {
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
    use zeroize::Zeroizing;

    use super::*;
    use crate::clock::Clock;
    use crate::metrics::Load;
    use crate::store::{Dialect, fixture};

    const RULES: DestinationRules =
        DestinationRules { allow_http: false, allow_private_addresses: false };

    /// Like one that isn't taken: it is made again, and given up after the last try.
    #[tokio::test]
    async fn a_post_that_panics_is_given_up() {
        let store = fixture::open(Dialect::Sqlite, Clock::simulated(0)).await;
        let (control, metrics) = (store.control(), Metrics::default());
        fixture::root(&store, "svi_1").await;
        let url = Zeroizing::new("https://a.example/".to_owned());
        let handler = store.create_error_handler(1, &url, String::new()).await.unwrap().id;
        let post = format!(
            "insert into alerts (organization_id, error_type, signature, body, raised_at)
             values (1, 'grant_dead', 's', '{{}}', 0);
             insert into alert_posts (alert_id, handler_id, organization_id, due_at)
             select id, '{handler}', 1, 0 from alerts"
        );
        fixture::run(&store, post).await;
        for attempt in 1..=alerts::TRIES {
            let due_at = alerts::next_due(control).await.unwrap().expect("it is made again");
            let claimed = alerts::claim(control, OrganizationId::MIN, due_at).await.unwrap();
            let claimed = claimed.unwrap();
            assert_eq!(claimed.attempts, attempt);
            settle(&store, &metrics, &claimed, async { panic!("on purpose") }).await;
        }
        assert_eq!(alerts::next_due(control).await.unwrap(), None);
        let counted = metrics.text(&Load::default());
        let line = format!("rowgate_task_panics_total{{task=\"alert\"}} {}", alerts::TRIES);
        assert!(counted.contains(&line), "{counted}");
    }

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
