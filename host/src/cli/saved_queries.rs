//! `rowgate saved-query`.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::client::{self, Client, given};
use super::db::{color, print_rows};
use super::named::named;
use super::output::Format;

#[derive(Debug, Subcommand)]
pub(super) enum SavedQueries {
    /// Keep a query
    Create {
        /// What it is for
        #[arg(long, short, visible_alias = "desc")]
        description: Option<String>,
        /// The statement
        #[arg(long, visible_alias = "query")]
        sql: Option<String>,
        /// Whoever knows its id may run it
        #[arg(long)]
        public: bool,
    },
    /// List the organization's queries
    List,
    /// All of a query, or one field of it
    Info(Info),
    /// Run a query
    #[command(arg = color())]
    Run(Named),
    /// Change a field; for who made it, and admins
    #[command(visible_aliases = ["edit", "modify"])]
    Update(Update),
    /// Forget a query; for who made it, and admins
    Delete(Named),
}

named!(
    /// The query's id
    Named, "QUERY", "saved-query", 'q'
);

#[derive(Debug, Args)]
pub(super) struct Info {
    #[command(flatten)]
    of: Named,
    /// One field: id, description, public, run_url, sql
    #[arg(long, short)]
    field: Option<String>,
    // Of the same name as the global one, which would be `-f` too.
    /// How results are written
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Debug, Args)]
pub(super) struct Update {
    #[command(flatten)]
    of: Named,
    /// Which
    #[arg(long, value_enum)]
    field: Option<FieldName>,
    /// Its new value
    #[arg(long, short)]
    value: Option<String>,
}

/// What can be changed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum FieldName {
    Description,
    Sql,
    Public,
}

impl SavedQueries {
    pub(super) async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        let all = client.of_org("saved_queries")?;
        let of =
            |named: Named, call: &str| format!("{all}/{}/{call}", client::segment(&named.name()));
        let answered = match self {
            Self::Create { description, sql, public } => {
                let body = given([
                    ("description", Value::from(description)),
                    ("sql", Value::from(sql)),
                    ("public", Value::from(public)),
                ]);
                client.post(&format!("{all}/create"), body).await?
            }
            Self::List => client.get(&all).await?,
            Self::Info(info) => {
                let body = given([("field", info.field)]);
                let answered = client.post(&of(info.of, "info"), body).await?;
                return client::print(info.format.unwrap_or(format), &answered);
            }
            Self::Run(named) => {
                let answered = client.get(&of(named, "run")).await?;
                return print_rows(format, &answered.body);
            }
            Self::Update(Update { of: named, field, value }) => {
                let field = field.and_then(|field| field.to_possible_value());
                let field = field.map(|field| field.get_name().to_owned());
                let body = given([("field", field), ("value", value)]);
                client.post(&of(named, "update"), body).await?
            }
            Self::Delete(named) => client.post(&of(named, "delete"), json!({})).await?,
        };
        client::print(format, &answered)
    }
}
