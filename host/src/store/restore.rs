//! Databases that were put back, by a copy of files or by `pg_restore`, go on: as after a long absence.
//!
//! The organizations' tables may be older than the control database: then what they lack is done again
//! (R5). They may be newer: then they are told what the control database says (`ahead`). Receivers,
//! who may have seen more than either, get copies of whole tables. A database of an organization's own that
//! can't be reached holds none of the others up: it is put right later.

mod ahead;
mod ids;
mod later;
mod owners;
mod server;

pub use later::keep;
pub use server::RestoreLock;

use std::time::Duration;

use tokio::time::timeout;

use super::database::contained;
use super::{Database, Error, feed, query, query_as, query_scalar};
use crate::chance::Chance;
use crate::model::{Micros, OrganizationId, OwnerId};
use ids::Known;

/// Added to the fences of targets: receivers refuse what has a lower one than they have seen, and what
/// they saw since the copy was made isn't known.
const FENCES: i64 = 1_000_000_000;

/// In `put_back_from`: when the copies were begun isn't known.
const UNKNOWN: Micros = 0;

/// Hosts' clocks go by the server's, and aren't it.
const SKEW_MAX: Micros = 60 * 1_000_000;

/// To put an open database of an organization's own right takes no longer, or waits: all others do meanwhile.
pub(super) const OWN_MAX: Duration = Duration::from_secs(5 * 60);

/// Databases that were put back. Nobody uses them meanwhile.
#[derive(Debug)]
pub struct PutBack<'a> {
    /// The control database.
    pub control: &'a Database,
    /// When the first of the databases was copied, if that is known.
    pub begun_at: Option<Micros>,
    /// Now.
    pub now: Micros,
    /// Where the names of epochs come from.
    pub chance: &'a Chance,
}

/// What was found and done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Whose feeds begin anew.
    pub organizations: u64,
    /// Owners that the control database knows.
    pub owners: u64,
    /// Of these, those whose tables are older than the control database: what was posted is done again.
    pub behind: u64,
    /// Those whose tables are newer: they go on from what the control database says.
    pub ahead: u64,
    /// Owners that only the tables know: they came after the control database was copied.
    pub unknown: u64,
    /// Leases that were freed, of owners and of targets.
    pub leases: u64,
    /// Receivers, mirrors and subscribers: they get copies.
    pub targets: u64,
    /// Logins that ended.
    pub sessions: u64,
    /// Organizations whose own databases couldn't be reached: they rest until a host has put them right.
    pub left: Vec<Left>,
}

/// An organization that isn't put right yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The organization's.
    pub key: String,
    /// Why not.
    pub reason: String,
}

/// An organization whose tables are to be put right.
#[derive(Debug, sqlx::FromRow)]
struct Organization {
    id: OrganizationId,
    key: String,
    /// Its tables lie in a database of its own.
    is_own: bool,
    /// As the control database has it.
    put_back_from: Option<Micros>,
}

impl PutBack<'_> {
    /// Makes them go on. `open` opens an organization's tables; true: they lie in a database of its own, which
    /// is left for later if it isn't put right within `own_max`. If this is broken off, it is done from the
    /// beginning: each part comes to the same again.
    pub async fn put_right(
        &self,
        own_max: Duration,
        open: impl AsyncFn(OrganizationId, String, bool) -> Result<Database, Error>,
    ) -> Result<Restored, Error> {
        // Customers' servers weren't put back: which passwords they know of roles of ours isn't known.
        let untold = "update moves set reader_told = false
                      where own_reader and readonly_url is not null";
        self.control.execute(query(untold)).await?;
        let (mut restored, mut known) = (Restored::default(), Known::default());
        let last_owner = self.last_id("owners").await?;
        known.owner = last_owner;
        known.item = self.last_id("inbox").await?;
        let organizations: Vec<Organization> = query_as(
            "select id, key, database_id is not null as is_own, put_back_from from organizations
             where not dropping order by id",
        )
        .fetch_all(self.control)
        .await?;
        for one in organizations {
            let mut found = restored.clone();
            let righted = match open(one.id, one.key.clone(), one.is_own).await {
                Ok(replication) => {
                    let tables =
                        self.tables(&replication, &one, last_owner, &mut known, &mut found);
                    match one.is_own {
                        true => customers(tables, &replication, own_max).await,
                        false => tables.await,
                    }
                }
                Err(error) if error.is_away() => Err(error),
                Err(error) => return Err(error),
            };
            match righted {
                Ok(()) => restored = found,
                Err(error) if one.is_own => restored.left.push(self.leave(one, &error).await?),
                Err(error) => return Err(error),
            }
        }
        // What tables know by an id must never be somebody else's. Which those know that weren't reached isn't
        // known: there were never as many as microseconds.
        let unseen = if restored.left.is_empty() { 0 } else { self.now };
        self.give_ids_behind("owners", known.owner.max(unseen)).await?;
        self.give_ids_behind("inbox", known.item.max(unseen)).await?;
        self.targets_and_logins(&mut restored).await?;
        Ok(restored)
    }

    async fn tables(
        &self,
        replication: &Database,
        of: &Organization,
        last_owner: OwnerId,
        known: &mut Known,
        restored: &mut Restored,
    ) -> Result<(), Error> {
        // Before some of it is told otherwise.
        let here = self.known_ids(replication, of).await?;
        known.owner = known.owner.max(here.owner);
        known.item = known.item.max(here.item);
        self.organization(replication, of, restored).await?;
        let unknown = query_scalar("select count(*) from rowgate_owners where owner_id > $1");
        let unknown: i64 = unknown.bind(last_owner).fetch_one(replication).await?;
        restored.unknown += unknown.unsigned_abs();
        restored.organizations += 1;
        Ok(())
    }

    /// Nobody works for an organization, nor opens its tables, before they were compared.
    async fn leave(&self, one: Organization, error: &Error) -> Result<Left, Error> {
        let from = begun_at(one.put_back_from, self.begun_at).unwrap_or(UNKNOWN);
        let rest =
            query("update organizations set put_back_from = $1, rests_until = $2 where id = $3");
        let rest = rest.bind(from).bind(Micros::MAX).bind(one.id);
        self.control.execute(rest).await?;
        Ok(Left { key: one.key, reason: error.to_string() })
    }

    async fn organization(
        &self,
        replication: &Database,
        of: &Organization,
        restored: &mut Restored,
    ) -> Result<(), Error> {
        // Commits that wait for a number may bear transaction ids of another server.
        feed::head(replication).await?;
        let begun_at = match begun_at(of.put_back_from, self.begun_at) {
            Some(begun_at) => begun_at,
            None => last_commit(replication).await?.saturating_sub(SKEW_MAX),
        };
        self.owners(replication, of.id, begun_at, restored).await?;
        // Numbers are given again that receivers have seen.
        let epoch = self.chance.uuid();
        feed::new_epoch(replication, epoch.clone()).await?;
        // One that was left works again, unless a move keeps it at rest.
        let begun = query(
            "update organizations set feed_epoch = $1, put_back_from = null,
               rests_until = case
                 when put_back_from is null
                   or exists (select 1 from moves m where m.organization_id = organizations.id
                                and m.state = 'copying' and m.rested_at is not null)
                 then rests_until else 0 end
             where id = $2",
        );
        let (id, begun) = (of.id, begun.bind(epoch).bind(of.id));
        let written = self.control.write(move |connection| {
            Box::pin(async move {
                // A move that ends just now is waited for, and then seen.
                let lock = connection.dialect().locks("for no key update");
                let row = format!("select id from organizations where id = $1 {lock}");
                let row = query_scalar::<OrganizationId>(row).bind(id);
                row.fetch_optional(&mut *connection).await?;
                begun.execute(connection).await?;
                Ok(())
            })
        });
        written.await
    }

    /// Who was logged out since must not be in again.
    async fn targets_and_logins(&self, restored: &mut Restored) -> Result<(), Error> {
        let now = self.now;
        let written = self.control.write(move |connection| {
            Box::pin(async move {
                let leased = "select count(*) from targets where lease_host is not null";
                let leased: i64 = query_scalar(leased).fetch_one(&mut *connection).await?;
                let targets = query(
                    "update targets set fence = fence + $1, due_at = $2, lease_host = null,
                            lease_until = 0, behind_since = coalesce(behind_since, $2)",
                );
                let targets = targets.bind(FENCES).bind(now).execute(&mut *connection).await?;
                query("delete from login_codes").execute(&mut *connection).await?;
                let sessions = query("delete from sessions").execute(connection).await?;
                Ok((leased.unsigned_abs(), targets.rows_affected(), sessions.rows_affected()))
            })
        });
        let (leased, targets, sessions) = written.await?;
        restored.leases += leased;
        (restored.targets, restored.sessions) = (targets, sessions);
        Ok(())
    }
}

/// Whatever a customer's server says, and however slowly, holds up nobody else; and it may repeat what it was
/// reached by.
async fn customers<T>(
    work: impl Future<Output = Result<T, Error>>,
    replication: &Database,
    limit: Duration,
) -> Result<T, Error> {
    let done = timeout(limit, contained(work, Error::Unavailable)).await;
    let done = done.unwrap_or_else(|_| Err(Error::Unavailable("it takes too long".into())));
    done.map_err(|error| match error {
        Error::Unavailable(said) => Error::Unavailable(replication.hide(&said)),
        error => Error::Unavailable(replication.hide(&error.to_string())),
    })
}

/// When the first copy was begun that an organization's tables are to be held against: it may have been left
/// before. None: that isn't known.
fn begun_at(left: Option<Micros>, begun_at: Option<Micros>) -> Option<Micros> {
    match left {
        None => begun_at,
        Some(UNKNOWN) => None,
        Some(left) => begun_at.map(|begun_at| begun_at.min(left)),
    }
}

/// Whatever was committed later isn't in these tables.
async fn last_commit(replication: &Database) -> Result<Micros, Error> {
    let last: Option<Micros> = query_scalar("select max(committed_at) from rowgate_commits")
        .fetch_one(replication)
        .await?;
    Ok(last.unwrap_or(0))
}

#[cfg(test)]
mod tests;
