//! Invitations, which are few: each is a letter to somebody who may not want it.

use super::{Role, insert};
use crate::model::{Micros, OrganizationId};
use crate::store::accounts::digest;
use crate::store::organizations::Organization;
use crate::store::{Connection, Error, Store, query, query_scalar};

/// Random bytes of a code, which people copy from a letter.
const CODE_BYTES: usize = 10;

const DAY: Micros = 24 * 3_600 * 1_000_000;

/// How many invitations an organization may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvitationLimits {
    /// That wait to be accepted.
    pub waiting: i64,
    /// That are sent in a day: each is a letter, and all organizations have one mail server.
    pub a_day: i64,
}

impl Store {
    /// Invites an address; answers the code that it accepts with, which isn't stored.
    ///
    /// # Errors
    /// Also [`Error::Refused`] and [`Error::Busy`] beyond the limits.
    pub async fn invite(
        &self,
        to: OrganizationId,
        email: &str,
        role: Role,
        limits: InvitationLimits,
    ) -> Result<String, Error> {
        // So long that nobody finds it by its digest.
        let code = format!("join-{}", self.chance.base36(CODE_BYTES));
        let (email, now, digest) = (email.to_owned(), self.clock.now(), digest(&code));
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    let accepted: Option<i64> = query_scalar(
                        "select 1 from memberships
                         where organization_id = $1 and email = $2 and invitation is null",
                    )
                    .bind(to)
                    .bind(&email)
                    .fetch_optional(&mut *connection)
                    .await?;
                    if accepted.is_some() {
                        return Err(Error::Refused(format!("{email} is a member already")));
                    }
                    count_invitation(connection, to, limits.a_day, now).await?;
                    check_waiting(connection, to, &email, limits.waiting).await?;
                    insert(connection, to, &email, role, Some(digest), now).await
                })
            })
            .await?;
        Ok(code)
    }

    /// Accepts an invitation of this address; none: it has no invitation with this code.
    pub async fn join(&self, email: &str, code: &str) -> Result<Option<Organization>, Error> {
        let statement = query_scalar::<OrganizationId>(
            "update memberships set invitation = null where email = $1 and invitation = $2
             returning organization_id",
        );
        let statement = statement.bind(email.to_owned()).bind(digest(code.trim()));
        match self.control.fetch(statement).await? {
            None => Ok(None),
            Some(id) => self.find_organization(&id.to_string()).await,
        }
    }
}

/// Counts an invitation of an organization, whose row is then locked. Refuses more than `max` a day.
async fn count_invitation(
    connection: &mut Connection,
    of: OrganizationId,
    max: i64,
    now: Micros,
) -> Result<(), Error> {
    let counted = query(
        "update organizations
         set invited = case when invited_since > $2 then invited + 1 else 1 end,
             invited_since = case when invited_since > $2 then invited_since else $3 end
         where id = $1 and (invited_since <= $2 or invited < $4)",
    )
    .bind(of)
    .bind(now - DAY)
    .bind(now)
    .bind(max)
    .execute(&mut *connection)
    .await?;
    if counted.rows_affected() > 0 {
        return Ok(());
    }
    let since: Option<Micros> =
        query_scalar("select invited_since from organizations where id = $1")
            .bind(of)
            .fetch_optional(connection)
            .await?;
    let ends_in_s = since.map_or(0, |since| since + DAY - now).div_euclid(1_000_000) + 1;
    Err(Error::Busy {
        reason: format!(
            "the organization has sent {max} invitations in a day, and may send no more in this one \
             (`limits.invitations_a_day_max`)"
        ),
        retry_after_s: u32::try_from(ends_in_s).unwrap_or(1),
    })
}

/// Refuses one more invitation than may wait, unless the address has one already.
async fn check_waiting(
    connection: &mut Connection,
    to: OrganizationId,
    email: &str,
    max: i64,
) -> Result<(), Error> {
    let others: i64 = query_scalar(
        "select count(*) from memberships
         where organization_id = $1 and invitation is not null and email <> $2",
    )
    .bind(to)
    .bind(email)
    .fetch_one(connection)
    .await?;
    match others < max {
        true => Ok(()),
        false => Err(Error::Refused(format!(
            "{others} invitations wait to be accepted, and there may be {max} at most: take some back \
             with `rowgate org remove`, or ask the host's operator (`limits.invitations_max`)"
        ))),
    }
}
