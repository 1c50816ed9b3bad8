//! What is asked, where: all that the process of a query is told.

use std::str::FromStr as _;

use serde::{Deserialize, Serialize};
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use url::Url;

use super::{Error, QueryLimits, Rows, postgres, sqlite};
use crate::clock::Clock;

/// A statement, and what it may cost.
#[derive(Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) place: Place,
    pub(super) text: String,
    pub(super) limits: QueryLimits,
}

/// Where the tables are read.
#[derive(Serialize, Deserialize)]
pub(super) enum Place {
    File(std::path::PathBuf),
    Server(Login),
}

/// How a role that may only read connects to a server.
#[derive(Serialize, Deserialize)]
pub(in crate::store) struct Login {
    /// `postgres://host:port?sslmode=..`, without user and password.
    pub(in crate::store) server: String,
    pub(in crate::store) user: String,
    pub(in crate::store) password: String,
    pub(in crate::store) database: String,
    /// Settings of the session.
    pub(in crate::store) settings: Vec<(String, String)>,
}

impl Asked {
    /// Runs the statement here. `opened` is called when all files that it may read are open.
    pub(super) async fn answer(
        &self,
        clock: &Clock,
        opened: fn() -> std::io::Result<()>,
    ) -> Result<Rows, Error> {
        let Self { place, text, limits } = self;
        match place {
            Place::File(path) => sqlite::query(path, text, *limits, clock, opened).await,
            Place::Server(login) => postgres::query(login.options()?, text, *limits, clock).await,
        }
    }
}

impl Login {
    fn options(&self) -> Result<PgConnectOptions, Error> {
        let server = PgConnectOptions::from_str(&self.server)?;
        Ok(server
            .username(&self.user)
            .password(&self.password)
            .database(&self.database)
            .options(self.settings.iter().map(|(name, value)| (name, value)))
            .application_name("rowgate db sql")
            .disable_statement_logging())
    }
}

/// A server's URL without who connects to it: that would be the role that owns the tables.
pub(in crate::store) fn server_of(url: &Url) -> String {
    let mut server = url.clone();
    // Refused where there is no host, and so none of these.
    let _ = server.set_username("").and_then(|()| server.set_password(None));
    let kept = url.query_pairs().filter(|(name, _)| !matches!(&**name, "user" | "password"));
    server.query_pairs_mut().clear().extend_pairs(kept);
    server.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_told_without_who_owns_the_tables() {
        for (url, server) in [
            (
                "postgres://me:hush@db:5433/x?sslmode=require",
                "postgres://db:5433/x?sslmode=require",
            ),
            ("postgres://db/x?user=me&host=%2Frun&password=hush", "postgres://db/x?host=%2Frun"),
            ("postgres:///x?password=hush", "postgres:///x?"),
            ("postgres://me@db", "postgres://db?"),
        ] {
            assert_eq!(server_of(&Url::parse(url).unwrap()), server, "{url}");
        }
    }
}
