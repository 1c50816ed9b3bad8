//! What a call did is checked and made ready for the database beside what comes next: the commit of
//! the call before, or the call behind it.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::model::{Effects, Write};
use crate::store::Error;
use crate::store::commit::{ReadyEffects, TreeTables};

/// From so many rows on: to hand over less takes longer than to do it.
const ROWS_MIN: usize = 64;

/// See the module.
pub(super) struct Readying(Work);

enum Work {
    Done(Result<ReadyEffects, Error>),
    Begun(JoinHandle<Result<ReadyEffects, Error>>),
}

impl Readying {
    /// Begins at once.
    pub(super) fn of(owner: Option<String>, tree: Arc<TreeTables>, effects: Effects) -> Self {
        let rows = |write: &Write| match write {
            Write::Upsert(batch) | Write::Patch(batch) => batch.rows,
            _ => 0,
        };
        if effects.writes.iter().map(rows).sum::<usize>() < ROWS_MIN {
            return Self(Work::Done(ReadyEffects::of(owner.as_deref(), &tree, effects)));
        }
        let ready = move || ReadyEffects::of(owner.as_deref(), &tree, effects);
        Self(Work::Begun(tokio::task::spawn_blocking(ready)))
    }

    /// [`Error::Refused`]: the guest's rows are none of its tables.
    pub(super) async fn ready(self) -> Result<ReadyEffects, Error> {
        let work = match self.0 {
            Work::Done(ready) => return ready,
            Work::Begun(work) => work,
        };
        match work.await {
            Ok(ready) => ready,
            // As if it had been done here: whoever runs the owner contains it.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::Unavailable("the host shuts down".into())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_the_runs_own() {
        let work = tokio::task::spawn_blocking(|| panic!("a row"));
        let ready = AssertUnwindSafe(Readying(Work::Begun(work)).ready()).catch_unwind().await;
        let Err(panic) = ready else { panic!("it was taken for an answer") };
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"a row"));
    }
}
