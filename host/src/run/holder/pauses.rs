//! What holds an owner's streams back, and what lifts that.

use std::sync::atomic::Ordering;

use super::Holder;
use crate::model::{Failure, Micros};
use crate::run::tree::Tree;
use crate::store::{Error, streams};

impl Holder {
    /// A call has succeeded: clears failure counts and marks, if there are any.
    pub(in crate::run) async fn works(&self, tree: &Tree) -> Result<(), Error> {
        if !self.clear_on_success.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        streams::owner_works(self.control(), &self.lease()).await?;
        tracing::debug!(services = tree.integrations.len(), "the tree works");
        streams::tree_works(self.control(), &self.lease().root_id).await
    }

    /// May streams of the owner run now? While its tree is misconfigured, one owner probes.
    pub(in crate::run) async fn may_run(&self) -> Result<bool, Error> {
        let pauses = streams::pauses(self.control(), self.owner_id()).await?;
        let now = self.now();
        let paused = pauses.owner_not_before > now || pauses.tree_not_before > now;
        if pauses.state != "linked" || pauses.ended || paused {
            return Ok(false);
        }
        let broken = pauses.misconfigured.is_some();
        self.clear_on_success.store(broken || pauses.attempts > 0, Ordering::Release);
        if !broken {
            return Ok(true);
        }
        let next = self.later(self.back_off().max_ms);
        streams::probe_tree(self.control(), &self.lease().root_id, now, next).await
    }

    /// The vendor asked for a pause: nobody asks it for this owner until then.
    pub(in crate::run) async fn pause_owner(
        &self,
        until: Micros,
        failure: &Failure,
    ) -> Result<(), Error> {
        self.runner.egress.pause_owner(self.owner_id(), until);
        streams::pause_owner(self.control(), &self.lease(), until, failure.to_string()).await
    }

    /// The same for all owners of the tree, on all hosts.
    pub(in crate::run) async fn pause_tree(&self, until: Micros) -> Result<(), Error> {
        let root_id = self.lease().root_id;
        self.runner.egress.pause_tree(&root_id, until);
        streams::pause_tree(self.control(), &root_id, until).await?;
        self.runner.store.tell_hosts_of_pause(&root_id, until);
        Ok(())
    }

    pub(in crate::run) async fn misconfigured(&self, failure: &Failure) -> Result<(), Error> {
        let (lease, not_before) = (self.lease(), self.later(self.back_off().max_ms));
        let reason = failure.to_string();
        // This owner rests longer than the tree, so that others probe.
        let rest = self.later(self.back_off().max_ms * 8);
        streams::pause_owner(self.control(), &lease, rest, reason.clone()).await?;
        let (control, now) = (self.control(), self.now());
        streams::tree_is_misconfigured(control, &lease.root_id, not_before, reason, now).await
    }
}
