//! Who belongs to which organization, and as what.

mod inviting;

use super::organizations::{Organization, check_founded, insert_organization};
use super::{Connection, Error, Store, query, query_as, query_scalar};
use crate::model::{Micros, OrganizationId};

pub use inviting::InvitationLimits;

/// What somebody may do in an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Member,
    /// Changes things, sees secrets.
    Admin,
}

impl Role {
    /// The role of this name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "member" => Some(Self::Member),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
        }
    }
}

/// An organization that somebody belongs to, or is invited to.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Membership {
    pub organization: Organization,
    pub role: Role,
    /// False: the invitation waits.
    pub accepted: bool,
}

/// Somebody of an organization.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Member {
    pub email: String,
    /// Empty before the first login.
    pub name: String,
    pub role: Role,
    /// False: the invitation waits.
    pub accepted: bool,
}

/// A membership as it is stored.
#[derive(sqlx::FromRow)]
struct Row {
    id: OrganizationId,
    key: String,
    name: String,
    created_at: Micros,
    role: String,
    accepted: bool,
}

const LAST_ADMIN: &str = "an organization needs an admin, and this is the last one";

impl Store {
    /// Organizations of an address, those it only was invited to too, oldest membership first.
    pub async fn memberships(&self, email: &str) -> Result<Vec<Membership>, Error> {
        let rows: Vec<Row> = query_as(
            "select o.id, o.key, o.name, o.created_at, m.role,
                    m.invitation is null as accepted
             from memberships m join organizations o on o.id = m.organization_id
             where m.email = $1 and o.closing_at is null order by m.created_at, o.id",
        )
        .bind(email)
        .fetch_all(self.control.readers())
        .await?;
        let membership = |row: Row| -> Result<Membership, Error> {
            let Row { id, key, name, created_at, role, accepted } = row;
            let organization = Organization { id, key, name, created_at };
            Ok(Membership { organization, role: stored(&role)?, accepted })
        };
        rows.into_iter().map(membership).collect()
    }

    /// What an address is in an organization; none: nothing, or only invited.
    pub async fn role(&self, of: OrganizationId, email: &str) -> Result<Option<Role>, Error> {
        let role: Option<String> = query_scalar(
            "select role from memberships
             where organization_id = $1 and email = $2 and invitation is null",
        )
        .bind(of)
        .bind(email)
        .fetch_optional(self.control.readers())
        .await?;
        role.map(|role| stored(&role)).transpose()
    }

    /// Everybody of an organization, by address.
    pub async fn members(&self, of: OrganizationId) -> Result<Vec<Member>, Error> {
        let rows: Vec<(String, Option<String>, String, bool)> = query_as(
            "select m.email, c.name, m.role, m.invitation is null
             from memberships m left join customers c on c.email = m.email
             where m.organization_id = $1 order by m.email",
        )
        .bind(of)
        .fetch_all(self.control.readers())
        .await?;
        let member = |(email, name, role, accepted): (String, Option<String>, String, bool)| {
            let (name, role) = (name.unwrap_or_default(), stored(&role)?);
            Ok::<_, Error>(Member { email, name, role, accepted })
        };
        rows.into_iter().map(member).collect()
    }

    /// Makes an organization with its first admin, who may have made so many, `max`.
    pub async fn found_organization(
        &self,
        name: &str,
        admin: Option<&str>,
        max: i64,
    ) -> Result<Organization, Error> {
        let (name, now) = (name.to_owned(), self.clock.now());
        let admin = admin.map(str::to_owned);
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    if let Some(email) = &admin {
                        check_founded(connection, email, max).await?;
                    }
                    let founder = admin.as_deref();
                    let made = insert_organization(connection, &name, false, founder, now).await?;
                    if let Some(email) = admin {
                        insert(connection, made.id, &email, Role::Admin, None, now).await?;
                    }
                    Ok(made)
                })
            })
            .await
    }

    /// Removes a member or an invitation. False: there was none.
    pub async fn remove_member(&self, of: OrganizationId, email: &str) -> Result<bool, Error> {
        let email = email.to_owned();
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    let had_admin = lock(connection, of).await?;
                    let removed =
                        query("delete from memberships where organization_id = $1 and email = $2")
                            .bind(of)
                            .bind(&email)
                            .execute(&mut *connection)
                            .await?
                            .rows_affected();
                    check_admins(connection, of, had_admin).await?;
                    Ok(removed > 0)
                })
            })
            .await
    }

    /// Gives members another role; answers the addresses that are none.
    pub async fn change_roles(
        &self,
        of: OrganizationId,
        emails: Vec<String>,
        role: Role,
    ) -> Result<Vec<String>, Error> {
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    let had_admin = lock(connection, of).await?;
                    let mut unknown = Vec::new();
                    for email in emails {
                        let changed = query(
                            "update memberships set role = $1
                             where organization_id = $2 and email = $3",
                        )
                        .bind(role.name())
                        .bind(of)
                        .bind(&email)
                        .execute(&mut *connection)
                        .await?;
                        if changed.rows_affected() == 0 {
                            unknown.push(email);
                        }
                    }
                    check_admins(connection, of, had_admin).await?;
                    Ok(unknown)
                })
            })
            .await
    }

    /// Gives an organization another name; its key stays.
    pub async fn rename_organization(&self, of: OrganizationId, name: &str) -> Result<(), Error> {
        let statement = query("update organizations set name = $1 where id = $2");
        let statement = statement.bind(name.trim().to_owned()).bind(of);
        self.control.execute(statement).await.map(drop)
    }
}

/// Makes a membership, or changes the one that is there. `invitation`: the digest of its code.
pub(super) async fn insert(
    connection: &mut Connection,
    organization: OrganizationId,
    email: &str,
    role: Role,
    invitation: Option<Vec<u8>>,
    now: Micros,
) -> Result<(), Error> {
    query(
        "insert into memberships (organization_id, email, role, invitation, created_at)
         values ($1, $2, $3, $4, $5)
         on conflict (organization_id, email)
           do update set role = excluded.role, invitation = excluded.invitation",
    )
    .bind(organization)
    .bind(email)
    .bind(role.name())
    .bind(invitation)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Locks the row of an organization, so that two who remove each other don't both succeed. Answers
/// whether it has an admin.
async fn lock(connection: &mut Connection, of: OrganizationId) -> Result<bool, Error> {
    query("update organizations set name = name where id = $1")
        .bind(of)
        .execute(&mut *connection)
        .await?;
    has_admin(connection, of).await
}

async fn has_admin(connection: &mut Connection, of: OrganizationId) -> Result<bool, Error> {
    let admins = query_scalar::<bool>(
        "select exists (select 1 from memberships
                        where organization_id = $1 and role = 'admin' and invitation is null)",
    );
    Ok(admins.bind(of).fetch_one(connection).await?)
}

/// Undoes what left an organization without an admin. One that had none, as those that are made on a
/// data directory, needs none.
async fn check_admins(
    connection: &mut Connection,
    of: OrganizationId,
    had_admin: bool,
) -> Result<(), Error> {
    match had_admin && !has_admin(connection, of).await? {
        true => Err(Error::Refused(LAST_ADMIN.into())),
        false => Ok(()),
    }
}

fn stored(role: &str) -> Result<Role, Error> {
    Role::parse(role).ok_or_else(|| Error::Inconsistent(format!("there is no role {role}")))
}
