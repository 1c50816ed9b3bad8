//! A stream as it runs: load the cursor, read the vendor, commit the page, again, put back.

use rowgate::model::InboxId;
use rowgate::store::commit::{self, CommitOf, StepCommit, StoredCursor};
use rowgate::store::streams::{self, DueStream, Ended};
use rowgate::store::{Error, owner_secrets};

use crate::holding::Holding;
use crate::host::{Broken, Host};
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
#[derive(Clone, Copy)]
struct Stand {
    generation: i64,
    grant_id: Option<InboxId>,
    received: u64,
}

enum Stage {
    Start,
    Loaded(Stand, StoredCursor),
    Read(Stand, i64, Page),
    Refused(Stand),
    End(Ended),
}

/// Of 1,000 calls, how many the vendor puts off.
const RETRIES: u32 = 60;
/// Of 1,000 calls with a cursor, how many find it expired.
const EXPIRED: u32 = 40;
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
            Stage::Start => self.load(held, host, world).await,
            Stage::Loaded(stand, stored) => {
                self.read(stand, stored, held, host, world, chance).await
            }
            Stage::Read(stand, version, page) => {
                self.commit(stand, version, page, held, host, world).await
            }
            Stage::Refused(stand) => {
                if stand.received == held.received && stand.generation == held.generation {
                    let reason = "revoked".to_owned();
                    let control = world.control(host.index);
                    streams::grant_is_dead(control, &held.lease, reason).await?;
                }
                Ok(Some(Stage::End(self.ended(world, Some(world.now())))))
            }
            Stage::End(ended) => self.put_back(ended, held, host, world).await,
        };
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
        let (generation, grant_id, received) = (held.generation, held.grant_id, held.received);
        let stand = Stand { generation, grant_id, received };
        let replication = &world.replication[host.index];
        let stored =
            commit::load_cursor(replication, held.lease.owner_id, &self.due.stream()).await?;
        if stored.is_none() {
            streams::forget(world.control(host.index), &held.lease, self.due.id).await?;
        }
        let half_read = stored.as_ref().is_some_and(|at| at.cursor.is_some() && at.half_read);
        self.resumed.get_or_insert(half_read);
        Ok(stored.map(|stored| Stage::Loaded(stand, stored)))
    }

    async fn read(
        &self,
        stand: Stand,
        stored: StoredCursor,
        held: &Holding,
        host: &Host,
        world: &World,
        chance: u32,
    ) -> Result<Option<Stage>, Error> {
        let chance = if world.has_faults { chance % 1_000 } else { u32::MAX };
        if chance < RETRIES {
            let ended = Ended { not_before: world.now() + BACK_OFF, ..self.ended(world, None) };
            let next_at = Some(world.now());
            return Ok(Some(Stage::End(Ended { next_at, attempts: 1, ..ended })));
        }
        if chance < RETRIES + EXPIRED && stored.cursor.is_some() {
            let under = held.under(host, world, stand.generation).await?;
            let (tree, stream) = (world.tree.clone(), self.due.stream());
            let replication = &world.replication[host.index];
            commit::drop_cursor(replication, under, tree, stream, stored.version).await?;
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
        Ok(Some(match page {
            None => Stage::Refused(stand),
            Some(page) => Stage::Read(stand, stored.version, page),
        }))
    }

    async fn commit(
        &self,
        stand: Stand,
        version: i64,
        page: Page,
        held: &mut Holding,
        host: &Host,
        world: &World,
    ) -> Result<Option<Stage>, Error> {
        if host.counts_received && stand.received != held.received {
            return Err(Error::Superseded("an inbox item came between"));
        }
        let replication = &world.replication[host.index];
        let stream = self.due.stream();
        let version = match host.broken {
            Some(Broken::CursorVersion) => {
                let stored = commit::load_cursor(replication, held.lease.owner_id, &stream).await?;
                stored.map_or(version, |stored| stored.version)
            }
            _ => version,
        };
        let step = StepCommit {
            under: held.under(host, world, stand.generation).await?,
            now: world.now(),
            tree: world.tree.clone(),
            step: CommitOf::Page {
                stream,
                version,
                cursor: Some(page.cursor.into_bytes()),
                half_read: !page.is_last,
            },
            effects: page.effects,
            read_at: None,
        };
        let committed = match commit::commit(replication, step).await {
            // What was read before an item came says nothing (R10).
            Err(Error::Refused(_)) if stand.received != held.received => {
                return Ok(Some(Stage::Start));
            }
            committed => committed?,
        };
        held.must_relay = committed.outbox;
        Ok(Some(match page.is_last {
            false => Stage::Start,
            true if self.resumed == Some(true) => Stage::End(self.ended(world, Some(world.now()))),
            true => Stage::End(self.ended(world, Some(world.now() + POLL))),
        }))
    }

    async fn put_back(
        &self,
        ended: Ended,
        held: &Holding,
        host: &Host,
        world: &World,
    ) -> Result<Option<Stage>, Error> {
        let control = world.control(host.index);
        let next_at = ended.next_at;
        streams::put_back(control, &held.lease, self.due.id, ended).await?;
        if host.broken == Some(Broken::Take) {
            let id = self.due.id;
            control
                .write(move |connection| {
                    Box::pin(async move {
                        sqlx::query("update streams set due_at = $1 where id = $2")
                            .bind(next_at)
                            .bind(id)
                            .execute(connection)
                            .await?;
                        Ok(())
                    })
                })
                .await?;
        }
        Ok(None)
    }

    fn ended(&self, world: &World, next_at: Option<i64>) -> Ended {
        let page_limit = self.due.page_limit;
        Ended { next_at, page_limit, at: world.now(), succeeded: true, ..Ended::default() }
    }
}
