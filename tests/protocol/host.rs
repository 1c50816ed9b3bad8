//! A host of the model: claims the owner, takes the lease up, gives it back. One micro-step at a
//! time, each at most one transaction, so that a walk can kill or freeze it at every edge.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rowgate::store::commit::{self, Under};
use rowgate::store::leases::{self, Lease, Planted};
use rowgate::store::{Error, relay};

use crate::holding::Holding;
use crate::world::{LEASE_TTL, World};

/// A rule of the protocols that a host may break, to show that the model notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// R1: a refused fence is ignored, commits go out under whatever fence the database has.
    Fence,
    /// R2: the generation is read at the commit, not before the call.
    Generation,
    /// R3: the cursor's version is read at the commit, not before the call.
    CursorVersion,
    /// R4: what a dead holder left untold is not told.
    Relay,
    /// R4: the same, and what is applied already is not asked for.
    Applied,
    /// R6: `due_at` is cleared after the vendor was read.
    Take,
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
    pub(crate) name: String,
    pub(crate) phase: Phase,
    pub(crate) is_frozen: bool,
    pub(crate) broken: Option<Broken>,
    /// Keeps the count of items received beside a call, as the real holder does. Where it does not,
    /// generation and cursor version alone must keep stale pages out.
    pub(crate) counts_received: bool,
}

impl Host {
    /// Starts anew under another name, as a process that was killed.
    pub(crate) fn restart(&mut self) {
        self.phase = Phase::Idle;
        self.is_frozen = false;
        self.name.push('\'');
    }

    /// A transaction lies behind it whose consequences it has not seen to: a kill here hurts.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Idle)
    }

    /// Extends its leases.
    pub(crate) async fn beat(&self, world: &World) -> Result<(), Error> {
        leases::renew(world.control(self.index), &self.name, world.now() + LEASE_TTL).await
    }

    /// One micro-step; false: there was nothing to do.
    pub(crate) async fn step(
        &mut self,
        world: &mut World,
        random: &mut ChaCha8Rng,
    ) -> Result<bool, Error> {
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
            Err(Error::Superseded(_)) => {
                if let Some(lease) = &lease {
                    let at = world.now();
                    leases::abandon(world.control(self.index), lease, at).await?;
                }
            }
            Err(error) => return Err(error),
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
                let lease = leases::claim(control, &self.name, world.now(), LEASE_TTL).await?;
                lease.map_or(Phase::Idle, Phase::Plant)
            }
            Phase::Plant(mut lease) => {
                match leases::plant(control, replication, &mut lease).await {
                    Err(Error::Superseded(_)) if self.broken == Some(Broken::Fence) => {
                        let planted = planted_anyhow(world, &lease).await?;
                        Phase::DriveAgain(lease, planted)
                    }
                    planted => Phase::DriveAgain(lease, planted?),
                }
            }
            Phase::DriveAgain(mut lease, planted) => {
                if planted.commit_no < lease.relayed_no {
                    let commit_no = planted.commit_no;
                    relay::drive_again(control, replication, &mut lease, commit_no).await?;
                }
                Phase::Relay(lease, planted)
            }
            Phase::Relay(mut lease, planted) => {
                let skips = matches!(self.broken, Some(Broken::Relay | Broken::Applied));
                if lease.unreleased && !skips {
                    relay::relay(control, replication, &mut lease, world.now()).await?;
                }
                Phase::Derive(Holding::new(lease, planted))
            }
            Phase::Derive(mut held) => {
                let under = Under {
                    owner_id: held.lease.owner_id,
                    external_owner_id: world.external_owner_id.clone(),
                    fence: self.fence(world, &held.lease).await?,
                    generation: held.generation,
                };
                let tree = world.tree.clone();
                commit::derive_all(replication, under, tree, world.now()).await?;
                held.must_relay = true;
                Phase::Holding(held)
            }
            Phase::Holding(mut held) => match held.step(self, world, random.random()).await? {
                true => Phase::Holding(held),
                false => {
                    leases::release(control_of(world, self.index), &held.lease).await?;
                    Phase::Idle
                }
            },
        })
    }

    /// The fence that commits go out under.
    pub(crate) async fn fence(&self, world: &World, lease: &Lease) -> Result<i64, Error> {
        match self.broken {
            Some(Broken::Fence) => owner_row(world).await.map(|(fence, _)| fence),
            _ => Ok(lease.fence),
        }
    }
}

fn control_of(world: &World, host: usize) -> &rowgate::store::Database {
    world.control(host)
}

/// Fence and generation as the replication database has them now.
pub(crate) async fn owner_row(world: &World) -> Result<(i64, i64), Error> {
    let row = sqlx::query_as("select fence, generation from rowgate_owners where owner_id = $1")
        .bind(world.owner_id)
        .fetch_one(world.replication[0].readers())
        .await?;
    Ok(row)
}

async fn planted_anyhow(world: &World, lease: &Lease) -> Result<Planted, Error> {
    let (generation, grant_id, commit_no) = sqlx::query_as(
        "select generation, grant_id, commit_no from rowgate_owners where owner_id = $1",
    )
    .bind(lease.owner_id)
    .fetch_one(world.replication[0].readers())
    .await?;
    Ok(Planted { generation, grant_id, commit_no })
}
