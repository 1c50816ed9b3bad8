//! How a step or a failed call leaves its stream: to go on, to rest, to wait, or gone.

use std::sync::Arc;

use super::{At, Next, Run, StreamRun};
use crate::failpoint;
use crate::model::{Failure, Micros, Progress, RetryScope, Step};
use crate::run::decision::{Decision, Standing, decide, jittered};
use crate::run::keyless;
use crate::run::push;
use crate::run::tree::Tree;
use crate::store::channels::Coverage;
use crate::store::streams::Ended;
use crate::store::{Error, commit, streams};

/// The least that a stream rests. A plugin that asks for none would be called again and again.
const REST_MS_MIN: u64 = 1_000;

impl StreamRun<'_> {
    pub(super) async fn after(&self, tree: &Tree, step: Step) -> Result<Next, Error> {
        let now = self.holder.now();
        let done = Ended { succeeded: true, full: self.full, ..self.ended() };
        Ok(match step.progress {
            Progress::More => Next::Again,
            Progress::Done(_) if self.resumed == Some(true) => {
                Next::End(Ended { next_at: Some(now), ..done })
            }
            Progress::Done(rest_ms) => {
                let rest_ms = match rest_ms {
                    Some(rest_ms) => rest_ms,
                    None => jittered(self.poll_ms(tree).await?, self.holder.chance()),
                };
                let rest_ms = rest_ms.max(REST_MS_MIN);
                Next::End(Ended { next_at: Some(now + micros(rest_ms)), ..done })
            }
            Progress::Unreadable(reason) => {
                let recheck_s = tree.kind(&self.stream).and_then(|kind| kind.recheck_s);
                let next_at = recheck_s.map(|seconds| now + micros(seconds * 1000));
                let unreadable = Some(keyless::text(&reason, &self.stream.key));
                Next::End(Ended { next_at, unreadable, succeeded: false, full: false, ..done })
            }
        })
    }

    /// The manifest's interval for how the stream's changes reach us now.
    async fn poll_ms(&self, tree: &Tree) -> Result<u64, Error> {
        let Some(kind) = tree.kind(&self.stream) else { return Ok(0) };
        let poll_s = match push::coverage(self.holder, kind, &self.stream).await? {
            Coverage::Pushed => kind.poll_s.pushed,
            Coverage::Unpushed => kind.poll_s.unpushed,
            Coverage::Unsupported => kind.poll_s.unsupported,
        };
        Ok(poll_s.saturating_mul(1000))
    }

    pub(super) async fn fail(&mut self, at: &At, failure: &Failure) -> Result<Next, Error> {
        let holder = self.holder;
        let failure = &keyless::failure(failure, &self.stream.key);
        // Made under another grant or cursor than the present one, it says nothing of that (R10).
        let Some(_stands) = holder.stands(&at.stand).await else { return Ok(Next::Again) };
        let kind = at.tree.as_ref().and_then(|tree| tree.kind(&self.stream));
        let standing = Standing {
            attempts: u32::try_from(self.due.attempts).unwrap_or(0),
            slow_count: self.slow_count,
            page_limit: self.page_limit,
            page_limit_min: kind.map_or(1, |kind| kind.page_limit_min),
            cursor_may_expire: self.may_restart && at.had_cursor,
        };
        let decision = decide(failure, standing, holder.back_off());
        holder.tell_failure(failure, &decision);
        let failed = Ended {
            error: Some(failure.to_string()),
            attempts: self.due.attempts + 1,
            next_at: Some(holder.now()),
            ..self.ended()
        };
        match decision {
            Decision::SmallerPage(page_limit) => {
                self.resize(page_limit).await?;
                self.slow_count = 0;
                Ok(Next::Again)
            }
            Decision::FullListing { wait_ms } => {
                let Some(tree) = &at.tree else { return Ok(Next::End(failed)) };
                let (tables, stream) = (Arc::clone(&tree.tables), self.stream.clone());
                let under = at.stand.under.clone();
                // The size was the lost cursor's; what made it small may be long over. First: a host that
                // dies between would read in full with the small one.
                self.resize(kind.map_or(self.page_limit, |kind| kind.page_limit)).await?;
                commit::drop_cursor(&tree.replication, under, tables, stream, at.version).await?;
                self.may_restart = false;
                let Some(wait_ms) = wait_ms else { return Ok(Next::Again) };
                Ok(Next::End(Ended { not_before: holder.later(wait_ms), ..failed }))
            }
            Decision::Wait { scope, wait_ms, least_ms, slow_count } => {
                let not_before = holder.not_before(wait_ms, least_ms);
                let failed = Ended { slow_count: i64::from(slow_count), ..failed };
                self.pause(scope, not_before, failure, failed).await
            }
            Decision::GrantDead => {
                let (lease, reason) = (holder.lease(), failure.to_string());
                streams::grant_is_dead(holder.control(), &lease, reason, holder.now()).await?;
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
        match scope {
            RetryScope::ThisStream => return Ok(Next::End(Ended { not_before, ..failed })),
            RetryScope::Owner => self.holder.pause_owner(not_before, failure).await?,
            RetryScope::Integration => self.holder.pause_tree(not_before).await?,
        }
        Ok(Next::End(failed))
    }

    /// Stored at once: to give the stream back says nothing of its pages, which an item that comes just
    /// then may have made large again.
    async fn resize(&self, page_limit: u32) -> Result<(), Error> {
        let (control, lease) = (self.holder.control(), self.holder.lease());
        streams::resize(control, &lease, self.due.id, self.page_limit, page_limit).await
    }

    pub(super) fn ended(&self) -> Ended {
        Ended { slow_count: i64::from(self.slow_count), at: self.holder.now(), ..Ended::default() }
    }

    pub(super) async fn put_back(&self, ended: Ended) -> Result<Run, Error> {
        let holder = self.holder;
        let outcome = match &ended {
            ended if ended.succeeded => "done",
            ended if ended.unreadable.is_some() => "unreadable",
            ended if ended.error.is_some() => "failed",
            _ => "interrupted",
        };
        holder.metrics().run(outcome);
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

fn micros(ms: u64) -> Micros {
    Micros::try_from(ms.saturating_mul(1000)).unwrap_or(Micros::MAX / 2)
}
