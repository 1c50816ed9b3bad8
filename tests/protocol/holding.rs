//! A host that holds the owner: its inbox items in order, its streams side by side, interleaved as
//! the walk says. The same decisions as `run::Holder` and `run::StreamRun`, on the same store.

use rowgate::model::{Effects, OwnerChange};
use rowgate::store::commit::{self, CommitOf, StepCommit, Under};
use rowgate::store::items::{self, InboxItem};
use rowgate::store::leases::{Lease, Planted};
use rowgate::store::{Error, relay, streams};

use crate::host::{Broken, Host, owner_row};
use crate::page::PageRun;
use crate::vendor::account_row;
use crate::world::{Verb, World};

/// See the module.
pub(crate) struct Holding {
    pub(crate) lease: Lease,
    pub(crate) generation: i64,
    pub(crate) grant_id: Option<i64>,
    /// A commit has been made whose messages are not told yet.
    pub(crate) must_relay: bool,
    /// Counts committed items.
    pub(crate) received: u64,
    /// The generation has moved under running streams.
    interrupted: bool,
    /// No item was open at the last look, which was after the last other step.
    has_looked: bool,
    receiving: Option<Receiving>,
    pub(crate) runs: Vec<PageRun>,
}

/// An item on its way through `receive`.
enum Receiving {
    Called {
        item: InboxItem,
        generation: i64,
    },
    /// Other calls wait until its messages are told.
    Committed,
}

impl Holding {
    pub(crate) fn new(lease: Lease, planted: Planted) -> Self {
        Self {
            lease,
            generation: planted.generation,
            grant_id: planted.grant_id,
            must_relay: false,
            received: 0,
            interrupted: false,
            has_looked: false,
            receiving: None,
            runs: Vec::new(),
        }
    }

    /// One micro-step, which of the possible ones `chance` says; false: the lease can be released.
    pub(crate) async fn step(
        &mut self,
        host: &Host,
        world: &mut World,
        chance: u32,
    ) -> Result<bool, Error> {
        if self.must_relay {
            self.relay(host, world).await?;
            return Ok(true);
        }
        if matches!(self.receiving, Some(Receiving::Committed)) {
            self.receiving = None;
        }
        let actors = self.runs.len() + 1;
        let actor = chance as usize % actors;
        if actor < self.runs.len() {
            let mut run = self.runs.swap_remove(actor);
            if run.step(self, host, world, chance / 8).await? {
                self.runs.push(run);
            }
            self.has_looked = false;
            return Ok(true);
        }
        if !self.has_looked || self.receiving.is_some() {
            self.receive(host, world).await?;
            return Ok(true);
        }
        if self.interrupted {
            self.interrupted = false;
            self.runs.clear();
        }
        if !self.runs.is_empty() {
            self.has_looked = false;
            return Ok(true);
        }
        streams::put_back_all(world.control(host.index), &self.lease).await?;
        self.take(host, world).await
    }

    async fn relay(&mut self, host: &Host, world: &World) -> Result<(), Error> {
        let control = world.control(host.index);
        let replication = &world.replication[host.index];
        relay::relay(control, replication, &mut self.lease, world.now()).await?;
        self.must_relay = false;
        Ok(())
    }

    /// Looks for an item, or commits the one that was called.
    async fn receive(&mut self, host: &Host, world: &mut World) -> Result<(), Error> {
        let control = world.control(host.index);
        let replication = &world.replication[host.index];
        let owner_id = self.lease.owner_id;
        match self.receiving.take() {
            Some(Receiving::Called { item, generation }) => {
                self.commit_item(host, world, &item, generation).await?;
                self.receiving = Some(Receiving::Committed);
            }
            _ => {
                let Some(item) = items::next_item(control, owner_id).await? else {
                    self.has_looked = true;
                    return Ok(());
                };
                let ignores = host.broken == Some(Broken::Applied);
                if !ignores && items::is_applied(replication, owner_id, item.id).await? {
                    return items::mark_done(control, item.id, world.now()).await;
                }
                self.receiving = Some(Receiving::Called { item, generation: self.generation });
            }
        }
        Ok(())
    }

    async fn commit_item(
        &mut self,
        host: &Host,
        world: &World,
        item: &InboxItem,
        generation: i64,
    ) -> Result<(), Error> {
        let mut effects = Effects::default();
        match world.verb(item.id) {
            // Another account: nothing that was read of the old one holds.
            Verb::Link(_) => {
                effects.writes.push(account_row(item.id));
                effects.owner = vec![OwnerChange::Link, OwnerChange::Resync];
            }
            Verb::Refresh => {
                effects.writes.push(account_row(item.id));
                effects.owner = vec![OwnerChange::Link];
            }
            Verb::Unlink => effects.owner = vec![OwnerChange::Unlink],
            Verb::Resync => effects.owner = vec![OwnerChange::Resync],
        }
        let step = StepCommit {
            under: self.under(host, world, generation).await?,
            now: world.now(),
            tree: world.tree.clone(),
            step: CommitOf::Item { id: item.id, grants: item.sealed != "{}" },
            effects,
            read_at: None,
        };
        let committed = commit::commit(&world.replication[host.index], step).await?;
        self.interrupted |= committed.generation != self.generation;
        self.generation = committed.generation;
        self.grant_id = committed.grant_id;
        self.received += 1;
        self.must_relay = true;
        Ok(())
    }

    /// Under what a call that saw this generation is committed.
    pub(crate) async fn under(
        &self,
        host: &Host,
        world: &World,
        generation: i64,
    ) -> Result<Under, Error> {
        let generation = match host.broken {
            Some(Broken::Generation) => owner_row(world).await?.1,
            _ => generation,
        };
        Ok(Under {
            owner_id: self.lease.owner_id,
            external_owner_id: world.external_owner_id.clone(),
            fence: host.fence(world, &self.lease).await?,
            generation,
        })
    }

    /// Takes streams that are due; false: there are none that may run.
    async fn take(&mut self, host: &Host, world: &World) -> Result<bool, Error> {
        let control = world.control(host.index);
        let pauses = streams::pauses(control, self.lease.owner_id).await?;
        if pauses.state != "linked" || pauses.owner_not_before > world.now() {
            return Ok(false);
        }
        let mut due = streams::due(control, &self.lease, world.now(), 3).await?;
        // As in `run::next_streams`: a stream without a scope of its own runs alone.
        if let Some(alone) = due.iter().position(|due| due.service != "thing_v1") {
            due = vec![due.swap_remove(alone)];
        }
        if due.is_empty() {
            return Ok(false);
        }
        let ids: Vec<i64> = due.iter().map(|due| due.id).collect();
        match host.broken {
            Some(Broken::Take) => mark_taken(world, &self.lease, ids).await?,
            _ => streams::take(control, &self.lease, ids).await?,
        }
        self.runs = due.into_iter().map(PageRun::new).collect();
        self.has_looked = false;
        Ok(true)
    }
}

/// What `streams::take` does, without clearing `due_at`.
async fn mark_taken(world: &World, lease: &Lease, ids: Vec<i64>) -> Result<(), Error> {
    let fence = lease.fence;
    world
        .control(0)
        .write(move |connection| {
            Box::pin(async move {
                for id in ids {
                    sqlx::query("update streams set taken = $1 where id = $2")
                        .bind(fence)
                        .bind(id)
                        .execute(&mut *connection)
                        .await?;
                }
                Ok(())
            })
        })
        .await
}
