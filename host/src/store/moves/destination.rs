//! Where tables are to go: is it fit, is it empty, and the marks that a copy goes by.
//!
//! Beside the tables stands `rowgate.rowgate_moved`: which move brought them, or brings them. What that
//! means (they lie there, they are on their way, they were given up) is known by the control database.

use std::sync::Arc;

use sqlx::FromRow;
use zeroize::Zeroizing;

use super::{INTERNAL, TABLES, Urls, Way, reader};
use crate::model::OrganizationId;
use crate::store::tables::{literal, quoted};
use crate::store::{Connection, Database, Error, Store, query, query_as, query_scalar};

/// What is first needed of a server. (`xid8`, `gen_random_uuid`)
const VERSION_MIN: i64 = 130_000;

/// What was found of a database that is fit.
pub enum Found {
    /// Tables can go there.
    Empty(Urls),
    /// The organization's tables lie there already.
    Ours(Urls),
}

/// Why not.
#[derive(Debug, thiserror::Error)]
pub enum WrongDatabase {
    /// Of `admin_url`.
    #[error("admin_url {0}")]
    Admin(String),
    /// Of `readonly_url`.
    #[error("readonly_url {0}")]
    Reader(String),
    /// Ours.
    #[error(transparent)]
    Store(#[from] Error),
}

/// A database as it says it is.
#[derive(Debug, FromRow)]
struct Seen {
    version: i64,
    encoding: String,
    may_create: bool,
    is_standby: bool,
    role: String,
    makes_roles: bool,
    has_mark: bool,
    has_internal: bool,
    /// Something in the schema of tables that belongs to no extension.
    stranger: Option<String>,
}

fn look() -> String {
    let (tables, internal) = (literal(TABLES), literal(INTERNAL));
    format!(
        "select current_setting('server_version_num')::bigint as version,
           getdatabaseencoding()::text as encoding,
           has_database_privilege(current_database(), 'create')
             and case when to_regnamespace({tables}) is null then true
                      else has_schema_privilege({tables}, 'create') end as may_create,
           pg_is_in_recovery() as is_standby,
           current_user::text as role,
           coalesce((select rolsuper or rolcreaterole from pg_roles where rolname = current_user),
                    false) as makes_roles,
           to_regclass('{INTERNAL}.rowgate_moved') is not null as has_mark,
           to_regnamespace({internal}) is not null as has_internal,
           (select min(c.relname::text) from pg_class c
            where c.relnamespace = to_regnamespace({tables})
              and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
              and not exists (select 1 from pg_depend d
                              where d.classid = 'pg_class'::regclass and d.objid = c.oid
                                and d.deptype = 'e')) as stranger"
    )
}

const MARKED: &str = "select move_id from rowgate.rowgate_moved";

/// What the control database knows of the move that a database is marked with.
#[derive(Debug, FromRow)]
struct Marked {
    organization_id: OrganizationId,
    state: String,
    is_current: bool,
}

/// What a database is good for.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Empty,
    /// What a move that failed left there goes first.
    LeftOver,
    /// The organization's tables lie there.
    Ours,
}

/// Says what is wrong with it.
fn verdict(seen: &Seen, marked: Option<&Marked>, of: OrganizationId) -> Result<Verdict, String> {
    if seen.version < VERSION_MIN {
        return Err("must lead to PostgreSQL 13 or later".into());
    }
    if seen.encoding != "UTF8" {
        return Err(format!("must lead to a database in UTF8, not in {}", seen.encoding));
    }
    if seen.is_standby {
        return Err("must lead to a server that takes writes, not to a standby".into());
    }
    if !seen.may_create {
        return Err(format!(
            "must be of a role that may create schemas in the database, and tables in its schema \
             {TABLES}: make it the database's owner"
        ));
    }
    match marked {
        Some(marked) if marked.organization_id == of && marked.is_current => Ok(Verdict::Ours),
        Some(marked) if marked.organization_id == of && marked.state == "failed" => {
            Ok(Verdict::LeftOver)
        }
        Some(_) => Err("leads to a database that holds other tables of this host".into()),
        None if seen.has_internal => Err(format!(
            "leads to a database with a schema {INTERNAL}, that of another host or from before: drop \
             it, and the tables, or give an empty database"
        )),
        None => match &seen.stranger {
            Some(name) => {
                Err(format!("must lead to an empty database: its schema {TABLES} has a {name}"))
            }
            None => Ok(Verdict::Empty),
        },
    }
}

impl Store {
    /// Looks whether an organization's tables can go to a database, and who is to read them there.
    pub async fn look_at_database(
        &self,
        of: OrganizationId,
        admin_url: &str,
        readonly_url: Option<&str>,
    ) -> Result<Found, WrongDatabase> {
        let way =
            self.outside()?.way(admin_url).map_err(|error| refused(error, WrongDatabase::Admin))?;
        let database = self.outside()?.database(&way);
        let told = |error| WrongDatabase::Admin(told(&way, &error));
        let seen: Seen = query_as(look()).fetch_one(&database).await.map_err(told)?;
        let marked = self.marked(&database, &seen).await.map_err(|error| match error {
            Error::Database(error) => told(error),
            other => other.into(),
        })?;
        let verdict = verdict(&seen, marked.as_ref(), of).map_err(WrongDatabase::Admin)?;
        let (readonly, own_reader) = match readonly_url {
            Some(url) => (self.given_reader(url, &seen.role).await?, false),
            None => (self.reader_to_make(&way, admin_url, &seen)?, true),
        };
        let admin = Zeroizing::new(admin_url.trim().to_owned());
        let urls = Urls { admin, readonly, own_reader, shown: way.shown.clone() };
        match verdict {
            Verdict::Ours => {
                self.let_read(&database, &urls).await?;
                Ok(Found::Ours(urls))
            }
            Verdict::Empty | Verdict::LeftOver => Ok(Found::Empty(urls)),
        }
    }

    /// A role that the customer has made.
    async fn given_reader(
        &self,
        url: &str,
        admin: &str,
    ) -> Result<Zeroizing<String>, WrongDatabase> {
        let way =
            self.outside()?.way(url).map_err(|error| refused(error, WrongDatabase::Reader))?;
        if self.role_of(&way).await.map_err(WrongDatabase::Reader)? == admin {
            let reason =
                "must be of another role than admin_url: members of the organization get it";
            return Err(WrongDatabase::Reader(reason.into()));
        }
        Ok(Zeroizing::new(url.trim().to_owned()))
    }

    async fn role_of(&self, way: &Arc<Way>) -> Result<String, String> {
        let outside = self.outside().map_err(|error| error.to_string())?;
        let database = outside.database(way);
        let role = query_scalar("select current_user::text").fetch_one(&database).await;
        role.map_err(|error| told(way, &error))
    }

    fn reader_to_make(
        &self,
        way: &Way,
        admin_url: &str,
        seen: &Seen,
    ) -> Result<Zeroizing<String>, WrongDatabase> {
        if !seen.makes_roles {
            let reason = "must be given: the role of admin_url may not create another one that only \
                          reads";
            return Err(WrongDatabase::Reader(reason.into()));
        }
        let password = self.chance.base36(24);
        Ok(reader::url_of(admin_url, &reader::role_name(&way.database), &password)?)
    }

    /// Lets the reading role read; makes it first if that is ours to do.
    pub(super) async fn let_read(&self, admin: &Database, urls: &Urls) -> Result<(), Error> {
        let way = self.outside()?.way(&urls.readonly)?;
        let role = match urls.own_reader {
            true => {
                let password = (&way.password, self.chance.bytes());
                let password =
                    crate::store::server::ReaderPassword { text: password.0, salt: password.1 };
                reader::make(admin, &way.user, &password).await?;
                way.user.clone()
            }
            false => self.role_of(&way).await.map_err(Error::Unavailable)?,
        };
        reader::grant(admin, &role).await
    }

    /// None: nobody has marked it. A mark that we don't know is another host's.
    async fn marked(&self, database: &Database, seen: &Seen) -> Result<Option<Marked>, Error> {
        if !seen.has_mark {
            return Ok(None);
        }
        let id: Option<String> = query_scalar(MARKED).fetch_optional(database).await?;
        let sql = "select m.organization_id, m.state,
                     coalesce(o.database_id = m.id, false) as is_current
                   from moves m join organizations o on o.id = m.organization_id where m.id = $1";
        let known = query_as(sql).bind(id).fetch_optional(self.control.readers());
        Ok(known.await?)
    }

    /// Makes a database ready for a move: empty but for our own tables and the mark. One that this move
    /// has begun with goes on as it is.
    pub(super) async fn make_ready(
        &self,
        way: &Arc<Way>,
        of: OrganizationId,
        id: &str,
    ) -> Result<Database, Error> {
        let bare = self.outside()?.database(way);
        let seen: Seen = query_as(look()).fetch_one(&bare).await?;
        let mark: Option<String> = match seen.has_mark {
            true => query_scalar(MARKED).fetch_optional(&bare).await?,
            false => None,
        };
        if mark.as_deref() != Some(id) {
            let marked = self.marked(&bare, &seen).await?;
            let verdict = verdict(&seen, marked.as_ref(), of);
            let verdict =
                verdict.map_err(|reason| Error::Refused(format!("admin_url {reason}")))?;
            let id = id.to_owned();
            let begun = bare.write(move |connection| {
                Box::pin(async move {
                    match verdict {
                        Verdict::Ours => {
                            return Err(Error::Refused("the tables lie there already".into()));
                        }
                        Verdict::LeftOver => clear(connection).await?,
                        Verdict::Empty => {}
                    }
                    mark_as(connection, &id).await
                })
            });
            begun.await?;
        }
        self.prepare_own(Arc::clone(way)).await
    }
}

/// What a copy goes by: how far each table has come. In the transaction of each slice, so that none is
/// written twice.
async fn mark_as(connection: &mut Connection, id: &str) -> Result<(), Error> {
    for sql in [
        format!("create schema if not exists {}", quoted(TABLES)),
        format!("create schema {}", quoted(INTERNAL)),
        format!("create table {INTERNAL}.rowgate_moved (move_id text not null)"),
        format!(
            "create table {INTERNAL}.rowgate_copied (
               table_name text primary key,
               after_key text,
               row_count bigint not null default 0,
               is_complete boolean not null default false)"
        ),
    ] {
        connection.run(&sql).await?;
    }
    let mark = "insert into rowgate.rowgate_moved (move_id) values ($1)";
    query(mark).bind(id).execute(connection).await?;
    Ok(())
}

/// Takes away what a move that failed has made, and nothing else.
async fn clear(connection: &mut Connection) -> Result<(), Error> {
    let names: Vec<String> = query_scalar(
        "select table_name from rowgate.rowgate_copied where table_name not like 'rowgate\\_%'",
    )
    .fetch_all(&mut *connection)
    .await?;
    for name in names {
        let sql = format!("drop table if exists {}.{}", quoted(TABLES), quoted(&name));
        connection.run(&sql).await?;
    }
    connection.run(&format!("drop schema {} cascade", quoted(INTERNAL))).await?;
    Ok(())
}

/// What a server, or the way there, has to say, on one line.
fn told(way: &Way, error: &sqlx::Error) -> String {
    let text = match error.as_database_error() {
        None => error.to_string(),
        Some(error) => error.message().to_owned(),
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    format!("must lead to a database that answers: {}", (way.hide)(&words.join(" ")))
}

fn refused(error: Error, of: fn(String) -> WrongDatabase) -> WrongDatabase {
    match error {
        Error::Refused(reason) => of(reason.trim_start_matches("its URL ").to_owned()),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        Seen {
            version: 150_000,
            encoding: "UTF8".into(),
            may_create: true,
            is_standby: false,
            role: "r".into(),
            makes_roles: true,
            has_mark: false,
            has_internal: false,
            stranger: None,
        }
    }

    #[test]
    fn only_what_is_empty_or_ours_is_taken() {
        let mark = |organization_id, state: &str, is_current| {
            Some(Marked { organization_id, state: state.into(), is_current })
        };
        let internal = || Seen { has_internal: true, stranger: Some("t".into()), ..seen() };
        for (seen, marked, expected) in [
            (seen(), None, Ok(Verdict::Empty)),
            (internal(), mark(7, "done", true), Ok(Verdict::Ours)),
            (internal(), mark(7, "failed", false), Ok(Verdict::LeftOver)),
            (internal(), mark(7, "copying", false), Err("other tables of this host")),
            (internal(), mark(7, "done", false), Err("other tables of this host")),
            (internal(), mark(8, "failed", false), Err("other tables of this host")),
            (internal(), None, Err("a schema rowgate")),
            (Seen { stranger: Some("t".into()), ..seen() }, None, Err("has a t")),
            (Seen { version: 120_000, ..seen() }, None, Err("PostgreSQL 13")),
            (Seen { encoding: "LATIN1".into(), ..seen() }, None, Err("UTF8")),
            (Seen { is_standby: true, ..seen() }, None, Err("standby")),
            (Seen { may_create: false, ..seen() }, None, Err("may create schemas")),
        ] {
            let found = verdict(&seen, marked.as_ref(), 7);
            match expected {
                Ok(verdict) => assert_eq!(found, Ok(verdict)),
                Err(part) => assert!(found.unwrap_err().contains(part), "{part}"),
            }
        }
    }
}
