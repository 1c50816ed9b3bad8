//! Where an organization's tables lie, and by which URLs they are reached if that is a database of its
//! own.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{INTERNAL, TABLES, Way, place};
use crate::clock::micros;
use crate::model::OrganizationId;
use crate::secrets::Keyring;
use crate::store::database::{PostgresDatabase, contained};
use crate::store::{Database, Error, Store, query, query_as, query_scalar, server};

/// An organization whose own database is away rests for so long, then one of its owners tries again.
/// Otherwise each would hold a worker up.
const AWAY: std::time::Duration = std::time::Duration::from_secs(5);

/// Until the transaction ends nobody else brings our tables there up to date, or tells the server the password of
/// a role. Readers don't see the table that is locked; an advisory lock of the database they could hold. Who
/// writes to it isn't kept from that.
pub(super) const ALONE: &str = "lock table rowgate.rowgate_moved in share update exclusive mode";

/// As the control database has it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(in crate::store) struct Location {
    /// The organization's.
    pub(in crate::store) key: String,
    /// The move that brought them to a database of its own.
    pub(in crate::store) database_id: Option<String>,
    /// Another one: where they lie has changed.
    pub(in crate::store) database_no: i64,
    /// They weren't reached when our databases were put back, and don't go with them yet.
    pub(in crate::store) is_left: bool,
}

/// Who reads an organization's own database.
pub(in crate::store) struct OwnReader {
    pub(in crate::store) url: Zeroizing<String>,
    /// We made that role.
    pub(in crate::store) is_ours: bool,
}

impl Store {
    /// Refused where the database is dropped.
    pub(in crate::store) async fn location(&self, of: OrganizationId) -> Result<Location, Error> {
        let sql = "select key, database_id, database_no, put_back_from is not null as is_left
                   from organizations where id = $1 and not dropping";
        let found = query_as(sql).bind(of).fetch_optional(self.control.readers()).await?;
        found.ok_or_else(|| Error::Inconsistent(format!("there is no organization {of}")))
    }

    /// The way to an organization's own database, as its admin.
    pub(in crate::store) async fn own_way(&self, id: &str) -> Result<Arc<Way>, Error> {
        self.outside()?.way(&self.move_url(id, "admin_url").await?)
    }

    /// Opens an organization's own database. Where it can't be reached, the organization rests a while.
    pub(in crate::store) async fn open_own(
        &self,
        of: OrganizationId,
        id: &str,
    ) -> Result<Database, Error> {
        let opened = self.prepare_own(self.own_way(id).await?).await;
        if opened.is_err() {
            self.rest_if_away(of).await?;
        }
        opened
    }

    /// With our tables beside the organization's, up to date.
    pub(in crate::store) async fn prepare_own(&self, way: Arc<Way>) -> Result<Database, Error> {
        let (limits, told) = (self.outside()?.limits, Arc::clone(&way));
        let schemas = [INTERNAL, TABLES];
        let opened = PostgresDatabase::open_by(way, schemas, &server::REPLICATION, ALONE, limits);
        let opened = contained(opened, Error::Unavailable).await;
        let say = |text: String| format!("{}: {}", told.shown, (told.hide)(&text));
        opened.map(Database::Postgres).map_err(|error| match error {
            Error::Unavailable(text) => Error::Unavailable(say(text)),
            Error::Inconsistent(text) => Error::Inconsistent(say(text)),
            Error::Refused(text) => Error::Refused(say(text)),
            other => other,
        })
    }

    /// To be called when something of an organization broke off. One whose tables lie in our databases
    /// goes on.
    pub async fn rest_if_away(&self, of: OrganizationId) -> Result<(), Error> {
        let until = self.clock.now().saturating_add(micros(AWAY));
        let rest = "update organizations set rests_until = $1
                    where id = $2 and database_id is not null and rests_until < $1";
        self.control.execute(query(rest).bind(until).bind(of)).await.map(drop)
    }

    /// The database of its own that an organization's tables lie in, user and password hidden.
    pub async fn own_database(&self, of: OrganizationId) -> Result<Option<String>, Error> {
        let sql = "select m.shown_url from organizations o join moves m on m.id = o.database_id
                   where o.id = $1";
        Ok(query_scalar(sql).bind(of).fetch_optional(self.control.readers()).await?)
    }

    /// Whether any organization's tables lie in a database of its own.
    pub(in crate::store) async fn any_own_database(&self) -> Result<bool, Error> {
        let sql = "select count(*) from organizations where database_id is not null";
        let count: i64 = query_scalar(sql).fetch_one(self.control.readers()).await?;
        Ok(count > 0)
    }

    pub(in crate::store) async fn own_reader(&self, id: &str) -> Result<OwnReader, Error> {
        let sql = "select own_reader from moves where id = $1";
        let is_ours = query_scalar(sql).bind(id).fetch_one(self.control.readers()).await?;
        Ok(OwnReader { url: self.move_url(id, "readonly_url").await?, is_ours })
    }

    pub(in crate::store) async fn move_url(
        &self,
        id: &str,
        column: &'static str,
    ) -> Result<Zeroizing<String>, Error> {
        let sql = format!("select {column} from moves where id = $1");
        let sealed: Option<Option<Vec<u8>>> =
            query_scalar(sql).bind(id).fetch_optional(self.control.readers()).await?;
        opened_url(&self.keyring, id, column, &sealed.flatten().ok_or_else(moved_again)?)
    }
}

pub(super) fn opened_url(
    keyring: &Keyring,
    id: &str,
    column: &'static str,
    sealed: &[u8],
) -> Result<Zeroizing<String>, Error> {
    let opened = keyring.open(&place(id, column), sealed);
    let opened = opened.map_err(|error| Error::Inconsistent(error.to_string()))?;
    let text = String::from_utf8(opened.to_vec());
    text.map(Zeroizing::new).map_err(|error| Error::Inconsistent(error.to_string()))
}

pub(super) fn moved_again() -> Error {
    Error::Unavailable("the tables have been moved again meanwhile".into())
}
