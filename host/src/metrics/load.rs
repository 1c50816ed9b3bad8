//! What waits and what is held, read when somebody asks: the gauges.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use serde::Serialize;

/// Counting ends here: whoever has more than that waiting needs no exact figure.
pub const COUNTED_MAX: i64 = 100_000;

/// The whole of it. Figures of the database stop at [`COUNTED_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Owners by state.
    pub owners: Owners,
    /// Owners that are due and that nobody works on.
    pub owners_due: i64,
    /// How long the oldest of them has been.
    pub oldest_due_s: f64,
    /// Due streams of linked owners that are due, of not more of these than are worth looking at.
    pub streams_due: i64,
    /// What vendors push through.
    pub channels: Channels,
    /// Webhooks that were accepted and have not taken effect.
    pub inbox_waiting: i64,
    /// Webhooks that were tried in vain too often.
    pub inbox_parked: i64,
    /// Live leases of all hosts.
    pub leases: i64,
    /// Leased owners that this process works on.
    pub runs_in_flight: i64,
    /// Receivers of deliveries that need somebody's eye.
    pub targets: Targets,
    /// Of this process, to the control database.
    pub control: Connections,
    /// Of this process, to the replication databases that it has opened.
    pub replication: Connections,
}

/// How many owners are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Owners {
    pub linked: i64,
    pub unlinked: i64,
    pub grant_dead: i64,
}

/// Push channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Channels {
    /// The vendor posts to them.
    pub live: i64,
    /// Of those, how many should have been replaced by now, and weren't.
    pub expiring: i64,
}

/// Receivers of deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Targets {
    /// Their last delivery failed; they are tried again.
    pub failing: i64,
    /// They get nothing until somebody resumes them.
    pub paused: i64,
    /// They lack some change, and aren't paused.
    pub behind: i64,
    /// How long the one of those has that is behind for the longest.
    pub feed_lag_s: f64,
    /// How long the oldest has waited that could be delivered to.
    pub oldest_due_s: f64,
}

/// Use of a database's connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// In the pool.
    pub open: i64,
    /// Of those, in use.
    pub busy: i64,
    /// Writes that stand in line.
    pub writes_waiting: i64,
}

impl std::ops::AddAssign for Connections {
    fn add_assign(&mut self, other: Self) {
        self.open += other.open;
        self.busy += other.busy;
        self.writes_waiting += other.writes_waiting;
    }
}

#[derive(Debug, Default)]
pub(super) struct Gauges {
    owners: Family<State, Gauge>,
    owners_due: Gauge,
    oldest_due_s: Gauge<f64, AtomicU64>,
    streams_due: Gauge,
    channels: Family<State, Gauge>,
    inbox_waiting: Gauge,
    inbox_parked: Gauge,
    leases: Gauge,
    runs_in_flight: Gauge,
    targets: Family<State, Gauge>,
    feed_lag_s: Gauge<f64, AtomicU64>,
    oldest_target_due_s: Gauge<f64, AtomicU64>,
    connections: Family<Connection, Gauge>,
    writes_waiting: Family<Database, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Database {
    database: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Connection {
    database: &'static str,
    state: &'static str,
}

impl Gauges {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let gauges = Self::default();
        registry.register("owners", "Owners by state", gauges.owners.clone());
        let due = "Owners with something due that nobody works on";
        registry.register("owners_due", due, gauges.owners_due.clone());
        let oldest = "How long the owner that is due the longest has been";
        let oldest_due_s = gauges.oldest_due_s.clone();
        registry.register_with_unit("oldest_due", oldest, Unit::Seconds, oldest_due_s);
        let streams = "Due streams of linked owners that are due, of the first 10,000 of these";
        registry.register("streams_due", streams, gauges.streams_due.clone());
        let channels =
            "Push channels that are live, and those of them that should be replaced by now";
        registry.register("channels", channels, gauges.channels.clone());
        let waiting = "Accepted webhooks that have not taken effect";
        registry.register("inbox_waiting", waiting, gauges.inbox_waiting.clone());
        let parked = "Accepted webhooks that failed too often";
        registry.register("inbox_parked", parked, gauges.inbox_parked.clone());
        registry.register("leases", "Live leases of all hosts", gauges.leases.clone());
        let running = "Leased owners that this process works on";
        registry.register("runs_in_flight", running, gauges.runs_in_flight.clone());
        let targets = "Receivers of deliveries that fail, are paused, or lack some change";
        registry.register("targets", targets, gauges.targets.clone());
        let lag = "How long the receiver that is behind for the longest has lacked some change";
        registry.register_with_unit("feed_lag", lag, Unit::Seconds, gauges.feed_lag_s.clone());
        let oldest = "How long the receiver that is due the longest has waited for a delivery";
        let oldest_target_due_s = gauges.oldest_target_due_s.clone();
        registry.register_with_unit(
            "oldest_target_due",
            oldest,
            Unit::Seconds,
            oldest_target_due_s,
        );
        let pooled = "Connections that read";
        registry.register("connections", pooled, gauges.connections.clone());
        let in_line = "Writes that stand in line";
        registry.register("writes_waiting", in_line, gauges.writes_waiting.clone());
        gauges
    }

    pub(super) fn set(&self, load: &Load) {
        let Owners { linked, unlinked, grant_dead } = load.owners;
        for (state, count) in
            [("linked", linked), ("unlinked", unlinked), ("grant_dead", grant_dead)]
        {
            self.owners.get_or_create(&State { state }).set(count);
        }
        self.owners_due.set(load.owners_due);
        self.oldest_due_s.set(load.oldest_due_s);
        self.streams_due.set(load.streams_due);
        let Channels { live, expiring } = load.channels;
        for (state, count) in [("live", live), ("expiring", expiring)] {
            self.channels.get_or_create(&State { state }).set(count);
        }
        self.inbox_waiting.set(load.inbox_waiting);
        self.inbox_parked.set(load.inbox_parked);
        self.leases.set(load.leases);
        self.runs_in_flight.set(load.runs_in_flight);
        let Targets { failing, paused, behind, feed_lag_s, oldest_due_s } = load.targets;
        for (state, count) in [("failing", failing), ("paused", paused), ("behind", behind)] {
            self.targets.get_or_create(&State { state }).set(count);
        }
        self.feed_lag_s.set(feed_lag_s);
        self.oldest_target_due_s.set(oldest_due_s);
        for (database, used) in [("control", load.control), ("replication", load.replication)] {
            for (state, count) in [("busy", used.busy), ("idle", used.open - used.busy)] {
                self.connections.get_or_create(&Connection { database, state }).set(count);
            }
            self.writes_waiting.get_or_create(&Database { database }).set(used.writes_waiting);
        }
    }
}
