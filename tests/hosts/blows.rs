//! What hits hosts and server while they work.

use std::time::Duration;

use postgres_cluster::Cluster;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tests::TestHost;

use crate::posts::Doors;

/// Blows of a seed.
const BLOWS: usize = 3;
/// A blow falls after so many requests to the vendor, or when none comes any more.
const REQUESTS: std::ops::Range<u64> = 1..9;
const QUIET: Duration = Duration::from_millis(500);

/// What was hit.
#[derive(Debug, Default)]
pub(crate) struct Met {
    pub(crate) hosts_killed: u64,
    pub(crate) hosts_frozen: u64,
    pub(crate) server_ended: u64,
    pub(crate) cuts: u64,
}

#[derive(Clone, Copy, Debug)]
enum Blow {
    KillHost(usize),
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
    dead: Vec<usize>,
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
                0..4 => Blow::KillHost(host),
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
            self.hit(blow, met).await;
        }
    }

    async fn hit(&mut self, blow: Blow, met: &mut Met) {
        println!("  {blow:?}");
        match blow {
            // Somebody must be there to be posted to.
            Blow::KillHost(at) | Blow::FreezeHost(at) if self.spares(at) => {}
            Blow::KillHost(at) => {
                self.doors.set(at, None);
                self.hosts[at].kill().await;
                self.dead.push(at);
                met.hosts_killed += 1;
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
        self.dead.contains(&at) || self.frozen.contains(&at) || self.doors.open() < 2
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
        for at in std::mem::take(&mut self.dead) {
            self.hosts[at].restart().await;
        }
    }
}
