//! Runs one taken stream: call, commit, again, until it rests, fails, or is interrupted.

use std::sync::Arc;

use crate::failpoint;
use crate::model::{Call, Failure, Micros, Progress, RetryScope, Step, StreamId};
use crate::plugin::Returned;
use crate::store::commit::{self, CommitOf, StoredCursor};
use crate::store::streams::{DueStream, Ended};
use crate::store::{Error, streams};

use super::decision::{Decision, Standing, decide, failure_of, jittered};
use super::holder::{Holder, Standpoint};
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
    /// Of the stored cursor.
    version: i64,
}

/// What one step made of the stream.
enum Next {
    Again,
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

    pub(super) async fn run(mut self) -> Result<Run, Error> {
        loop {
            if self.holder.interrupted() {
                let ended = Ended { next_at: Some(0), ..self.ended() };
                return self.put_back(ended).await;
            }
            match self.step().await {
                Ok(Next::Again) => {}
                Ok(Next::End(ended)) => return self.put_back(ended).await,
                Ok(Next::Gone) | Err(Error::Superseded(_)) => return Ok(Run::Gone),
                Err(error) => return Err(error),
            }
        }
    }

    /// One call and its commit.
    async fn step(&mut self) -> Result<Next, Error> {
        let holder = self.holder;
        let tree = match holder.tree().await {
            Ok(tree) => tree,
            Err(error) => {
                let failed = At { stand: holder.stand().await, tree: None, version: 0 };
                return self.fail(&failed, false, &not_now(&error)).await;
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
        let cursor = readable(&tree, &stored);
        self.full |= cursor.is_none();
        self.resumed.get_or_insert(cursor.is_some() && stored.half_read);
        let had_cursor = cursor.is_some();
        let at = At { stand, tree: Some(Arc::clone(&tree)), version: stored.version };
        let call = Call::Sync { stream: self.stream.clone(), cursor, page_limit: self.page_limit };
        let (called, read_at) = holder.call(&tree, &self.stream.service, &call).await?;
        let returned = match called.result {
            Ok(Returned::Stepped(step)) => step,
            Ok(Returned::Received) => unreachable!("a sync call returns a step"),
            Err(error) => {
                return self.fail(&at, had_cursor, &failure_of(error)).await;
            }
        };
        let step = CommitOf::Page {
            stream: self.stream.clone(),
            version: stored.version,
            cursor: returned.cursor.clone(),
            half_read: returned.progress == Progress::More,
        };
        let committed = holder.commit(&tree, &at.stand, step, called.effects, read_at).await;
        match committed {
            Ok(_) => {}
            Err(Error::Superseded(commit::READ_MOVED)) => return Ok(Next::Again),
            Err(Error::Refused(reason)) => {
                return self.fail(&at, had_cursor, &Failure::Bug(reason)).await;
            }
            Err(error) => return Err(error),
        }
        self.slow_count = 0;
        holder.works(&tree).await?;
        Ok(self.after(&tree, returned))
    }

    fn after(&self, tree: &Tree, step: Step) -> Next {
        let now = self.holder.now();
        let done = Ended { succeeded: true, full: self.full, ..self.ended() };
        match step.progress {
            Progress::More => Next::Again,
            Progress::Done(_) if self.resumed == Some(true) => {
                Next::End(Ended { next_at: Some(now), ..done })
            }
            Progress::Done(rest_ms) => {
                let poll_ms = tree.kind(&self.stream).map_or(0, |kind| kind.poll_s.unpushed * 1000);
                let chance = self.holder.chance();
                let rest_ms = rest_ms.unwrap_or_else(|| jittered(poll_ms, chance));
                Next::End(Ended { next_at: Some(now + micros(rest_ms)), ..done })
            }
            Progress::Unreadable(reason) => {
                let recheck_s = tree.kind(&self.stream).and_then(|kind| kind.recheck_s);
                let next_at = recheck_s.map(|seconds| now + micros(seconds * 1000));
                let unreadable = Some(reason);
                Next::End(Ended { next_at, unreadable, succeeded: false, full: false, ..done })
            }
        }
    }

    async fn fail(&mut self, at: &At, had_cursor: bool, failure: &Failure) -> Result<Next, Error> {
        let holder = self.holder;
        // Made under another grant or cursor than the present one, it says nothing of that (R10).
        let Some(_stands) = holder.stands(&at.stand).await else { return Ok(Next::Again) };
        let kind = at.tree.as_ref().and_then(|tree| tree.kind(&self.stream));
        let standing = Standing {
            attempts: u32::try_from(self.due.attempts).unwrap_or(0),
            slow_count: self.slow_count,
            page_limit: self.page_limit,
            page_limit_min: kind.map_or(1, |kind| kind.page_limit_min),
            cursor_may_expire: self.may_restart && had_cursor,
        };
        let decision = decide(failure, standing, holder.back_off());
        holder.tell_failure(&self.stream, failure, &decision);
        let failed = Ended {
            error: Some(failure.to_string()),
            attempts: self.due.attempts + 1,
            next_at: Some(holder.now()),
            ..self.ended()
        };
        match decision {
            Decision::SmallerPage(page_limit) => {
                self.page_limit = page_limit;
                self.slow_count = 0;
                Ok(Next::Again)
            }
            Decision::FullListing { wait_ms } => {
                let Some(tree) = &at.tree else { return Ok(Next::End(failed)) };
                let (tables, stream) = (Arc::clone(&tree.tables), self.stream.clone());
                let under = at.stand.under.clone();
                commit::drop_cursor(&tree.replication, under, tables, stream, at.version).await?;
                self.may_restart = false;
                let Some(wait_ms) = wait_ms else { return Ok(Next::Again) };
                Ok(Next::End(Ended { not_before: holder.later(wait_ms), ..failed }))
            }
            Decision::Wait { scope, wait_ms, slow_count } => {
                let not_before = holder.later(wait_ms);
                let failed = Ended { slow_count: i64::from(slow_count), ..failed };
                self.pause(scope, not_before, failure, failed).await
            }
            Decision::GrantDead => {
                streams::grant_is_dead(holder.control(), &holder.lease(), failure.to_string())
                    .await?;
                Ok(Next::End(failed))
            }
            Decision::Misconfigured => {
                holder.misconfigured(failure).await?;
                Ok(Next::End(Ended {
                    not_before: holder.later(holder.back_off().max_ms),
                    ..failed
                }))
            }
        }
    }

    async fn pause(
        &self,
        scope: RetryScope,
        not_before: Micros,
        failure: &Failure,
        failed: Ended,
    ) -> Result<Next, Error> {
        let (holder, lease) = (self.holder, self.holder.lease());
        match scope {
            RetryScope::ThisStream => return Ok(Next::End(Ended { not_before, ..failed })),
            RetryScope::Owner => {
                streams::pause_owner(holder.control(), &lease, not_before, failure.to_string())
                    .await?;
            }
            RetryScope::Integration => {
                streams::pause_tree(holder.control(), &lease.root_id, not_before, None).await?;
            }
        }
        Ok(Next::End(failed))
    }

    fn ended(&self) -> Ended {
        Ended {
            page_limit: i64::from(self.page_limit),
            slow_count: i64::from(self.slow_count),
            at: self.holder.now(),
            ..Ended::default()
        }
    }

    async fn put_back(&self, ended: Ended) -> Result<Run, Error> {
        let holder = self.holder;
        match streams::put_back(holder.control(), &holder.lease(), self.due.id, ended).await {
            Ok(()) => {
                failpoint::reach("stream_put_back");
                Ok(Run::PutBack)
            }
            Err(Error::Superseded(_)) => Ok(Run::Gone),
            Err(error) => Err(error),
        }
    }
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

fn micros(ms: u64) -> Micros {
    Micros::try_from(ms.saturating_mul(1000)).unwrap_or(Micros::MAX / 2)
}
