//! Requests that wait until a test lets them go, and waiting for such a request.

use std::sync::Mutex;

use serde::Serialize;
use tokio::sync::{oneshot, watch};

use crate::shared::locked;

/// A request that waits.
#[derive(Clone, Debug, Serialize)]
pub struct Held {
    /// For releasing it.
    pub id: u64,
    /// The fault that holds it.
    pub fault: u64,
    /// Request method.
    pub method: String,
    /// Path as on the wire.
    pub path: String,
    /// Raw query.
    pub query: String,
    /// Email of the user, if known.
    pub user: Option<String>,
}

/// All requests that wait.
pub(crate) struct Holds {
    waiting: Mutex<Waiting>,
    changed: watch::Sender<usize>,
}

#[derive(Default)]
struct Waiting {
    last_id: u64,
    held: Vec<(Held, oneshot::Sender<()>)>,
}

impl Holds {
    pub(crate) fn new() -> Self {
        Self { waiting: Mutex::default(), changed: watch::Sender::new(0) }
    }

    /// Waits for release; a request whose client went away is forgotten.
    pub(crate) async fn hold(&self, mut held: Held) {
        let (release, released) = oneshot::channel();
        let id = {
            let mut waiting = locked(&self.waiting);
            waiting.last_id += 1;
            held.id = waiting.last_id;
            waiting.held.push((held, release));
            self.announce(&waiting);
            waiting.last_id
        };
        let _forget = Forget { holds: self, id };
        // An error means that the sender is gone, which frees the request as well.
        let _ = released.await;
    }

    pub(crate) fn list(&self) -> Vec<Held> {
        locked(&self.waiting).held.iter().map(|(held, _)| held.clone()).collect()
    }

    /// Waits until at least `count` requests are held.
    pub(crate) async fn at_least(&self, count: usize) -> Vec<Held> {
        let mut changes = self.changed.subscribe();
        // The sender lives as long as `self`, so waiting can't fail.
        let _ = changes.wait_for(|held| *held >= count).await;
        self.list()
    }

    /// Lets go the requests that fit; says how many.
    pub(crate) fn release(&self, fits: impl Fn(&Held) -> bool) -> usize {
        let freed = {
            let mut waiting = locked(&self.waiting);
            let all = std::mem::take(&mut waiting.held).into_iter();
            let (freed, kept): (Vec<_>, Vec<_>) = all.partition(|(held, _)| fits(held));
            waiting.held = kept;
            self.announce(&waiting);
            freed
        };
        // One whose client just went away doesn't count.
        freed.into_iter().filter_map(|(_, release)| release.send(()).ok()).count()
    }

    /// Under the lock: else an older count may come last, and who waits for a request would never
    /// hear of it.
    fn announce(&self, waiting: &Waiting) {
        self.changed.send_replace(waiting.held.len());
    }
}

struct Forget<'a> {
    holds: &'a Holds,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.holds.release(|held| held.id == self.id);
    }
}
