//! `rowgate db`.

use std::time::Duration;

use clap::{Arg, ArgAction, Args, Subcommand};
use serde_json::{Value, json};

use super::client::{self, Client};
use super::integrations::Named;
use super::output::{self, Format};
use crate::app::App;
use crate::store::sql::QueryLimits;

#[derive(Debug, Subcommand)]
pub(super) enum Db {
    /// Run one reading statement on the organization's tables, also while a host runs
    Sql(Sql),
    /// Where psql or sqlite3 read the tables
    Connection,
    /// Names of the tables
    Tables,
    /// Give a table another name
    RenameTable {
        #[command(flatten)]
        of: Named,
        /// The name
        #[arg(long, short)]
        new_name: Option<String>,
    },
    /// Print SQL that lets a PostgreSQL server of your own read the tables
    Fdw(Fdw),
    /// The tables in a PostgreSQL database of the organization's own
    #[command(subcommand)]
    Migrations(Migrations),
    /// Give the reading role another password
    RollCredentials {
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Migrations {
    /// Move the tables to an empty database; where they lie there already, give its URLs anew
    Start {
        /// postgres://user:password@host/database, of the user who owns it
        #[arg(long, short)]
        admin_url: Option<String>,
        /// The same of a user who may only read. Without it one is made
        #[arg(long, short)]
        readonly_url: Option<String>,
    },
    /// How moves go, or went
    List,
}

impl Migrations {
    async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        let answered = match self {
            Self::Start { admin_url, readonly_url } => {
                let body =
                    client::given([("admin_url", admin_url), ("readonly_url", readonly_url)]);
                client.post(&client.of_db("migrate_database")?, body).await?
            }
            Self::List => client.get(&client.of_db("migrations")?).await?,
        };
        client::print(format, &answered)
    }
}

#[derive(Debug, Args)]
#[command(arg = color())]
pub(super) struct Sql {
    /// The statement
    #[arg(required_unless_present = "query")]
    statement: Option<String>,
    /// The same
    #[arg(long, short = 'u', value_name = "STATEMENT", conflicts_with = "statement")]
    query: Option<String>,
}

impl Sql {
    fn statement(self) -> String {
        self.statement.or(self.query).unwrap_or_default()
    }
}

/// Taken for scripts that are written for WebhookDB's client: tables have no colours here.
pub(super) fn color() -> Arg {
    Arg::new("color").long("color").short('c').action(ArgAction::SetTrue).hide(true)
}

/// What things are called on that server.
#[derive(Debug, Args)]
pub(super) struct Fdw {
    /// The server that the tables are read from
    #[arg(long, default_value = "rowgate_remote")]
    remote: String,
    /// Rows that are fetched at once
    #[arg(long, default_value_t = 50_000)]
    fetch: u32,
    /// Schema that the foreign tables go to
    #[arg(long, default_value = "rowgate_remote")]
    into_schema: String,
    /// Schema that the materialized views go to
    #[arg(long, default_value = "rowgate")]
    views_schema: String,
    /// Only server and foreign tables
    #[arg(long, conflicts_with = "views")]
    fdw: bool,
    /// Only the views
    #[arg(long)]
    views: bool,
    /// Both in one statement, as without these
    #[arg(long, conflicts_with_all = ["fdw", "views"])]
    all: bool,
    /// All of it as JSON, with each view by its table
    #[arg(long)]
    raw: bool,
}

impl Fdw {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let body = json!({
            "remote_server_name": self.remote,
            "fetch_size": self.fetch,
            "local_schema": self.into_schema,
            "view_schema": self.views_schema,
            "message_fdw": self.fdw,
            "message_views": self.views,
            "message_all": self.all,
        });
        let answered = client.post(&client.of_db("fdw")?, body).await?;
        if self.raw {
            return output::print_text(&format!("{}\n", answered.body));
        }
        let sql = answered.body["message"].as_str().unwrap_or_default();
        output::print_text(&format!("{}\n", sql.trim_end()))
    }
}

impl Db {
    /// On a data directory: queries have larger limits than those of the API.
    pub(super) async fn run_here(self, app: &App, format: Format) -> anyhow::Result<()> {
        match self {
            Self::Sql(asked) => sql(app, &asked.statement(), format).await,
            other => other.run(&Client::local(app), format).await,
        }
    }

    pub(super) async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        match self {
            Self::Sql(asked) => {
                let body = json!({ "query": asked.statement() });
                let answered = client.post(&client.of_db("sql")?, body).await?;
                print_rows(format, &answered.body)
            }
            Self::Connection => {
                let answered = client.get(&client.of_db("connection")?).await?;
                let url = answered.body["connection_url"].as_str().unwrap_or_default();
                output::print_text(&format!("{url}\n"))
            }
            Self::Tables => {
                let answered = client.get(&client.of_db("tables")?).await?;
                let tables = answered.body["tables"].as_array().cloned().unwrap_or_default();
                let rows: Vec<Vec<Value>> = tables.into_iter().map(|table| vec![table]).collect();
                output::print(format, &["table"], &rows)
            }
            Self::RenameTable { of, new_name } => {
                let path = client.of_integration(&of.name(), "rename_table")?;
                let body = client::given([("new_name", new_name)]);
                client::print(format, &client.post(&path, body).await?)
            }
            Self::Fdw(fdw) => fdw.run(client).await,
            Self::Migrations(migrations) => migrations.run(client, format).await,
            Self::RollCredentials { yes } => {
                let confirm = yes.then(String::new);
                let body = client::given([("guard_confirm", confirm)]);
                let path = client.of_db("roll_credentials")?;
                client::print(format, &client.post(&path, body).await?)
            }
        }
    }
}

async fn sql(app: &App, statement: &str, format: Format) -> anyhow::Result<()> {
    let limits = &app.config.limits;
    let limits = QueryLimits {
        rows: limits.sql_rows_max,
        bytes: limits.sql_bytes_max,
        time: Duration::from_millis(limits.sql_timeout_ms),
        memory_bytes: limits.sql_memory_bytes_max,
        cut_rows: false,
    };
    let organization = app.organization().await?;
    let answer = app.store.query(organization.id, statement, limits).await?;
    output::print(format, &answer.columns, &answer.rows)
}

pub(super) fn print_rows(format: Format, body: &Value) -> anyhow::Result<()> {
    let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let headers = array(&body["headers"]);
    let headers: Vec<&str> = headers.iter().map(|h| h.as_str().unwrap_or_default()).collect();
    let rows: Vec<Vec<Value>> = array(&body["rows"]).iter().map(array).collect();
    if body["max_rows_reached"] == true {
        eprintln!("only the first {} rows are shown", rows.len());
    }
    output::print(format, &headers, &rows)
}
