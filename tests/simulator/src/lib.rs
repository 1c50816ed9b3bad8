//! A Google Calendar and OAuth server for demos, tests and plugin authors.
//!
//! [`Simulator::start`] runs it inside a test, the binary of the same name on its own. [`model`] is
//! the service as plain data; [`fault`] is what can go wrong on the wire. It knows nothing of who
//! talks to it.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

mod control;
pub mod fault;
mod hold;
mod http;
mod limits;
pub mod model;
pub mod operation;
pub mod preset;
mod push;
mod seen;
mod server;
mod shared;
mod wall;

pub use fault::{Armed, Fault, Moment, Pages, Then, When};
pub use hold::Held;
pub use operation::Operation;
pub use push::{Delivery, Outcome};
pub use seen::Seen;
pub use shared::ModelGuard;

use model::push::Push;
use shared::{Shared, locked};

/// How a simulator starts.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Source of all chance: tokens, ids, generated events, probable faults.
    pub seed: u64,
    /// The service's clock at the start.
    pub now: Timestamp,
    /// Let the service's clock run with real time; otherwise only control calls move it.
    pub real_time: bool,
    /// Refuse what exceeds the request limits per minute.
    pub limits: bool,
    /// Let channels have addresses without TLS.
    pub http_callbacks: bool,
    /// OAuth client that the token endpoint accepts.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
}

impl Default for Options {
    fn default() -> Self {
        let november = jiff::civil::date(2026, 11, 2).at(0, 0, 0, 0);
        let now = jiff::tz::TimeZone::UTC.to_timestamp(november);
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            seed: 1,
            now: now.unwrap_or(Timestamp::UNIX_EPOCH),
            real_time: false,
            limits: true,
            http_callbacks: false,
            client_id: "demo-client-id".to_owned(),
            client_secret: "demo-client-secret".to_owned(),
        }
    }
}

/// A running simulator; dropping it ends every connection.
pub struct Simulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Simulator {
    /// Starts on a thread of its own. Errors: the address can't be listened on.
    pub fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (courier, pushes) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::new(&options, courier));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let served = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("simulator".to_owned()).spawn(move || {
            runtime.block_on(server::run(listener, served, pushes, stopped));
        })?;
        Ok(Self { shared, address, stop: Some(stop), thread: Some(thread) })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Root of the Calendar API.
    pub fn api_url(&self) -> String {
        format!("{}/calendar/v3", self.base_url())
    }

    /// The token endpoint.
    pub fn token_url(&self) -> String {
        format!("{}/token", self.base_url())
    }

    /// The service's data, to read and to change; requests wait while the guard lives.
    pub fn model(&self) -> ModelGuard<'_> {
        self.shared.model()
    }

    /// Applies a change in its JSON form, the same as a control call.
    pub fn apply(&self, operation: Operation) -> Result<Value, model::error::ApiError> {
        operation.apply(&mut self.model())
    }

    /// Moves the service's clock forward.
    pub fn advance(&self, seconds: i64) {
        self.model().advance(seconds.saturating_mul(1_000_000));
    }

    /// Sets a fault and returns its id.
    pub fn add_fault(&self, fault: Fault) -> u64 {
        locked(&self.shared.faults).add(fault)
    }

    /// Clears one fault, or all; requests that it holds go on.
    pub fn clear_faults(&self, id: Option<u64>) {
        self.shared.clear_faults(id);
    }

    /// The faults that are set, with counts of what they did.
    pub fn faults(&self) -> Vec<Armed> {
        locked(&self.shared.faults).list()
    }

    /// Waits until at least `count` requests are held.
    pub async fn await_held(&self, count: usize) -> Vec<Held> {
        self.shared.holds.at_least(count).await
    }

    /// Lets held requests go on: one, or all. Returns how many.
    pub fn release_held(&self, id: Option<u64>) -> usize {
        self.shared.holds.release(|held| id.is_none_or(|id| held.id == id))
    }

    /// Pushes since the start or the last clearing, and what became of them.
    pub fn pushes(&self) -> Vec<Delivery> {
        self.shared.pushes.list()
    }

    /// Waits until at least `count` pushes are settled.
    pub async fn await_pushes(&self, count: usize) -> Vec<Delivery> {
        let settled = |pushes: &BTreeMap<u64, Delivery>| {
            pushes.values().filter(|push| push.outcome.is_settled()).count() >= count
        };
        self.shared.pushes.until(settled).await;
        self.pushes()
    }

    /// Waits until no push is under way; held ones stay.
    pub async fn await_no_push(&self) {
        let under_way = |push: &Delivery| push.outcome == Outcome::UnderWay;
        self.shared.pushes.until(|pushes| !pushes.values().any(under_way)).await;
    }

    /// Lets held pushes leave: one, or all. Returns how many.
    pub fn release_pushes(&self, number: Option<u64>) -> usize {
        let fits = |push: &Push| number.is_none_or(|number| push.number == number);
        self.shared.pushes.release(fits, false)
    }

    /// Forgets the pushes that are settled.
    pub fn clear_pushes(&self) {
        self.shared.pushes.clear();
    }

    /// Requests that arrived since the start or the last clearing.
    pub fn requests(&self) -> Vec<Seen> {
        locked(&self.shared.seen).clone()
    }

    /// Waits until a request that fits has arrived; returns the first that does.
    pub async fn await_request(&self, fits: impl Fn(&Seen) -> bool) -> Seen {
        let mut arrivals = self.shared.arrivals.subscribe();
        loop {
            if let Some(seen) = locked(&self.shared.seen).iter().find(|seen| fits(seen)) {
                return seen.clone();
            }
            // The sender lives as long as `self`, so waiting can't fail.
            let _ = arrivals.changed().await;
        }
    }

    /// Forgets the requests seen so far.
    pub fn clear_requests(&self) {
        locked(&self.shared.seen).clear();
    }

    /// Switches the request limits.
    pub fn set_limits(&self, is_on: bool) {
        locked(&self.shared.limits).is_on = is_on;
    }

    /// Limits a user and the project to so many requests in a window.
    pub fn limit(&self, per_user: usize, per_project: usize, window_s: u32) {
        let mut limits = locked(&self.shared.limits);
        (limits.is_on, limits.per_user, limits.per_project) = (true, per_user, per_project);
        limits.window_us = i64::from(window_s) * 1_000_000;
    }

    /// The most requests that the project had in any window while limits were on.
    pub fn busiest_window(&self) -> usize {
        locked(&self.shared.limits).busiest
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // An error means that the server ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // A panic of the server was printed by its thread.
            let _ = thread.join();
        }
    }
}
