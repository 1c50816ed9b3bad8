//! What this process works on, for whoever asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::Micros;
use crate::store::leases::Lease;
use crate::store::streams::DueStream;

/// Leased owners and their streams that run. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<Mutex<BTreeMap<String, Running>>>);

/// A leased owner.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Running {
    pub owner: String,
    pub root: String,
    pub since: Micros,
    /// By the id that `streams list` shows.
    pub streams: BTreeMap<i64, RunningStream>,
}

/// A stream of it.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct RunningStream {
    pub service: String,
    pub kind: String,
    pub since: Micros,
}

/// A run is in flight as long as this is there.
pub(super) struct Listed {
    in_flight: InFlight,
    run_id: String,
}

/// A stream of a run is, as long as this is there.
pub(super) struct StreamListed<'l> {
    run: &'l Listed,
    stream: i64,
}

impl InFlight {
    /// All runs by their ids.
    pub fn runs(&self) -> BTreeMap<String, Running> {
        self.lock().clone()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn list(&self, run_id: &str, lease: &Lease, since: Micros) -> Listed {
        let running = Running {
            owner: lease.external_owner_id.clone(),
            root: lease.root_id.clone(),
            since,
            streams: BTreeMap::new(),
        };
        self.lock().insert(run_id.to_owned(), running);
        Listed { in_flight: self.clone(), run_id: run_id.to_owned() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listed {
    pub(super) fn list(&self, due: &DueStream, since: Micros) -> StreamListed<'_> {
        let stream = RunningStream { service: due.service.clone(), kind: due.kind.clone(), since };
        if let Some(running) = self.in_flight.lock().get_mut(&self.run_id) {
            running.streams.insert(due.id, stream);
        }
        StreamListed { run: self, stream: due.id }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.in_flight.lock().remove(&self.run_id);
    }
}

impl Drop for StreamListed<'_> {
    fn drop(&mut self) {
        if let Some(running) = self.run.in_flight.lock().get_mut(&self.run.run_id) {
            running.streams.remove(&self.stream);
        }
    }
}
