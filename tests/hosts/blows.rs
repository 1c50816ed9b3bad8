//! What hits hosts and server while they work.

use std::time::Duration;

use postgres_cluster::{Client, Cluster};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tests::TestHost;

use crate::posts::Doors;

/// Blows of a seed.
const BLOWS: usize = 4;
/// A blow falls after so many requests to the vendor, or when none comes any more.
const REQUESTS: std::ops::Range<u64> = 1..9;
const QUIET: Duration = Duration::from_millis(500);
/// A dead host is started again when so many blows more are about to fall.
const DEAD_FOR: std::ops::Range<usize> = 1..3;

/// What was hit.
#[derive(Debug, Default)]
pub(crate) struct Met {
    pub(crate) hosts_killed: u64,
    /// Those that had a step begun and not ended.
    pub(crate) open_steps: u64,
    /// Dead hosts that were started again while the others worked and blows fell.
    pub(crate) hosts_started: u64,
    pub(crate) hosts_frozen: u64,
    pub(crate) server_ended: u64,
    pub(crate) cuts: u64,
    /// Requests that the vendor failed.
    pub(crate) faults: u64,
    /// Owners with a post that was not answered in time.
    pub(crate) in_doubt: u64,
}

#[derive(Clone, Copy, Debug)]
enum Blow {
    /// One that has a step open; none has: this one.
    KillHost {
        at: usize,
        dead_for: usize,
    },
    FreezeHost(usize),
    KillServer,
    CrashServer,
    CutConnections,
}

/// The blows of a seed, and whom they hit.
pub(crate) struct Blows<'a> {
    hosts: &'a mut [TestHost],
    doors: &'a Doors,
    planned: Vec<(u64, Blow)>,
    /// And for how many blows more.
    dead: Vec<(usize, usize)>,
    frozen: Vec<usize>,
}

impl<'a> Blows<'a> {
    pub(crate) fn new(
        hosts: &'a mut [TestHost],
        doors: &'a Doors,
        random: &mut ChaCha8Rng,
    ) -> Self {
        let mut blow = || {
            let host = random.random_range(0..hosts.len());
            let blow = match random.random_range(0..10) {
                0..4 => Blow::KillHost { at: host, dead_for: random.random_range(DEAD_FOR) },
                4..6 => Blow::FreezeHost(host),
                6 => Blow::KillServer,
                7 => Blow::CrashServer,
                _ => Blow::CutConnections,
            };
            (random.random_range(REQUESTS), blow)
        };
        let planned = (0..BLOWS).map(|_| blow()).collect();
        Self { hosts, doors, planned, dead: Vec::new(), frozen: Vec::new() }
    }

    pub(crate) async fn fall(&mut self, met: &mut Met) {
        for (requests, blow) in std::mem::take(&mut self.planned) {
            let simulator = &self.hosts[0].simulator;
            let last = simulator.requests().last().map_or(0, |seen| seen.number);
            let moment = simulator.await_request(|seen| seen.number >= last + requests);
            // That none comes is as good a moment.
            let _ = tokio::time::timeout(QUIET, moment).await;
            self.start_dead(met).await;
            self.hit(blow, met).await;
        }
    }

    /// Starts the dead hosts whose time has come.
    async fn start_dead(&mut self, met: &mut Met) {
        for (at, dead_for) in std::mem::take(&mut self.dead) {
            if dead_for > 1 {
                self.dead.push((at, dead_for - 1));
                continue;
            }
            println!("  host {at} starts again");
            self.hosts[at].restart().await;
            self.doors.set(at, Some(self.hosts[at].base_url()));
            met.hosts_started += 1;
        }
    }

    async fn hit(&mut self, blow: Blow, met: &mut Met) {
        println!("  {blow:?}");
        match blow {
            // Somebody must be there to be posted to.
            Blow::KillHost { at, .. } | Blow::FreezeHost(at) if self.spares(at) => {}
            Blow::KillHost { at, dead_for } => {
                let at = self.at_work(at).await;
                self.doors.set(at, None);
                let pid = self.hosts[at].pid();
                self.hosts[at].kill().await;
                self.dead.push((at, dead_for));
                met.hosts_killed += 1;
                met.open_steps += u64::from(has_open_step(&mut self.control(), pid));
            }
            Blow::FreezeHost(at) => {
                self.doors.set(at, None);
                self.hosts[at].freeze().await;
                self.frozen.push(at);
                met.hosts_frozen += 1;
            }
            Blow::KillServer => self.end_server(Cluster::kill, met),
            Blow::CrashServer => self.end_server(Cluster::crash, met),
            Blow::CutConnections => {
                let database = self.hosts[0].database().expect("they share one");
                database.cut_connections().expect("the server runs");
                Cluster::shared()
                    .cut_connections(&format!("{}_data", database.name()))
                    .expect("the server runs");
                met.cuts += 1;
            }
        }
    }

    fn spares(&self, at: usize) -> bool {
        self.is_down(at) || self.doors.open() < 2
    }

    fn is_down(&self, at: usize) -> bool {
        self.frozen.contains(&at) || self.dead.iter().any(|(dead, _)| *dead == at)
    }

    /// The next host that has a step open; this one, where none has for a while.
    async fn at_work(&self, at: usize) -> usize {
        let (count, mut control) = (self.hosts.len(), self.control());
        let looked = async {
            loop {
                let hosts = (0..count).map(|next| (at + next) % count);
                let mut hosts = hosts.filter(|at| !self.is_down(*at));
                let found = hosts.find(|at| has_open_step(&mut control, self.hosts[*at].pid()));
                if let Some(found) = found {
                    return found;
                }
                // Who asks without waiting would never be timed out.
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(QUIET, looked).await.unwrap_or(at)
    }

    fn control(&self) -> Client {
        let database = self.hosts[0].database().expect("they share one");
        tokio::task::block_in_place(|| database.connect().expect("the server runs"))
    }

    fn end_server(&self, end: fn(&Cluster) -> anyhow::Result<()>, met: &mut Met) {
        tokio::task::block_in_place(|| {
            end(Cluster::shared()).expect("the server runs");
            Cluster::shared().start_again().expect("it recovers");
        });
        met.server_ended += 1;
    }

    /// Lets everybody go on.
    pub(crate) async fn mend(mut self) {
        for at in std::mem::take(&mut self.frozen) {
            self.hosts[at].thaw().await;
        }
        for (at, _) in std::mem::take(&mut self.dead) {
            self.hosts[at].restart().await;
        }
    }
}

/// Whether this process, there or dead, holds an owner with an inbox item that isn't done, or with a
/// stream that it took and didn't put back. A host's name begins with its process.
fn has_open_step(control: &mut Client, pid: u32) -> bool {
    let open = format!(
        "select exists (select 1 from owners o where o.lease_host like '{pid}-%' and (
           exists (select 1 from streams s where s.owner_id = o.id and s.taken = o.fence)
           or exists (select 1 from inbox i where i.owner_id = o.id and i.done_at is null
                        and not i.parked)))"
    );
    let open = tokio::task::block_in_place(|| control.value(&open));
    open.expect("the schema of the control database") == "t"
}
