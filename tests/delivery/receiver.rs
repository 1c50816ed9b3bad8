//! A receiver in the test: it keeps a copy as `examples/receiver` does, behaves as it is told, and
//! notes whatever the order of deliveries forbids.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use tests::{Vendor, VendorAnswer, VendorRequest};
use tokio::sync::Notify;

/// Nothing that a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const PASSWORD: &str = "hush-0451";

/// What a receiver does with a delivery.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Does {
    Take,
    /// It takes it, and its answer is lost.
    LoseAnswer,
    /// It goes away before it has taken anything.
    HangUp,
    Answer(u16),
    AnswerWith(u16, &'static str, String),
}

/// Answers 503 while it is set that the receiver is gone, as it is at first.
pub(crate) fn gone_at_first<R: 'static>()
-> (Arc<Mutex<bool>>, impl FnMut(&R) -> Does + Send + 'static) {
    let gone = Arc::new(Mutex::new(true));
    let is_gone = Arc::clone(&gone);
    let does = move |_: &R| match *is_gone.lock().unwrap() {
        true => Does::Answer(503),
        false => Does::Take,
    };
    (gone, does)
}

impl Does {
    /// `taken`: the status that says so.
    pub(crate) fn answer(self, taken: u16) -> VendorAnswer {
        match self {
            Self::Take => VendorAnswer::reply(taken, ""),
            Self::LoseAnswer | Self::HangUp => VendorAnswer::HangUp,
            Self::Answer(status) => VendorAnswer::reply(status, ""),
            Self::AnswerWith(status, name, value) => VendorAnswer::Reply {
                status,
                headers: vec![(name.to_owned(), value)],
                body: Vec::new(),
            },
        }
    }
}

/// What it has, and what was wrong.
#[derive(Default)]
pub(crate) struct Copy {
    /// By pk.
    pub(crate) rows: BTreeMap<i64, Value>,
    /// By pk, the copy in which a row was last seen.
    seen_in: BTreeMap<i64, Value>,
    /// Deliveries that were taken.
    pub(crate) taken: Vec<Delivery>,
    pub(crate) deleted: usize,
    pub(crate) violations: Vec<String>,
    fence: i64,
    place: Option<(String, i64)>,
}

/// One post.
#[derive(Clone)]
pub(crate) struct Delivery {
    pub(crate) request: VendorRequest,
    pub(crate) body: Value,
}

impl Delivery {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.request.header(name).unwrap_or_else(|| panic!("no header {name}"))
    }

    pub(crate) fn rows(&self) -> &[Value] {
        self.body["rows"].as_array().unwrap()
    }
}

/// A running receiver.
pub(crate) struct Receiver {
    vendor: Vendor,
    copy: Arc<Mutex<Copy>>,
    posted: Arc<Notify>,
}

impl Receiver {
    /// Takes everything.
    pub(crate) fn start() -> Self {
        Self::behaving(|_| Does::Take)
    }

    pub(crate) fn behaving(does: impl FnMut(&Delivery) -> Does + Send + 'static) -> Self {
        let copy = Arc::new(Mutex::new(Copy::default()));
        let (posted, does) = (Arc::new(Notify::new()), Mutex::new(does));
        let (kept, notify, in_flight) =
            (Arc::clone(&copy), Arc::clone(&posted), AtomicUsize::new(0));
        let vendor = Vendor::start(move |request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            if body["integration_id"] == "svi_test" {
                return VendorAnswer::reply(200, "");
            }
            if request.header("rowgate-fence").is_none() {
                // For a receiver of another test, which had this port.
                return VendorAnswer::reply(404, "");
            }
            if in_flight.fetch_add(1, Ordering::AcqRel) > 0 {
                lock(&kept).violations.push("two deliveries at once".into());
            }
            let delivery = Delivery { request: request.clone(), body };
            let does = (does.lock().unwrap())(&delivery);
            if matches!(does, Does::Take | Does::LoseAnswer) {
                lock(&kept).take(delivery);
            }
            in_flight.fetch_sub(1, Ordering::AcqRel);
            notify.notify_one();
            does.answer(200)
        });
        Self { vendor, copy, posted }
    }

    /// Where it is, with user and password.
    pub(crate) fn url(&self) -> String {
        let address = self.vendor.base_url().strip_prefix("http://").unwrap();
        format!("http://ana:{PASSWORD}@{address}/sync")
    }

    pub(crate) fn base_url(&self) -> &str {
        self.vendor.base_url()
    }

    /// Every post so far, tests of the address too.
    pub(crate) fn seen(&self) -> Vec<VendorRequest> {
        self.vendor.seen()
    }

    pub(crate) fn copy(&self) -> MutexGuard<'_, Copy> {
        lock(&self.copy)
    }

    /// Waits until this holds of the copy; it is asked after each post.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Copy) -> bool) {
        let waited = async {
            while !holds(&self.copy()) {
                self.posted.notified().await;
            }
        };
        if tokio::time::timeout(PATIENCE, waited).await.is_err() {
            let copy = self.copy();
            panic!(
                "not within {PATIENCE:?}: {what}; {} rows, {:?}",
                copy.rows.len(),
                copy.violations
            );
        }
    }

    /// Waits until it has so many rows that aren't cancelled.
    pub(crate) async fn has_rows(&self, count: usize) {
        self.until(&format!("{count} rows"), |copy| copy.rows.len() == count).await;
    }
}

fn lock(copy: &Mutex<Copy>) -> MutexGuard<'_, Copy> {
    copy.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Copy {
    fn take(&mut self, delivery: Delivery) {
        let body = &delivery.body;
        let fence: i64 = delivery.header("rowgate-fence").parse().unwrap();
        let number: i64 = delivery.header("rowgate-feed-number").parse().unwrap();
        let epoch = delivery.header("rowgate-feed-epoch").to_owned();
        if fence < self.fence {
            self.violations.push(format!("fence {fence} after {}", self.fence));
        }
        // Another holder goes on from where the last answer was heard.
        if let Some((of, last)) = &self.place
            && (fence, &epoch) == (self.fence, of)
            && number < *last
        {
            self.violations.push(format!("number {number} after {last}"));
        }
        (self.fence, self.place) = (fence, Some((epoch, number)));
        for gone in body["deleted"].as_array().into_iter().flatten() {
            let pk = gone["pk"].as_i64().unwrap();
            self.deleted += usize::from(self.rows.remove(&pk).is_some());
        }
        for row in delivery.rows() {
            let pk = row["pk"].as_i64().unwrap();
            let updated = |row: &Value| row["row_updated_at"].as_str().map(str::to_owned);
            if let Some(had) = self.rows.insert(pk, row.clone())
                && updated(&had) > updated(row)
            {
                self.violations.push(format!("row {pk} went back"));
            }
            self.seen_in.insert(pk, body["copy"]["id"].clone());
        }
        if body["copy"]["last"] == true {
            self.rows.retain(|pk, _| self.seen_in[pk] == body["copy"]["id"]);
        }
        self.taken.push(delivery);
    }

    pub(crate) fn is_in_order(&self) {
        assert_eq!(self.violations, [""; 0]);
    }
}
