//! One-time codes: six digits, nine where somebody guesses, valid for a quarter of an hour, few wrong
//! answers, few an hour.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::counts::{self, Counts, WINDOW};
use crate::model::Micros;
use crate::store::{Connection, Error, Store, query, query_as, query_scalar};

const MINUTE: Micros = 60_000_000;
/// How long a code may be used.
const CODE_TTL: Micros = 15 * MINUTE;
/// So many wrong answers void a code.
const ATTEMPTS_MAX: i64 = 5;
/// So many an address gets in an hour; one network has a part of them, so a stranger from one doesn't take all.
///
/// In a day that is 24 * 10 * 5 = 1,200 guesses at an address. The first 14 at most are at codes of six digits,
/// of which there are 10^6, all others at codes of nine: whoever never rests, from several networks, is right
/// once in 65,000 days.
const CODES_MAX: i64 = 10;
/// What the key of digests is derived for.
const PURPOSE: &str = "login codes";

/// Who asks for a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Whoever has the data directory: as often as they like.
    Operator,
    /// It may be anybody.
    Anybody {
        /// The configuration names the very address.
        named: bool,
        /// Where the request came from, if that is known.
        client: Option<String>,
        /// For addresses that nobody knows.
        limits: StrangerLimits,
    },
}

/// How many addresses may have a code at once that are no customer's, weren't invited, and aren't named
/// by the configuration. Those that are known are as many as somebody made known: none of these limits
/// touches them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct StrangerLimits {
    pub all: i64,
    pub per_client: i64,
}

/// What came of a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redeemed {
    /// It was the code; it is used up.
    Right,
    /// It wasn't, or there is none.
    Wrong,
    /// It wasn't looked at: too many wrong ones came from there in the last hour.
    TooMany,
}

/// What came of asking for a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issued {
    /// This one, which voids the one before. It isn't stored.
    Code(String),
    /// There were too many in the last hour.
    TooMany,
}

impl Store {
    /// Makes a code for an address.
    pub async fn issue_code(&self, email: &str, asker: Asker) -> Result<Issued, Error> {
        let (short, long) = (self.chance.below(1_000_000), self.chance.below(1_000_000_000));
        let (email, now) = (email.to_owned(), self.clock.now());
        let (key, counts_key) =
            (self.keyring.derive(PURPOSE), self.keyring.derive(counts::PURPOSE));
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    let (mut known, mut from) = (true, None);
                    let network = match &asker {
                        Asker::Operator => None,
                        Asker::Anybody { client, .. } => client.clone(),
                    };
                    let counts = Counts { key: counts_key, network, now };
                    if let Asker::Anybody { named, client, limits } = asker {
                        known = named || is_known(connection, &email).await?;
                        // Addresses can be made up without end: one that gets no code leaves nothing here.
                        if !known && is_full(connection, &email, &client, limits, now).await? {
                            return Ok(Issued::TooMany);
                        }
                        let may_ask = counts.may_ask(connection, &email).await?;
                        forget_old(connection, now).await?;
                        if !may_ask || had_enough(connection, &email, now).await? {
                            counts.forget_old(connection).await?;
                            return Ok(Issued::TooMany);
                        }
                        from = client.filter(|_| !known);
                    }
                    let code = match counts.is_guessed_at(connection, &email).await? {
                        false => format!("{short:06}"),
                        true => format!("{long:09}"),
                    };
                    let digest = digest(&key, &email, &code);
                    let new = New { email, digest, known, client: from };
                    store(connection, new, now).await?;
                    counts.forget_old(connection).await?;
                    Ok(Issued::Code(code))
                })
            })
            .await
    }

    /// Whether this is the address's code. A right one is used up, a wrong one counted, of the address and
    /// of the network that it came from.
    pub async fn redeem_code(
        &self,
        email: &str,
        code: &str,
        network: Option<String>,
    ) -> Result<Redeemed, Error> {
        let (email, now) = (email.to_owned(), self.clock.now());
        let counts = Counts { key: self.keyring.derive(counts::PURPOSE), network, now };
        // A code may have been made before the key changed.
        let keys = self.keyring.derive_all(PURPOSE);
        let presented: Vec<_> = keys.iter().map(|key| digest(key, &email, code.trim())).collect();
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    if !counts.may_guess(connection).await? {
                        return Ok(Redeemed::TooMany);
                    }
                    let live: Option<(Vec<u8>,)> = query_as(
                        "update login_codes set attempts = attempts + 1
                         where email = $1 and expires_at > $2 and attempts < $3 returning digest",
                    )
                    .bind(&email)
                    .bind(now)
                    .bind(ATTEMPTS_MAX)
                    .fetch_optional(&mut *connection)
                    .await?;
                    let right = live.as_ref().is_some_and(|(digest,)| {
                        presented.iter().any(|presented| digest.ct_eq(presented).into())
                    });
                    if right {
                        query("delete from login_codes where email = $1")
                            .bind(&email)
                            .execute(&mut *connection)
                            .await?;
                        counts.was_right(connection).await?;
                    } else if live.is_some() {
                        counts.was_wrong(connection, &email).await?;
                    }
                    counts.forget_old(connection).await?;
                    Ok(if right { Redeemed::Right } else { Redeemed::Wrong })
                })
            })
            .await
    }
}

pub(super) fn digest(key: &[u8; 32], email: &str, code: &str) -> Vec<u8> {
    let mut mac = <Hmac<Sha256>>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(email.as_bytes());
    mac.update(b"\0");
    mac.update(code.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Somebody made it known before it asked: by a login, or by an invitation.
async fn is_known(connection: &mut Connection, email: &str) -> Result<bool, Error> {
    let known = query_scalar(
        "select exists (select 1 from customers where email = $1)
             or exists (select 1 from memberships where email = $1)",
    );
    Ok(known.bind(email).fetch_one(connection).await?)
}

async fn forget_old(connection: &mut Connection, now: Micros) -> Result<(), Error> {
    query("delete from login_codes where window_at < $1 and expires_at < $2")
        .bind(now - WINDOW)
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether an address has got as many codes in this hour as it may.
async fn had_enough(connection: &mut Connection, email: &str, now: Micros) -> Result<bool, Error> {
    let issued: Option<i64> =
        query_scalar("select issued from login_codes where email = $1 and window_at > $2")
            .bind(email)
            .bind(now - WINDOW)
            .fetch_optional(connection)
            .await?;
    Ok(issued.is_some_and(|issued| issued >= CODES_MAX))
}

/// Whether so many strangers beside this one have a code that it gets none.
async fn is_full(
    connection: &mut Connection,
    email: &str,
    client: &Option<String>,
    limits: StrangerLimits,
    now: Micros,
) -> Result<bool, Error> {
    let since = now - WINDOW;
    let others = "select count(*) from login_codes where not known and email <> $1
                    and (window_at >= $2 or expires_at >= $3)";
    let all = query_scalar(others).bind(email).bind(since).bind(now);
    let all: i64 = all.fetch_one(&mut *connection).await?;
    if all >= limits.all || client.is_none() {
        return Ok(all >= limits.all);
    }
    let of_client = query_scalar(format!("{others} and client = $4"));
    let of_client = of_client.bind(email).bind(since).bind(now).bind(client);
    let of_client: i64 = of_client.fetch_one(connection).await?;
    Ok(of_client >= limits.per_client)
}

/// A code that is to be stored.
struct New {
    email: String,
    digest: Vec<u8>,
    known: bool,
    client: Option<String>,
}

async fn store(connection: &mut Connection, new: New, now: Micros) -> Result<(), Error> {
    query(
        "insert into login_codes (email, digest, expires_at, window_at, issued, known, client)
         values ($1, $2, $3, $4, 1, $6, $7)
         on conflict (email) do update set digest = excluded.digest,
           expires_at = excluded.expires_at, attempts = 0,
           known = excluded.known, client = excluded.client,
           issued = case when login_codes.window_at > $5 then login_codes.issued + 1 else 1 end,
           window_at = case when login_codes.window_at > $5 then login_codes.window_at
                            else excluded.window_at end",
    )
    .bind(new.email)
    .bind(new.digest)
    .bind(now + CODE_TTL)
    .bind(now)
    .bind(now - WINDOW)
    .bind(new.known)
    .bind(new.client)
    .execute(connection)
    .await?;
    Ok(())
}
