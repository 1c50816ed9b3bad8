//! Where tables are to go: is it fit, is it empty, and the marks that a copy goes by.
//!
//! Beside the tables stands `rowgate.rowgate_moved`: which move brought them, or brings them. What that
//! means (they lie there, they are on their way, they were given up) is known by the control database.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::fitness::{Marked, Seen, Verdict, look, verdict};
use super::location::OwnReader;
use super::work::one_line;
use super::{INTERNAL, TABLES, Urls, Way, reader};
use crate::model::OrganizationId;
use crate::store::tables::quoted;
use crate::store::{Connection, Database, Error, Store, query, query_as, query_scalar};

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

const MARKED: &str = "select move_id from rowgate.rowgate_moved";

impl Store {
    /// Looks whether an organization's tables can go to a database, and who is to read them there.
    pub async fn look_at_database(
        &self,
        of: OrganizationId,
        admin_url: &str,
        readonly_url: Option<&str>,
    ) -> Result<Found, WrongDatabase> {
        let way = self.outside()?.open(admin_url).map_err(WrongDatabase::Admin)?;
        let database = self.outside()?.database(&way);
        let told = |error| WrongDatabase::Admin(told(&way, &error));
        let seen: Seen = query_as(look()).fetch_one(&database).await.map_err(told)?;
        let mark = mark(&database, &seen).await.map_err(told)?;
        let marked = self.marked(mark.as_deref()).await?;
        let verdict = verdict(&seen, marked.as_ref(), of).map_err(WrongDatabase::Admin)?;
        let (url, is_ours) = match readonly_url {
            Some(url) => (self.given_reader(url, &seen.role).await?, false),
            None => (self.reader_to_make(&way, admin_url, &seen)?, true),
        };
        let admin = Zeroizing::new(admin_url.trim().to_owned());
        let urls = Urls { admin, reader: OwnReader { url, is_ours }, shown: way.shown.clone() };
        match verdict {
            Verdict::Ours => {
                // A password of ours is told once it is stored.
                if !urls.reader.is_ours {
                    self.let_given_read(&database, &urls.reader.url).await?;
                }
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
        let way = self.outside()?.open(url).map_err(WrongDatabase::Reader)?;
        if self.role_of(&way).await.map_err(WrongDatabase::Reader)? == admin {
            let reason =
                "must be of another role than admin_url: members of the organization get it";
            return Err(WrongDatabase::Reader(reason.into()));
        }
        Ok(Zeroizing::new(url.trim().to_owned()))
    }

    pub(super) async fn role_of(&self, way: &Arc<Way>) -> Result<String, String> {
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

    /// None: nobody has marked it. A mark that we don't know is another host's.
    async fn marked(&self, mark: Option<&str>) -> Result<Option<Marked>, Error> {
        let Some(mark) = mark else { return Ok(None) };
        let sql = "select m.organization_id, m.state,
                     coalesce(o.database_id = m.id, false) as is_current
                   from moves m join organizations o on o.id = m.organization_id where m.id = $1";
        let known = query_as(sql).bind(mark).fetch_optional(self.control.readers());
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
        let mark = mark(&bare, &seen).await?;
        if mark.as_deref() != Some(id) {
            let marked = self.marked(mark.as_deref()).await?;
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
                        Verdict::LeftOver => {
                            let now = query_scalar(format!("{MARKED} for update"));
                            if now.fetch_optional(&mut *connection).await? != mark {
                                return Err(Error::Superseded("another host has begun there"));
                            }
                            clear(connection).await?;
                        }
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

/// Which move a database is marked with.
async fn mark(database: &Database, seen: &Seen) -> sqlx::Result<Option<String>> {
    match seen.has_mark {
        true => query_scalar(MARKED).fetch_optional(database).await,
        false => Ok(None),
    }
}

/// What a copy goes by: how far each table has come. In the transaction of each slice, so that none is
/// written twice.
async fn mark_as(connection: &mut Connection, id: &str) -> Result<(), Error> {
    for sql in [
        format!("create schema if not exists {}", quoted(TABLES)),
        format!("create schema {}", quoted(INTERNAL)),
        format!(
            "create table {INTERNAL}.rowgate_moved (
                   move_id text not null, fence bigint not null default 0)"
        ),
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
    let text = match (error.as_database_error(), error) {
        (Some(error), _) => error.message().to_owned(),
        (None, sqlx::Error::PoolTimedOut) => "there was no answer in time".to_owned(),
        (None, error) => error.to_string(),
    };
    format!("must lead to a database that answers: {}", (way.hide)(&one_line(&text)))
}
