//! Who may deliver to a target. One host at a time holds it, under a fence; a lease always outlives
//! the timeout of the holder's last delivery, so whoever comes next has waited that out (R15).

use std::collections::BTreeSet;

use serde_json::json;
use sqlx::FromRow;

use crate::model::Micros;
use crate::rows::timestamp_text;
use crate::store::alerts::{self, Raised};
use crate::store::feed::Bookmark;
use crate::store::{Connection, Database, Dialect, Error, query, query_as, query_scalar};

/// A claimed target.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Claimed {
    /// `syt_...`
    pub id: String,
    /// Its last delivery failed.
    pub was_failing: bool,
    /// The fence that this claim raised.
    pub fence: i64,
    /// No delivery may last longer.
    pub lease_until: Micros,
}

/// How far a holder has come.
#[derive(Clone, Debug)]
pub struct Saved<'a> {
    /// Behind what was taken, or needed no delivery.
    pub bookmark: &'a Bookmark,
    /// See [`super::Target::rows_max`].
    pub rows_max: Option<i64>,
    /// How long the delivery took that was taken. None: there was none.
    pub took_ms: Option<i64>,
    /// Of the next delivery.
    pub lease_until: Micros,
}

/// A delivery that failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// In words.
    pub error: String,
    /// When it is tried again.
    pub at: Micros,
    /// See [`super::Target::rows_max`].
    pub rows_max: Option<i64>,
    /// It has failed for long: error handlers are told, once until it works again.
    pub alert: bool,
    /// Why it isn't tried again; they are told of that.
    pub pause: Option<String>,
}

/// From when on a target can be claimed, as the indexes have it.
const READY_AT: &str = "case when due_at >= not_before and due_at >= lease_until then due_at
  when not_before >= lease_until then not_before else lease_until end";

/// Those whose last delivery was taken, and those that fail, each in the order of an index.
const WELL: &str = "paused is null and attempts = 0";
const FAILING: &str = "paused is null and attempts > 0";

/// Claims the target that could be claimed for the longest; one that failed only after all others, and
/// only if `failing`.
pub async fn claim(
    control: &Database,
    host: &str,
    failing: bool,
    now: Micros,
    lease_until: Micros,
) -> Result<Option<Claimed>, Error> {
    let how_many = if failing { 2 } else { 1 };
    for sql in claims_sql(control.dialect()).into_iter().take(how_many) {
        let claim = query_as(sql).bind(now).bind(host.to_owned()).bind(lease_until);
        if let Some(claimed) = control.fetch(claim).await? {
            return Ok(Some(claimed));
        }
    }
    Ok(None)
}

/// Of those that are well, and of those that fail. Arguments: time, host, the lease's end.
pub(super) fn claims_sql(dialect: Dialect) -> [String; 2] {
    let skip = dialect.locks("for no key update skip locked");
    // Due again when the lease runs out, unless a mark comes before.
    [WELL, FAILING].map(|those| {
        format!(
            "update targets set fence = fence + 1, lease_host = $2, lease_until = $3, due_at = $3
             where id = (
               select id from targets where {those} and {READY_AT} <= $1
               order by {READY_AT} limit 1 {skip}
             )
             returning id, attempts > 0 as was_failing, fence, lease_until"
        )
    })
}

/// When the next target can be claimed, if nothing changes.
pub async fn next_due(control: &Database) -> Result<Option<Micros>, Error> {
    let next = query_scalar(next_due_sql());
    Ok(next.fetch_one(control.readers()).await?)
}

pub(super) fn next_due_sql() -> String {
    let next = |those| format!("select min({READY_AT}) as at from targets where {those}");
    format!("select min(at) from ({} union all {}) as next", next(WELL), next(FAILING))
}

/// Makes all targets of these trees due: their tables changed. Writes nothing where that is known. One
/// whose lease is over isn't: its holder may only be slow, and renew it. One that is due by its period is behind
/// from now on.
pub async fn mark_due(
    control: &Database,
    roots: &BTreeSet<String>,
    now: Micros,
) -> Result<(), Error> {
    for root_id in roots {
        let unmarked = "from targets where root_id = $1
          and (due_at > $2 or due_at = lease_until or behind_since is null)
          and paused is null
          and not exists (select 1 from subscriptions n
                          where n.id = targets.subscription_id and not n.tells_rows)";
        let any: bool = query_scalar(format!("select exists (select 1 {unmarked})"))
            .bind(root_id)
            .bind(now)
            .fetch_one(control.readers())
            .await?;
        if any {
            let mark = query(format!(
                "update targets set behind_since = coalesce(behind_since, $2),
                   due_at = case when due_at > $2 or due_at = lease_until then $2 else due_at end
                 where id in (select id {unmarked})"
            ));
            control.execute(mark.bind(root_id.clone()).bind(now)).await?;
        }
    }
    Ok(())
}

/// Moves the bookmark and renews the lease. False: it was paused meanwhile.
///
/// # Errors
/// [`Error::Superseded`]: another holder, a rewind or a deletion came between.
pub async fn save(
    control: &Database,
    claimed: &mut Claimed,
    saved: Saved<'_>,
) -> Result<bool, Error> {
    let Saved { bookmark, rows_max, took_ms, lease_until } = saved;
    let statement = query_scalar(
        "update targets set bookmark = $3, rows_max = $4,
                taken = case when $5 is null then taken else $3 end,
                attempts = case when $5 is null then attempts else 0 end,
                failing_since = case when $5 is null then failing_since end,
                last_error = case when $5 is null then last_error end,
                last_delivery_ms = coalesce($5, last_delivery_ms),
                due_at = case when due_at = lease_until then $6 else due_at end, lease_until = $6
         where id = $1 and fence = $2 returning paused is null",
    )
    .bind(claimed.id.clone())
    .bind(claimed.fence)
    .bind(bookmark.text())
    .bind(rows_max)
    .bind(took_ms)
    .bind(lease_until);
    let goes_on: Option<bool> = control.fetch(statement).await?;
    claimed.lease_until = lease_until;
    goes_on.ok_or(Error::Superseded("the target has passed on"))
}

/// Puts the bookmark to the beginning, since the destination hasn't what it had: so often in a row by now.
/// False: it was paused meanwhile.
///
/// # Errors
/// [`Error::Superseded`]: another holder, a rewind or a deletion came between. Its place is gone there too
/// if the target was deleted: it mustn't be made again.
pub async fn restart(
    control: &Database,
    claimed: &Claimed,
    restarts: i64,
    now: Micros,
) -> Result<bool, Error> {
    let statement = query_scalar(
        "update targets set bookmark = $3, restarts = $4, restarted_at = $5,
                behind_since = coalesce(behind_since, $5)
         where id = $1 and fence = $2 returning paused is null",
    );
    let statement = statement.bind(claimed.id.clone()).bind(claimed.fence);
    let statement = statement.bind(Bookmark::Start.text()).bind(restarts).bind(now);
    let goes_on: Option<bool> = control.fetch(statement).await?;
    goes_on.ok_or(Error::Superseded("the target has passed on"))
}

/// Gives the target back; it is due at `next`, or at once if it was marked. `synced_at`: when it had
/// everything, but for what came with a mark meanwhile.
pub async fn release(
    control: &Database,
    claimed: &Claimed,
    next: Micros,
    synced_at: Option<Micros>,
) -> Result<(), Error> {
    let statement = query(
        "update targets set lease_host = null, lease_until = 0,
                due_at = case when due_at = lease_until then $3 else due_at end,
                attempts = case when $4 is null then attempts else 0 end,
                failing_since = case when $4 is null then failing_since end,
                last_error = case when $4 is null then last_error end,
                last_synced_at = coalesce($4, last_synced_at),
                behind_since = case when $4 is null then behind_since
                                    when due_at <> lease_until then due_at end
         where id = $1 and fence = $2",
    );
    let statement = statement.bind(claimed.id.clone()).bind(claimed.fence).bind(next);
    let statement = statement.bind(synced_at);
    control.execute(statement).await.map(drop)
}

/// Gives a target back whose delivery failed.
pub async fn settle_failure(
    control: &Database,
    claimed: &Claimed,
    failed: Failed,
    now: Micros,
) -> Result<(), Error> {
    let statement = query(
        "update targets set lease_host = null, lease_until = 0, due_at = $3, not_before = $3,
                attempts = attempts + 1, failing_since = coalesce(failing_since, $4),
                behind_since = coalesce(behind_since, $4),
                last_error = $5, last_error_at = $4, rows_max = $6,
                paused = coalesce(paused, $7)
         where id = $1 and fence = $2",
    )
    .bind(claimed.id.clone())
    .bind(claimed.fence)
    .bind(failed.at)
    .bind(now)
    .bind(failed.error.clone())
    .bind(failed.rows_max)
    .bind(failed.pause.clone());
    let (id, Failed { error, alert, pause, .. }) = (claimed.id.clone(), failed);
    let write = control.write(move |connection| {
        Box::pin(async move {
            if statement.execute(&mut *connection).await?.rows_affected() == 0 {
                return Ok(());
            }
            match pause {
                Some(reason) => tell(connection, &id, "target_paused", &id, &reason, now).await,
                None if alert => tell_failing(connection, &id, &error, now).await,
                None => Ok(()),
            }
        })
    });
    write.await
}

/// Tells of a target that has failed for long, unless that was told.
async fn tell_failing(
    connection: &mut Connection,
    id: &str,
    error: &str,
    now: Micros,
) -> Result<(), Error> {
    let since: Option<Micros> = query_scalar(
        "update targets set failing_told = failing_since
         where id = $1 and failing_told is distinct from failing_since returning failing_since",
    )
    .bind(id)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(since) = since else { return Ok(()) };
    // The next time that it fails for long is another matter.
    let subject = format!("{id} {since}");
    let since = timestamp_text(since).unwrap_or_default();
    let message = format!("it has failed since {since}: {error}");
    tell(connection, id, "target_failing", &subject, &message, now).await
}

async fn tell(
    connection: &mut Connection,
    id: &str,
    error_type: &'static str,
    subject: &str,
    message: &str,
    now: Micros,
) -> Result<(), Error> {
    let (integration_id, shown_url): (String, String) =
        query_as("select integration_id, shown_url from targets where id = $1")
            .bind(id)
            .fetch_one(&mut *connection)
            .await?;
    let raised = Raised {
        error_type,
        integration_id: &integration_id,
        subject,
        message,
        details: json!({ "target_id": id, "url": shown_url }),
    };
    alerts::raise(connection, raised, now).await
}
