//! What Prometheus reads at `/metrics`. Labels are few and bounded: never an owner, never a key.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Seconds of a call: from a page without changes to one that is given up.
const WALL_SECONDS: [f64; 8] = [0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0];

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
    load: Gauges,
}

#[derive(Debug, Default)]
struct Gauges {
    owners_due: Gauge,
    oldest_due_s: Gauge<f64, AtomicU64>,
    inbox_waiting: Gauge,
    inbox_parked: Gauge,
}

/// What waits, as the database says it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Owners that are due.
    pub owners_due: i64,
    /// How long the oldest of them has been.
    pub oldest_due_s: f64,
    /// Webhooks that were accepted and have not taken effect.
    pub inbox_waiting: i64,
    /// Webhooks that were tried in vain too often.
    pub inbox_parked: i64,
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
        let call_wall =
            Family::new_with_constructor((|| Histogram::new(WALL_SECONDS)) as fn() -> _);
        let wall_help = "Duration of calls, requests included";
        registry.register_with_unit("call", wall_help, Unit::Seconds, call_wall.clone());
        let call_memory =
            Family::new_with_constructor((|| Histogram::new(MEMORY_BYTES)) as fn() -> _);
        let memory_help = "Largest linear memory of a call";
        registry.register_with_unit("call_memory", memory_help, Unit::Bytes, call_memory.clone());
        let requests = Family::default();
        registry.register("vendor_requests", "Requests of plugins to vendors", requests.clone());
        let rows = Family::default();
        registry.register("rows_changed", "Rows inserted, updated or deleted", rows.clone());
        let load = Gauges::default();
        load.register(&mut registry);
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
            load,
        }
    }
}

impl Gauges {
    fn register(&self, registry: &mut Registry) {
        let due = "Owners with something due";
        registry.register("owners_due", due, self.owners_due.clone());
        let oldest = "How long the owner that is due the longest has been";
        let oldest_due_s = self.oldest_due_s.clone();
        registry.register_with_unit("oldest_due", oldest, Unit::Seconds, oldest_due_s);
        let waiting = "Accepted webhooks that have not taken effect";
        registry.register("inbox_waiting", waiting, self.inbox_waiting.clone());
        let parked = "Accepted webhooks that failed too often";
        registry.register("inbox_parked", parked, self.inbox_parked.clone());
    }
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

    /// Everything, in the text format of OpenMetrics 1.0.
    pub fn text(&self, load: Load) -> String {
        self.load.owners_due.set(load.owners_due);
        self.load.oldest_due_s.set(load.oldest_due_s);
        self.load.inbox_waiting.set(load.inbox_waiting);
        self.load.inbox_parked.set(load.inbox_parked);
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing to a string can't fail");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_open_metrics() {
        let metrics = Metrics::default();
        metrics.webhook(202);
        metrics.run("done");
        metrics.failure("retry");
        let used = Used { cpu_s: 0.5, wall_s: 2.0, memory_peak_bytes: 2e6, http_requests: 3 };
        metrics.call("google_calendar", "sync", "ok", used);
        metrics.rows_changed("google_calendar_v1", 7);
        metrics.rows_changed("google_calendar_event_v1", 0);
        let load = Load { owners_due: 4, oldest_due_s: 1.5, ..Load::default() };
        let text = metrics.text(load);
        for line in [
            "rowgate_webhooks_total{status=\"202\"} 1",
            "rowgate_runs_total{outcome=\"done\"} 1",
            "rowgate_failures_total{cause=\"retry\"} 1",
            "rowgate_calls_total{plugin=\"google_calendar\",call=\"sync\",outcome=\"ok\"} 1",
            "rowgate_guest_cpu_seconds_total{plugin=\"google_calendar\"} 0.5",
            "rowgate_call_seconds_bucket{le=\"5.0\",plugin=\"google_calendar\"} 1",
            "rowgate_vendor_requests_total{plugin=\"google_calendar\"} 3",
            "rowgate_rows_changed_total{service=\"google_calendar_v1\"} 7",
            "rowgate_owners_due 4",
            "rowgate_oldest_due_seconds 1.5",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} isn't in\n{text}");
        }
        assert!(!text.contains("google_calendar_event_v1"), "nothing changed there");
        assert!(text.ends_with("# EOF\n"));
    }
}
