//! Who comes when, on the real store under a clock that the tests move.

use std::sync::atomic::Ordering;

use super::*;
use crate::store::fixture::{self, Opened, on_both};
use crate::store::{Dialect, Store};

on_both! {
    a_single_owner_waits_for_one_step, a_free_worker_is_the_single_owners,
    who_claims_anew_is_the_holder
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

/// Due owners of the large organization, each with one stream.
const CROWD: i64 = 100_000;
const WORKERS: usize = 8;
/// What a page takes.
const STEP: Duration = Duration::from_millis(50);

/// In parts: a session's statement may not last long.
const PARTS: i64 = 10;

/// A crowd that is due in the organization `default`, one owner that isn't in `small`.
async fn fill(store: &Store) {
    let alone = "insert into owners (organization_id, root_id, external_owner_id, state)
         select id, 'svi_1', 'alone', 'linked' from organizations where key = 'small'";
    fixture::run(store, alone.to_owned()).await;
    let part = CROWD / PARTS;
    for first in (0..CROWD).step_by(usize::try_from(part).unwrap()) {
        let crowd = format!(
            "with recursive crowd (n) as (
               select {first} union all select n + 1 from crowd where n + 1 < {first} + {part}
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
    claimant: Claimant,
    runs: Vec<(Lease, Arc<Signals>)>,
}

impl Host {
    /// Beside a large organization with a crowd that is due, and a small one with one owner that isn't.
    async fn new(dialect: Dialect) -> Self {
        let clock = Clock::simulated(1_000_000_000);
        let store = fixture::open(dialect, clock.clone()).await;
        fixture::root(&store, "svi_1").await;
        store.create_organization("small").await.unwrap();
        fill(&store).await;
        let claimant = Claimant {
            host: "host".to_owned(),
            ttl: 3_600_000_000,
            organization_leases_max: WORKERS as i64,
        };
        let (wake, turns, runs) = Default::default();
        Self { store, clock, wake, turns, claimant, runs }
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
        let control = self.store.control().clone();
        while self.runs.len() < WORKERS {
            let claimed = self.turns.claim(&control, &self.clock, &self.wake, &self.claimant).await;
            let Some(lease) = claimed.unwrap() else { return };
            let signals = self.wake.hold(&lease);
            self.runs.push((lease, signals));
        }
        self.turns.make_way(&control, &self.clock, &self.wake).await;
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
