//! A mirror: a copy of a table in a customer's PostgreSQL database. Each page is one transaction
//! there, and comes to the same however often it is applied, so a lost acknowledgement does no harm.
//!
//! Rows are found by the unique key, as the feed tells of them; their numbers follow. A copy goes
//! through the table by its numbers, and each of its pages removes what the mirror has between them
//! and the table hasn't: behind the last page the mirror is the table, without a list of what was
//! seen.
//!
//! Where it stands in the feed is written beside it, in the page's transaction. A database that was put
//! back to an older copy says something else than we know of it, and gets a whole copy.

mod address;
mod connection;
mod failure;
mod own;
mod rows;
mod sql;
mod transaction;

use std::time::Duration;

use sqlx::Executor as _;

pub use address::DatabaseAddress;
pub(super) use connection::Session;
pub use own::OwnDatabases;
pub use sql::Mirror;

use super::decision::Outcome;
use crate::egress::Relays;
use crate::rows::TableSpec;
use crate::store::feed::{CopyPart, Page};
use crate::store::targets::Target;
use connection::{Unheard, contained};
use failure::{Failure, told};
use rows::PageRows;
use transaction::{begin, move_on, prepare, sweep, try_out, write};

/// Rows of a page where the customer can't say it.
pub const PAGE_ROWS: i64 = 1_000;

/// What a page is applied for.
pub(super) struct Holder<'a> {
    pub(super) target: &'a Target,
    /// Of the table that is mirrored.
    pub(super) spec: &'a TableSpec,
    pub(super) fence: i64,
    /// Of the whole page, at the destination too.
    pub(super) timeout: Duration,
}

/// How far a page was applied.
enum Applied {
    Whole,
    /// There is more to remove than one transaction does in its time.
    HasMore,
}

/// Applies a page. `session` is used, and kept for the next page if this one went well.
pub(super) async fn apply(
    session: &mut Option<Session>,
    relays: &Relays,
    address: &DatabaseAddress,
    holder: &Holder<'_>,
    page: &Page,
) -> Outcome {
    let kept = session.take();
    let mut connected = false;
    let applied = async {
        let mut session = match kept {
            Some(session) => session,
            None => Session::open(relays, address).await?,
        };
        connected = true;
        match session.apply(holder, page).await {
            Ok(Applied::Whole) => Ok((Some(session), Outcome::Taken)),
            Ok(Applied::HasMore) => Ok((Some(session), Outcome::HasMore)),
            Err(failure) => Ok((None, failure.outcome(address, holder.spec, page))),
        }
    };
    match contained(holder.timeout, applied).await {
        Ok((kept, outcome)) => {
            *session = kept;
            outcome
        }
        // It may have been too much for it.
        Err(Unheard::Late) if connected => Outcome::Slow(Unheard::Late.to_string()),
        Err(unheard) => Outcome::Unanswered(unheard.to_string()),
    }
}

/// Asks whether a database is there, and whether a mirror that is to be made can be, if there is one.
///
/// # Errors
/// Why not, without secrets.
pub(super) async fn verify(
    relays: &Relays,
    address: &DatabaseAddress,
    mirror: Option<Mirror<'_>>,
    timeout: Duration,
) -> Result<(), String> {
    let mut must = "answer `select 1`";
    let asked = async {
        let mut session = Session::open(relays, address).await?;
        let answered = session.connection.execute("select 1").await;
        answered.map_err(|error| told(&error, address))?;
        let Some(mirror) = mirror else { return Ok(()) };
        must = "take the mirror";
        let tried = try_out(&mut session.connection, &mirror, timeout).await;
        tried.map_err(|failure| failure.told(address))
    };
    let answered = contained(timeout, asked).await;
    answered.map_err(|unheard| format!("must {must}: {unheard}"))
}

/// Forgets that a mirror is the target's; its rows stay.
///
/// # Errors
/// Why that can't be said there, without secrets.
pub(super) async fn leave(
    relays: &Relays,
    address: &DatabaseAddress,
    target: &Target,
    timeout: Duration,
) -> Result<(), String> {
    let left = async {
        let mut session = Session::open(relays, address).await?;
        let left = transaction::leave(&mut session.connection, target).await;
        left.map_err(|error| told(&error, address))
    };
    contained(timeout, left).await.map_err(|unheard| unheard.to_string())
}

impl Session {
    async fn apply(&mut self, holder: &Holder<'_>, page: &Page) -> Result<Applied, Failure> {
        // Under the mirror's own name: what doesn't fit is said of it.
        let table_name = holder.target.to_table.clone();
        let spec = TableSpec { table_name, ..holder.spec.clone() };
        let mirror = Mirror { schema: &holder.target.to_schema, spec: &spec };
        let rows = PageRows::new(&spec, page).map_err(Failure::Refused)?;
        let mut transaction = begin(&mut self.connection, holder.timeout).await?;
        if !self.prepared {
            let begins = page.copy.as_ref().is_some_and(CopyPart::is_first);
            prepare(&mut transaction, &mirror, &holder.target.id, begins).await?;
        }
        move_on(&mut transaction, &mirror, holder, page).await?;
        write(&mut transaction, &mirror, &rows).await?;
        let more = sweep(&mut transaction, &mirror, page.copy.as_ref(), &rows).await?;
        transaction.commit().await?;
        self.prepared = true;
        Ok(if more { Applied::HasMore } else { Applied::Whole })
    }
}

#[cfg(test)]
mod tests;
