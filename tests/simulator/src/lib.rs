//! A Google Calendar and OAuth server for demos, tests and plugin authors.
//!
//! [`Simulator::start`] runs it inside a test, the binary of the same name on its own. [`model`] is
//! the service as plain data; [`fault`] is what can go wrong on the wire. It knows nothing of who
//! talks to it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use jiff::Timestamp;
use tokio::sync::oneshot;

mod control;
pub mod fault;
mod hold;
mod http;
mod limits;
pub mod model;
pub mod operation;
pub mod preset;
mod seen;
mod server;
mod wall;

pub use fault::{Armed, Fault, Moment, Pages, Then, When};
pub use hold::Held;
pub use operation::Operation;
pub use seen::Seen;

use fault::Faults;
use hold::Holds;
use limits::Limits;
use model::Model;
use wall::Wall;

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
        let shared = Arc::new(Shared::new(&options));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let served = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("simulator".to_owned()).spawn(move || {
            runtime.block_on(server::run(listener, served, stopped));
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
    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.shared.model()
    }

    /// Applies a change in its JSON form, the same as a control call.
    pub fn apply(&self, operation: Operation) -> Result<serde_json::Value, model::error::ApiError> {
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

    /// Requests that arrived since the start or the last clearing.
    pub fn requests(&self) -> Vec<Seen> {
        locked(&self.shared.seen).clone()
    }

    /// Forgets the requests seen so far.
    pub fn clear_requests(&self) {
        locked(&self.shared.seen).clear();
    }

    /// Switches the request limits.
    pub fn set_limits(&self, is_on: bool) {
        locked(&self.shared.limits).is_on = is_on;
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

/// What requests, control calls and the handle share.
struct Shared {
    model: Mutex<Model>,
    faults: Mutex<Faults>,
    holds: Holds,
    seen: Mutex<Vec<Seen>>,
    limits: Mutex<Limits>,
    wall: Wall,
    real_time: bool,
    /// Real time that the model's clock has taken in.
    taken_us: Mutex<i64>,
}

impl Shared {
    fn new(options: &Options) -> Self {
        let mut model = Model::new(options.seed, options.now.as_microsecond());
        model.client_id.clone_from(&options.client_id);
        model.client_secret.clone_from(&options.client_secret);
        Self {
            model: Mutex::new(model),
            faults: Mutex::new(Faults::new(options.seed)),
            holds: Holds::new(),
            seen: Mutex::default(),
            limits: Mutex::new(Limits::new(options.limits)),
            wall: Wall::start(),
            real_time: options.real_time,
            taken_us: Mutex::new(0),
        }
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        let mut model = locked(&self.model);
        if self.real_time {
            let mut taken_us = locked(&self.taken_us);
            let elapsed_us = self.wall.elapsed_us();
            model.advance(elapsed_us - *taken_us);
            *taken_us = elapsed_us;
        }
        model
    }

    /// Limits count real time, and jumps of the model's clock on top.
    fn limiter_now_us(&self, model: &Model) -> i64 {
        let real_us = if self.real_time { 0 } else { self.wall.elapsed_us() };
        model.now_us + real_us
    }

    fn clear_faults(&self, id: Option<u64>) {
        locked(&self.faults).clear(id);
        self.holds.release(|held| id.is_none_or(|id| held.fault == id));
    }

    fn record(&self, mut seen: Seen) -> u64 {
        let mut all = locked(&self.seen);
        seen.number = all.last().map_or(1, |last| last.number + 1);
        let number = seen.number;
        all.push(seen);
        number
    }

    fn record_status(&self, number: u64, status: u16) {
        let mut all = locked(&self.seen);
        if let Some(seen) = all.iter_mut().rev().find(|seen| seen.number == number) {
            seen.status = Some(status);
        }
    }
}

/// A thread that panicked leaves plain data behind: still good to read in a test.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
