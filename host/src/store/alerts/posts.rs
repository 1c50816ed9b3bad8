//! Posts of alerts, and who makes one: organizations have their turns, so that a flood of one, or its
//! handlers that hang, keep nobody else waiting for longer than a post.

use sqlx::FromRow;

use crate::model::{Micros, OrganizationId};
use crate::store::{Database, Dialect, Error, query, query_as, query_scalar};

/// Posts of an alert to one handler, so far apart.
pub const TRIES: i64 = 5;
pub(super) const TRY_AGAIN: Micros = 60_000_000;

/// A post that is to be made.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Claimed {
    /// The alert.
    pub alert_id: i64,
    /// `oeh_...`
    pub handler_id: String,
    /// Whose.
    pub organization_id: OrganizationId,
    /// This one too.
    pub attempts: i64,
}

/// Posts whose rest is over, and that stand in line again at one claim: more than a claim lays to rest.
const WOKEN_AT_ONCE: i64 = 100;

/// Claims the post that has been due the longest of the organization whose turn it is: the next one
/// behind `after` that has any, or else the first. It is due again in a minute, should nobody settle it.
///
/// Those that don't rest are due, all of them, so nobody looks at an organization whose posts are not.
pub async fn claim(
    control: &Database,
    after: OrganizationId,
    now: Micros,
) -> Result<Option<Claimed>, Error> {
    wake(control, now).await?;
    for after in [after, OrganizationId::MIN] {
        let claim = query_as(claim_sql(control.dialect()));
        let claim = claim.bind(now.saturating_add(TRY_AGAIN)).bind(after);
        if let Some(claimed) = control.fetch(claim).await? {
            return Ok(Some(claimed));
        }
    }
    Ok(None)
}

/// Arguments: when it is due again, the organization before.
pub(super) fn claim_sql(dialect: Dialect) -> String {
    let skip = dialect.locks("for no key update skip locked");
    format!(
        "update alert_posts set attempts = attempts + 1, due_at = $1, rests = true
         where (alert_id, handler_id) = (
           select alert_id, handler_id from alert_posts
           where not rests and organization_id > $2
           order by organization_id, due_at limit 1 {skip}
         )
         returning alert_id, handler_id, organization_id, attempts"
    )
}

/// Looks before it writes.
async fn wake(control: &Database, now: Micros) -> Result<(), Error> {
    let any = "select exists (select 1 from alert_posts where rests and due_at <= $1)";
    let any: bool = query_scalar(any).bind(now).fetch_one(control.readers()).await?;
    if !any {
        return Ok(());
    }
    let wake = query(wake_sql(control.dialect())).bind(now).bind(WOKEN_AT_ONCE);
    control.execute(wake).await.map(drop)
}

/// Arguments: time, limit.
pub(super) fn wake_sql(dialect: Dialect) -> String {
    let skip = dialect.locks("for no key update skip locked");
    format!(
        "update alert_posts set rests = false
         where (alert_id, handler_id) in (
           select alert_id, handler_id from alert_posts
           where rests and due_at <= $1 order by due_at limit $2 {skip})"
    )
}

/// When the next post is due.
pub async fn next_due(control: &Database) -> Result<Option<Micros>, Error> {
    let next = query_scalar("select min(due_at) from alert_posts");
    Ok(next.fetch_one(control.readers()).await?)
}

/// A post was taken, or is given up.
pub async fn settle(control: &Database, claimed: &Claimed) -> Result<(), Error> {
    let statement = query("delete from alert_posts where alert_id = $1 and handler_id = $2");
    let statement = statement.bind(claimed.alert_id).bind(claimed.handler_id.clone());
    control.execute(statement).await.map(drop)
}
