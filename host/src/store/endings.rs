//! Deletions of trees, of parts of them and of organizations. Each is a state of the control database:
//! marked at once, so that nobody sees any more what ends and nothing is taken in for it, and then
//! worked off by whichever process claims it. One that dies leaves it to the next.

mod organization;
mod owners;
mod receivers;
mod tree;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::FromRow;
use tokio::sync::Notify;

use super::{Connection, Database, Error, Query, Row, Store, list, query, query_as, query_scalar};
use crate::model::{Micros, OrganizationId};

/// A claim that isn't renewed ends after so many microseconds.
const CLAIM_LIFE: Micros = 30_000_000;

/// After an error it is tried again in so many microseconds.
const AFTER_TROUBLE: Micros = 10_000_000;

/// The least and the most that is waited for something else, such as push channels to be stopped.
const WAIT_MIN: Micros = 200_000;
const WAIT_MAX: Micros = 60_000_000;

/// Begins the name of a table that was dropped, so that another may be called as it was. No table's name
/// has it.
pub(super) const DROPPED: char = '/';

/// Stands for a tree where an organization is meant.
const NO_ROOT: &str = "";

/// What this process knows of deletions.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// Something may have been marked.
    marked: Notify,
    /// A database that was open was dropped here, and others may have it still.
    let_go: AtomicBool,
}

/// A deletion that is worked off.
#[derive(Clone, Debug, PartialEq, FromRow)]
struct Ending {
    organization_id: OrganizationId,
    /// Empty: of the organization itself.
    root_id: String,
    begun_at: Micros,
    fence: i64,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// All is gone.
    Done,
    /// Something else has to come first.
    Waits,
}

/// Works off what there is, now and later, and lets go of databases that are dropped. `let_go`: this
/// process had one of them open. Never ends.
pub async fn keep(store: Arc<Store>, poll: Duration, let_go: impl Fn()) {
    let mut looked_at = None;
    loop {
        match store.let_go_of_dropped(&mut looked_at).await {
            Ok(true) => let_go(),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "databases that may be gone stay open for now"),
        }
        if let Err(error) = work(&store).await {
            tracing::warn!(%error, "deletions wait");
        }
        tokio::select! {
            () = store.ended.marked.notified() => {}
            () = store.clock.sleep(poll) => {}
        }
    }
}

/// Works off what is due and nobody has claimed, until there is nothing.
pub async fn work(store: &Store) -> Result<(), Error> {
    while let Some(ending) = next(store).await? {
        let worked = match ending.root_id.as_str() {
            NO_ROOT => organization::work(store, &ending).await,
            _ => tree::work(store, &ending).await,
        };
        let Ending { organization_id, root_id, .. } = &ending;
        let now = store.clock.now();
        match worked {
            Ok(Progress::Done) => tracing::info!(organization_id, root_id, "deleted"),
            Ok(Progress::Waits) => ending.put_back(store, now + ending.wait(now)).await?,
            Err(Error::Superseded(what)) => {
                tracing::debug!(organization_id, root_id, what, "somebody else goes on deleting");
            }
            Err(error) => {
                tracing::warn!(organization_id, root_id, %error, "a deletion waits");
                ending.put_back(store, now + AFTER_TROUBLE).await?;
            }
        }
    }
    Ok(())
}

/// Ends all claims at once. Only for a host that holds the data directory's lock: whoever else works
/// on one does no harm, and stops.
pub async fn take_back(control: &Database) -> Result<(), Error> {
    control.execute(query("update endings set due_at = 0")).await.map(drop)
}

impl Store {
    /// Whether something of an organization, or of one of its trees, is still to be deleted.
    pub async fn is_ending(
        &self,
        organization: OrganizationId,
        root_id: Option<&str>,
    ) -> Result<bool, Error> {
        let there = query_scalar(
            "select exists (select 1 from endings where organization_id = $1 and root_id = $2)",
        );
        let there = there.bind(organization).bind(root_id.unwrap_or(NO_ROOT));
        Ok(there.fetch_one(self.control.readers()).await?)
    }

    /// Something may have been marked as ended, here or by another process.
    pub fn look_for_endings(&self) {
        self.ended.marked.notify_one();
    }

    /// Lets go of the database of an organization that is about to be dropped here.
    fn let_go(&self, of: OrganizationId) {
        if self.opened.let_go(of) {
            self.ended.let_go.store(true, Ordering::Release);
            self.look_for_endings();
        }
    }

    /// Lets go of the databases of organizations that are dropped, if the configuration has moved since
    /// it was last looked at; true: there was one.
    async fn let_go_of_dropped(&self, looked_at: &mut Option<i64>) -> Result<bool, Error> {
        let epoch = Some(self.config_epoch().await?);
        let dropped_here = self.ended.let_go.swap(false, Ordering::AcqRel);
        if *looked_at == epoch {
            return Ok(dropped_here);
        }
        let known = self.opened.organizations();
        let mut there: Vec<OrganizationId> = Vec::new();
        if !known.is_empty() {
            let ids = list(known.iter().copied());
            let sql = format!("select id from organizations where not dropping and id in ({ids})");
            there = query_scalar(sql).persistent(false).fetch_all(self.control.readers()).await?;
        }
        let gone: Vec<OrganizationId> =
            known.into_iter().filter(|of| !there.contains(of) && self.opened.let_go(*of)).collect();
        *looked_at = epoch;
        Ok(dropped_here || !gone.is_empty())
    }
}

impl Ending {
    /// Whoever claims it next has this one refused. To be the first statement of each of its
    /// transactions.
    async fn hold(&self, connection: &mut Connection, now: Micros) -> Result<(), Error> {
        match self.due(now + CLAIM_LIFE).execute(connection).await?.rows_affected() {
            0 => Err(Error::Superseded("the claim has passed on")),
            _ => Ok(()),
        }
    }

    async fn put_back(&self, store: &Store, due_at: Micros) -> Result<(), Error> {
        store.control.execute(self.due(due_at)).await.map(drop)
    }

    /// All of it is done.
    async fn delete(&self, connection: &mut Connection) -> Result<(), Error> {
        self.claimed("delete from endings").execute(connection).await?;
        Ok(())
    }

    fn due(&self, at: Micros) -> Query<'static, Row> {
        self.claimed("update endings set due_at = $4").bind(at)
    }

    /// What is done to it, as long as nobody else has claimed it.
    fn claimed(&self, what: &str) -> Query<'static, Row> {
        query(format!("{what} where organization_id = $1 and root_id = $2 and fence = $3"))
            .bind(self.organization_id)
            .bind(self.root_id.clone())
            .bind(self.fence)
    }

    /// Longer, the longer it has gone on.
    fn wait(&self, now: Micros) -> Micros {
        (now.saturating_sub(self.begun_at) / 8).clamp(WAIT_MIN, WAIT_MAX)
    }
}

/// Looks before it writes.
async fn next(store: &Store) -> Result<Option<Ending>, Error> {
    let now = store.clock.now();
    let first: Option<Micros> =
        query_scalar("select min(due_at) from endings").fetch_one(store.control.readers()).await?;
    if first.is_none_or(|first| first > now) {
        return Ok(None);
    }
    let skip = store.control.dialect().locks("for update skip locked");
    // An organization waits for its trees.
    let claim = query_as(format!(
        "update endings set fence = fence + 1, due_at = $2
         where (organization_id, root_id) = (
           select organization_id, root_id from endings where due_at <= $1
           order by due_at, root_id desc limit 1 {skip})
         returning organization_id, root_id, begun_at, fence"
    ));
    store.control.fetch(claim.bind(now).bind(now + CLAIM_LIFE)).await
}

/// Marks what there is to work off: of one tree, or of an organization and all its trees.
async fn mark(
    connection: &mut Connection,
    organization: OrganizationId,
    root_id: &str,
    now: Micros,
) -> Result<(), Error> {
    query(
        "insert into endings (organization_id, root_id, begun_at, due_at) values ($1, $2, $3, $3)
         on conflict (organization_id, root_id) do update
         set begun_at = excluded.begun_at, due_at = excluded.due_at, fence = endings.fence + 1",
    )
    .bind(organization)
    .bind(root_id)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

fn for_update(connection: &Connection) -> &'static str {
    connection.dialect().locks(" for update")
}

#[cfg(test)]
mod tests;
