//! What one network may do of logging in, by the hour: it has few guesses, whatever the addresses, and can't
//! use up the codes of an address. And which addresses are guessed at, by the day. Digests are kept of who it
//! was, and they only as long as they count.

use super::codes::digest;
use crate::model::Micros;
use crate::store::{Connection, Error, query, query_scalar};

/// Codes that a network may ask for: of one address, and of all.
const ADDRESS_CODES_MAX: i64 = 5;
const CODES_MAX: i64 = 50;

/// Wrong answers of a network. Right ones don't count: many people may share it.
const WRONG_MAX: i64 = 20;

/// Wrong answers at an address, from wherever: somebody guesses.
const GUESSED_AT: i64 = 10;

/// What a network does counts so long, from the first on.
pub(super) const WINDOW: Micros = 60 * 60_000_000;
/// What is done to an address counts so long.
const DAY: Micros = 24 * WINDOW;

/// Counts that go when another is made: more than come.
const FORGOTTEN_AT_ONCE: i64 = 100;

/// Of an address, whatever the network.
const WRONG: &str = "wrong";

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
        let (all, of_address) = (self.who("codes", ""), self.who("codes", email));
        if network.is_some() && self.count(connection, all, WINDOW).await? > CODES_MAX {
            return Ok(false);
        }
        Ok(self.count(connection, of_address, WINDOW).await? <= ADDRESS_CODES_MAX)
    }

    /// Counts a guess. It is no limit for who comes from nobody knows where: they would lock each other out.
    pub(super) async fn may_guess(&self, connection: &mut Connection) -> Result<bool, Error> {
        match self.network {
            None => Ok(true),
            Some(_) => {
                let guesses = self.who("guesses", "");
                Ok(self.count(connection, guesses, WINDOW).await? <= WRONG_MAX)
            }
        }
    }

    /// Counts a wrong answer to a code that there was.
    pub(super) async fn was_wrong(
        &self,
        connection: &mut Connection,
        email: &str,
    ) -> Result<(), Error> {
        let wrong = digest(&self.key, WRONG, email);
        self.count(connection, wrong, DAY).await.map(drop)
    }

    /// Whether so many answers were wrong in a day that somebody guesses.
    pub(super) async fn is_guessed_at(
        &self,
        connection: &mut Connection,
        email: &str,
    ) -> Result<bool, Error> {
        let sql = "select counted from login_counts where who = $1 and window_at > $2";
        let counted = query_scalar::<i64>(sql).bind(digest(&self.key, WRONG, email));
        let counted = counted.bind(self.now - DAY).fetch_optional(connection).await?;
        Ok(counted.is_some_and(|counted| counted >= GUESSED_AT))
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
        .bind(self.now - DAY)
        .bind(FORGOTTEN_AT_ONCE)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// This one too.
    async fn count(
        &self,
        connection: &mut Connection,
        who: Vec<u8>,
        window: Micros,
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
        let counted = counted.bind(who).bind(self.now).bind(self.now - window);
        Ok(counted.fetch_one(connection).await?)
    }

    fn who(&self, what: &str, email: &str) -> Vec<u8> {
        let network = self.network.as_deref().unwrap_or_default();
        digest(&self.key, &format!("{what} {network}"), email)
    }
}
