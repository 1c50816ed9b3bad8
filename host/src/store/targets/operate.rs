//! What an operator does with targets. Values are checked already.

use zeroize::Zeroizing;

use super::{Kind, Target, by_id, place};
use crate::model::OrganizationId;
use crate::store::feed::Bookmark;
use crate::store::integrations::{self, Integration};
use crate::store::{Connection, Done, Error, Query, Row, Store, query, query_scalar};

/// A target that is to be made.
#[allow(missing_docs, reason = "see Target")]
pub struct NewTarget {
    pub integration: Integration,
    pub kind: Kind,
    pub to_place: String,
    pub to_schema: String,
    pub to_table: String,
    pub url: Zeroizing<String>,
    pub shown_url: String,
    pub signing_secret: Zeroizing<String>,
    pub period_s: i64,
    pub page_size: i64,
    pub deletions: bool,
}

/// Bytes of a signing secret: as many as the signature has.
const SIGNING_SECRET_BYTES: usize = 32;

/// There is no pause, or somebody asked for it.
const PAUSE_STANDS: &str = "(paused is null or pause_asked_at is not null)";

/// Lets targets go on, at the time `$2`.
pub(in crate::store) const RESUME: &str =
    "update targets set paused = null, pause_asked_at = null, due_at = $2,
  not_before = 0, attempts = 0, failing_since = null, restarts = 0,
  behind_since = coalesce(behind_since, $2)";

impl Store {
    /// What a target that is to be made signs with: `whsec_...`.
    pub fn new_signing_secret(&self) -> Zeroizing<String> {
        use base64::Engine as _;
        let random = Zeroizing::new(self.chance.bytes::<SIGNING_SECRET_BYTES>());
        let encoded = Zeroizing::new(base64::prelude::BASE64_STANDARD.encode(random.as_slice()));
        Zeroizing::new(format!("whsec_{}", *encoded))
    }

    /// Refuses a place where a target of the organization has its mirror.
    pub async fn refuse_taken_place(
        &self,
        organization: OrganizationId,
        to_place: &str,
        to_schema: &str,
        to_table: &str,
    ) -> Result<(), Error> {
        let other = query_scalar::<String>(OF_PLACE).bind(organization).bind(to_place);
        let other = other.bind(to_schema).bind(to_table);
        match other.fetch_optional(self.control.readers()).await? {
            Some(id) => Err(taken_by(&id, to_schema, to_table)),
            None => Ok(()),
        }
    }

    /// Makes a target.
    pub async fn create_target(&self, new: NewTarget) -> Result<Target, Error> {
        let id = format!("syt_{}", self.chance.base36(16));
        let (now, keyring) = (self.clock.now(), self.keyring.clone());
        let made = self.control.write(move |connection| {
            Box::pin(async move {
                // Its targets went when its end began, and another one would be delivered to until it is over.
                if !integrations::hold(connection, &new.integration.id).await? {
                    return Err(Error::Refused("the integration is gone".into()));
                }
                let made = query(
                    "insert into targets
                           (id, organization_id, integration_id, root_id, url, shown_url,
                            signing_secret, period_s, page_size, deletions, created_at, number,
                            bookmark, due_at, behind_since, kind, to_schema, to_table, to_place)
                         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
                                 (select coalesce(max(number), 0) + 1 from targets
                                  where organization_id = $2), $12, $11, $11, $13, $14, $15, $16)
                         on conflict (organization_id, to_place, to_schema, to_table)
                           where kind = 'db' do nothing",
                )
                .bind(&id)
                .bind(new.integration.organization_id)
                .bind(&new.integration.id)
                .bind(&new.integration.root_id)
                .bind(keyring.seal(&place(&id, "url"), new.url.as_bytes()))
                .bind(&new.shown_url)
                .bind(keyring.seal(&place(&id, "signing_secret"), new.signing_secret.as_bytes()))
                .bind(new.period_s)
                .bind(new.page_size)
                .bind(new.deletions)
                .bind(now)
                .bind(Bookmark::Start.text())
                .bind(new.kind.name())
                .bind(&new.to_schema)
                .bind(&new.to_table)
                .bind(&new.to_place)
                .execute(&mut *connection)
                .await?;
                match made.rows_affected() {
                    0 => Err(taken_place(connection, &new).await?),
                    _ => by_id(connection, &id).await,
                }
            })
        });
        let made = made.await;
        self.changed.look();
        made
    }

    /// Changes how it is delivered to. Its page size is then tried again in full. Who is to be told of
    /// deletions from now on begins with a copy: of those before it was told nothing.
    pub async fn update_target(
        &self,
        id: &str,
        period_s: i64,
        page_size: i64,
        deletions: bool,
    ) -> Result<(), Error> {
        let statement = query(
            "update targets set period_s = $2, page_size = $3, deletions = $4, rows_max = null,
                    due_at = $5,
                    bookmark = case when $4 and not deletions then $6 else bookmark end,
                    behind_since = case when $4 and not deletions then coalesce(behind_since, $5)
                                        else behind_since end,
                    rewinds = case when $4 and not deletions then rewinds + 1 else rewinds end,
                    fence = case when $4 and not deletions then fence + 1 else fence end
             where id = $1",
        );
        let statement = statement.bind(id.to_owned()).bind(period_s).bind(page_size);
        let statement = statement.bind(deletions).bind(self.clock.now());
        self.one(statement.bind(Bookmark::Start.text())).await
    }

    /// Changes where it is. What failed before says nothing of the new place, nor does what a delivery
    /// in flight comes to: it is told to stop by the fence. A pause for failures ends.
    pub async fn move_target(
        &self,
        id: &str,
        url: &Zeroizing<String>,
        shown_url: String,
    ) -> Result<(), Error> {
        let (id, url, now) = (id.to_owned(), url.clone(), self.clock.now());
        let keyring = self.keyring.clone();
        let moved = self.control.write(move |connection| {
            Box::pin(async move {
                let statement = query(
                    "update targets set url = $2, shown_url = $3, fence = fence + 1, due_at = $4,
                            not_before = 0, attempts = 0, failing_since = null, last_error = null,
                            restarts = 0, paused = case when pause_asked_at is not null then paused end
                     where id = $1",
                );
                let sealed = keyring.seal(&place(&id, "url"), url.as_bytes());
                let statement = statement.bind(id).bind(sealed).bind(shown_url).bind(now);
                Ok(statement.execute(connection).await?)
            })
        });
        self.changed_one(moved.await?)
    }

    /// Forgets a target. A delivery in flight ends; none follows.
    pub async fn delete_target(&self, id: &str) -> Result<(), Error> {
        self.one(query("delete from targets where id = $1").bind(id.to_owned())).await
    }

    /// Makes it due, also where it waits after a failure or is paused for them. A pause that somebody asked for
    /// stands.
    pub async fn trigger_target(&self, id: &str) -> Result<(), Error> {
        let statement = query(format!(
            "update targets set due_at = $2, not_before = 0,
                    attempts = case when {PAUSE_STANDS} then attempts else 0 end,
                    failing_since = case when {PAUSE_STANDS} then failing_since end,
                    restarts = case when {PAUSE_STANDS} then restarts else 0 end,
                    paused = case when {PAUSE_STANDS} then paused end
             where id = $1"
        ));
        self.one(statement.bind(id.to_owned()).bind(self.clock.now())).await
    }

    /// Puts its bookmark elsewhere. Whoever delivers at this moment is told to stop by the fence; the
    /// next one waits until its lease, and so its last delivery, is over.
    pub async fn rewind_target(&self, id: &str, to: &Bookmark) -> Result<(), Error> {
        let statement = query(
            "update targets set bookmark = $2, rewinds = rewinds + 1, fence = fence + 1, due_at = $3,
                    not_before = 0, behind_since = coalesce(behind_since, $3)
             where id = $1",
        );
        self.one(statement.bind(id.to_owned()).bind(to.text()).bind(self.clock.now())).await
    }

    /// Stops deliveries, after one that is in flight.
    pub async fn pause_target(&self, id: &str, reason: &str) -> Result<(), Error> {
        let statement = query(
            "update targets set paused = coalesce(paused, $2),
                    pause_asked_at = coalesce(pause_asked_at, $3) where id = $1",
        );
        let statement = statement.bind(id.to_owned()).bind(reason.to_owned());
        self.one(statement.bind(self.clock.now())).await
    }

    /// Goes on from the bookmark, and forgets how often it failed.
    pub async fn resume_target(&self, id: &str) -> Result<(), Error> {
        let statement = query(format!("{RESUME} where id = $1"));
        self.one(statement.bind(id.to_owned()).bind(self.clock.now())).await
    }

    async fn one(&self, statement: Query<'static, Row>) -> Result<(), Error> {
        self.changed_one(self.control.execute(statement).await?)
    }

    fn changed_one(&self, done: Done) -> Result<(), Error> {
        self.changed.look();
        match done.rows_affected() {
            0 => Err(Error::Refused("the target is gone".into())),
            _ => Ok(()),
        }
    }
}

/// Arguments: organization, place, schema, table. Who has a mirror there.
const OF_PLACE: &str = "select id from targets where kind = 'db' and organization_id = $1
  and to_place = $2 and to_schema = $3 and to_table = $4";

/// Whose place it is that a target was to have.
async fn taken_place(connection: &mut Connection, new: &NewTarget) -> Result<Error, Error> {
    let id: String = query_scalar(OF_PLACE)
        .bind(new.integration.organization_id)
        .bind(&new.to_place)
        .bind(&new.to_schema)
        .bind(&new.to_table)
        .fetch_one(connection)
        .await?;
    Ok(taken_by(&id, &new.to_schema, &new.to_table))
}

fn taken_by(id: &str, to_schema: &str, to_table: &str) -> Error {
    Error::Refused(format!(
        "{to_schema}.{to_table} in that database is the mirror of the target {id}; two would remove \
         each other's rows: choose another table or schema, or delete that target"
    ))
}
