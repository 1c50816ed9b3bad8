//! A receiver of notifications in the test: it keeps what it takes, in order, and behaves as it is
//! told.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use tests::{Settings, Vendor, VendorRequest};
use tokio::sync::Notify;

use crate::receiver::Does;
use crate::setup::{Case, settings};

/// Nothing that a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const SECRET: &str = "hush-1502";

/// One post that was taken.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) request: VendorRequest,
    pub(crate) body: Value,
}

impl Told {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.request.header(name).unwrap_or_else(|| panic!("no header {name}"))
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.body["event"] == "synced"
    }

    /// The vendor's id of the event whose row it is.
    pub(crate) fn event(&self) -> &str {
        self.body["row"]["google_id"].as_str().unwrap_or_else(|| panic!("no row: {}", self.body))
    }
}

/// A running receiver.
pub(crate) struct Subscriber {
    vendor: Vendor,
    told: Arc<Mutex<Vec<Told>>>,
    posted: Arc<Notify>,
}

impl Subscriber {
    /// Takes everything.
    pub(crate) fn start() -> Self {
        Self::behaving(|_| Does::Take)
    }

    pub(crate) fn behaving(does: impl FnMut(&VendorRequest) -> Does + Send + 'static) -> Self {
        let (told, posted) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let (kept, notify, does) = (Arc::clone(&told), Arc::clone(&posted), Mutex::new(does));
        let vendor = Vendor::start(move |request| {
            let does = (does.lock().unwrap())(request);
            if matches!(does, Does::Take | Does::LoseAnswer) {
                let body = serde_json::from_slice(&request.body).unwrap();
                lock(&kept).push(Told { request: request.clone(), body });
            }
            notify.notify_one();
            does.answer(204)
        });
        Self { vendor, told, posted }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/notify?key=hush-2773", self.vendor.base_url())
    }

    /// Every post so far, also those that weren't taken.
    pub(crate) fn seen(&self) -> Vec<VendorRequest> {
        self.vendor.seen()
    }

    /// What it took.
    pub(crate) fn told(&self) -> Vec<Told> {
        lock(&self.told).clone()
    }

    /// Events of rows that it took, in order.
    pub(crate) fn events(&self) -> Vec<String> {
        let told = self.told();
        told.iter().filter(|one| !one.is_synced()).map(|one| one.event().to_owned()).collect()
    }

    pub(crate) fn synced(&self) -> Vec<Told> {
        self.told().into_iter().filter(Told::is_synced).collect()
    }

    /// Waits until this holds of what it took; it is asked after each post.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&[Told]) -> bool) {
        let waited = async {
            while !holds(&self.told()) {
                self.posted.notified().await;
            }
        };
        if tokio::time::timeout(PATIENCE, waited).await.is_err() {
            panic!("not within {PATIENCE:?}: {what}; it took {:?}", self.told());
        }
    }

    pub(crate) async fn took(&self, count: usize) {
        self.until(&format!("{count} posts"), |told| told.len() >= count).await;
        assert_eq!(self.told().len(), count, "{:?}", self.told());
    }
}

fn lock(told: &Mutex<Vec<Told>>) -> MutexGuard<'_, Vec<Told>> {
    told.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A host that dies at an edge; whoever comes next needn't wait for its leases for long.
pub(crate) fn dying_at(edge: &str) -> Settings {
    settings()
        .env("ROWGATE_FAILPOINT", edge)
        .env("ROWGATE_DELIVERY_TIMEOUT_MS", "1000")
        .env("ROWGATE_RUN_LEASE_TTL_MS", "2000")
}

impl Case {
    /// Lets it be told of changes of a table, or, without one, of all.
    pub(crate) async fn subscribe(
        &self,
        subscriber: &Subscriber,
        table: Option<&str>,
        arguments: &[&str],
    ) -> String {
        let url = subscriber.url();
        let mut all = vec!["notifications", "create"];
        all.extend(table);
        all.extend(["--url", &url, "--secret", SECRET]);
        all.extend(arguments);
        let created = self.json(&all).await;
        created["opaque_id"].as_str().unwrap().to_owned()
    }

    /// The same for the table of events.
    pub(crate) async fn subscribe_to_events(
        &self,
        subscriber: &Subscriber,
        arguments: &[&str],
    ) -> String {
        self.subscribe(subscriber, Some(self.tree.events()), arguments).await
    }

    /// One subscription as it is listed.
    pub(crate) async fn subscription(&self, id: &str) -> Value {
        let all = self.json(&["notifications", "list"]).await;
        let mut all = all.as_array().unwrap().clone().into_iter();
        all.find(|one| one["opaque_id"] == id).expect("the subscription is listed")
    }
}
