//! What an operator or a customer must act on, and who is told: error handlers. An alert is stored with
//! what raises it, in one transaction, and posted by whichever host comes first; the same is not told
//! again for a day. Nothing waits for it, and nothing is stored where nobody wants to hear.

mod posts;
mod unreadable;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::FromRow;
use zeroize::Zeroizing;

use super::targets::place;
use super::{Connection, Database, Error, Store, organizations, query, query_as, query_scalar};
use crate::model::{Micros, OrganizationId};

pub use posts::{Claimed, TRIES, claim, next_due, settle};
pub(super) use unreadable::tell_unreadable;

/// The same alert is told once in so long.
pub const QUIET: Micros = 24 * 3_600_000_000;

/// Alerts that go in one transaction.
const SLICE: i64 = 1_000;

/// Alerts of one type that an organization is told of in a day. Who has as many won't read one more, but
/// one of another type.
const A_DAY_MAX: i64 = 1_000;

/// Each alert is posted to all of an organization's.
const HANDLERS_MAX: i64 = 20;

/// Something to act on, of an integration.
pub(super) struct Raised<'a> {
    /// `grant_dead`, `integration_misconfigured`, `streams_unreadable`, `target_failing`,
    /// `target_paused`.
    pub(super) error_type: &'static str,
    /// Whose.
    pub(super) integration_id: &'a str,
    /// What of the integration it is about: with the type it makes the signature.
    pub(super) subject: &'a str,
    /// In words, without secrets.
    pub(super) message: &'a str,
    pub(super) details: Value,
}

/// Stores an alert for the handlers of the integration's organization, unless it was told lately.
pub(super) async fn raise(
    connection: &mut Connection,
    raised: Raised<'_>,
    now: Micros,
) -> Result<(), Error> {
    let of: Option<(OrganizationId, String, String, String)> = query_as(
        "select g.id, g.key, i.service, i.table_name
         from integrations i join organizations g on g.id = i.organization_id
         where i.id = $1 and i.ended_at is null
           and exists (select 1 from error_handlers h where h.organization_id = g.id)
           and (select count(*) from alerts a where a.organization_id = g.id
                  and a.error_type = $4 and a.raised_at > $2) < $3",
    )
    .bind(raised.integration_id)
    .bind(now.saturating_sub(QUIET))
    .bind(A_DAY_MAX)
    .bind(raised.error_type)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((organization, key, service, table)) = of else { return Ok(()) };
    let signature = signature(&raised);
    let body = json!({
        "error_type": raised.error_type,
        "details": raised.details,
        "message": raised.message,
        "signature": signature,
        "organization_key": key,
        "service_integration_id": raised.integration_id,
        "service_integration_name": service,
        "service_integration_table": table,
    });
    let alert: Option<i64> = query_scalar(
        "insert into alerts (organization_id, signature, body, raised_at, error_type)
         values ($1, $2, $3, $4, $6)
         on conflict (organization_id, signature) do update
         set body = excluded.body, raised_at = excluded.raised_at
         where alerts.raised_at <= excluded.raised_at - $5 returning id",
    )
    .bind(organization)
    .bind(&signature)
    .bind(body.to_string())
    .bind(now)
    .bind(QUIET)
    .bind(raised.error_type)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(alert) = alert else { return Ok(()) };
    query(
        "insert into alert_posts (alert_id, handler_id, organization_id, due_at)
         select $1, h.id, h.organization_id, $2 from error_handlers h where h.organization_id = $3
         on conflict (alert_id, handler_id) do update
         set attempts = 0, due_at = excluded.due_at, rests = false",
    )
    .bind(alert)
    .bind(now)
    .bind(organization)
    .execute(connection)
    .await?;
    Ok(())
}

fn signature(raised: &Raised<'_>) -> String {
    let text = [raised.error_type, raised.integration_id, raised.subject].join("\n");
    let digest = Sha256::digest(text);
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Forgets alerts that may be told again and that nobody waits for; answers how many.
pub(super) async fn forget(control: &Database, now: Micros) -> Result<u64, Error> {
    let slice = || {
        let slice = query(
            "delete from alerts where id in (
               select a.id from alerts a where a.raised_at < $1
                 and not exists (select 1 from alert_posts p where p.alert_id = a.id) limit $2)",
        );
        slice.bind(now.saturating_sub(QUIET)).bind(SLICE)
    };
    control.execute_slices(SLICE, slice).await
}

/// Who is told of errors.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct ErrorHandler {
    /// `oeh_...`
    pub id: String,
    /// Where posts go, without user, password, query and what may be a token.
    pub shown_url: String,
    /// When it was made.
    pub created_at: Micros,
}

impl Store {
    /// Makes an error handler.
    pub async fn create_error_handler(
        &self,
        organization: OrganizationId,
        url: &Zeroizing<String>,
        shown_url: String,
    ) -> Result<ErrorHandler, Error> {
        let id = format!("oeh_{}", self.chance.base36(16));
        let (url, keyring, created_at) = (url.clone(), self.keyring.clone(), self.clock.now());
        let write = self.control.write(move |connection| {
            Box::pin(async move {
                organizations::hold(connection, organization).await?;
                let made: i64 =
                    query_scalar("select count(*) from error_handlers where organization_id = $1")
                        .bind(organization)
                        .fetch_one(&mut *connection)
                        .await?;
                if made >= HANDLERS_MAX {
                    let reason = format!("an organization may have {HANDLERS_MAX} error handlers");
                    return Err(Error::Refused(reason));
                }
                query(
                    "insert into error_handlers (id, organization_id, url, shown_url, created_at)
                     values ($1, $2, $3, $4, $5)",
                )
                .bind(&id)
                .bind(organization)
                .bind(keyring.seal(&place(&id, "url"), url.as_bytes()))
                .bind(&shown_url)
                .bind(created_at)
                .execute(connection)
                .await?;
                Ok(ErrorHandler { id, shown_url, created_at })
            })
        });
        write.await
    }

    /// Those of an organization, oldest first.
    pub async fn error_handlers(&self, of: OrganizationId) -> Result<Vec<ErrorHandler>, Error> {
        let all = query_as(
            "select id, shown_url, created_at from error_handlers where organization_id = $1
             order by created_at, id",
        );
        Ok(all.bind(of).fetch_all(self.control.readers()).await?)
    }

    /// Forgets one of an organization. False: there is none.
    pub async fn delete_error_handler(&self, of: OrganizationId, id: &str) -> Result<bool, Error> {
        let statement = query("delete from error_handlers where organization_id = $1 and id = $2");
        let statement = statement.bind(of).bind(id.to_owned());
        Ok(self.control.execute(statement).await?.rows_affected() > 0)
    }

    /// What a claimed post says, and where to. None: alert or handler is gone.
    pub async fn alert_post(
        &self,
        claimed: &Claimed,
    ) -> Result<Option<(Zeroizing<String>, String)>, Error> {
        let found: Option<(Vec<u8>, String)> = query_as(
            "select h.url, a.body from error_handlers h, alerts a where h.id = $1 and a.id = $2",
        )
        .bind(&claimed.handler_id)
        .bind(claimed.alert_id)
        .fetch_optional(self.control.readers())
        .await?;
        let Some((url, body)) = found else { return Ok(None) };
        Ok(Some((self.opened(&claimed.handler_id, "url", &url)?, body)))
    }
}

#[cfg(test)]
mod tests;
