//! What a call writes is checked and made ready for the database beside the call, from the moment that it
//! is presented, and beside what comes next: the commit of the call before, or the call behind it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;

use crate::model::{Effects, Write};
use crate::store::Error;
use crate::store::commit::{self, Prepared, ReadyEffects, TreeTables};

/// From so many rows on: to hand over less takes longer than to do it.
const ROWS_MIN: usize = 64;
/// Threads that a call's writes may take: a guest's many small batches must not take one each.
const WORKERS: usize = 2;

/// The writes of one call, in their order. Clones are the same. When the last one is dropped, what waits is left.
#[derive(Clone)]
pub(super) struct WriteLine(Arc<Line>);

struct Line {
    owner: Option<String>,
    tree: Arc<TreeTables>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Each with its number.
    waiting: VecDeque<(usize, Arc<Write>)>,
    rows_waiting: usize,
    /// By their numbers; none: not yet, or dropped.
    ready: Vec<Option<Prepared>>,
    /// Of the first write that has one.
    failed: Option<(usize, Error)>,
    workers: Vec<JoinHandle<()>>,
    working: usize,
}

/// What a call that has ended wants committed.
pub(super) struct Readying {
    line: WriteLine,
    effects: Effects,
}

impl WriteLine {
    pub(super) fn new(owner: Option<String>, tree: Arc<TreeTables>) -> Self {
        Self(Arc::new(Line { owner, tree, state: Mutex::default() }))
    }

    /// Begins at once where there is enough to do.
    pub(super) fn add(&self, write: &Arc<Write>) {
        let mut state = self.0.lock();
        state.rows_waiting += rows(write);
        let number = state.ready.len();
        state.ready.push(None);
        state.waiting.push_back((number, Arc::clone(write)));
        if state.rows_waiting >= ROWS_MIN && state.working < WORKERS {
            let line = Arc::downgrade(&self.0);
            state.working += 1;
            state.workers.push(tokio::task::spawn_blocking(move || {
                while line.upgrade().is_some_and(|line| line.work()) {}
            }));
        }
    }

    /// The call is over. Its writes are here: each goes when it is ready.
    pub(super) fn end(self, effects: Effects) -> Readying {
        Readying { line: self, effects: Effects { writes: Vec::new(), ..effects } }
    }
}

impl Line {
    /// Makes one write ready; false: none waits, and who works is one less.
    fn work(&self) -> bool {
        let mut state = self.lock();
        let Some((number, write)) = state.waiting.pop_front() else {
            state.working -= 1;
            return false;
        };
        state.rows_waiting -= rows(&write);
        drop(state);
        let prepared = commit::prepare(self.owner.as_deref(), &self.tree, &write);
        let mut state = self.lock();
        match prepared {
            Ok(prepared) => state.ready[number] = prepared,
            Err(error) if state.failed.as_ref().is_none_or(|(first, _)| number < *first) => {
                state.failed = Some((number, error));
            }
            Err(_) => {}
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rows(write: &Write) -> usize {
    match write {
        Write::Upsert(batch) | Write::Patch(batch) => batch.rows,
        _ => 0,
    }
}

impl Readying {
    /// [`Error::Refused`]: the guest's rows are none of its tables.
    pub(super) async fn ready(self) -> Result<ReadyEffects, Error> {
        let Self { line: WriteLine(line), effects } = self;
        let workers = std::mem::take(&mut line.lock().workers);
        for worker in workers {
            worker.await.map_err(of_the_run)?;
        }
        // Too little for a worker.
        line.lock().working += 1;
        while line.work() {}
        let State { ready, failed, .. } = std::mem::take(&mut *line.lock());
        match failed {
            Some((_, error)) => Err(error),
            None => Ok(ReadyEffects::of(effects, ready.into_iter().flatten().collect())),
        }
    }
}

/// A panic is as if it had been done here: whoever runs the owner contains it.
fn of_the_run(error: tokio::task::JoinError) -> Error {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Error::Unavailable("the host shuts down".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::panic::AssertUnwindSafe;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::model::Batch;
    use crate::rows::TableSpec;
    use crate::rows::fixture::{batch, sample, texts};

    const TABLE: &str = "thing_v1";

    fn line() -> WriteLine {
        let manifest = sample();
        let spec = Arc::new(TableSpec::new(&manifest, TABLE, TABLE).unwrap());
        let tables = HashMap::from([(TABLE.to_owned(), spec)]);
        WriteLine::new(Some("a".into()), Arc::new(TreeTables { manifest: manifest.into(), tables }))
    }

    fn things(rows: usize) -> Arc<Write> {
        let ids: Vec<String> = (0..rows).map(|id| format!("{id}")).collect();
        let ids: Vec<Option<&str>> = ids.iter().map(|id| Some(id.as_str())).collect();
        let shelves = vec![Some("s"); rows];
        let columns = vec![texts("id", &ids), texts("shelf", &shelves)];
        Arc::new(Write::Upsert(batch(TABLE, rows, columns)))
    }

    #[tokio::test]
    async fn writes_keep_their_order_and_the_first_fault_counts() {
        for sizes in [&[][..], &[1, 2], &[500, 1, 64, 63, 900, 0, 64], &[1, 63, 1]] {
            let line = line();
            sizes.iter().for_each(|rows| line.add(&things(*rows)));
            // More than one piece is made ready before the call ends.
            let begun = line.0.lock().workers.len();
            assert_eq!(begun > 0, sizes.iter().sum::<usize>() >= ROWS_MIN, "{sizes:?}");
            assert!(begun <= sizes.len());
            let ready = line.end(Effects::default()).ready().await.unwrap();
            assert_eq!(ready.rows().collect::<Vec<_>>(), sizes);
        }
        for faults in [&["first"][..], &["first", "second"]] {
            let line = line();
            line.add(&things(100));
            for fault in faults {
                let unknown =
                    Batch { table: TABLE.into(), rows: 1, columns: vec![texts(fault, &[None])] };
                line.add(&Arc::new(Write::Upsert(unknown)));
                line.add(&things(100));
            }
            let refused = line.end(Effects::default()).ready().await.unwrap_err();
            assert!(matches!(&refused, Error::Refused(why) if why.contains("first")), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_panic_is_the_runs_own() {
        let line = line();
        let worker = tokio::task::spawn_blocking(|| panic!("a row"));
        line.0.lock().workers.push(worker);
        let ready = line.end(Effects::default()).ready();
        let Err(panic) = AssertUnwindSafe(ready).catch_unwind().await else {
            panic!("it was taken for an answer")
        };
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"a row"));
    }
}
