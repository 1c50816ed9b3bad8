//! Moves: an organization's tables go to a PostgreSQL database of its own.
//!
//! While a move copies, the organization rests: none of its owners is claimed, webhooks are stored, and
//! readers read the tables where they are. Cursors, fences and the feed go along, the feed with its epoch
//! and numbers: bookmarks stay good, so receivers and mirrors miss nothing and get nothing twice. One
//! transaction of the control database then says where the tables lie. Before it nothing has changed but
//! the rest; a move that fails ends there.

mod copy;
mod destination;
mod left;
mod location;
mod reader;
mod rest;
mod table;
mod ways;
mod work;

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::{Error, Store, query, query_as, query_scalar};
use crate::model::{Micros, OrganizationId};

pub use destination::{Found, WrongDatabase};
pub(super) use location::Location;
pub(super) use reader::query_options;
pub(super) use ways::Outside;
pub use ways::{Way, Ways};
pub use work::work;

/// Of a customer's database: the schema of the replicated tables, and that of what belongs to them.
pub(super) const TABLES: &str = "public";
const INTERNAL: &str = "rowgate";

/// A move as it is shown.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Move {
    /// `dbm_...`
    pub id: String,
    /// Whose tables.
    pub organization_id: OrganizationId,
    /// `copying`, `done` or `failed`.
    pub state: String,
    /// Where they go, user and password hidden.
    pub shown_url: String,
    #[allow(missing_docs)]
    pub created_at: Micros,
    /// None: it goes on.
    pub ended_at: Option<Micros>,
    /// The table that is copied.
    pub table_name: Option<String>,
    /// So far, of all tables and what lies beside them.
    pub rows_copied: i64,
    /// Why it failed, or what holds it up.
    pub error: Option<String>,
    /// The tables lie there now.
    pub is_current: bool,
}

const COLUMNS: &str = "m.id, m.organization_id, m.state, m.shown_url, m.created_at, m.ended_at,
  m.table_name, m.rows_copied, m.error, coalesce(o.database_id = m.id, false) as is_current
  from moves m join organizations o on o.id = m.organization_id";

/// Where an organization's tables are to lie, and who reads them there.
pub struct Urls {
    /// Of the role that owns them.
    pub admin: Zeroizing<String>,
    /// Of a role that may only read.
    pub readonly: Zeroizing<String>,
    /// That role is ours to make.
    pub own_reader: bool,
    /// The first as it may be shown.
    pub shown: String,
}

/// For what a URL of a move is sealed.
pub(super) fn place(id: &str, column: &str) -> String {
    format!("moves/{id}/{column}")
}

impl Store {
    /// Has an organization's tables moved, by whichever host comes to it.
    ///
    /// # Errors
    /// [`Error::Refused`]: they are being moved already.
    pub async fn begin_move(&self, of: OrganizationId, urls: Urls) -> Result<Move, Error> {
        let id = format!("dbm_{}", self.chance.base36(16));
        let now = self.clock.now();
        let statement = query_scalar::<String>(
            "insert into moves (id, organization_id, state, admin_url, readonly_url, own_reader,
               shown_url, created_at, progressed_at)
             values ($1, $2, 'copying', $3, $4, $5, $6, $7, $7)
             on conflict do nothing returning id",
        )
        .bind(id.clone())
        .bind(of)
        .bind(self.keyring.seal(&place(&id, "admin_url"), urls.admin.as_bytes()))
        .bind(self.keyring.seal(&place(&id, "readonly_url"), urls.readonly.as_bytes()))
        .bind(urls.own_reader)
        .bind(urls.shown)
        .bind(now);
        if self.control.fetch(statement).await?.is_none() {
            return Err(moving());
        }
        let begun = self.moves(of).await?.into_iter().find(|one| one.id == id);
        begun.ok_or_else(|| Error::Inconsistent(format!("the move {id} is gone at once")))
    }

    /// The tables lie in that database already: from now on it is reached by these URLs.
    pub async fn replace_urls(&self, of: OrganizationId, urls: Urls) -> Result<Move, Error> {
        let Some(current) = self.moves(of).await?.into_iter().find(|one| one.is_current) else {
            return Err(Error::Refused("the tables were moved elsewhere meanwhile".into()));
        };
        let id = current.id.clone();
        let sealed = [("admin_url", &urls.admin), ("readonly_url", &urls.readonly)]
            .map(|(column, url)| self.keyring.seal(&place(&id, column), url.as_bytes()));
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    let [admin, readonly] = sealed;
                    query(
                        "update moves set admin_url = $1, readonly_url = $2, own_reader = $3,
                           shown_url = $4 where id = $5",
                    )
                    .bind(admin)
                    .bind(readonly)
                    .bind(urls.own_reader)
                    .bind(urls.shown)
                    .bind(id)
                    .execute(&mut *connection)
                    .await?;
                    let moved =
                        "update organizations set database_no = database_no + 1 where id = $1";
                    query(moved).bind(of).execute(connection).await?;
                    Ok(())
                })
            })
            .await?;
        Ok(current)
    }

    /// All moves of an organization, the last one first.
    pub async fn moves(&self, of: OrganizationId) -> Result<Vec<Move>, Error> {
        let sql = format!(
            "select {COLUMNS} where m.organization_id = $1 order by m.created_at desc, m.id"
        );
        Ok(query_as(sql).bind(of).fetch_all(self.control.readers()).await?)
    }

    /// Refuses what changes tables, or who may read them, while they are being moved.
    pub async fn refuse_while_moving(&self, of: OrganizationId) -> Result<(), Error> {
        let sql = "select count(*) from moves where organization_id = $1 and state = 'copying'";
        let moves: i64 = query_scalar(sql).bind(of).fetch_one(self.control.readers()).await?;
        if moves == 0 { Ok(()) } else { Err(moving()) }
    }

    /// Ends what a host that died here held. Only for who holds the data directory's lock.
    pub async fn take_back_moves(&self) -> Result<(), Error> {
        let free = query("update moves set lease_until = 0 where state = 'copying'");
        self.control.execute(free).await.map(drop)
    }

    /// A move that waits for a host, under a lease of this one.
    async fn claim_move(&self, ttl: Micros) -> Result<Option<Claimed>, Error> {
        let now = self.clock.now();
        let claim = query_as::<Claimed>(
            "update moves set fence = fence + 1, lease_until = $1
             where lease_until <= $2 and id = (
               select id from moves
               where state = 'copying' and lease_until <= $2 and not_before <= $2
               order by created_at, id limit 1)
             returning id, organization_id, fence, progressed_at",
        );
        self.control.fetch(claim.bind(now.saturating_add(ttl)).bind(now)).await
    }
}

/// A move that this host works on.
#[derive(Clone, Debug, sqlx::FromRow)]
struct Claimed {
    id: String,
    organization_id: OrganizationId,
    fence: i64,
    /// When it last came a step further.
    progressed_at: Micros,
}

/// A claimed move with its lease.
struct Hold<'s> {
    store: &'s Store,
    of: Claimed,
    ttl: Micros,
}

const LIVE: &str = "id = $1 and fence = $2 and state = 'copying'";

impl Hold<'_> {
    /// Keeps the lease.
    ///
    /// # Errors
    /// [`Error::Superseded`]: another host has it.
    async fn renew(&self) -> Result<(), Error> {
        let until = self.store.clock.now().saturating_add(self.ttl);
        let sql = format!("update moves set lease_until = $3 where {LIVE}");
        let statement = query(sql).bind(self.of.id.clone()).bind(self.of.fence).bind(until);
        held(self.store.control.execute(statement).await?.rows_affected())
    }

    /// The same, and tells how far it has come.
    async fn progress(&self, table_name: &str, rows_copied: i64) -> Result<(), Error> {
        let now = self.store.clock.now();
        let sql = format!(
            "update moves set lease_until = $3, progressed_at = $4, table_name = $5,
               rows_copied = $6, error = null where {LIVE}"
        );
        let statement = query(sql)
            .bind(self.of.id.clone())
            .bind(self.of.fence)
            .bind(now.saturating_add(self.ttl))
            .bind(now)
            .bind(table_name.to_owned())
            .bind(rows_copied);
        held(self.store.control.execute(statement).await?.rows_affected())
    }

    /// Gives it back: it is tried again then.
    async fn put_off(&self, reason: String, not_before: Micros) -> Result<(), Error> {
        let sql =
            format!("update moves set lease_until = 0, not_before = $3, error = $4 where {LIVE}");
        let statement = query(sql).bind(self.of.id.clone()).bind(self.of.fence).bind(not_before);
        self.store.control.execute(statement.bind(reason)).await.map(drop)
    }

    /// Ends it: everything is as it was before.
    async fn fail(&self, reason: String) -> Result<(), Error> {
        let (of, now) = (self.of.clone(), self.store.clock.now());
        self.store
            .control
            .write(move |connection| {
                Box::pin(async move {
                    let failed = format!(
                        "update moves set state = 'failed', ended_at = $3, error = $4,
                           admin_url = null, readonly_url = null where {LIVE}"
                    );
                    let failed = query(failed).bind(&of.id).bind(of.fence).bind(now).bind(reason);
                    held(failed.execute(&mut *connection).await?.rows_affected())?;
                    let awake = "update organizations set rests_until = 0 where id = $1";
                    query(awake).bind(of.organization_id).execute(connection).await?;
                    Ok(())
                })
            })
            .await
    }

    /// From here on the tables lie where they were copied to. `copied`: their names.
    async fn switch(&self, copied: BTreeSet<String>) -> Result<(), Error> {
        let (of, now) = (self.of.clone(), self.store.clock.now());
        self.store
            .control
            .write(move |connection| {
                Box::pin(async move {
                    let done = format!(
                        "update moves set state = 'done', ended_at = $3, table_name = null,
                           error = null, left_behind = (
                             select database_id is null from organizations
                             where organizations.id = moves.organization_id)
                         where {LIVE}"
                    );
                    let done = query(done).bind(&of.id).bind(of.fence).bind(now);
                    held(done.execute(&mut *connection).await?.rows_affected())?;
                    let names: Vec<String> = query_scalar(
                        "select table_name from integrations where organization_id = $1",
                    )
                    .bind(of.organization_id)
                    .fetch_all(&mut *connection)
                    .await?;
                    if names.into_iter().collect::<BTreeSet<_>>() != copied {
                        let reason = "integrations were changed while their tables were copied: \
                                      start it again";
                        return Err(Error::Refused(reason.into()));
                    }
                    // Where they lay before, if that was in a customer's database.
                    query(
                        "update moves set admin_url = null, readonly_url = null
                         where organization_id = $1 and id <> $2",
                    )
                    .bind(of.organization_id)
                    .bind(&of.id)
                    .execute(&mut *connection)
                    .await?;
                    query(
                        "update organizations set database_id = $1, database_no = database_no + 1,
                           rests_until = 0 where id = $2",
                    )
                    .bind(&of.id)
                    .bind(of.organization_id)
                    .execute(connection)
                    .await?;
                    Ok(())
                })
            })
            .await
    }
}

fn held(rows: u64) -> Result<(), Error> {
    match rows {
        0 => Err(Error::Superseded("another host goes on with the move, or it is over")),
        _ => Ok(()),
    }
}

fn moving() -> Error {
    let reason = "the tables are being moved to another database (`rowgate db migrations list`): \
                  try again when that is over";
    Error::Refused(reason.into())
}
