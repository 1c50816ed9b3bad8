//! Who comes when, on the real store under a clock that the tests move.

use std::sync::atomic::Ordering;

use super::*;
use crate::store::fixture::{self, Opened, on_both};
use crate::store::{Dialect, Store};

on_both! {
    a_single_owner_waits_for_one_step, a_free_worker_is_the_single_owners,
    who_claims_anew_is_the_holder, at_its_cap_nobody_is_asked_for_all_the_time,
    at_its_cap_nobody_is_made_way_for
}

#[test]
fn who_has_fewest_runs_comes_first() {
    let runs = HashMap::from([(1, 3), (2, 1)]);
    for (ready, turn) in [
        (vec![], None),
        (vec![1], Some(0)),
        (vec![1, 2], Some(1)),
        (vec![2, 1, 3], Some(2)),
        (vec![4, 3], Some(0)),
    ] {
        assert_eq!(next_turn(&ready, &runs), turn, "{ready:?}");
    }
}

#[test]
fn the_largest_gives_way_to_who_has_nothing() {
    for (ready, runs, gives_way) in [
        (vec![2], vec![(1, 8)], Some(1)),
        (vec![1], vec![(1, 8)], None),
        (vec![1, 2], vec![(1, 7), (2, 1)], None),
        (vec![3], vec![(1, 6), (2, 2)], Some(1)),
        (vec![3], vec![(1, 1), (2, 1)], None),
        (vec![3], vec![], None),
    ] {
        assert_eq!(who_gives_way(&ready, &runs.into_iter().collect()), gives_way, "{ready:?}");
    }
}

#[test]
fn what_can_not_be_claimed_is_left_alone_for_a_moment() {
    const POLL: Micros = 1_050_000;
    for (next, again) in [
        (None, POLL),
        (Some(2_000_000), POLL),
        (Some(1_000_000), 1_000_000),
        // Due since we asked.
        (Some(50_001), 50_001),
        (Some(50_000), 50_000 + BUSY_PAUSE),
        (Some(0), 50_000 + BUSY_PAUSE),
    ] {
        assert_eq!(look_again_at(next, 50_000, POLL), again, "{next:?}");
    }
    assert_eq!(look_again_at(Some(0), 50_000, 50_001), 50_001, "polled more often");
}

/// Due owners of the large organization, each with one stream.
const CROWD: i64 = 100_000;
const WORKERS: usize = 8;
/// What a page takes.
const STEP: Duration = Duration::from_millis(50);

/// In parts: a session's statement may not last long.
const PART: usize = 10_000;

/// A crowd that is due in the organization `default`, one owner that isn't in `small`.
async fn fill(store: &Store, crowd: i64) {
    let alone = "insert into owners (organization_id, root_id, external_owner_id, state)
         select id, 'svi_1', 'alone', 'linked' from organizations where key = 'small'";
    fixture::run(store, alone.to_owned()).await;
    for first in (0..crowd).step_by(PART) {
        let end = crowd.min(first + PART as i64);
        let crowd = format!(
            "with recursive crowd (n) as (
               select {first} union all select n + 1 from crowd where n + 1 < {end}
             )
             insert into owners (organization_id, root_id, external_owner_id, state, due_at)
             select o.id, 'svi_1', 'one of many ' || n, 'linked', n
             from crowd, organizations o where o.key = 'default'"
        );
        fixture::run(store, crowd).await;
        let streams = "insert into streams (owner_id, service, kind, key, due_at, page_limit)
             select id, 's', 'k', '', due_at, 1 from owners
             where id > (select coalesce(max(owner_id), 0) from streams)";
        fixture::run(store, streams.to_owned()).await;
    }
}

/// A host of which only the claiming is real: its runs go on until they are told to give way.
struct Host {
    store: Opened,
    clock: Clock,
    wake: Wake,
    turns: Turns,
    options: ScheduleOptions,
    runs: Vec<(Lease, Arc<Signals>)>,
}

impl Host {
    /// Beside a large organization with a crowd that is due, and a small one with one owner that isn't.
    async fn new(dialect: Dialect) -> Self {
        Self::beside(dialect, CROWD).await
    }

    async fn beside(dialect: Dialect, crowd: i64) -> Self {
        let clock = Clock::simulated(1_000_000_000);
        let store = fixture::open(dialect, clock.clone()).await;
        fixture::root(&store, "svi_1").await;
        store.create_organization("small").await.unwrap();
        fill(&store, crowd).await;
        let claimant = Claimant {
            host: "host".to_owned(),
            ttl: 3_600_000_000,
            organization_leases_max: WORKERS as i64,
        };
        let (poll, drain_max) = (Duration::from_secs(1), Duration::ZERO);
        let options = ScheduleOptions { claimant, workers: WORKERS, poll, drain_max };
        let (wake, turns, runs) = Default::default();
        Self { store, clock, wake, turns, options, runs }
    }

    /// The owner of the small organization is due, now.
    async fn alone_is_due(&self) {
        let now = self.clock.now();
        let due = "where external_owner_id = 'alone'";
        fixture::run(
            &self.store,
            format!(
                "update owners set due_at = {now} {due};
                 update streams set due_at = {now}
                 where owner_id = (select id from owners {due})"
            ),
        )
        .await;
    }

    /// As the scheduler does when it is woken: free workers claim; if there is none, somebody is told
    /// to give way.
    async fn look(&mut self) {
        let (control, by) = (self.store.control().clone(), &self.options.claimant);
        while self.runs.len() < WORKERS {
            let claimed = self.turns.claim(&control, &self.clock, &self.wake, by).await;
            let Some(lease) = claimed.unwrap() else { return };
            let signals = self.wake.hold(&lease);
            self.runs.push((lease, signals));
        }
        self.turns.make_way(&control, &self.clock, &self.wake, by).await;
    }

    /// Another host takes all leases that the organization may have.
    async fn taken_elsewhere(&self, organization: &str) -> Vec<Lease> {
        let organization = self.store.organization(organization).await.unwrap().id;
        let by = Claimant { host: "elsewhere".to_owned(), ..self.options.claimant.clone() };
        let (control, now) = (self.store.control(), self.clock.now());
        let mut taken = Vec::new();
        while let Some(lease) = leases::claim(control, &by, organization, now).await.unwrap() {
            taken.push(lease);
        }
        assert_eq!(taken.len(), WORKERS, "more are due");
        taken
    }

    fn giving_way(&self) -> usize {
        self.runs.iter().filter(|(_, signals)| signals.give_way.load(Ordering::Acquire)).count()
    }

    /// Every worker makes one step. Who gives way ends with it, and is due again at once.
    async fn step(&mut self) {
        self.clock.advance(STEP);
        let (ending, going): (Vec<_>, Vec<_>) = std::mem::take(&mut self.runs)
            .into_iter()
            .partition(|(_, signals)| signals.give_way.load(Ordering::Acquire));
        self.runs = going;
        for (lease, signals) in ending {
            leases::release(self.store.control(), &lease).await.unwrap();
            self.wake.let_go(lease.owner_id, &signals);
        }
    }

    fn alone_runs(&self) -> bool {
        self.runs.iter().any(|(lease, _)| lease.external_owner_id == "alone")
    }

    /// The single owner has done what was due.
    async fn alone_ends(&mut self) {
        let at = self.runs.iter().position(|(lease, _)| lease.external_owner_id == "alone");
        let (lease, signals) = self.runs.remove(at.unwrap());
        let rests = "update streams set due_at = null where owner_id =
                       (select id from owners where external_owner_id = 'alone')";
        fixture::run(&self.store, rests.to_owned()).await;
        leases::release(self.store.control(), &lease).await.unwrap();
        self.wake.let_go(lease.owner_id, &signals);
    }
}

/// All workers run owners of the large organization, of whom none ever ends.
async fn a_single_owner_waits_for_one_step(dialect: Dialect) {
    let mut host = Host::new(dialect).await;
    host.look().await;
    assert_eq!((host.runs.len(), host.alone_runs()), (WORKERS, false));
    for round in 0..20 {
        host.alone_is_due().await;
        // What was accepted wakes the scheduler.
        host.look().await;
        assert!(!host.alone_runs(), "round {round}: no worker is free");
        host.step().await;
        host.look().await;
        assert!(host.alone_runs(), "round {round}: it waits for more than a step");
        assert_eq!(host.runs.len(), WORKERS, "round {round}: nobody else has to go");
        host.alone_ends().await;
        // A free worker is the crowd's again.
        host.look().await;
        assert_eq!((host.runs.len(), host.alone_runs()), (WORKERS, false), "round {round}");
    }
}

/// A worker that is free goes to whoever has none, however long the others have waited.
async fn a_free_worker_is_the_single_owners(dialect: Dialect) {
    let mut host = Host::new(dialect).await;
    host.alone_is_due().await;
    host.look().await;
    assert!(host.alone_runs());
    assert_eq!(host.runs.len(), WORKERS);
    // Among the first two: whose turn it is first is no matter.
    let at = host.runs.iter().position(|(lease, _)| lease.external_owner_id == "alone");
    assert!(at.unwrap() < 2, "{at:?}");
}

/// The host stood still for longer than its lease lived, and claims the owner that a run of its own
/// still has: when that one ends, the new one's lease goes on being renewed.
async fn who_claims_anew_is_the_holder(dialect: Dialect) {
    let mut host = Host::new(dialect).await;
    host.look().await;
    let (lease, before) = host.runs.pop().unwrap();
    let anew = host.wake.hold(&lease);
    host.wake.let_go(lease.owner_id, &before);
    assert!(host.wake.holders().contains_key(&lease.owner_id));
    host.wake.let_go(lease.owner_id, &anew);
    assert!(!host.wake.holders().contains_key(&lease.owner_id));
}

/// The organization has more that is due, all workers here are free, and it may have no further lease.
async fn at_its_cap_nobody_is_asked_for_all_the_time(dialect: Dialect) {
    let mut host = Host::beside(dialect, 2 * WORKERS as i64).await;
    let mut taken = host.taken_elsewhere("default").await;
    let end = host.clock.now() + 10_000_000;
    let mut looks = 0;
    while host.clock.now() < end {
        let looked_at = host.clock.now();
        host.look().await;
        assert!(host.runs.is_empty());
        looks += 1;
        assert!(looks <= 10, "more often than it polls");
        let next = next_look(host.store.control(), &host.clock, &host.options, looked_at).await;
        host.clock.advance(Duration::from_micros((next - looked_at).unsigned_abs()));
    }
    // One is given back; and one's holder has died.
    leases::release(host.store.control(), &taken.remove(0)).await.unwrap();
    host.look().await;
    assert_eq!(host.runs.len(), 1);
    let runs_out = format!(
        "update owners set lease_until = {} where id = {}",
        host.clock.now() + 20_000,
        taken[0].owner_id
    );
    fixture::run(&host.store, runs_out).await;
    let looked_at = host.clock.now();
    let next = next_look(host.store.control(), &host.clock, &host.options, looked_at).await;
    assert_eq!(next, looked_at + 20_000);
    host.clock.advance(Duration::from_millis(20));
    host.look().await;
    assert_eq!(host.runs.len(), 2);
}

/// All workers run owners of one organization. What is due of the other one could not be claimed anyway.
async fn at_its_cap_nobody_is_made_way_for(dialect: Dialect) {
    let mut host = Host::beside(dialect, 2 * WORKERS as i64).await;
    let others = format!(
        "with recursive others (n) as (select 1 union all select n + 1 from others where n < {WORKERS})
         insert into owners (organization_id, root_id, external_owner_id, state, due_at)
         select o.id, 'svi_1', 'other ' || n, 'linked', 0
         from others, organizations o where o.key = 'small'"
    );
    fixture::run(&host.store, others).await;
    host.alone_is_due().await;
    let taken = host.taken_elsewhere("small").await;
    host.look().await;
    assert_eq!((host.runs.len(), host.giving_way()), (WORKERS, 0));
    leases::release(host.store.control(), &taken[0]).await.unwrap();
    host.look().await;
    assert_eq!(host.giving_way(), 1, "now it could");
}

/// Somebody writes an item of the only owner that is due.
#[tokio::test]
async fn who_is_locked_is_asked_for_after_a_moment() {
    let mut host = Host::beside(Dialect::Postgres, 0).await;
    host.alone_is_due().await;
    let lock = "update owners set due_at = due_at where external_owner_id = 'alone'";
    let accepting = fixture::begin(host.store.control(), lock).await;
    let looked_at = host.clock.now();
    host.look().await;
    assert!(host.runs.is_empty());
    let next = next_look(host.store.control(), &host.clock, &host.options, looked_at).await;
    assert_eq!(next, looked_at + BUSY_PAUSE);
    accepting.commit("").await;
    host.look().await;
    assert!(host.alone_runs());
}
