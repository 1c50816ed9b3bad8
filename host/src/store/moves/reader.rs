//! Who reads an organization's own database: a role that the customer named, or one that we make. Never
//! the role that owns the tables.

use url::Url;
use zeroize::Zeroizing;

use super::location::{ALONE, OwnReader, moved_again, opened_url};
use super::{TABLES, Way, place};
use crate::model::OrganizationId;
use crate::store::server::{
    READER_SETTINGS, ReaderPassword, is_mighty, reader_role, short_name, too_mighty,
};
use crate::store::sql::Login;
use crate::store::tables::quoted;
use crate::store::{Connection, Database, Error, Store, Target, query, query_as, query_scalar};

/// What the role is called that we make.
pub(super) fn role_name(database: &str) -> String {
    short_name(&[database, "rowgate_reader"])
}

/// The same address with another user and password.
pub(super) fn url_of(
    admin_url: &str,
    role: &str,
    password: &str,
) -> Result<Zeroizing<String>, Error> {
    let refused = || Error::Refused("its URL has no place for another user".into());
    let mut url = Url::parse(admin_url.trim()).map_err(|_| refused())?;
    let set = url.set_username(role).and_then(|()| url.set_password(Some(password)));
    set.map_err(|()| refused())?;
    Ok(Zeroizing::new(url.into()))
}

/// Makes the role, or gives it that password.
async fn make(
    admin: &mut Connection,
    role: &str,
    password: &ReaderPassword<'_>,
) -> Result<(), Error> {
    let known: Option<bool> =
        query_scalar(is_mighty()).bind(role).fetch_optional(&mut *admin).await?;
    if known == Some(true) {
        return Err(Error::Refused(too_mighty(role)));
    }
    let database = database_name(&mut *admin).await?;
    let in_database = format!("alter role {} in database {}", quoted(role), quoted(&database));
    let mut statements = vec![
        reader_role(role, known.is_some(), password),
        format!("{in_database} set search_path to {}", quoted(TABLES)),
    ];
    let settings = READER_SETTINGS.iter();
    statements
        .extend(settings.map(|(setting, value)| format!("{in_database} set {setting} to {value}")));
    run(admin, &statements).await
}

/// Lets a role read the tables, those to come too.
async fn grant(admin: &mut Connection, role: &str) -> Result<(), Error> {
    let database = database_name(&mut *admin).await?;
    let (role, tables) = (quoted(role), quoted(TABLES));
    let statements = [
        format!("grant connect on database {} to {role}", quoted(&database)),
        // Up to version 14 anybody may make tables there, which we would then find before ours.
        format!("revoke create on schema {tables} from public"),
        format!("grant usage on schema {tables} to {role}"),
        format!("grant select on all tables in schema {tables} to {role}"),
        format!("alter default privileges in schema {tables} grant select on tables to {role}"),
    ];
    run(admin, &statements).await
}

/// Takes from the role that we made all that it may, and drops it; it needn't be there. One that somebody gave
/// more to than we did can't be dropped: then it logs in no more.
pub(super) async fn drop_role(admin: &Database, role: &str) -> Result<(), Error> {
    if !is_role(admin, role).await? {
        return Ok(());
    }
    let (database, role, tables) = (database_name(admin).await?, quoted(role), quoted(TABLES));
    let rights = vec![
        format!("alter default privileges in schema {tables} revoke select on tables from {role}"),
        format!("revoke all on all tables in schema {tables} from {role}"),
        format!("revoke all on schema {tables} from {role}"),
        format!("revoke all on database {} from {role}", quoted(&database)),
    ];
    let all = rights.iter().cloned().chain([format!("drop role {role}")]).collect();
    let Err(stays) = run_alone(admin, all).await else { return Ok(()) };
    run_alone(admin, vec![format!("alter role {role} nologin password null")]).await?;
    tracing::info!(role, error = %stays, "a role stays in a customer's database, without a login");
    run_alone(admin, rights).await
}

impl Store {
    /// Lets the stored role read; makes it first if that is ours to do. Answers what the server calls it.
    pub(super) async fn let_read(&self, admin: &Database, id: &str) -> Result<String, Error> {
        let OwnReader { url, is_ours } = self.own_reader(id).await?;
        if !is_ours {
            return self.let_given_read(admin, &url).await;
        }
        let url = self.tell_reader(admin, id).await?;
        Ok(self.outside()?.way(&url)?.user.clone())
    }

    /// The same for one that the customer made.
    pub(super) async fn let_given_read(
        &self,
        admin: &Database,
        url: &str,
    ) -> Result<String, Error> {
        let role = self.role_of(&self.outside()?.way(url)?).await.map_err(Error::Unavailable)?;
        let given = role.clone();
        admin
            .write(move |connection| Box::pin(async move { grant(connection, &given).await }))
            .await?;
        Ok(role)
    }

    /// Ends a role that we made, after other URLs were stored, unless it reads still.
    pub(super) async fn end_reader(
        &self,
        admin: &Database,
        before: OwnReader,
        reads: &str,
    ) -> Result<(), Error> {
        let former = self.outside()?.way(&before.url)?;
        match before.is_ours && former.user != reads {
            true => drop_role(admin, &former.user).await,
            false => Ok(()),
        }
    }

    /// Gives the role that we made another password.
    pub(in crate::store) async fn roll_own_reader(
        &self,
        of: OrganizationId,
        id: &str,
    ) -> Result<(), Error> {
        let OwnReader { url, is_ours } = self.own_reader(id).await?;
        if !is_ours {
            return Err(Error::Refused(
                "the role that reads was made by you: change its password on your server, and give both \
                 URLs once more (`rowgate db migrations start`)"
                    .into(),
            ));
        }
        let (admin_url, role) = (self.move_url(id, "admin_url").await?, self.outside()?.way(&url)?);
        let password = self.chance.base36(24);
        let fresh = url_of(&admin_url, &role.user, &password)?;
        let (keyring, its) = (self.keyring.clone(), id.to_owned());
        let stored = self.control.write(move |connection| {
            Box::pin(async move {
                let sealed = keyring.seal(&place(&its, "readonly_url"), fresh.as_bytes());
                let statement =
                    query("update moves set readonly_url = $1, reader_told = false where id = $2");
                statement.bind(sealed).bind(its).execute(connection).await?;
                Ok(())
            })
        });
        stored.await?;
        self.readonly_url(of, id).await.map(drop)
    }

    /// The URL by which an organization's own database is read. Whoever gave the role that we made another
    /// password may have died before the server was told: then it is told here.
    pub(in crate::store) async fn readonly_url(
        &self,
        of: OrganizationId,
        id: &str,
    ) -> Result<Zeroizing<String>, Error> {
        let stored = Stored::read(&self.control, id).await?;
        if stored.is_known() {
            return opened_url(&self.keyring, id, "readonly_url", &stored.sealed);
        }
        self.tell_reader(&self.replication(of).await?, id).await
    }

    /// Tells the server the password that is sealed, and lets the role read. Who does that is alone, and looks only
    /// then which one it is: whatever the server is told last is what is stored.
    async fn tell_reader(&self, admin: &Database, id: &str) -> Result<Zeroizing<String>, Error> {
        let (control, keyring, outside) =
            (self.control.clone(), self.keyring.clone(), self.outside()?.clone());
        let (its, salt) = (id.to_owned(), self.chance.bytes());
        let told = admin.write(move |connection| {
            Box::pin(async move {
                connection.run(ALONE).await?;
                let stored = Stored::read(&control, &its).await?;
                let url = opened_url(&keyring, &its, "readonly_url", &stored.sealed)?;
                if !stored.is_known() {
                    let role = outside.way(&url)?;
                    let password = ReaderPassword { text: &role.password, salt };
                    make(connection, &role.user, &password).await?;
                    grant(connection, &role.user).await?;
                }
                Ok((stored.sealed, url))
            })
        });
        let (sealed, url) = told.await?;
        // Whoever sealed another one meanwhile tells it after us.
        let told = query(
            "update moves set reader_told = coalesce(readonly_url = $1, true) or not own_reader
             where id = $2",
        );
        self.control.execute(told.bind(sealed).bind(id.to_owned())).await?;
        Ok(url)
    }
}

/// The URL of who reads, as it is sealed.
struct Stored {
    sealed: Vec<u8>,
    is_ours: bool,
    /// The server was told its password.
    is_told: bool,
}

impl Stored {
    async fn read(control: &Database, id: &str) -> Result<Self, Error> {
        let stored = "select readonly_url, own_reader, reader_told from moves where id = $1";
        let stored: Option<(Option<Vec<u8>>, bool, bool)> =
            query_as(stored).bind(id).fetch_optional(control.readers()).await?;
        let (sealed, is_ours, is_told) = stored.ok_or_else(moved_again)?;
        Ok(Self { sealed: sealed.ok_or_else(moved_again)?, is_ours, is_told })
    }

    /// The password of a role that the customer made isn't ours to tell.
    fn is_known(&self) -> bool {
        self.is_told || !self.is_ours
    }
}

impl Way {
    /// How queries of people and programs connect: they change nothing, whatever the role may do, and see
    /// times as everywhere.
    pub(in crate::store) fn query_login(&self) -> Login {
        let mut server = Url::parse("postgres://localhost?sslmode=disable").expect("a URL");
        let _taken = server.set_port(Some(self.port));
        server.query_pairs_mut().append_pair("host", &self.directory.display().to_string());
        let settings = [
            ("search_path", TABLES),
            ("default_transaction_read_only", "on"),
            ("timezone", "UTC"),
            ("datestyle", "ISO"),
        ];
        Login {
            server: server.into(),
            user: self.user.clone(),
            password: self.password.to_string(),
            database: self.database.clone(),
            settings: settings.map(|(name, value)| (name.into(), value.into())).into(),
        }
    }
}

async fn is_role<'a>(admin: impl Into<Target<'a>>, role: &'a str) -> Result<bool, Error> {
    let known = query_scalar::<i64>("select count(*) from pg_roles where rolname = $1");
    Ok(known.bind(role).fetch_one(admin).await? > 0)
}

async fn database_name(admin: impl Into<Target<'_>>) -> Result<String, Error> {
    Ok(query_scalar("select current_database()::text").fetch_one(admin).await?)
}

async fn run(admin: &mut Connection, statements: &[String]) -> Result<(), Error> {
    for statement in statements {
        admin.run(statement).await?;
    }
    Ok(())
}

/// In a transaction of its own.
async fn run_alone(admin: &Database, statements: Vec<String>) -> Result<(), Error> {
    admin.write(move |connection| Box::pin(async move { run(connection, &statements).await })).await
}
