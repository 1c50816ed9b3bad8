//! Who uses the API: customers, their sessions, and the codes they log in with.

mod codes;
mod counts;

use sha2::{Digest as _, Sha256};

use super::memberships::{self, Role};
use super::organizations::{DEFAULT, insert_organization};
use super::{Connection, Dialect, Error, Store, query, query_as, query_scalar};
use crate::model::Micros;

pub use codes::{Asker, Issued, Redeemed, StrangerLimits};

/// Somebody who has logged in at least once.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Customer {
    /// Row id.
    pub id: i64,
    /// `cus_...`
    pub opaque_id: String,
    /// In lower case.
    pub email: String,
    /// May be empty.
    pub name: String,
    /// Of the whole host: the first who logged in.
    pub operator: bool,
    /// When the first login succeeded.
    pub created_at: Micros,
}

/// Sessions that have expired and go when another is opened.
const FORGOTTEN_AT_ONCE: i64 = 100;

const COLUMNS: &str = "c.id, c.opaque_id, c.email, c.name, c.operator, c.created_at";

impl Store {
    /// Whether anybody has ever logged in.
    pub async fn has_customers(&self) -> Result<bool, Error> {
        let any = "select exists (select 1 from customers)";
        Ok(query_scalar(any).fetch_one(self.control.readers()).await?)
    }

    /// The customer with this address.
    pub async fn customer(&self, email: &str) -> Result<Option<Customer>, Error> {
        let sql = format!("select {COLUMNS} from customers c where c.email = $1");
        Ok(query_as(sql).bind(email).fetch_optional(self.control.readers()).await?)
    }

    /// The customer with this id, `cus_...`.
    pub async fn customer_by_id(&self, opaque_id: &str) -> Result<Option<Customer>, Error> {
        let sql = format!("select {COLUMNS} from customers c where c.opaque_id = $1");
        Ok(query_as(sql).bind(opaque_id).fetch_optional(self.control.readers()).await?)
    }

    /// The customer who logs in: made at the first time, when the first of all becomes the host's
    /// operator and takes over the organization `default`, and any other gets one of their own.
    pub async fn welcome(&self, email: &str) -> Result<Customer, Error> {
        let (email, now) = (email.to_owned(), self.clock.now());
        let opaque_id = format!("cus_{}", self.chance.base36(16));
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    if connection.dialect() == Dialect::Postgres {
                        // Two who come at once must not both be the first.
                        connection.run("lock table customers in share row exclusive mode").await?;
                    }
                    let known = format!("select {COLUMNS} from customers c where c.email = $1");
                    let known = query_as(known).bind(&email);
                    if let Some(customer) = known.fetch_optional(&mut *connection).await? {
                        return Ok(customer);
                    }
                    insert_customer(connection, &email, &opaque_id, now).await
                })
            })
            .await
    }

    /// Opens a session for so long; answers its token, which isn't stored.
    pub async fn open_session(&self, customer: i64, ttl: Micros) -> Result<String, Error> {
        let token = format!("{}{}", self.chance.base36(16), self.chance.base36(16));
        let now = self.clock.now();
        let digest = digest(&token);
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    // More than comes: those of who never comes back go too.
                    query(
                        "delete from sessions where digest in (
                           select digest from sessions where expires_at <= $1
                           order by expires_at limit $2)",
                    )
                    .bind(now)
                    .bind(FORGOTTEN_AT_ONCE)
                    .execute(&mut *connection)
                    .await?;
                    query(
                        "insert into sessions (digest, customer_id, created_at, expires_at)
                         values ($1, $2, $3, $4)",
                    )
                    .bind(digest)
                    .bind(customer)
                    .bind(now)
                    .bind(now.saturating_add(ttl))
                    .execute(connection)
                    .await?;
                    Ok(())
                })
            })
            .await?;
        Ok(token)
    }

    /// Whose session this token is; none: nobody's, or it has expired.
    pub async fn session(&self, token: &str) -> Result<Option<Customer>, Error> {
        let sql = format!(
            "select {COLUMNS} from sessions s join customers c on c.id = s.customer_id
             where s.digest = $1 and s.expires_at > $2"
        );
        let found = query_as(sql).bind(digest(token)).bind(self.clock.now());
        Ok(found.fetch_optional(self.control.readers()).await?)
    }

    /// Ends one session.
    pub async fn close_session(&self, token: &str) -> Result<(), Error> {
        let statement = query("delete from sessions where digest = $1").bind(digest(token));
        self.control.execute(statement).await.map(drop)
    }

    /// Ends all sessions of a customer; answers how many.
    pub async fn close_sessions(&self, email: &str) -> Result<u64, Error> {
        let statement = query(
            "delete from sessions where customer_id in (select id from customers where email = $1)",
        );
        let done = self.control.execute(statement.bind(email.to_owned())).await?;
        Ok(done.rows_affected())
    }
}

async fn insert_customer(
    connection: &mut Connection,
    email: &str,
    opaque_id: &str,
    now: Micros,
) -> Result<Customer, Error> {
    let first: bool = query_scalar("select not exists (select 1 from customers)")
        .fetch_one(&mut *connection)
        .await?;
    let customer = query_as(
        "insert into customers (opaque_id, email, operator, created_at) values ($1, $2, $3, $4)
         returning id, opaque_id, email, name, operator, created_at",
    )
    .bind(opaque_id)
    .bind(email)
    .bind(first)
    .bind(now)
    .fetch_one(&mut *connection)
    .await?;
    let name = if first { DEFAULT.to_owned() } else { format!("{email} Org") };
    let existing: Option<i64> = match first {
        true => {
            query_scalar("select id from organizations where key = $1 and closing_at is null")
                .bind(DEFAULT)
                .fetch_optional(&mut *connection)
                .await?
        }
        false => None,
    };
    let organization = match existing {
        Some(id) => id,
        None => insert_organization(connection, &name, true, Some(email), now).await?.id,
    };
    memberships::insert(connection, organization, email, Role::Admin, None, now).await?;
    Ok(customer)
}

/// What is stored of a token or code that can't be guessed.
pub(super) fn digest(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

#[cfg(test)]
mod tests;
