//! What requests, control calls and the handle share.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};

use crate::Options;
use crate::fault::Faults;
use crate::hold::Holds;
use crate::http::Compressed;
use crate::limits::Limits;
use crate::model::Model;
use crate::model::push::Push;
use crate::push::Pushes;
use crate::seen::Seen;
use crate::wall::Wall;

pub(crate) struct Shared {
    model: Mutex<Model>,
    pub(crate) pushes: Pushes,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) holds: Holds,
    pub(crate) seen: Mutex<Vec<Seen>>,
    pub(crate) arrivals: watch::Sender<()>,
    pub(crate) limits: Mutex<Limits>,
    pub(crate) compressed: Compressed,
    wall: Wall,
    real_time: bool,
    /// Real time that the model's clock has taken in.
    taken_us: Mutex<i64>,
}

/// The service's data, locked. What changes mean to send leaves when the lock is let go.
pub struct ModelGuard<'a> {
    model: MutexGuard<'a, Model>,
    pushes: &'a Pushes,
}

impl Shared {
    /// Pushes go to `courier`.
    pub(crate) fn new(options: &Options, courier: mpsc::UnboundedSender<Vec<Push>>) -> Self {
        let mut model = Model::new(options.seed, options.now.as_microsecond());
        model.client_id.clone_from(&options.client_id);
        model.client_secret.clone_from(&options.client_secret);
        model.push_rules.allow_http = options.http_callbacks;
        Self {
            model: Mutex::new(model),
            pushes: Pushes::new(courier),
            faults: Mutex::new(Faults::new(options.seed)),
            holds: Holds::new(),
            seen: Mutex::default(),
            arrivals: watch::Sender::new(()),
            limits: Mutex::new(Limits::new(options.limits)),
            compressed: Compressed::default(),
            wall: Wall::start(),
            real_time: options.real_time,
            taken_us: Mutex::new(0),
        }
    }

    pub(crate) fn model(&self) -> ModelGuard<'_> {
        let mut model = locked(&self.model);
        if self.real_time {
            let mut taken_us = locked(&self.taken_us);
            let elapsed_us = self.wall.elapsed_us();
            model.advance(elapsed_us - *taken_us);
            *taken_us = elapsed_us;
        }
        ModelGuard { model, pushes: &self.pushes }
    }

    /// Limits count real time, and jumps of the model's clock on top.
    pub(crate) fn limiter_now_us(&self, model: &Model) -> i64 {
        let real_us = if self.real_time { 0 } else { self.wall.elapsed_us() };
        model.now_us + real_us
    }

    pub(crate) fn clear_faults(&self, id: Option<u64>) {
        locked(&self.faults).clear(id);
        self.holds.release(|held| id.is_none_or(|id| held.fault == id));
    }

    pub(crate) fn record(&self, mut seen: Seen) -> u64 {
        let mut all = locked(&self.seen);
        seen.number = all.last().map_or(1, |last| last.number + 1);
        let number = seen.number;
        all.push(seen);
        self.arrivals.send_replace(());
        number
    }

    pub(crate) fn record_status(&self, number: u64, status: u16) {
        let mut all = locked(&self.seen);
        if let Some(seen) = all.iter_mut().rev().find(|seen| seen.number == number) {
            seen.status = Some(status);
        }
    }
}

impl Deref for ModelGuard<'_> {
    type Target = Model;

    fn deref(&self) -> &Model {
        &self.model
    }
}

impl DerefMut for ModelGuard<'_> {
    fn deref_mut(&mut self) -> &mut Model {
        &mut self.model
    }
}

impl Drop for ModelGuard<'_> {
    fn drop(&mut self) {
        self.pushes.accept(self.model.take_pushes());
    }
}

/// A thread that panicked leaves plain data behind: still good to read in a test.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
