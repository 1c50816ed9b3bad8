//! A stream as it runs: load the cursor, read the vendor, commit the page, again, put back.

use rowgate::model::{InboxId, Scalar, Write};
use rowgate::store::commit::{self, CommitOf, StepCommit, StoredCursor};
use rowgate::store::streams::{self, DueStream, Ended};
use rowgate::store::{Error, owner_secrets};

use crate::disk;
use crate::holding::Holding;
use crate::host::Host;
use crate::rules::Rule;
use crate::vendor::Page;
use crate::world::{POLL, World};

/// See the module.
pub(crate) struct PageRun {
    due: DueStream,
    stage: Stage,
    /// The run went on between two pages of an earlier one.
    resumed: Option<bool>,
}

/// Under what a call began.
#[derive(Clone, Copy, Debug)]
struct Stand {
    generation: i64,
    grant_id: Option<InboxId>,
    received: u64,
    /// As the world counts, whoever held the owner.
    applied: u64,
    /// Of the stored cursor.
    version: i64,
}

#[derive(Debug)]
enum Stage {
    Start,
    Loaded(Stand, StoredCursor),
    /// The vendor has answered. `read_at`: the call looked rows up.
    Read {
        stand: Stand,
        page: Page,
        read_at: Option<i64>,
    },
    /// The vendor has refused the grant.
    Refused(Stand),
    End(Ended),
}

/// Of 1,000 calls, how many the vendor puts off.
const RETRIES: u32 = 60;
/// Of 1,000 calls with a cursor, how many find it expired.
const EXPIRED: u32 = 40;
/// Of 1,000 calls, how many look rows up.
const LOOKUPS: u32 = 500;
const BACK_OFF: i64 = 3_000_000;

impl PageRun {
    pub(crate) fn new(due: DueStream) -> Self {
        Self { due, stage: Stage::Start, resumed: None }
    }

    /// One micro-step; false: the stream was given back, or is none of ours any more.
    pub(crate) async fn step(
        &mut self,
        held: &mut Holding,
        host: &Host,
        world: &mut World,
        chance: u32,
    ) -> Result<bool, Error> {
        let stage = std::mem::replace(&mut self.stage, Stage::Start);
        let next = match stage {
            Stage::Start if held.interrupted => {
                Ok(Some(Stage::End(ended(world, Some(world.now())))))
            }
            Stage::Start => self.load(held, host, world).await,
            Stage::Loaded(stand, stored) => {
                self.read(stand, stored, held, host, world, chance).await
            }
            Stage::Read { stand, page, read_at } => {
                self.commit(stand, page, read_at, held, host, world).await
            }
            Stage::Refused(stand) => self.refused(stand, held, host, world).await,
            Stage::End(ended) => self.put_back(ended, held, host, world).await,
        };
        world.tell(format_args!("{:?}: {next:?}", self.due.stream()));
        match next {
            Ok(Some(stage)) => self.stage = stage,
            Ok(None) | Err(Error::Superseded(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    async fn load(
        &mut self,
        held: &Holding,
        host: &Host,
        world: &World,
    ) -> Result<Option<Stage>, Error> {
        let replication = &world.replication[host.index];
        let stored =
            commit::load_cursor(replication, held.lease.owner_id, &self.due.stream()).await?;
        let Some(stored) = stored else {
            let lease = host.control_lease(world, &held.lease).await?;
            streams::forget(world.control(host.index), &lease, self.due.id).await?;
            return Ok(None);
        };
        let half_read = stored.cursor.is_some() && stored.half_read;
        self.resumed.get_or_insert(half_read && world.keeps(Rule::HalfRead));
        let stand = Stand {
            generation: held.generation,
            grant_id: held.grant_id,
            received: held.received,
            applied: world.applied,
            version: stored.version,
        };
        Ok(Some(Stage::Loaded(stand, stored)))
    }

    async fn read(
        &self,
        stand: Stand,
        stored: StoredCursor,
        held: &Holding,
        host: &Host,
        world: &mut World,
        chance: u32,
    ) -> Result<Option<Stage>, Error> {
        world.asked(&held.lease, &self.due.stream()).await?;
        // A failure that was made under what does not hold any more says nothing (R10).
        let stands = stand.generation == held.generation
            && (!host.counts_received || stand.received == held.received);
        let fails = if world.has_faults && stands { chance % 1_000 } else { u32::MAX };
        if fails < RETRIES {
            let not_before = world.now() + BACK_OFF;
            let ended = ended(world, Some(world.now()));
            return Ok(Some(Stage::End(Ended { not_before, attempts: 1, ..ended })));
        }
        if fails < RETRIES + EXPIRED && stored.cursor.is_some() {
            let under = host.under(world, &held.lease, stand.generation).await?;
            let (tree, stream) = (world.tree.clone(), self.due.stream());
            let replication = &world.replication[host.index];
            commit::drop_cursor(replication, under, tree, stream, stand.version).await?;
            return Ok(Some(Stage::Start));
        }
        let owner_id = held.lease.owner_id;
        let Some(grant_id) = stand.grant_id else { return Ok(Some(Stage::Refused(stand))) };
        let control = world.control(host.index);
        let token =
            owner_secrets::find(control, (owner_id, grant_id), "token", world.now()).await?;
        let cursor = stored.cursor.map(|bytes| String::from_utf8(bytes).expect("we wrote it"));
        let page =
            token.and_then(|_| world.vendor.read(grant_id, &self.due.stream(), cursor.as_deref()));
        let Some(mut page) = page else { return Ok(Some(Stage::Refused(stand))) };
        let looks_up = self.due.service == "thing_v1" && chance / 1_000 % 1_000 < LOOKUPS;
        let read_at = match looks_up {
            true => look_up(&mut page, host, world).await?,
            false => None,
        };
        Ok(Some(Stage::Read { stand, page, read_at }))
    }

    async fn commit(
        &self,
        stand: Stand,
        page: Page,
        read_at: Option<i64>,
        held: &mut Holding,
        host: &Host,
        world: &mut World,
    ) -> Result<Option<Stage>, Error> {
        if host.counts_received && stand.received != held.received {
            return Err(Error::Superseded("an inbox item came between"));
        }
        let replication = &world.replication[host.index];
        let stream = self.due.stream();
        let mut version = stand.version;
        if !world.keeps(Rule::CursorVersion) {
            let stored = commit::load_cursor(replication, held.lease.owner_id, &stream).await?;
            version = stored.map_or(version, |stored| stored.version);
        }
        let under = host.under(world, &held.lease, stand.generation).await?;
        let effects = world.ready(&under, page.effects)?;
        let step = StepCommit {
            under,
            now: world.now(),
            tree: world.tree.clone(),
            step: CommitOf::Page {
                stream,
                version,
                cursor: Some(page.cursor.into_bytes()),
                half_read: !page.is_last,
            },
            effects,
            read_at: read_at.filter(|_| world.keeps(Rule::Lookup)),
            stale_before: None,
        };
        let committed = match commit::commit(replication, step).await {
            Err(Error::Superseded(commit::READ_MOVED)) => return Ok(Some(Stage::Start)),
            // What was read before an item came says nothing (R10).
            Err(Error::NotListed(_)) if stand.received != held.received => {
                return Ok(Some(Stage::Start));
            }
            committed => committed?,
        };
        if stand.applied != world.applied {
            world.wrong = Some("a page was committed that was read before an item".to_owned());
        }
        world.tally += i64::from(read_at.is_some());
        held.must_relay = committed.outbox;
        Ok(Some(match page.is_last {
            false => Stage::Start,
            true if self.resumed == Some(true) => Stage::End(ended(world, Some(world.now()))),
            true => Stage::End(ended(world, Some(world.now() + POLL))),
        }))
    }

    /// The grant is dead, unless an item came since the call began. The real holder keeps items out
    /// from this question to the end of the write; here both are one micro-step.
    async fn refused(
        &self,
        stand: Stand,
        held: &Holding,
        host: &Host,
        world: &mut World,
    ) -> Result<Option<Stage>, Error> {
        if stand.received != held.received && world.keeps(Rule::Verdict) {
            return Ok(Some(Stage::Start));
        }
        if stand.applied != world.applied && world.is_held(&held.lease).await? {
            world.wrong = Some("a grant was called dead for an older one".to_owned());
        }
        let lease = host.control_lease(world, &held.lease).await?;
        let (control, now) = (world.control(host.index), world.now());
        streams::grant_is_dead(control, &lease, "revoked".to_owned(), now).await?;
        Ok(Some(Stage::End(ended(world, Some(world.now())))))
    }

    async fn put_back(
        &self,
        ended: Ended,
        held: &Holding,
        host: &Host,
        world: &mut World,
    ) -> Result<Option<Stage>, Error> {
        if !world.keeps(Rule::Take) {
            let clear = format!("update streams set due_at = null where id = {}", self.due.id);
            disk::run(world, world.control(0), vec![clear]).await?;
        }
        let not_before = ended.not_before;
        let lease = host.control_lease(world, &held.lease).await?;
        streams::put_back(world.control(host.index), &lease, self.due.id, ended).await?;
        world.put_off(&self.due.stream(), not_before);
        Ok(None)
    }
}

fn ended(world: &World, next_at: Option<i64>) -> Ended {
    Ended { next_at, at: world.now(), succeeded: true, ..Ended::default() }
}

/// Lets the page count itself on the account's row: what is written follows from what was read.
async fn look_up(page: &mut Page, host: &Host, world: &World) -> Result<Option<i64>, Error> {
    let read_at = commit::commit_no(&world.replication[host.index], world.owner_id).await?;
    let Some(pages) = world.pages(host.index).await? else { return Ok(None) };
    let set = vec![("pages".to_owned(), Scalar::Integer(pages + 1))];
    let table = "account_v1".to_owned();
    let write = Write::Update { table, set, conditions: Vec::new() };
    page.effects.writes.push(write.into());
    Ok(Some(read_at))
}
