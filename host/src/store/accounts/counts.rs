//! What one network may do of logging in, by the hour: it has few guesses, whatever the addresses, and can't
//! use up the codes of an address. Digests are kept of who it was, and they only as long as they count.

use super::codes::digest;
use crate::model::Micros;
use crate::store::{Connection, Error, query, query_scalar};

/// Codes that a network may ask for: of one address, and of all.
const ADDRESS_CODES_MAX: i64 = 5;
const CODES_MAX: i64 = 50;

/// Wrong answers of a network. Right ones don't count: many people may share it.
const WRONG_MAX: i64 = 20;

/// What is counted counts so long, from the first on.
pub(super) const WINDOW: Micros = 60 * 60_000_000;

/// Counts that go when another is made: more than come.
const FORGOTTEN_AT_ONCE: i64 = 100;

/// What the key of digests is derived for.
pub(super) const PURPOSE: &str = "login counts";

/// Counts of the network that a request came from, if that is known. Others who count the same wait until
/// the transaction ends, so a transaction counts before it writes to codes.
pub(super) struct Counts {
    pub(super) key: [u8; 32],
    pub(super) network: Option<String>,
    pub(super) now: Micros,
}

impl Counts {
    /// Counts a code. Those who come from nobody knows where share what one network has of an address.
    pub(super) async fn may_ask(
        &self,
        connection: &mut Connection,
        email: &str,
    ) -> Result<bool, Error> {
        let network = self.network.as_deref();
        if network.is_some() && self.count(connection, "codes", "").await? > CODES_MAX {
            return Ok(false);
        }
        Ok(self.count(connection, "codes", email).await? <= ADDRESS_CODES_MAX)
    }

    /// Counts a guess. It is no limit for who comes from nobody knows where: they would lock each other out.
    pub(super) async fn may_guess(&self, connection: &mut Connection) -> Result<bool, Error> {
        match self.network {
            None => Ok(true),
            Some(_) => Ok(self.count(connection, "guesses", "").await? <= WRONG_MAX),
        }
    }

    /// Takes a guess back.
    pub(super) async fn was_right(&self, connection: &mut Connection) -> Result<(), Error> {
        let statement = query("update login_counts set counted = counted - 1 where who = $1");
        statement.bind(self.who("guesses", "")).execute(connection).await?;
        Ok(())
    }

    /// Forgets some that count no more. Comes after counting: it waits for nobody, and others may wait for it.
    pub(super) async fn forget_old(&self, connection: &mut Connection) -> Result<(), Error> {
        let skip = connection.dialect().locks("for update skip locked");
        query(format!(
            "delete from login_counts where who in (
               select who from login_counts where window_at <= $1
               order by window_at limit $2 {skip})"
        ))
        .bind(self.now - WINDOW)
        .bind(FORGOTTEN_AT_ONCE)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// This one too.
    async fn count(
        &self,
        connection: &mut Connection,
        what: &str,
        email: &str,
    ) -> Result<i64, Error> {
        let counted = query_scalar(
            "insert into login_counts (who, window_at, counted) values ($1, $2, 1)
             on conflict (who) do update set
               counted = case when login_counts.window_at > $3 then login_counts.counted + 1
                              else 1 end,
               window_at = case when login_counts.window_at > $3 then login_counts.window_at
                                else excluded.window_at end
             returning counted",
        );
        let counted = counted.bind(self.who(what, email)).bind(self.now).bind(self.now - WINDOW);
        Ok(counted.fetch_one(connection).await?)
    }

    fn who(&self, what: &str, email: &str) -> Vec<u8> {
        let network = self.network.as_deref().unwrap_or_default();
        digest(&self.key, &format!("{what} {network}"), email)
    }
}
