//! Which trees' rows were changed by commits of this process, for whoever delivers them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Trees with changes that nobody has looked at yet. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Changed(Arc<(Mutex<BTreeSet<String>>, Notify)>);

impl Changed {
    /// Rows of a tree were committed.
    pub fn note(&self, root_id: &str) {
        {
            let mut roots = self.roots();
            if !roots.contains(root_id) {
                roots.insert(root_id.to_owned());
            }
        }
        self.look();
    }

    /// Something else may have changed.
    pub fn look(&self) {
        self.0.1.notify_one();
    }

    /// Waits until there is something to look at since the last wait.
    pub async fn wait(&self) {
        self.0.1.notified().await;
    }

    /// The trees, which are then taken as looked at.
    pub fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.roots())
    }

    fn roots(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
