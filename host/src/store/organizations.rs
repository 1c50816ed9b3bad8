//! Organizations: whom integrations, owners and tables belong to.

use super::{Connection, Error, Store, query, query_as, query_scalar};
use crate::model::{Micros, OrganizationId};

/// An organization.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
#[allow(missing_docs)]
pub struct Organization {
    pub id: OrganizationId,
    /// Lower-case letters, digits and `_`; names the replication file.
    pub key: String,
    pub name: String,
    pub created_at: i64,
}

/// The organization that is made when none is asked for.
pub const DEFAULT: &str = "default";

/// Characters of a key: it can be a host name, a schema or a file name.
const KEY_MAX: usize = 63;
const KEYS_TRIED: u32 = 1_000;

impl Store {
    /// Makes an organization; its key is the slug of its name.
    pub async fn create_organization(&self, name: &str) -> Result<Organization, Error> {
        self.found_organization(name, None, i64::MAX).await
    }

    /// All organizations that aren't being closed, oldest first.
    pub async fn organizations(&self) -> Result<Vec<Organization>, Error> {
        let all = "select id, key, name, created_at from organizations where closing_at is null
                   order by id";
        Ok(query_as(all).fetch_all(self.control.readers()).await?)
    }

    /// The organization with this key or id. `default` is made at first use.
    pub async fn organization(&self, key_or_id: &str) -> Result<Organization, Error> {
        if let Some(found) = self.find_organization(key_or_id).await? {
            return Ok(found);
        }
        if self.is_closing(key_or_id).await? {
            return Err(Error::Refused(format!(
                "the organization `{key_or_id}` is being closed; its name is free when that is done"
            )));
        }
        if key_or_id == DEFAULT {
            return match self.create_organization(DEFAULT).await {
                // Another process was faster.
                Err(Error::Refused(_)) => self
                    .find_organization(DEFAULT)
                    .await?
                    .ok_or_else(|| Error::Inconsistent("`default` comes and goes".into())),
                made => made,
            };
        }
        let keys: Vec<String> =
            self.organizations().await?.into_iter().map(|organization| organization.key).collect();
        Err(Error::Refused(format!(
            "there is no organization `{key_or_id}` (there are: {}); make it with \
             `rowgate orgs create`",
            if keys.is_empty() { "none".into() } else { keys.join(", ") }
        )))
    }

    /// Opens the tables that the organization has among ours, if it has any: a host that can't work with them is not
    /// to take posts for them. What can't be reached now is opened when it is needed.
    ///
    /// # Errors
    /// [`Error::Refused`]: a newer program has changed them.
    pub async fn open_known(&self, organization: &Organization) -> Result<(), Error> {
        let of = organization.id;
        if self.own_database(of).await?.is_some() {
            return Ok(());
        }
        let known = match &self.server {
            None => self.data_dir.replication(&organization.key).exists(),
            Some(_) => {
                let made =
                    query_scalar("select reader_prepared > 0 from organizations where id = $1");
                made.bind(of).fetch_one(self.control.readers()).await?
            }
        };
        if !known {
            return Ok(());
        }
        match self.replication(of).await {
            Err(refused @ Error::Refused(_)) => Err(refused),
            Err(error) => {
                tracing::warn!(%error, "the organization's tables can't be opened yet");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    /// Whether an organization of this key or id is being closed.
    pub async fn is_closing(&self, key_or_id: &str) -> Result<bool, Error> {
        let closing = query_scalar(
            "select exists (select 1 from organizations
                            where (key = $1 or cast(id as text) = $1) and closing_at is not null)",
        );
        Ok(closing.bind(key_or_id).fetch_one(self.control.readers()).await?)
    }

    /// The organization with this key or id, if there is one that isn't being closed.
    pub async fn find_organization(&self, key_or_id: &str) -> Result<Option<Organization>, Error> {
        let by_key = "select id, key, name, created_at from organizations
                      where (key = $1 or cast(id as text) = $1) and closing_at is null order by case when key = $1 then 0 else 1 end limit 1";
        let reader = self.control.readers();
        Ok(query_as(by_key).bind(key_or_id).fetch_optional(reader).await?)
    }
}

/// Holds an organization's row to the end of the transaction: two that change what it has come one after the
/// other, and none while it is closed.
pub(super) async fn hold(connection: &mut Connection, of: OrganizationId) -> Result<(), Error> {
    let lock = connection.dialect().locks("for no key update");
    let there = format!("select id from organizations where id = $1 and closing_at is null {lock}");
    let there: Option<OrganizationId> =
        query_scalar(there).bind(of).fetch_optional(connection).await?;
    match there {
        Some(_) => Ok(()),
        None => Err(Error::Refused("the organization is being closed".into())),
    }
}

/// Makes an organization. `numbered`: a key that is taken gets a number. `founder`: the address of the
/// customer who makes it.
pub(super) async fn insert_organization(
    connection: &mut Connection,
    name: &str,
    numbered: bool,
    founder: Option<&str>,
    now: Micros,
) -> Result<Organization, Error> {
    let slug = slug(name)?;
    let last = if numbered { KEYS_TRIED } else { 1 };
    for number in 1..=last {
        let key = if number == 1 { slug.clone() } else { with_number(&slug, number) };
        let made = query_as(
            "insert into organizations (key, name, created_at, founded_by) values ($1, $2, $3, $4)
             on conflict (key) do nothing returning id, key, name, created_at",
        )
        .bind(key)
        .bind(name.trim())
        .bind(now)
        .bind(founder)
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(made) = made {
            return Ok(made);
        }
    }
    Err(Error::Refused(format!("there is an organization `{slug}` already")))
}

/// Refuses who has made as many organizations as they may.
pub(super) async fn check_founded(
    connection: &mut Connection,
    email: &str,
    max: i64,
) -> Result<(), Error> {
    // Two that are made at once must not both be the last one. There is no lock where it isn't a
    // customer: those are made on the data directory.
    query("update customers set name = name where email = $1")
        .bind(email)
        .execute(&mut *connection)
        .await?;
    let founded: i64 = query_scalar(
        "select count(*) from organizations where founded_by = $1 and closing_at is null",
    )
    .bind(email)
    .fetch_one(connection)
    .await?;
    match founded < max {
        true => Ok(()),
        false => Err(Error::Refused(format!(
            "you have made {founded} organizations, and may have {max} at most: close one, or ask the \
             host's operator (`limits.customer_organizations_max`)"
        ))),
    }
}

/// A key with a number, still not too long.
fn with_number(key: &str, number: u32) -> String {
    let end = format!("_{number}");
    format!("{}{end}", &key[..key.len().min(KEY_MAX - end.len())])
}

/// The key of a name: `Acme, Inc.` becomes `acme_inc`. At most 63 characters, and no leading
/// digit, so that it can be a host name, a schema or a file name.
fn slug(name: &str) -> Result<String, Error> {
    let mut key = String::new();
    for letter in name.trim().to_lowercase().chars() {
        match letter {
            'a'..='z' | '0'..='9' => key.push(letter),
            _ if key.is_empty() || key.ends_with('_') => {}
            _ => key.push('_'),
        }
    }
    key.truncate(KEY_MAX);
    let key = key.trim_end_matches('_');
    if key.is_empty() {
        return Err(Error::Refused(format!(
            "an organization's name needs letters a-z or digits, {name:?} has none"
        )));
    }
    if !key.starts_with(|first: char| first.is_ascii_digit()) {
        return Ok(key.to_owned());
    }
    const DIGITS: [&str; 10] =
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    let digit = usize::from(key.as_bytes()[0] - b'0');
    let mut spelled = format!("{}{}", DIGITS[digit], &key[1..]);
    spelled.truncate(KEY_MAX);
    Ok(spelled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_slug_of_the_name() {
        for (name, key) in [
            ("Acme, Inc.", "acme_inc"),
            ("  default ", "default"),
            ("3M", "threem"),
            ("a--b", "a_b"),
            ("Ünder", "nder"),
        ] {
            assert_eq!(slug(name).unwrap(), key);
        }
        assert_eq!(slug(&"x".repeat(80)).unwrap().len(), 63);
        assert!(slug("日本").is_err());
        assert!(slug("").is_err());
    }
}
