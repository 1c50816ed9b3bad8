//! An organization's part of our server, and the password of the role that reads it. That is sealed first,
//! and the server told of it afterwards; `reader_prepared` says that it was. Whoever died in between is made
//! good for by the next one who needs either.

use zeroize::Zeroizing;

use super::moves::Location;
use super::server::{PREPARED, ReaderPassword, Server};
use super::{Database, Error, Store, query, query_as, query_scalar};
use crate::failpoint;
use crate::model::OrganizationId;

/// The password of a reading role.
pub(super) struct Reader {
    pub(super) password: Zeroizing<String>,
    sealed: Vec<u8>,
    /// The server was told it, with all else that this program makes for such a role, or a newer one.
    is_told: bool,
}

impl Store {
    /// Opens an organization's part. It is made, or brought up to date, where something is missing: whoever does
    /// that is alone, and after a start many hosts open many parts.
    pub(super) async fn open_part(
        &self,
        server: &Server,
        of: OrganizationId,
        key: &str,
    ) -> Result<Database, Error> {
        if self.reader(of).await?.is_told
            && let Some(database) = server.open_ready(key).await
        {
            return Ok(database);
        }
        self.make_part(server, of, key).await.map(|(database, _)| database)
    }

    /// The password of the role that may only read the organization's tables, as the server knows it.
    pub(super) async fn reader_password(
        &self,
        server: &Server,
        of: OrganizationId,
    ) -> Result<Zeroizing<String>, Error> {
        let reader = self.reader(of).await?;
        if reader.is_told {
            return Ok(reader.password);
        }
        let held = self.hold_replication(of).await?;
        let made = match self.location(of).await {
            Ok(Location { database_id: None, key, .. }) => self.make_part(server, of, &key).await,
            Ok(_) => Err(Error::Unavailable("the tables have been moved meanwhile".into())),
            Err(dropped) => Err(dropped),
        };
        held.let_go().await;
        made.map(|(_, password)| password)
    }

    /// Gives the role another password.
    pub(super) async fn roll_password(
        &self,
        server: &Server,
        of: OrganizationId,
    ) -> Result<(), Error> {
        self.seal_another(of).await?;
        failpoint::reach("password_sealed");
        self.reader_password(server, of).await.map(drop)
    }

    /// The server isn't told yet.
    pub(super) async fn seal_another(&self, of: OrganizationId) -> Result<(), Error> {
        let another =
            "update organizations set reader_sealed = $1, reader_prepared = 0 where id = $2";
        let another = query(another).bind(self.fresh_password(of)).bind(of);
        self.control.execute(another).await.map(drop)
    }

    /// Nobody drops the part meanwhile.
    async fn make_part(
        &self,
        server: &Server,
        of: OrganizationId,
        key: &str,
    ) -> Result<(Database, Zeroizing<String>), Error> {
        server.alone().await?.during(self.make_part_alone(server, of, key)).await
    }

    async fn make_part_alone(
        &self,
        server: &Server,
        of: OrganizationId,
        key: &str,
    ) -> Result<(Database, Zeroizing<String>), Error> {
        // Whoever seals another one from here on tells the server after us.
        let Reader { password, sealed, is_told } = self.reader(of).await?;
        // Another host may have made it while we waited.
        if is_told && let Some(database) = server.open_ready(key).await {
            return Ok((database, password));
        }
        let told = ReaderPassword { text: &password, salt: self.chance.bytes() };
        let database = server.open_replication(key, &told).await?;
        failpoint::reach("password_told");
        let is_told = "update organizations set reader_prepared =
                         case when reader_prepared > $1 then reader_prepared else $1 end
                       where id = $2 and reader_sealed = $3";
        let is_told = query(is_told).bind(PREPARED).bind(of).bind(sealed);
        self.control.execute(is_told).await?;
        Ok((database, password))
    }

    /// As it is sealed; made at first use.
    pub(super) async fn reader(&self, of: OrganizationId) -> Result<Reader, Error> {
        let stored = "select reader_sealed, reader_prepared from organizations where id = $1";
        let stored: Option<(Option<Vec<u8>>, i64)> =
            query_as(stored).bind(of).fetch_optional(self.control.readers()).await?;
        let none = || Error::Inconsistent(format!("there is no organization {of}"));
        let (sealed, prepared) = stored.ok_or_else(none)?;
        let sealed = match sealed {
            Some(sealed) => sealed,
            None => self.first_password(of).await?.ok_or_else(none)?,
        };
        let broken = |error: String| Error::Inconsistent(error);
        let opened = self.keyring.open(&reader_place(of), &sealed);
        let opened = opened.map_err(|error| broken(error.to_string()))?;
        let text = std::str::from_utf8(&opened).map_err(|error| broken(error.to_string()))?;
        let password = Zeroizing::new(text.to_owned());
        Ok(Reader { password, sealed, is_told: prepared >= PREPARED })
    }

    async fn first_password(&self, of: OrganizationId) -> Result<Option<Vec<u8>>, Error> {
        let made = query_scalar::<Vec<u8>>(
            "update organizations set reader_sealed = coalesce(reader_sealed, $1) where id = $2
             returning reader_sealed",
        );
        self.control.fetch(made.bind(self.fresh_password(of)).bind(of)).await
    }

    fn fresh_password(&self, of: OrganizationId) -> Vec<u8> {
        self.keyring.seal(&reader_place(of), self.chance.base36(24).as_bytes())
    }
}

/// Where the password of an organization's reading role lives.
pub(super) fn reader_place(of: OrganizationId) -> String {
    format!("organizations/{of}/reader")
}

#[cfg(test)]
mod tests;
