//! Queries of a person or a program on an organization's tables: read-only, one statement, limited
//! in rows, bytes and time, and each in a process of its own.

mod asked;
mod postgres;
mod process;
mod room;
mod sqlite;
mod statement;

#[cfg(test)]
pub(super) use postgres::timestamp;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use asked::{Asked, Place};
pub(super) use asked::{Login, server_of};
pub use process::{ARGUMENT, answer};
pub use room::{Admitted, Asking, Room, RoomLimits};

use super::moves::{self, Location, Way};
use super::{Error, Store, query_scalar};
use crate::model::OrganizationId;

/// What one query may cost.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct QueryLimits {
    pub rows: usize,
    pub bytes: usize,
    pub time: Duration,
    /// That its process may take beside its program.
    pub memory_bytes: u64,
    /// More rows than that are cut off, not refused.
    pub cut_rows: bool,
}

/// The answer to a query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// JSON columns are nested, booleans true or false, bytes base64.
    pub rows: Vec<Vec<Value>>,
    /// There are more.
    pub cut: bool,
}

impl Store {
    /// Runs one reading statement on the organization's tables, in a process of its own.
    pub async fn query(
        &self,
        organization: OrganizationId,
        text: &str,
        limits: QueryLimits,
    ) -> Result<Rows, Error> {
        let (place, way) = self.place(organization).await?;
        let asked = Asked { place, text: text.to_owned(), limits };
        let answered = process::run(&asked, &self.clock).await;
        let Some(way) = way else { return answered };
        // What a customer's server says.
        answered.map_err(|error| match error {
            Error::Refused(reason) => Error::Refused((way.hide)(&reason)),
            Error::Unavailable(reason) => Error::Unavailable((way.hide)(&reason)),
            other => other,
        })
    }

    /// Where the tables are read. The way there, if they lie in a database of the organization's own: it is
    /// open for as long as it isn't dropped.
    async fn place(
        &self,
        organization: OrganizationId,
    ) -> Result<(Place, Option<Arc<Way>>), Error> {
        let Location { key, database_id, .. } = self.location(organization).await?;
        if let Some(id) = database_id {
            let url = self.readonly_url(organization, &id).await?;
            let way = self.outside()?.way(&url)?;
            return Ok((Place::Server(way.query_login()), Some(way)));
        }
        // Made here if this is the first use.
        drop(self.replication(organization).await?);
        let place = match &self.server {
            None => Place::File(self.data_dir.replication(&key)),
            Some(server) => {
                let password = self.reader_password(server, organization).await?;
                Place::Server(server.reader(&key, &password))
            }
        };
        Ok((place, None))
    }
}

impl Store {
    /// Where a program reads the organization's tables by itself, as `psql` or `sqlite3` takes it. A
    /// URL of a server holds a password.
    pub async fn connection_url(
        &self,
        organization: OrganizationId,
    ) -> Result<Zeroizing<String>, Error> {
        let Location { key, database_id, .. } = self.location(organization).await?;
        if let Some(id) = database_id {
            return self.readonly_url(organization, &id).await;
        }
        // Made here if this is the first use.
        drop(self.replication(organization).await?);
        let url = match &self.server {
            None => sqlite::url(&self.data_dir.replication(&key))?,
            Some(server) => {
                let password = self.reader_password(server, organization).await?;
                server.reader_url(&key, &password)
            }
        };
        Ok(Zeroizing::new(url))
    }

    /// The same where it is made already and holds a password: what a digest is compared with.
    pub async fn secret_connection_url(
        &self,
        organization: OrganizationId,
    ) -> Result<Option<Zeroizing<String>>, Error> {
        let Location { key, database_id, .. } = self.location(organization).await?;
        if let Some(id) = database_id {
            return self.move_url(&id, "readonly_url").await.map(Some);
        }
        let Some(server) = &self.server else { return Ok(None) };
        let made = query_scalar::<bool>(
            "select reader_sealed is not null from organizations where id = $1",
        );
        let made = made.bind(organization).fetch_optional(self.control.readers()).await?;
        if made != Some(true) {
            return Ok(None);
        }
        let password = self.reader(organization).await?.password;
        Ok(Some(Zeroizing::new(server.reader_url(&key, &password))))
    }

    /// The schema of the organization's tables on a server; none: they lie in a file.
    pub async fn schema(&self, organization: OrganizationId) -> Result<Option<String>, Error> {
        let Location { key, database_id, .. } = self.location(organization).await?;
        match (database_id, &self.server) {
            (Some(_), _) => Ok(Some(moves::TABLES.to_owned())),
            (None, Some(server)) => Ok(Some(server.schema(&key))),
            (None, None) => Ok(None),
        }
    }

    /// Whether a connection URL of any organization holds a password.
    pub async fn has_passwords(&self) -> Result<bool, Error> {
        Ok(self.server.is_some() || self.any_own_database().await?)
    }

    /// Gives the reading role another password.
    pub async fn roll_reader(&self, organization: OrganizationId) -> Result<(), Error> {
        self.refuse_while_moving(organization).await?;
        let Location { database_id, .. } = self.location(organization).await?;
        if let Some(id) = database_id {
            return self.roll_own_reader(organization, &id).await;
        }
        let Some(server) = &self.server else {
            return Err(Error::Refused(
                "the tables lie in a file, which has no credentials to roll".into(),
            ));
        };
        self.roll_password(server, organization).await
    }
}

/// Takes rows in until there are too many.
struct Answer {
    rows: Rows,
    limits: QueryLimits,
    bytes: usize,
}

impl Answer {
    fn new(columns: Vec<String>, limits: QueryLimits) -> Self {
        Self { rows: Rows { columns, ..Rows::default() }, limits, bytes: 0 }
    }

    /// False: nothing more is wanted.
    fn push(&mut self, values: Vec<Value>) -> Result<bool, Error> {
        if self.rows.rows.len() == self.limits.rows {
            if self.limits.cut_rows {
                self.rows.cut = true;
                return Ok(false);
            }
            return Err(Error::Refused(format!(
                "the answer has more than {} rows: add a LIMIT",
                self.limits.rows
            )));
        }
        self.rows.rows.push(values);
        if self.bytes > self.limits.bytes {
            return Err(Error::Refused(format!(
                "the answer is larger than {} bytes: add a LIMIT",
                self.limits.bytes
            )));
        }
        Ok(true)
    }
}

fn too_long(limits: QueryLimits) -> Error {
    let seconds = limits.time.as_secs_f32();
    Error::Refused(format!("the query took longer than {seconds} s; narrow it"))
}

/// In memory an element takes much more than in a text.
const ELEMENT_BYTES: usize = 64;

fn nested(text: String, bytes: &mut usize) -> Value {
    *bytes += memchr::memchr_iter(b',', text.as_bytes()).count() * ELEMENT_BYTES;
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// The database's own words, without sqlx's frame.
fn refused(error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::Database(error) => Error::Refused(error.message().to_owned()),
        sqlx::Error::Decode(error) | sqlx::Error::ColumnDecode { source: error, .. } => {
            Error::Refused(format!("a value of the answer can't be read: {error}"))
        }
        other => Error::Database(other),
    }
}

#[cfg(test)]
mod tests;
