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

/// Claims the post that has been due the longest of the organization whose turn it is: the next one
/// behind `after` that has any, or else the first. It is due again in a minute, should nobody settle it.
pub async fn claim(
    control: &Database,
    after: OrganizationId,
    now: Micros,
) -> Result<Option<Claimed>, Error> {
    for after in [after, OrganizationId::MIN] {
        let claim = query_as(claim_sql(control.dialect()));
        let claim = claim.bind(now).bind(now.saturating_add(TRY_AGAIN)).bind(after);
        if let Some(claimed) = control.fetch(claim).await? {
            return Ok(Some(claimed));
        }
    }
    Ok(None)
}

/// Steps from one organization with posts to the next, and never through the posts of one.
pub(super) fn claim_sql(dialect: Dialect) -> String {
    let skip = dialect.locks("for no key update skip locked");
    format!(
        "update alert_posts set attempts = attempts + 1, due_at = $2
         where (alert_id, handler_id) = (
           with recursive told (id) as (
             select min(organization_id) from alert_posts where organization_id > $3
             union all
             select (select min(p.organization_id) from alert_posts p
                     where p.organization_id > told.id)
             from told where told.id is not null
           )
           select alert_id, handler_id from alert_posts
           where due_at <= $1 and organization_id = (
             select told.id from told
             where (select min(p.due_at) from alert_posts p
                    where p.organization_id = told.id) <= $1
             limit 1)
           order by due_at limit 1 {skip}
         )
         returning alert_id, handler_id, organization_id, attempts"
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
