//! One-time codes: six digits, valid for a quarter of an hour, few wrong answers, few an hour.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::model::Micros;
use crate::store::{Connection, Error, Store, query, query_as, query_scalar};

const MINUTE: Micros = 60_000_000;
/// How long a code may be used.
const CODE_TTL: Micros = 15 * MINUTE;
/// So many wrong answers void a code.
const ATTEMPTS_MAX: i64 = 5;
/// So many codes an address gets in an hour: with the attempts that is one guess in 40,000.
const CODES_MAX: i64 = 5;
const CODES_WINDOW: Micros = 60 * MINUTE;
/// Addresses with a code at once: whoever asks isn't known yet.
const ADDRESSES_MAX: i64 = 1_000;
/// What the key of digests is derived for.
const PURPOSE: &str = "login codes";

/// What came of asking for a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issued {
    /// This one, which voids the one before. It isn't stored.
    Code(String),
    /// There were too many in the last hour.
    TooMany,
}

impl Store {
    /// Makes a code for an address. `limited`: whoever asks may be anybody.
    pub async fn issue_code(&self, email: &str, limited: bool) -> Result<Issued, Error> {
        let code = format!("{:06}", self.chance.below(1_000_000));
        let (email, now) = (email.to_owned(), self.clock.now());
        let digest = digest(&self.keyring.derive(PURPOSE), &email, &code);
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    if limited && is_exhausted(connection, &email, now).await? {
                        return Ok(Issued::TooMany);
                    }
                    store(connection, &email, digest, now).await?;
                    Ok(Issued::Code(code))
                })
            })
            .await
    }

    /// Whether this is the address's code. A right one is used up, a wrong one counted.
    pub async fn redeem_code(&self, email: &str, code: &str) -> Result<bool, Error> {
        let (email, now) = (email.to_owned(), self.clock.now());
        // A code may have been made before the key changed.
        let keys = self.keyring.derive_all(PURPOSE);
        let presented: Vec<_> = keys.iter().map(|key| digest(key, &email, code.trim())).collect();
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    let live: Option<(Vec<u8>,)> = query_as(
                        "update login_codes set attempts = attempts + 1
                         where email = $1 and expires_at > $2 and attempts < $3 returning digest",
                    )
                    .bind(&email)
                    .bind(now)
                    .bind(ATTEMPTS_MAX)
                    .fetch_optional(&mut *connection)
                    .await?;
                    let right = live.is_some_and(|(digest,)| {
                        presented.iter().any(|presented| digest.ct_eq(presented).into())
                    });
                    if right {
                        query("delete from login_codes where email = $1")
                            .bind(&email)
                            .execute(connection)
                            .await?;
                    }
                    Ok(right)
                })
            })
            .await
    }
}

fn digest(key: &[u8; 32], email: &str, code: &str) -> Vec<u8> {
    let mut mac = <Hmac<Sha256>>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(email.as_bytes());
    mac.update(b"\0");
    mac.update(code.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

async fn is_exhausted(
    connection: &mut Connection,
    email: &str,
    now: Micros,
) -> Result<bool, Error> {
    let issued: Option<i64> =
        query_scalar("select issued from login_codes where email = $1 and window_at > $2")
            .bind(email)
            .bind(now - CODES_WINDOW)
            .fetch_optional(&mut *connection)
            .await?;
    if issued.is_some_and(|issued| issued >= CODES_MAX) {
        return Ok(true);
    }
    query("delete from login_codes where window_at < $1 and expires_at < $2")
        .bind(now - CODES_WINDOW)
        .bind(now)
        .execute(&mut *connection)
        .await?;
    let addresses: i64 =
        query_scalar("select count(*) from login_codes").fetch_one(connection).await?;
    Ok(addresses >= ADDRESSES_MAX)
}

async fn store(
    connection: &mut Connection,
    email: &str,
    digest: Vec<u8>,
    now: Micros,
) -> Result<(), Error> {
    query(
        "insert into login_codes (email, digest, expires_at, window_at, issued)
         values ($1, $2, $3, $4, 1)
         on conflict (email) do update set digest = excluded.digest,
           expires_at = excluded.expires_at, attempts = 0,
           issued = case when login_codes.window_at > $5 then login_codes.issued + 1 else 1 end,
           window_at = case when login_codes.window_at > $5 then login_codes.window_at
                            else excluded.window_at end",
    )
    .bind(email)
    .bind(digest)
    .bind(now + CODE_TTL)
    .bind(now)
    .bind(now - CODES_WINDOW)
    .execute(connection)
    .await?;
    Ok(())
}
