//! Which trees' rows were changed by commits of this process, for whoever delivers them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Trees with changes of which the targets don't know yet. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Changed(Arc<(Mutex<Roots>, Notify)>);

#[derive(Debug, Default)]
struct Roots {
    noted: BTreeSet<String>,
    /// Taken, but perhaps not marked in the database yet.
    taken: BTreeSet<String>,
}

impl Changed {
    /// Rows of a tree were committed.
    pub fn note(&self, root_id: &str) {
        {
            let mut roots = self.roots();
            if !roots.noted.contains(root_id) {
                roots.noted.insert(root_id.to_owned());
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

    /// The trees that were noted since the last time; [`Changed::marked`] ends what begins here.
    pub fn take(&self) -> BTreeSet<String> {
        let mut roots = self.roots();
        let noted = std::mem::take(&mut roots.noted);
        roots.taken.extend(noted.iter().cloned());
        noted
    }

    /// The targets of these trees are marked as due, where that outlasts this process.
    pub fn marked(&self, marked: &BTreeSet<String>) {
        self.roots().taken.retain(|root_id| !marked.contains(root_id));
    }

    /// Whether a change of the tree would be forgotten if this process ended now.
    pub fn is_unmarked(&self, root_id: &str) -> bool {
        let roots = self.roots();
        roots.noted.contains(root_id) || roots.taken.contains(root_id)
    }

    fn roots(&self) -> std::sync::MutexGuard<'_, Roots> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_unmarked_until_its_mark_is_written() {
        let changed = Changed::default();
        assert!(!changed.is_unmarked("a"));
        changed.note("a");
        let taken = changed.take();
        assert_eq!((taken.len(), changed.take().len()), (1, 0));
        assert!(changed.is_unmarked("a") && !changed.is_unmarked("b"));
        // One that comes while the mark is written isn't covered by it.
        changed.note("a");
        changed.marked(&taken);
        assert!(changed.is_unmarked("a"));
        changed.marked(&changed.take());
        assert!(!changed.is_unmarked("a"));
    }
}
