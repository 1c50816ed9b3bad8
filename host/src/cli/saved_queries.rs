//! `rowgate saved-query`.

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::client::{self, Client, given};
use super::db::print_rows;
use super::output::Format;

#[derive(Debug, Subcommand)]
pub(super) enum SavedQueries {
    /// Keep a query
    Create {
        /// What it is for
        #[arg(long, short)]
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
    Info {
        /// The query's id
        query: String,
        /// One field: id, description, public, run_url, sql
        #[arg(long)]
        field: Option<String>,
    },
    /// Run a query
    Run {
        /// The query's id
        query: String,
    },
    /// Change a field; for who made it, and admins
    Update {
        /// The query's id
        query: String,
        /// Which
        #[arg(long, value_enum)]
        field: Option<FieldName>,
        /// Its new value
        #[arg(long)]
        value: Option<String>,
    },
    /// Forget a query; for who made it, and admins
    Delete {
        /// The query's id
        query: String,
    },
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
        let of = |query: &str, call: &str| format!("{all}/{}/{call}", client::segment(query));
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
            Self::Info { query, field } => {
                client.post(&of(&query, "info"), given([("field", field)])).await?
            }
            Self::Run { query } => {
                let answered = client.get(&of(&query, "run")).await?;
                return print_rows(format, &answered.body);
            }
            Self::Update { query, field, value } => {
                let field = field.and_then(|field| field.to_possible_value());
                let field = field.map(|field| field.get_name().to_owned());
                let body = given([("field", field), ("value", value)]);
                client.post(&of(&query, "update"), body).await?
            }
            Self::Delete { query } => client.post(&of(&query, "delete"), json!({})).await?,
        };
        client::print(format, &answered)
    }
}
