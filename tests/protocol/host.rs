//! A host of the model: claims the owner, takes the lease up, gives it back. One micro-step at a
//! time, each at most one transaction, so that a walk can kill or freeze it at every edge.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rowgate::store::commit::{self, Under};
use rowgate::store::leases::{self, Lease, Planted};
use rowgate::store::{Error, relay};

use crate::disk;
use crate::holding::Holding;
use crate::rules::Rule;
use crate::walk::Met;
use crate::world::{LEASE_TTL, World};

/// Where a relay is cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dies {
    BeforeTelling,
    /// Told, but not taken out of the outbox.
    BeforeForgetting,
}

/// Where a host stands.
pub(crate) enum Phase {
    Idle,
    Plant(Lease),
    DriveAgain(Lease, Planted),
    Relay(Lease, Planted),
    Derive(Holding),
    Holding(Holding),
}

/// See the module.
pub(crate) struct Host {
    /// Which of the world's open databases it uses.
    pub(crate) index: usize,
    pub(crate) is_frozen: bool,
    /// It dies at its next relay.
    pub(crate) dies: Option<Dies>,
    /// Keeps the count of items received beside a call, as the real holder does. Where it does not,
    /// generation and cursor version alone must keep stale pages out.
    pub(crate) counts_received: bool,
    name: String,
    phase: Phase,
}

impl Host {
    pub(crate) fn new(index: usize, counts_received: bool) -> Self {
        let name = format!("host {index}");
        let (is_frozen, dies, phase) = (false, None, Phase::Idle);
        Self { index, is_frozen, dies, counts_received, name, phase }
    }

    /// Starts anew under another name, as a process that was killed.
    pub(crate) fn restart(&mut self) {
        let mut name = std::mem::take(&mut self.name);
        name.push('\'');
        *self = Self { name, ..Self::new(self.index, self.counts_received) };
    }

    /// A transaction lies behind it whose consequences it has not seen to: a kill here hurts.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Idle)
    }

    /// Extends its leases.
    pub(crate) async fn beat(&self, world: &World) -> Result<(), Error> {
        let until = world.now() + LEASE_TTL;
        leases::renew(world.control(self.index), &self.name, &[world.owner_id], until).await
    }

    /// One micro-step; false: there was nothing to do.
    pub(crate) async fn step(
        &mut self,
        world: &mut World,
        random: &mut ChaCha8Rng,
        met: &mut Met,
    ) -> Result<bool, Error> {
        met.micro_steps += 1;
        let dies = self.dies.filter(|_| self.relays_next());
        let left = match dies {
            None => None,
            Some(Dies::BeforeForgetting) => Some(disk::outbox(world).await?),
            Some(Dies::BeforeTelling) => {
                self.restart();
                return Ok(true);
            }
        };
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        let lease = match &phase {
            Phase::Idle => None,
            Phase::Plant(lease) | Phase::DriveAgain(lease, _) | Phase::Relay(lease, _) => {
                Some(lease.clone())
            }
            Phase::Derive(held) | Phase::Holding(held) => Some(held.lease.clone()),
        };
        match self.advance(phase, world, random).await {
            Ok(next) => self.phase = next,
            Err(Error::Superseded(what)) => {
                met.superseded += 1;
                world.tell(format_args!("{}: superseded: {what}", self.name));
                if let Some(lease) = &lease {
                    let lease = self.control_lease(world, lease).await?;
                    let at = world.now();
                    leases::abandon(world.control(self.index), &lease, at).await?;
                }
            }
            Err(error) => return Err(error),
        }
        if let Some(left) = left {
            disk::fill_outbox(world, left).await?;
            met.kills_in_relay += 1;
            world.tell(format_args!("{}: died in its relay", self.name));
            self.restart();
        }
        Ok(lease.is_some() || self.is_open())
    }

    async fn advance(
        &self,
        phase: Phase,
        world: &mut World,
        random: &mut ChaCha8Rng,
    ) -> Result<Phase, Error> {
        let control = world.control(self.index);
        let replication = &world.replication[self.index];
        Ok(match phase {
            Phase::Idle => {
                let lease = world.claim(self.index, &self.name).await?;
                if let Some(Lease { fence, unreleased, .. }) = &lease {
                    world.tell(format_args!("{}: claims {fence}, {unreleased}", self.name));
                }
                lease.map_or(Phase::Idle, Phase::Plant)
            }
            Phase::Plant(lease) => self.plant(world, lease).await?,
            Phase::DriveAgain(mut lease, planted) => {
                if planted.commit_no < lease.relayed_no && world.keeps(Rule::DriveAgain) {
                    let commit_no = planted.commit_no;
                    let now = world.now();
                    relay::drive_again(control, replication, &mut lease, commit_no, now, 0).await?;
                }
                Phase::Relay(lease, planted)
            }
            Phase::Relay(mut lease, planted) => {
                let tells = world.keeps(Rule::Relay) && world.keeps(Rule::Applied);
                if lease.unreleased && tells {
                    self.relay(world, &mut lease).await?;
                }
                Phase::Derive(Holding::new(lease, planted))
            }
            Phase::Derive(mut held) => {
                let under = self.under(world, &held.lease, held.generation).await?;
                let tree = world.tree.clone();
                held.must_relay = commit::derive_all(replication, under, tree, world.now()).await?;
                Phase::Holding(held)
            }
            Phase::Holding(mut held) => match held.step(self, world, random.random()).await? {
                true => Phase::Holding(held),
                false => {
                    let lease = self.control_lease(world, &held.lease).await?;
                    leases::release(world.control(self.index), &lease).await?;
                    Phase::Idle
                }
            },
        })
    }

    async fn plant(&self, world: &World, mut lease: Lease) -> Result<Phase, Error> {
        let (control, replication) = (world.control(self.index), &world.replication[self.index]);
        if !world.keeps(Rule::Lift) {
            let planted = disk::owner_row(world).await?;
            if planted.is_some_and(|(fence, _)| fence >= lease.fence) {
                return Err(Error::Superseded("refused, and not lifted"));
            }
        }
        let planted = match leases::plant(control, replication, &mut lease).await {
            Err(Error::Superseded(_)) if !world.keeps(Rule::Fence) => disk::planted(world).await?,
            planted => planted?,
        };
        Ok(Phase::DriveAgain(lease, planted))
    }

    fn relays_next(&self) -> bool {
        match &self.phase {
            Phase::Relay(lease, _) => lease.unreleased,
            Phase::Holding(held) => held.must_relay,
            _ => false,
        }
    }

    pub(crate) async fn relay(&self, world: &World, lease: &mut Lease) -> Result<(), Error> {
        let (control, replication) = (world.control(self.index), &world.replication[self.index]);
        let mut told = self.control_lease(world, lease).await?;
        relay::relay(control, replication, &mut told, world.now()).await?;
        lease.relayed_no = told.relayed_no;
        world.tell(format_args!("{}: relayed to {}", self.name, lease.relayed_no));
        Ok(())
    }

    /// Under what a call that saw this generation is committed.
    pub(crate) async fn under(
        &self,
        world: &World,
        lease: &Lease,
        generation: i64,
    ) -> Result<Under, Error> {
        let mut under = Under {
            owner_id: lease.owner_id,
            external_owner_id: Some(world.external_owner_id.clone()),
            fence: lease.fence,
            generation,
        };
        if !(world.keeps(Rule::Fence) && world.keeps(Rule::Generation)) {
            let row = disk::owner_row(world).await?;
            let (fence, generation) = row.unwrap_or((under.fence, under.generation));
            match world.keeps(Rule::Fence) {
                true => under.generation = generation,
                false => under.fence = fence,
            }
        }
        Ok(under)
    }

    /// The lease as control writes name it.
    pub(crate) async fn control_lease(&self, world: &World, lease: &Lease) -> Result<Lease, Error> {
        let fence = match world.keeps(Rule::ControlFence) {
            true => lease.fence,
            false => disk::control_fence(world).await?,
        };
        Ok(Lease { fence, ..lease.clone() })
    }
}
