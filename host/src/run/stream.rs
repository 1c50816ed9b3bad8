//! Runs one taken stream: call, commit, again, until it rests, fails, or is interrupted.

mod ending;

use std::sync::Arc;

use tokio::sync::watch;
use tracing::Instrument as _;

use crate::model::{Call, Failure, Progress, RetryScope, Step, StreamId};
use crate::plugin::{CallError, Returned};
use crate::store::commit::{self, CommitOf, StoredCursor};
use crate::store::streams::{DueStream, Ended};
use crate::store::{Error, streams};

use super::decision::failure_of;
use super::holder::{CalledAt, Holder, Standpoint};
use super::readying::Readying;
use super::tree::Tree;

/// How the run of a stream ended for its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// The stream was given back.
    PutBack,
    /// The stream, the generation or the lease is gone: nothing of it is ours to write.
    Gone,
}

/// A stream as it runs. One call of [`StreamRun::run`] is one run.
pub(super) struct StreamRun<'h> {
    holder: &'h Holder,
    due: DueStream,
    stream: StreamId,
    /// Of the latest call.
    page_limit: u32,
    slow_count: u32,
    /// One full listing may begin at once when a cursor expires; further ones of this run wait. A
    /// vendor whose page tokens go round in a circle would be asked without end.
    may_restart: bool,
    /// The run began (or went over) a full listing.
    full: bool,
    /// The run went on between two pages of an earlier one. What told it to run may have changed
    /// the pages before: it runs once more when it has come to the end.
    resumed: Option<bool>,
}

/// Where a call was made.
struct At {
    stand: Standpoint,
    /// None: the tree could not be had.
    tree: Option<Arc<Tree>>,
    /// Of the cursor that the call had.
    version: i64,
    had_cursor: bool,
}

/// A call that returned a step; its commit is due.
struct Uncommitted {
    stand: Standpoint,
    tree: Arc<Tree>,
    /// Of the cursor that the call had.
    version: i64,
    had_cursor: bool,
    step: Step,
    effects: Readying,
    read_at: Option<i64>,
}

/// What to do next with the stream.
enum Next {
    /// Call with the stored cursor.
    Again,
    Commit(Box<Uncommitted>),
    End(Ended),
    Gone,
}

impl<'h> StreamRun<'h> {
    pub(super) fn new(holder: &'h Holder, due: DueStream) -> Self {
        let stream = due.stream();
        let page_limit = u32::try_from(due.page_limit).unwrap_or(1);
        let slow_count = u32::try_from(due.slow_count).unwrap_or(0);
        // After failures in a row an expired cursor must not be asked for again at once.
        let may_restart = due.attempts == 0;
        let (full, resumed) = (false, None);
        Self { holder, due, stream, page_limit, slow_count, may_restart, full, resumed }
    }

    pub(super) async fn run(self) -> Result<Run, Error> {
        // The key isn't told: a vendor's keys may be personal. `streams list` has it by this id.
        let span = tracing::error_span!(
            "run",
            service = self.due.service.as_str(),
            kind = self.due.kind.as_str(),
            stream = self.due.id,
        );
        self.step_by_step().instrument(span).await
    }

    async fn step_by_step(mut self) -> Result<Run, Error> {
        let _listed = self.holder.list(&self.due);
        let mut next = Next::Again;
        loop {
            let done = match next {
                Next::Again if self.holder.interrupted() => {
                    // Behind those who have waited longer.
                    let (attempts, next_at) = (self.due.attempts, Some(self.holder.now()));
                    let ended = Ended { next_at, attempts, ..self.ended() };
                    return self.put_back(ended).await;
                }
                Next::Again => self.first_call().await,
                Next::Commit(uncommitted) => self.commit(*uncommitted).await,
                Next::End(ended) => return self.put_back(ended).await,
                Next::Gone => return Ok(Run::Gone),
            };
            next = match done {
                Ok(next) => next,
                Err(Error::Superseded(what)) => {
                    tracing::info!(what, "a page is refused");
                    return Ok(Run::Gone);
                }
                Err(error) => return Err(error),
            };
        }
    }

    /// A call with the stored cursor.
    async fn first_call(&mut self) -> Result<Next, Error> {
        let holder = self.holder;
        let tree = match holder.tree().await {
            Ok(tree) => tree,
            Err(error) => {
                let stand = holder.stand().await;
                let failed = At { stand, tree: None, version: 0, had_cursor: false };
                return self.fail(&failed, &not_now(&error)).await;
            }
        };
        let stand = holder.stand().await;
        let stored =
            commit::load_cursor(&tree.replication, holder.owner_id(), &self.stream).await?;
        let Some(stored) = stored else {
            // The stream ended in the replication database, which is the one that decides.
            streams::forget(holder.control(), &holder.lease(), self.due.id).await?;
            return Ok(Next::Gone);
        };
        if self.resumed.is_some() {
            // Not the run's first: while the call before failed, an item may have wished to read it in full.
            let page_limit = streams::page_limit(holder.control(), self.due.id).await?;
            let Some(page_limit) = page_limit else { return Ok(Next::Gone) };
            self.page_limit = u32::try_from(page_limit).unwrap_or(1);
        }
        let cursor = readable(&tree, &stored);
        self.full |= cursor.is_none();
        self.resumed.get_or_insert(cursor.is_some() && stored.half_read);
        let had_cursor = cursor.is_some();
        let at = At { stand, tree: Some(Arc::clone(&tree)), version: stored.version, had_cursor };
        let called = self.call(&tree, cursor, None).await?;
        self.called(at, tree, called).await
    }

    /// Commits a call. Where more pages follow, the next call runs meanwhile, which takes turns
    /// between network and database away; nothing of it is kept unless this commit stands.
    async fn commit(&mut self, done: Uncommitted) -> Result<Next, Error> {
        let holder = self.holder;
        let Uncommitted { stand, tree, version, had_cursor, step, effects, read_at } = done;
        let at = At { stand, tree: Some(Arc::clone(&tree)), version, had_cursor };
        let half_read = step.progress == Progress::More;
        let cursor = step.cursor.clone();
        let of = CommitOf::Page { stream: self.stream.clone(), version, cursor, half_read };
        let (committed, stands) = watch::channel(false);
        let commit = async {
            let done = holder.commit(&tree, &at.stand, of, effects, read_at).await;
            committed.send_replace(true);
            done
        };
        let (done, ahead) = tokio::join!(commit, self.call_ahead(&tree, &step, version, stands));
        match done {
            Ok(committed) => self.tell_commit(&tree, committed.rows_changed),
            Err(Error::Superseded(commit::READ_MOVED)) => return Ok(Next::Again),
            // The calls before it, or the versions that made them, left no listing to end: with this
            // cursor it would fail for ever.
            Err(Error::NotListed(reason)) if had_cursor => {
                return self.fail(&at, &Failure::CursorExpired(reason)).await;
            }
            Err(Error::Refused(reason) | Error::NotListed(reason)) => {
                return self.fail(&at, &Failure::Bug(reason)).await;
            }
            Err(error) => return Err(error),
        }
        self.slow_count = 0;
        holder.works(&tree).await?;
        match ahead? {
            Some((at, called)) => self.called(at, tree, called).await,
            None => self.after(&tree, step).await,
        }
    }

    fn tell_commit(&self, tree: &Tree, rows_changed: u64) {
        self.holder.metrics().rows_changed(&self.stream.service, rows_changed);
        let component = &tree.component.digest;
        tracing::debug!(rows_changed, component, "page committed");
    }

    /// The call that follows a step which isn't committed yet. None: it must wait for the commit.
    async fn call_ahead(
        &self,
        tree: &Arc<Tree>,
        step: &Step,
        version: i64,
        committed: watch::Receiver<bool>,
    ) -> Result<Option<(At, CalledAt)>, Error> {
        let holder = self.holder;
        let Some(cursor) = step.cursor.clone().filter(|_| step.progress == Progress::More) else {
            return Ok(None);
        };
        let stand = holder.stand().await;
        // Another version or configuration starts from what is stored.
        let same = holder.tree().await.is_ok_and(|now| Arc::ptr_eq(&now, tree));
        if holder.interrupted() || !same {
            return Ok(None);
        }
        let tree_then = Some(Arc::clone(tree));
        let at = At { stand, tree: tree_then, version: version + 1, had_cursor: true };
        let called = self.call(tree, Some(cursor), Some(committed)).await?;
        Ok(Some((at, called)))
    }

    async fn call(
        &self,
        tree: &Arc<Tree>,
        cursor: Option<Vec<u8>>,
        committed: Option<watch::Receiver<bool>>,
    ) -> Result<CalledAt, Error> {
        let stood_at = cursor.clone();
        let call = Call::Sync { stream: self.stream.clone(), cursor, page_limit: self.page_limit };
        let called = self.holder.call(tree, &self.stream.service, &call, committed).await?;
        Ok(moving(called, stood_at))
    }

    async fn called(&mut self, at: At, tree: Arc<Tree>, called: CalledAt) -> Result<Next, Error> {
        let step = match called.result {
            Ok(Returned::Stepped(step)) => step,
            Ok(other) => unreachable!("a sync call returns a step, not {other:?}"),
            Err(error) => return self.fail(&at, &failure_of(error)).await,
        };
        let At { stand, version, had_cursor, .. } = at;
        let CalledAt { effects, read_at, .. } = called;
        Ok(Next::Commit(Box::new(Uncommitted {
            stand,
            tree,
            version,
            had_cursor,
            step,
            effects,
            read_at,
        })))
    }
}

/// A step that is to go on at once from where it stood would do so for ever.
fn moving(mut called: CalledAt, stood_at: Option<Vec<u8>>) -> CalledAt {
    if let Ok(Returned::Stepped(step)) = &called.result
        && step.progress == Progress::More
        && step.cursor == stood_at
    {
        let text = "the step asks for another call with the same cursor; it should rest instead";
        called.result = Err(CallError::Refused(text.into()));
    }
    called
}

/// The stored cursor, if the running version reads it and maps rows as the one that wrote it (R14).
fn readable(tree: &Tree, stored: &StoredCursor) -> Option<Vec<u8>> {
    let plugin = &tree.tables.manifest.plugin;
    let version = stored.cursor_version.and_then(|version| u32::try_from(version).ok())?;
    let mapping = stored.mapping_version.and_then(|version| u32::try_from(version).ok())?;
    if !plugin.cursor.reads.contains(&version) || mapping != plugin.mapping_version {
        return None;
    }
    stored.cursor.clone()
}

fn not_now(error: &Error) -> Failure {
    Failure::Retry { reason: error.to_string(), after_ms: None, scope: RetryScope::ThisStream }
}
