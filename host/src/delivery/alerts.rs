//! Posts alerts to error handlers: JSON as WebhookDB's handlers know it, or an envelope where the URL is
//! a Sentry DSN. A few tries a minute apart, then it is given up.

mod handler;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;

use super::destination::DestinationRules;
use crate::egress::Poster;
use crate::failpoint;
use crate::metrics::Metrics;
use crate::model::{Micros, OrganizationId};
use crate::store::alerts::{self, Claimed};
use crate::store::{Error, Store};
pub use handler::Handler;

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
    let handler = Handler::parse(url, rules)?;
    let (own, body) = handler.sent(body, now);
    let posted = handler.receiver.post(poster, own, body, TIMEOUT).await;
    failpoint::reach("alert_posted");
    match posted {
        Ok(posted) if posted.is_taken() => Ok(()),
        Ok(posted) => Err(format!("answered {}", posted.status)),
        Err(error) => Err(error.to_string()),
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
}
