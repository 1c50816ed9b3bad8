//! A host that holds the owner: its inbox items in order, its streams side by side, interleaved as
//! the walk says. The same decisions as `run::Holder` and `run::StreamRun`, on the same store.

use rowgate::model::{Effects, OwnerChange};
use rowgate::store::commit::{self, CommitOf, StepCommit};
use rowgate::store::items::{self, InboxItem};
use rowgate::store::leases::{Lease, Planted};
use rowgate::store::streams::{self, DueStream};
use rowgate::store::{Database, Error, query_as};

use crate::disk;
use crate::host::Host;
use crate::page::PageRun;
use crate::rules::Rule;
use crate::vendor::account_row;
use crate::world::{Verb, World};

/// Streams that run side by side.
const STREAMS: u32 = 3;

/// See the module.
pub(crate) struct Holding {
    pub(crate) lease: Lease,
    pub(crate) generation: i64,
    pub(crate) grant_id: Option<i64>,
    /// A commit has been made whose messages are not told yet. Until they are, nothing else is
    /// done: the real holder keeps a lock.
    pub(crate) must_relay: bool,
    /// Counts committed items.
    pub(crate) received: u64,
    /// The generation has moved under running streams: they stop before their next call.
    pub(crate) interrupted: bool,
    /// No item was open at the last look, which was after the last other step.
    has_looked: bool,
    /// An item on its way through `receive`.
    called: Option<InboxItem>,
    runs: Vec<PageRun>,
    /// Which of them had the last turn; past their end: the inbox.
    turn: usize,
    /// One that ended as gone may have left itself taken.
    has_run: bool,
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
            called: None,
            runs: Vec::new(),
            turn: 0,
            has_run: false,
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
            host.relay(world, &mut self.lease).await?;
            self.must_relay = false;
            return Ok(true);
        }
        if let Some(at) = self.next_run(chance as usize) {
            let mut run = self.runs.remove(at);
            if run.step(self, host, world, chance / 64).await? {
                self.runs.insert(at, run);
            }
            self.has_looked = false;
            return Ok(true);
        }
        if let Some(item) = self.called.take() {
            self.commit_item(host, world, &item).await?;
            return Ok(true);
        }
        if !self.has_looked {
            self.look(host, world).await?;
            return Ok(true);
        }
        if self.interrupted {
            self.interrupted = false;
            self.runs.clear();
        }
        if std::mem::take(&mut self.has_run) {
            let lease = host.control_lease(world, &self.lease).await?;
            streams::put_back_all(world.control(host.index), &lease).await?;
            self.has_looked = false;
            return Ok(true);
        }
        self.take(host, world).await
    }

    /// Which stream goes on now; none: the inbox. Often what went on before, so that the others stand
    /// still for long, as a call does.
    fn next_run(&mut self, chance: usize) -> Option<usize> {
        let (choice, runs) = (chance / 2 % 32, self.runs.len());
        if chance.is_multiple_of(2) {
            self.turn = choice % (runs + 1);
        }
        let inbox_rests = self.has_looked && self.called.is_none() && !self.interrupted;
        match runs {
            0 => None,
            _ if self.turn < runs => Some(self.turn),
            _ if inbox_rests => Some(choice % runs),
            _ => None,
        }
    }

    /// Looks for an open item.
    async fn look(&mut self, host: &Host, world: &World) -> Result<(), Error> {
        let control = world.control(host.index);
        let owner_id = self.lease.owner_id;
        let item = match world.keeps(Rule::Order) {
            true => items::next_item(control, owner_id).await?,
            false => newest_item(control, owner_id).await?,
        };
        let Some(item) = item else {
            self.has_looked = true;
            return Ok(());
        };
        let asks = world.keeps(Rule::Applied);
        let replication = &world.replication[host.index];
        if asks && items::is_applied(replication, owner_id, item.id).await? {
            let lease = host.control_lease(world, &self.lease).await?;
            return items::mark_done(control, &lease, item.id, world.now()).await;
        }
        self.called = Some(item);
        Ok(())
    }

    async fn commit_item(
        &mut self,
        host: &Host,
        world: &mut World,
        item: &InboxItem,
    ) -> Result<(), Error> {
        let mut effects = Effects::default();
        let verb = world.verb(item.id);
        match verb {
            // Another account: nothing that was read of the old one holds.
            Verb::Link(_) => {
                effects.writes.push(account_row(item.id).into());
                effects.owner = vec![OwnerChange::Link, OwnerChange::Resync];
            }
            Verb::Refresh => {
                effects.writes.push(account_row(item.id).into());
                effects.owner = vec![OwnerChange::Link];
            }
            Verb::Unlink => effects.owner = vec![OwnerChange::Unlink],
            Verb::Resync => effects.owner = vec![OwnerChange::Resync],
        }
        let under = host.under(world, &self.lease, self.generation).await?;
        let effects = world.ready(&under, effects)?;
        let step = StepCommit {
            under,
            now: world.now(),
            tree: world.tree.clone(),
            step: CommitOf::Item { id: item.id, grants: item.grants },
            effects,
            read_at: None,
            stale_before: None,
        };
        let committed = commit::commit(&world.replication[host.index], step).await?;
        world.tell(format_args!("item {} {verb:?}: {committed:?}", item.id));
        world.apply(verb);
        self.interrupted |= committed.generation != self.generation;
        self.generation = committed.generation;
        self.grant_id = committed.grant_id;
        self.received += 1;
        self.must_relay = true;
        Ok(())
    }

    /// Takes streams that are due; false: there are none that may run.
    async fn take(&mut self, host: &Host, world: &World) -> Result<bool, Error> {
        let control = world.control(host.index);
        let pauses = streams::pauses(control, self.lease.owner_id).await?;
        if pauses.state != "linked" || pauses.owner_not_before > world.now() {
            return Ok(false);
        }
        let mut due = match world.keeps(Rule::Taken) && world.keeps(Rule::BackOff) {
            true => streams::due(control, &self.lease, world.now(), STREAMS).await?,
            false => due_all_the_same(world, &self.lease).await?,
        };
        // As in `run::next_streams`: a stream without a scope of its own runs alone.
        if let Some(alone) = due.iter().position(|due| due.service != "thing_v1") {
            due = vec![due.swap_remove(alone)];
        }
        if due.is_empty() {
            return Ok(false);
        }
        let ids: Vec<i64> = due.iter().map(|due| due.id).collect();
        let lease = host.control_lease(world, &self.lease).await?;
        match world.keeps(Rule::Take) {
            true => streams::take(control, &lease, ids).await?,
            false => mark_taken(world, &lease, ids).await?,
        }
        self.runs = due.into_iter().map(PageRun::new).collect();
        (self.has_run, self.has_looked) = (true, false);
        Ok(true)
    }
}

async fn newest_item(control: &Database, owner_id: i64) -> Result<Option<InboxItem>, Error> {
    let item = query_as(
        "select id, integration_id, received_at, method, path, query, headers, body,
                sealed <> '{}' as grants, attempts, not_before
         from inbox where owner_id = $1 and done_at is null order by id desc limit 1",
    );
    Ok(item.bind(owner_id).fetch_optional(control.readers()).await?)
}

/// What `streams::due` answers, without the condition that is switched off.
async fn due_all_the_same(world: &World, lease: &Lease) -> Result<Vec<DueStream>, Error> {
    let due = query_as(
        "select id, service, kind, key, page_limit, slow_count, attempts from streams
         where owner_id = $1 and (not_before <= $2 or $4)
           and ((taken is null and due_at <= $2) or (taken <> $3 and $5))
         order by coalesce(due_at, 0), id limit $6",
    )
    .bind(lease.owner_id)
    .bind(world.now())
    .bind(lease.fence)
    .bind(!world.keeps(Rule::BackOff))
    .bind(world.keeps(Rule::Taken))
    .bind(i64::from(STREAMS));
    Ok(due.fetch_all(world.control(0).readers()).await?)
}

/// What `streams::take` does, without clearing `due_at`.
async fn mark_taken(world: &World, lease: &Lease, ids: Vec<i64>) -> Result<(), Error> {
    let fence = lease.fence;
    let mark = |id| {
        format!(
            "update streams set taken = {fence} where id = {id}
               and exists (select 1 from owners where id = {{id}} and fence = {fence})"
        )
    };
    disk::run(world, world.control(0), ids.into_iter().map(mark).collect()).await
}
