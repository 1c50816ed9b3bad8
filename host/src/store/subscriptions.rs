//! Subscriptions to changes of one integration, or of all that an organization has. Schedule, lease
//! and bookmark of each integration are a target's: see [`super::targets`].

use sqlx::FromRow;
use zeroize::Zeroizing;

use super::feed::Bookmark;
use super::integrations::Integration;
use super::targets::{RESUME, place};
use super::{Connection, Error, Query, Row, Store, organizations, query, query_as, query_scalar};
use crate::model::{Micros, OrganizationId};

/// At most so long without a look at the feed: what changes marks the targets by itself.
const PERIOD_S: i64 = 60;

/// Rows that are read at once.
const PAGE_SIZE: i64 = 100;

/// An organization may have so many; one to all is a target for each integration.
const SUBSCRIPTIONS_MAX: i64 = 100;

/// A subscription without its secrets.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Subscription {
    /// `wsb_...`
    pub id: String,
    /// Whose.
    pub organization_id: OrganizationId,
    /// Whose changes. None: those of all integrations, those to come too.
    pub integration_id: Option<String>,
    /// Where posts go; user, password and query hidden.
    pub shown_url: String,
    /// It is told of rows.
    pub tells_rows: bool,
    /// It is told of owners whose first sync is complete.
    pub tells_synced: bool,
    /// It is told of deleted rows too.
    pub deletions: bool,
    /// When it was made.
    pub created_at: Micros,
}

const COLUMNS: &str = "id, organization_id, integration_id, shown_url, tells_rows, tells_synced,
  deletions, created_at from subscriptions";

/// A subscription that is to be made; values are checked already.
#[allow(missing_docs, reason = "see Subscription")]
pub struct NewSubscription {
    pub organization: OrganizationId,
    pub integration_id: Option<String>,
    pub url: Zeroizing<String>,
    pub shown_url: String,
    /// What its receiver knows posts by.
    pub secret: Zeroizing<String>,
    pub tells_rows: bool,
    pub tells_synced: bool,
    pub deletions: bool,
}

impl Store {
    /// Makes a subscription to what changes behind a bookmark in the organization's feed.
    pub async fn create_subscription(
        &self,
        new: NewSubscription,
        behind: Bookmark,
    ) -> Result<Subscription, Error> {
        let id = format!("wsb_{}", self.chance.base36(16));
        let (now, keyring) = (self.clock.now(), self.keyring.clone());
        let made = self.control.write(move |connection| {
            Box::pin(async move {
                organizations::hold(connection, new.organization).await?;
                let made: i64 =
                    query_scalar("select count(*) from subscriptions where organization_id = $1")
                        .bind(new.organization)
                        .fetch_one(&mut *connection)
                        .await?;
                if made >= SUBSCRIPTIONS_MAX {
                    let reason =
                        format!("an organization may have {SUBSCRIPTIONS_MAX} subscriptions");
                    return Err(Error::Refused(reason));
                }
                query(
                    "insert into subscriptions
                       (id, organization_id, integration_id, url, shown_url, secret, tells_rows,
                        tells_synced, deletions, created_at, number)
                     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
                             (select coalesce(max(number), 0) + 1 from subscriptions))",
                )
                .bind(&id)
                .bind(new.organization)
                .bind(&new.integration_id)
                .bind(keyring.seal(&place(&id, "url"), new.url.as_bytes()))
                .bind(&new.shown_url)
                .bind(keyring.seal(&place(&id, "signing_secret"), new.secret.as_bytes()))
                .bind(new.tells_rows)
                .bind(new.tells_synced)
                .bind(new.deletions)
                .bind(now)
                .execute(&mut *connection)
                .await?;
                insert_targets(connection, "n.id = $1", &id, &behind, now).await?;
                let sql = format!("select {COLUMNS} where id = $1");
                Ok(query_as(sql).bind(&id).fetch_one(connection).await?)
            })
        });
        made.await
    }

    /// The organization's subscriptions, oldest first.
    pub async fn subscriptions(&self, of: OrganizationId) -> Result<Vec<Subscription>, Error> {
        let sql = format!("select {COLUMNS} where organization_id = $1 order by number, id");
        Ok(query_as(sql).bind(of).fetch_all(self.control.readers()).await?)
    }

    /// One of them.
    pub async fn subscription(
        &self,
        of: OrganizationId,
        id: &str,
    ) -> Result<Option<Subscription>, Error> {
        let sql = format!("select {COLUMNS} where organization_id = $1 and id = $2");
        Ok(query_as(sql).bind(of).bind(id).fetch_optional(self.control.readers()).await?)
    }

    /// Where a subscription that is there posts to, and what its receiver knows posts by.
    pub async fn subscription_secrets(
        &self,
        id: &str,
    ) -> Result<(Zeroizing<String>, Zeroizing<String>), Error> {
        let (url, secret): (Vec<u8>, Vec<u8>) =
            query_as("select url, secret from subscriptions where id = $1")
                .bind(id)
                .fetch_one(self.control.readers())
                .await?;
        Ok((self.opened(id, "url", &url)?, self.opened(id, "signing_secret", &secret)?))
    }

    /// Forgets a subscription. A post in flight ends; none follows.
    pub async fn delete_subscription(&self, id: &str) -> Result<(), Error> {
        self.on_subscription(query("delete from subscriptions where id = $1").bind(id.to_owned()))
            .await
    }

    /// Goes on where it was paused or waits after a failure.
    pub async fn resume_subscription(&self, id: &str) -> Result<(), Error> {
        let statement = query(format!("{RESUME} where subscription_id = $1"));
        self.on_subscription(statement.bind(id.to_owned()).bind(self.clock.now())).await
    }

    async fn on_subscription(&self, statement: Query<'static, Row>) -> Result<(), Error> {
        self.control.execute(statement).await?;
        self.changed.look();
        Ok(())
    }
}

/// Makes an integration that is new a target of every subscription to all of its organization. Its
/// table is empty, if it is there at all, so every row of it is a change.
pub(super) async fn follow(
    connection: &mut Connection,
    integration: &Integration,
    now: Micros,
) -> Result<(), Error> {
    organizations::hold(connection, integration.organization_id).await?;
    let which = "i.id = $1 and n.integration_id is null";
    insert_targets(connection, which, &integration.id, &Bookmark::Start, now).await
}

/// `which` subscriptions `n` and integrations `i` are meant, `$1` being `id`.
async fn insert_targets(
    connection: &mut Connection,
    which: &str,
    id: &str,
    bookmark: &Bookmark,
    now: Micros,
) -> Result<(), Error> {
    let sql = format!(
        "insert into targets
           (id, organization_id, integration_id, root_id, kind, to_place, to_schema, to_table,
            subscription_id, shown_url, period_s, page_size, deletions, created_at, number,
            bookmark, due_at)
         select n.id || '.' || i.id, n.organization_id, i.id, i.root_id, 'notification', '', '', '',
           n.id, n.shown_url, {PERIOD_S}, {PAGE_SIZE}, n.deletions, $2,
           (select coalesce(max(t.number), 0) + 1 from targets t
            where t.organization_id = n.organization_id), $3, $2 + {PERIOD_S} * 1000000
         from subscriptions n join integrations i on i.organization_id = n.organization_id
           and i.ended_at is null and (n.integration_id is null or n.integration_id = i.id)
         where {which}"
    );
    query(sql).bind(id).bind(now).bind(bookmark.text()).execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
