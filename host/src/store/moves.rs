//! Moves: an organization's tables go to a PostgreSQL database of its own.
//!
//! While a move copies, the organization rests: none of its owners is claimed, webhooks are stored, and
//! readers read the tables where they are. Cursors, fences and the feed go along, the feed with its epoch
//! and numbers: bookmarks stay good, so receivers and mirrors miss nothing and get nothing twice. One
//! transaction of the control database then says where the tables lie. Before it nothing has changed but
//! the rest; a move that fails ends there.

mod copy;
mod destination;
mod fitness;
mod hold;
mod left;
mod location;
mod reader;
mod rest;
mod table;
mod ways;
mod work;
mod written;

use zeroize::Zeroizing;

use super::endings::DROPPED;
use super::{Connection, Error, Store, Target, organizations, query, query_as, query_scalar};
use crate::model::{Micros, OrganizationId};
use crate::secrets::Keyring;

pub use destination::{Found, WrongDatabase};
use hold::{Claimed, Hold, held};
pub(super) use location::Location;
use location::OwnReader;
pub(super) use ways::Outside;
pub use ways::{Way, Ways};
pub use work::work;

/// Of a customer's database: the schema of the replicated tables, and that of what belongs to them.
pub(super) const TABLES: &str = "public";
const INTERNAL: &str = "rowgate";

/// Both. Nothing else may be written there.
pub const SCHEMAS: [&str; 2] = [TABLES, INTERNAL];

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
    pub(in crate::store) reader: OwnReader,
    /// The first as it may be shown.
    pub shown: String,
}

impl Urls {
    /// In the transaction that stores them: a change of the key awaits it.
    fn sealed(&self, keyring: &Keyring, id: &str) -> [Vec<u8>; 2] {
        [("admin_url", &self.admin), ("readonly_url", &self.reader.url)]
            .map(|(column, url)| keyring.seal(&place(id, column), url.as_bytes()))
    }
}

/// For what a URL of a move is sealed.
pub(super) fn place(id: &str, column: &str) -> String {
    format!("moves/{id}/{column}")
}

impl Store {
    /// Has an organization's tables moved, by whichever host comes to it.
    ///
    /// # Errors
    /// [`Error::Refused`]: they are being moved already, some of them are being dropped, or they aren't put right
    /// after a restore yet.
    pub async fn begin_move(&self, of: OrganizationId, urls: Urls) -> Result<Move, Error> {
        if self.location(of).await?.is_left {
            return Err(Error::Refused(
                "the tables lie in a database that can't be reached: they move when it answers"
                    .into(),
            ));
        }
        let id = format!("dbm_{}", self.chance.base36(16));
        let (keyring, now, begun) = (self.keyring.clone(), self.clock.now(), id.clone());
        let inserted = self.control.write(move |connection| {
            Box::pin(async move {
                organizations::hold(connection, of).await?;
                refuse_while_dropping(connection, of).await?;
                let [admin, readonly] = urls.sealed(&keyring, &begun);
                let inserted = query(
                    "insert into moves (id, organization_id, state, admin_url, readonly_url,
                       own_reader, reader_told, shown_url, created_at, progressed_at)
                     values ($1, $2, 'copying', $3, $4, $5, not $5, $6, $7, $7)
                     on conflict do nothing",
                )
                .bind(begun)
                .bind(of)
                .bind(admin)
                .bind(readonly)
                .bind(urls.reader.is_ours)
                .bind(urls.shown)
                .bind(now)
                .execute(connection)
                .await?;
                Ok(inserted.rows_affected())
            })
        });
        if inserted.await? == 0 {
            return Err(moving());
        }
        let begun = self.moves(of).await?.into_iter().find(|one| one.id == id);
        begun.ok_or_else(|| Error::Inconsistent(format!("the move {id} is gone at once")))
    }

    /// The tables lie in that database already: from now on it is reached by these URLs. A role that we made,
    /// and that reads no more, goes.
    pub async fn replace_urls(&self, of: OrganizationId, urls: Urls) -> Result<Move, Error> {
        let Some(current) = self.moves(of).await?.into_iter().find(|one| one.is_current) else {
            return Err(moved_elsewhere());
        };
        let before = self.own_reader(&current.id).await;
        let (id, keyring) = (current.id.clone(), self.keyring.clone());
        let shown_url = urls.shown.clone();
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    organizations::hold(connection, of).await?;
                    let is_current = "select count(*) from organizations
                                      where id = $1 and database_id = $2";
                    let is_current = query_scalar::<i64>(is_current).bind(of).bind(id.clone());
                    if is_current.fetch_one(&mut *connection).await? == 0 {
                        return Err(moved_elsewhere());
                    }
                    let [admin, readonly] = urls.sealed(&keyring, &id);
                    query(
                        "update moves set admin_url = $1, readonly_url = $2, own_reader = $3,
                           reader_told = not $3, shown_url = $4 where id = $5",
                    )
                    .bind(admin)
                    .bind(readonly)
                    .bind(urls.reader.is_ours)
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
        // Stored is stored: what of this fails is made good when the role is told again.
        let ended = async {
            let admin = self.outside()?.database(&self.own_way(&current.id).await?);
            // Also one that was given: whoever stored other URLs at the same moment may have ended it.
            let reads = self.let_read(&admin, &current.id).await?;
            self.end_reader(&admin, before?, &reads).await
        };
        if let Err(error) = ended.await {
            let id = &current.id;
            tracing::warn!(id, %error, "the role that reads waits, or the one before stays, in a customer's database");
        }
        Ok(Move { shown_url, ..current })
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
        refuse_while_moving(self.control.readers(), of).await
    }
}

/// The same in a transaction that holds the organization: no move begins before that ends.
pub(super) async fn refuse_while_moving(
    target: impl Into<Target<'_>>,
    of: OrganizationId,
) -> Result<(), Error> {
    let sql = "select count(*) from moves where organization_id = $1 and state = 'copying'";
    let moves: i64 = query_scalar(sql).bind(of).fetch_one(target).await?;
    if moves == 0 { Ok(()) } else { Err(moving()) }
}

/// A copy needs tables that stay as they are. What is left of a deletion then is the control database's.
async fn refuse_while_dropping(
    connection: &mut Connection,
    of: OrganizationId,
) -> Result<(), Error> {
    let sql = format!(
        "select exists (select 1 from integrations where organization_id = $1
                          and ended_at is not null and table_name not like '{DROPPED}%')"
    );
    match query_scalar(sql).bind(of).fetch_one(connection).await? {
        false => Ok(()),
        true => Err(Error::Refused("tables are still being deleted: try again in a while".into())),
    }
}

fn moved_elsewhere() -> Error {
    Error::Refused("the tables were moved elsewhere meanwhile: try again".into())
}

fn moving() -> Error {
    let reason = "the tables are being moved to another database (`rowgate db migrations list`): \
                  try again when that is over";
    Error::Refused(reason.into())
}
