//! A PostgreSQL server: which databases and schemas there are, who may read them.
//!
//! The control database is one of its own. An organization's tables lie in a schema `org_<key>` (or
//! a database) that its reading role sees, what belongs to them in a schema `rowgate_<key>` that it
//! doesn't. The host's role owns everything and is never given to customers.

mod alone;
mod connect;
mod drop;
mod prepare;
mod verifier;

use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection};
use url::Url;

use super::database::{PostgresDatabase, SessionLimits, maker};
use super::sql::{Login, server_of};
use super::{Database, Error};
use crate::config::Isolation;
use crate::model::OrganizationId;
use connect::{connect_or_create, name, parse};
pub(super) use prepare::{PREPARED, READER_SETTINGS, is_mighty, reader_role, too_mighty};
use prepare::{is_ready, keep_readers_out, prepare};

static CONTROL: Migrator = sqlx::migrate!("migrations/postgres/control");
/// Without a lock of its own, which readers could take: whoever runs them has another one
/// ([`Server::alone`], and in a customer's database that of a table).
pub(super) static REPLICATION: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("migrations/postgres/replication");
    migrations.set_locking(false);
    migrations
});

/// Names of databases, schemas and roles are cut after so many bytes. (`NAMEDATALEN`)
const NAME_MAX: usize = 63;

/// Where the databases are.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// `postgres://user:password@host/database` of the control database.
    pub control_url: String,
    /// The same of the organizations' tables. None: a database `<control>_data` beside it.
    pub replication_url: Option<String>,
    /// How organizations are kept apart.
    pub isolation: Isolation,
    /// What this host's sessions may take.
    pub limits: SessionLimits,
}

/// A server as configured.
#[derive(Clone, Debug)]
pub(super) struct Server {
    control: PgConnectOptions,
    replication: PgConnectOptions,
    /// The same server as [`Login::server`].
    queries: String,
    isolation: Isolation,
    limits: SessionLimits,
}

/// The password of an organization's reading role, and chance to store it by.
pub(super) struct ReaderPassword<'p> {
    pub(super) text: &'p str,
    pub(super) salt: [u8; 16],
}

impl ReaderPassword<'_> {
    pub(super) fn verifier(&self) -> String {
        verifier::verifier(self.text, self.salt)
    }
}

/// See [`Server::hold`]. Dropping it lets go, too.
pub(super) struct Held(PgConnection);

impl Held {
    pub(super) async fn let_go(self) {
        // The server lets go as soon as it sees that the connection is gone.
        let _ = self.0.close().await;
    }
}

/// Where an organization's tables lie.
struct Place {
    database: String,
    tables: String,
    internal: String,
    reader: String,
}

impl Place {
    /// Our own tables are made in the first, replicated ones in the second.
    fn search_path(&self) -> [&str; 2] {
        [&self.internal, &self.tables]
    }
}

impl Server {
    pub(super) fn new(options: &ServerOptions) -> Result<Self, Error> {
        let control = parse("database_url", &options.control_url)?;
        let replication = match &options.replication_url {
            Some(url) => parse("replication_url", url)?,
            None => control.clone().database(&short_name(&[name(&control), "data"])),
        };
        let queries = options.replication_url.as_ref().unwrap_or(&options.control_url);
        let queries = Url::parse(queries)
            .map_err(|error| Error::Refused(format!("the URL of the databases: {error}")))?;
        let ServerOptions { isolation, limits, .. } = *options;
        Ok(Self { control, replication, queries: server_of(&queries), isolation, limits })
    }

    pub(super) fn describe(&self) -> String {
        format!("{}:{}/{}", self.control.get_host(), self.control.get_port(), name(&self.control))
    }

    /// Opens the control database; it is made where it is missing and we may.
    pub(super) async fn open_control(&self) -> Result<Database, Error> {
        let mut connection = connect_or_create(&self.control).await?;
        keep_readers_out(&mut connection).await;
        let _ = connection.close().await;
        let opened = PostgresDatabase::open(
            self.control.clone(),
            ["public", "public"],
            &CONTROL,
            self.limits,
        );
        opened.await.map(Database::Postgres)
    }

    /// Opens an organization's part; it is made where it is missing. Under [`Server::alone`].
    pub(super) async fn open_replication(
        &self,
        organization: &str,
        reader: &ReaderPassword<'_>,
    ) -> Result<Database, Error> {
        let place = self.place(organization);
        let options = self.replication.clone().database(&place.database);
        let mut connection = connect_or_create(&maker(options.clone(), self.limits)).await?;
        prepare(&mut connection, &place, reader).await?;
        let _ = connection.close().await;
        let opened =
            PostgresDatabase::open(options, place.search_path(), &REPLICATION, self.limits);
        opened.await.map(Database::Postgres)
    }

    /// The same where nothing is left to do, and so without waiting for anybody. None: something is, or that
    /// couldn't be seen.
    pub(super) async fn open_ready(&self, organization: &str) -> Option<Database> {
        let place = self.place(organization);
        let options = self.replication.clone().database(&place.database);
        let mut connection = options.clone().disable_statement_logging().connect().await.ok()?;
        let ready = is_ready(&mut connection, &place).await;
        let _ = connection.close().await;
        ready.unwrap_or(false).then(|| {
            let opened = PostgresDatabase::up_to_date(options, place.search_path(), self.limits);
            Database::Postgres(opened)
        })
    }

    /// Holds an organization's row: nobody begins to drop its part meanwhile, nor deletes the row. On a
    /// connection of its own, without the limits of a session: to make a part may take long, and whoever stood still
    /// before it drops one must still hold it.
    pub(super) async fn hold(&self, organization: OrganizationId) -> Result<Held, Error> {
        let mut connection = connect_or_create(&self.control).await?;
        connection.execute("begin").await?;
        sqlx::query("select id from organizations where id = $1 for key share")
            .bind(organization)
            .execute(&mut connection)
            .await?;
        Ok(Held(connection))
    }

    /// How the role that may only read an organization's tables connects.
    pub(super) fn reader(&self, organization: &str, password: &str) -> Login {
        let place = self.place(organization);
        Login {
            server: self.queries.clone(),
            user: place.reader,
            password: password.to_owned(),
            database: place.database,
            settings: vec![("search_path".into(), place.tables)],
        }
    }

    /// The same as a URL. The role's search path is set on the server.
    pub(super) fn reader_url(&self, organization: &str, password: &str) -> String {
        let place = self.place(organization);
        let mut url = Url::parse("postgres://localhost").expect("a URL");
        let host = match self.replication.get_socket() {
            None => self.replication.get_host(),
            Some(_) => "localhost",
        };
        // What isn't taken stays as it is above: none of it is a customer's.
        let _ = url.set_host(Some(host));
        let _ = url.set_port(Some(self.replication.get_port()));
        let _ = url.set_username(&place.reader);
        let _ = url.set_password(Some(password));
        url.set_path(&place.database);
        if let Some(socket) = self.replication.get_socket() {
            url.query_pairs_mut().append_pair("host", &socket.display().to_string());
        }
        url.into()
    }

    /// The schema that an organization's tables lie in.
    pub(super) fn schema(&self, organization: &str) -> String {
        self.place(organization).tables
    }

    fn place(&self, organization: &str) -> Place {
        let reader = short_name(&[name(&self.control), organization, "reader"]);
        match self.isolation {
            Isolation::Schema => Place {
                database: name(&self.replication).to_owned(),
                tables: short_name(&["org", organization]),
                internal: short_name(&["rowgate", organization]),
                reader,
            },
            Isolation::Database => Place {
                database: short_name(&[name(&self.replication), organization]),
                tables: "public".to_owned(),
                internal: "rowgate".to_owned(),
                reader,
            },
        }
    }
}

/// Parts joined by `_`; what would be too long ends in a digest of the whole, so that two can't meet.
pub(super) fn short_name(parts: &[&str]) -> String {
    let joined = parts.join("_").replace(['"', '\0'], "_");
    if joined.len() <= NAME_MAX {
        return joined;
    }
    let digest = Sha256::digest(joined.as_bytes());
    let digest: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let mut kept = NAME_MAX - digest.len() - 1;
    while !joined.is_char_boundary(kept) {
        kept -= 1;
    }
    format!("{}_{digest}", &joined[..kept])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::fixture;
    use crate::store::{Dialect, query_scalar};

    /// What the server holds is what it was sent, and that is no password.
    #[tokio::test]
    async fn the_server_never_sees_a_readers_password() {
        use base64::Engine as _;
        let store = fixture::open(Dialect::Postgres, Clock::System).await;
        let organization = store.organization("default").await.unwrap().id;
        drop(store.replication(organization).await.unwrap());
        let control = "select current_database()::text";
        let control: String = query_scalar(control).fetch_one(store.control()).await.unwrap();
        for rolled in [false, true] {
            if rolled {
                store.roll_reader(organization).await.unwrap();
            }
            let stored = fixture::kept(&format!("{control}_default_reader"));
            // A password in clear would be made into a verifier by the server: with a salt of its own.
            let salt = stored.split(['$', ':']).nth(2).unwrap();
            let salt = base64::prelude::BASE64_STANDARD.decode(salt).unwrap();
            let password = store.reader(organization).await.unwrap().password;
            assert_eq!(stored, verifier::verifier(&password, salt.try_into().unwrap()));
        }
    }

    #[test]
    fn long_names_stay_apart() {
        assert_eq!(short_name(&["org", "acme"]), "org_acme");
        let (one, two) = ("a".repeat(62) + "1", "a".repeat(62) + "2");
        assert_ne!(short_name(&["org", &one]), short_name(&["org", &two]));
        assert!(short_name(&["org", &one]).len() <= NAME_MAX);
    }

    #[test]
    fn a_url_must_name_a_database() {
        for (url, reason) in [
            ("mysql://x/y", "must be like postgres://"),
            ("postgres://host", "names no database"),
            ("rowgate.db", "must be like postgres://"),
        ] {
            let error = parse("database_url", url).unwrap_err().to_string();
            assert!(error.contains(reason), "{url}: {error}");
        }
        assert!(parse("database_url", "postgres://u:p@host:5433/control").is_ok());
    }
}
