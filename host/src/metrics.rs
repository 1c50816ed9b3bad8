//! What Prometheus reads at `/metrics`. Labels are few and bounded: never an owner, never a key.

mod load;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use load::Gauges;
pub use load::{COUNTED_MAX, Channels, Connections, Load, Owners, Targets};

/// Seconds of a call: from a page without changes to one that is given up.
const WALL_SECONDS: [f64; 8] = [0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0];

/// Seconds of a commit: from a page in memory to a disk that is overwhelmed.
const COMMIT_SECONDS: [f64; 9] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5];

/// Bytes of linear memory: from an empty call to the largest grant.
const MEMORY_BYTES: [f64; 6] = [1e6, 4e6, 16e6, 64e6, 128e6, 512e6];

/// Everything that is counted in a process, and the gauges that are read when it is asked.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    webhooks: Family<Answered, Counter>,
    runs: Family<Outcome, Counter>,
    failures: Family<Cause, Counter>,
    calls: Family<Called, Counter>,
    guest_cpu: Family<Plugin, Counter<f64, AtomicU64>>,
    call_wall: Family<Plugin, Histogram>,
    call_memory: Family<Plugin, Histogram>,
    requests: Family<Plugin, Counter>,
    rows: Family<Service, Counter>,
    commits: Family<What, Histogram>,
    limit_waits: Family<Scope, Counter>,
    limit_waited: Family<Scope, Counter<f64, AtomicU64>>,
    limit_refusals: Family<Scope, Counter>,
    deliveries: Family<Outcome, Counter>,
    delivered: Counter,
    forgotten: Family<What, Counter>,
    mails: Family<Outcome, Counter>,
    panics: Family<Task, Counter>,
    load: Gauges,
}

/// What a call of a component used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "units in the names")]
pub struct Used {
    pub cpu_s: f64,
    pub wall_s: f64,
    pub memory_peak_bytes: f64,
    pub http_requests: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Called {
    plugin: String,
    call: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Plugin {
    plugin: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Service {
    service: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct What {
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Task {
    task: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Scope {
    scope: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("rowgate");
        let webhooks = Family::default();
        registry.register("webhooks", "Requests to endpoints by HTTP status", webhooks.clone());
        let runs = Family::default();
        registry.register("runs", "Runs of streams by how they ended", runs.clone());
        let failures = Family::default();
        registry.register("failures", "Failed calls by cause", failures.clone());
        let calls = Family::default();
        registry.register("calls", "Calls of components", calls.clone());
        let guest_cpu = Family::default();
        let cpu_help = "CPU time inside components";
        registry.register_with_unit("guest_cpu", cpu_help, Unit::Seconds, guest_cpu.clone());
        let wall_help = "Duration of calls, requests included";
        let call_wall = seconds(&mut registry, "call", wall_help, || Histogram::new(WALL_SECONDS));
        let call_memory =
            Family::new_with_constructor((|| Histogram::new(MEMORY_BYTES)) as fn() -> _);
        let memory_help = "Largest linear memory of a call";
        registry.register_with_unit("call_memory", memory_help, Unit::Bytes, call_memory.clone());
        let requests = Family::default();
        registry.register("vendor_requests", "Requests of plugins to vendors", requests.clone());
        let rows = Family::default();
        registry.register("rows_changed", "Rows inserted, updated or deleted", rows.clone());
        let commit_help = "Until a webhook, an inbox item or a page was committed";
        let commits =
            seconds(&mut registry, "commit", commit_help, || Histogram::new(COMMIT_SECONDS));
        let limit_waits = Family::default();
        let waits_help = "Requests that waited for the vendor's limit";
        registry.register("limit_waits", waits_help, limit_waits.clone());
        let limit_waited = Family::default();
        let waited_help = "How long they waited";
        registry.register_with_unit("limit_wait", waited_help, Unit::Seconds, limit_waited.clone());
        let limit_refusals = Family::default();
        let refusals_help = "Calls that ended because the vendor's limit was used up";
        registry.register("limit_refusals", refusals_help, limit_refusals.clone());
        let deliveries = Family::default();
        registry.register("deliveries", "Deliveries by how they ended", deliveries.clone());
        let delivered = Counter::default();
        let delivered_help = "Changed rows that receivers took";
        registry.register("delivered_rows", delivered_help, delivered.clone());
        let forgotten = Family::default();
        registry.register("forgotten", "What was deleted for its age", forgotten.clone());
        let mails = Family::default();
        registry.register("mails", "Letters by how they ended", mails.clone());
        let panics = Family::default();
        registry.register("task_panics", "Tasks that panicked and begin again", panics.clone());
        let load = Gauges::registered(&mut registry);
        Self {
            registry,
            webhooks,
            runs,
            failures,
            calls,
            guest_cpu,
            call_wall,
            call_memory,
            requests,
            rows,
            commits,
            limit_waits,
            limit_waited,
            limit_refusals,
            deliveries,
            delivered,
            forgotten,
            mails,
            panics,
            load,
        }
    }
}

type Histograms<L> = Family<L, Histogram>;

/// A registered family of histograms of durations.
fn seconds<L>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    new: fn() -> Histogram,
) -> Histograms<L>
where
    L: EncodeLabelSet + Clone + Eq + std::hash::Hash + std::fmt::Debug + Send + Sync + 'static,
{
    let family = Family::new_with_constructor(new);
    registry.register_with_unit(name, help, Unit::Seconds, family.clone());
    family
}

impl Metrics {
    /// A request to an endpoint was answered.
    pub fn webhook(&self, status: u16) {
        self.webhooks.get_or_create(&Answered { status }).inc();
    }

    /// A run of a stream ended.
    pub fn run(&self, outcome: &'static str) {
        self.runs.get_or_create(&Outcome { outcome }).inc();
    }

    /// A letter was handed over, or couldn't be.
    pub fn mail(&self, outcome: &'static str) {
        self.mails.get_or_create(&Outcome { outcome }).inc();
    }

    /// A task panicked.
    pub fn panicked(&self, task: &'static str) {
        self.panics.get_or_create(&Task { task }).inc();
    }

    /// A call failed.
    pub fn failure(&self, cause: &'static str) {
        self.failures.get_or_create(&Cause { cause }).inc();
    }

    /// A component was called.
    pub fn call(&self, plugin: &str, call: &'static str, outcome: &'static str, used: Used) {
        let of = Plugin { plugin: plugin.to_owned() };
        self.calls.get_or_create(&Called { plugin: plugin.to_owned(), call, outcome }).inc();
        self.guest_cpu.get_or_create(&of).inc_by(used.cpu_s);
        self.call_wall.get_or_create(&of).observe(used.wall_s);
        self.call_memory.get_or_create(&of).observe(used.memory_peak_bytes);
        self.requests.get_or_create(&of).inc_by(used.http_requests);
    }

    /// A call was committed.
    pub fn rows_changed(&self, service: &str, rows: u64) {
        if rows > 0 {
            self.rows.get_or_create(&Service { service: service.to_owned() }).inc_by(rows);
        }
    }

    /// A `webhook`, an inbox `item`, a `page` or a slice of `stale` rows was committed, so long after it was asked for.
    pub fn commit(&self, what: &'static str, took: Duration) {
        self.commits.get_or_create(&What { what }).observe(took.as_secs_f64());
    }

    /// A request waits until the share of its `owner` or `integration` allows it.
    pub fn limit_wait(&self, scope: &'static str, wait: Duration) {
        self.limit_waits.get_or_create(&Scope { scope }).inc();
        self.limit_waited.get_or_create(&Scope { scope }).inc_by(wait.as_secs_f64());
    }

    /// A request wasn't sent: the share of its `owner` or `integration` is used up.
    pub fn limit_refusal(&self, scope: &'static str) {
        self.limit_refusals.get_or_create(&Scope { scope }).inc();
    }

    /// A delivery was `taken` with so many changed rows, or `failed`, or was `too_large`.
    pub fn delivery(&self, outcome: &'static str, rows: u64) {
        self.deliveries.get_or_create(&Outcome { outcome }).inc();
        self.delivered.inc_by(rows);
    }

    /// So many were deleted for their age: of the `inbox`, `parked` items, `tombstones`, `commits`, stale
    /// `rows`.
    pub fn forgotten(&self, what: &'static str, count: u64) {
        self.forgotten.get_or_create(&What { what }).inc_by(count);
    }

    /// Everything, in the text format of OpenMetrics 1.0.
    pub fn text(&self, load: &Load) -> String {
        self.load.set(load);
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing to a string can't fail");
        out
    }
}

#[cfg(test)]
mod tests;
