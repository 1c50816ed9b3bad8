//! The command line: one module a subcommand. Standard output holds only results; prompts, notices
//! and errors go to standard error.

mod absent;
mod auth;
mod backup;
mod client;
mod completions;
mod db;
mod doctor;
mod error_handlers;
mod integrations;
mod keys;
mod named;
mod notifications;
mod orgs;
mod output;
mod owners;
mod plugins;
mod prompt;
mod replay;
mod saved_queries;
mod serve;
mod services;
mod streams;
mod targets;
mod trees;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::app::App;
use crate::config::{Config, Flags, Profiles};
use crate::store::sql;
use client::Client;
use output::Format;

/// A command waits so long for mail that it sent.
const MAIL_MAX: Duration = Duration::from_secs(30);

/// Turns third-party APIs into SQL tables.
#[derive(Debug, Parser)]
#[command(name = "rowgate", version)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What all commands take. All but `--config`, `--host` and `--format` are also variables of the environment
/// and keys of the configuration file.
#[derive(Debug, Args)]
struct Global {
    /// Databases, plugins and the key [env: ROWGATE_DATA_DIR] [default: ./rowgate-data]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Configuration file [env: ROWGATE_CONFIG] [default: rowgate.toml in the data directory]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Organization, by key or id [env: ROWGATE_ORG] [default: default, or that of the login]
    #[arg(long, short, global = true)]
    org: Option<String>,
    /// Work on a host that runs elsewhere, as whoever is logged in there [env: ROWGATE_HOST] [default:
    /// the last login, unless it is said where the data directory is]
    #[arg(long, global = true, value_name = "URL")]
    host: Option<String>,
    /// How results are written
    #[arg(long, short, global = true, visible_alias = "output", value_enum)]
    #[arg(default_value_t = Format::Table)]
    format: Format,
    /// Control database on a PostgreSQL server, postgres://.. [env: ROWGATE_DATABASE_URL] [default:
    /// SQLite files in the data directory]
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// How backends and vendors reach the host [env: ROWGATE_PUBLIC_URL]
    #[arg(long, global = true, value_name = "URL")]
    public_url: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the host: take webhooks in and keep tables up to date
    Serve(serve::Serve),
    /// Logins to hosts
    #[command(subcommand)]
    Auth(auth::Auth),
    /// Organizations
    #[command(subcommand, visible_aliases = ["org", "organizations", "organization"])]
    Orgs(orgs::Orgs),
    /// What can be configured
    #[command(subcommand, visible_alias = "service")]
    Services(services::Services),
    /// Services configured in an organization
    #[command(subcommand, visible_alias = "integration")]
    Integrations(integrations::Integrations),
    Backfill(absent::Backfill),
    /// Receivers of a table's changes (HTTP Sync)
    #[command(subcommand, name = "httpsync")]
    HttpSync(targets::HttpSync),
    /// Databases with a copy of a table (DB Sync)
    #[command(subcommand, name = "dbsync", visible_alias = "sync")]
    DbSync(targets::DbSync),
    /// Posts of each row that changes
    #[command(subcommand, visible_aliases = ["notification", "webhooks", "webhook"])]
    Notifications(notifications::Notifications),
    /// Who is told when somebody must act
    #[command(subcommand, visible_alias = "error-handler")]
    ErrorHandlers(error_handlers::ErrorHandlers),
    #[command(visible_alias = "replays")]
    Replay(replay::Replay),
    #[command(visible_alias = "fixture")]
    Fixtures(services::Fixtures),
    /// Installed components and which of them run
    #[command(subcommand)]
    Plugins(plugins::Plugins),
    /// The replicated tables
    #[command(subcommand)]
    Db(db::Db),
    /// Queries that an organization keeps
    #[command(subcommand, name = "saved-query")]
    #[command(visible_aliases = ["saved-queries", "custom-query", "custom-queries"])]
    SavedQueries(saved_queries::SavedQueries),
    /// Views that an organization keeps: there are none here
    #[command(subcommand, name = "saved-view", visible_aliases = ["saved-views", "view", "views"])]
    SavedViews(absent::SavedViews),
    /// Owners and how they are
    #[command(subcommand)]
    Owners(owners::Owners),
    /// The plan that WebhookDB bills by: there is none here
    #[command(subcommand, visible_aliases = ["subscriptions", "sub", "subs"])]
    Subscription(absent::Subscription),
    /// Streams and how they are
    #[command(subcommand)]
    Streams(streams::Streams),
    /// Keys that seal secrets
    #[command(subcommand)]
    Keys(keys::Keys),
    Backup(backup::Backup),
    Restore(backup::Restore),
    /// Check this installation
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
    /// What the host calls itself with
    #[command(hide = true, name = sql::ARGUMENT)]
    AnswerQuery,
}

/// Runs the command line of this process. Exit code 1: it failed; 2: it wasn't understood.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::AnswerQuery = cli.command {
        return sql::answer();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(run(cli));
            // A blocked system call must not keep the process.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("rowgate: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let format = cli.global.format;
    let mut flags = cli.global.flags();
    match cli.command {
        Command::Serve(serve) => {
            serve.add_to(&mut flags);
            return serve::run(Config::load(&flags)?).await.map(|()| ExitCode::SUCCESS);
        }
        Command::Doctor(doctor) => return doctor.run(Config::load(&flags)?, format).await,
        Command::Restore(restore) => {
            let restored = restore.run(&Config::load(&flags)?, format).await;
            return restored.map(|()| ExitCode::SUCCESS);
        }
        Command::Completions(completions) => {
            return completions.run().map(|()| ExitCode::SUCCESS);
        }
        _ => {}
    }
    if let Some(url) = cli.global.chosen_host(&cli.command)? {
        let client = Client::host(&url, cli.global.org.as_deref())?;
        return by_calls(cli.command, client, format).await.map(|()| ExitCode::SUCCESS);
    }
    let app = App::open(Config::load(&flags)?).await?;
    let done = on_data_directory(cli.command, &app, format).await;
    app.settle_mail(MAIL_MAX).await;
    done.map(|()| ExitCode::SUCCESS)
}

/// What is the same here and on a host: by calls of the API.
async fn by_calls(command: Command, client: Client, format: Format) -> anyhow::Result<()> {
    match command {
        Command::Auth(auth) => auth.run(&client, format).await,
        Command::Orgs(orgs) => orgs.run(&client, format).await,
        Command::Services(services) => services.run(&client, format).await,
        Command::Integrations(integrations) => integrations.run(client, format).await,
        Command::Backfill(backfill) => backfill.run(&client, format).await,
        Command::Fixtures(fixtures) => fixtures.run(&client).await,
        Command::Db(db) => db.run(&client, format).await,
        Command::SavedQueries(queries) => queries.run(&client, format).await,
        Command::SavedViews(views) => views.run(&client, format).await,
        Command::HttpSync(httpsync) => httpsync.run(&client, format).await,
        Command::DbSync(dbsync) => dbsync.run(&client, format).await,
        Command::Notifications(notifications) => notifications.run(&client, format).await,
        Command::ErrorHandlers(handlers) => handlers.run(&client, format).await,
        Command::Replay(replay) => replay.run(&client, format).await,
        Command::Owners(owners) => owners.run(&client, format).await,
        Command::Streams(streams) => streams.run(&client, format).await,
        Command::Subscription(subscription) => subscription.run(&client, format).await,
        _ => anyhow::bail!("this command works on the host's machine only, without --host"),
    }
}

async fn on_data_directory(command: Command, app: &App, format: Format) -> anyhow::Result<()> {
    if command.is_of_organization() {
        // The default one is made; of another the error names those that there are.
        app.organization().await?;
    }
    match command {
        Command::Auth(auth::Auth::Code { email }) => auth::print_code(app, &email).await,
        Command::Orgs(orgs) => orgs.run_here(app, format).await,
        Command::Integrations(integrations) => integrations.run_here(app, format).await,
        Command::Plugins(plugins) => plugins.run(app, format).await,
        Command::Db(db) => db.run_here(app, format).await,
        Command::Keys(keys) => keys.run(app, format).await,
        Command::Backup(backup) => backup.run(app, format).await,
        other => by_calls(other, Client::local(app), format).await,
    }
}

impl Command {
    /// Whether it works on an organization, which must be there.
    fn is_of_organization(&self) -> bool {
        let anywhere =
            matches!(self, Self::Auth(_) | Self::Orgs(_) | Self::Services(_) | Self::Fixtures(_));
        self.has_calls() && !anywhere
    }

    /// Whether a host can do it for somebody far away.
    fn has_calls(&self) -> bool {
        match self {
            Self::Auth(auth) => !matches!(auth, auth::Auth::Code { .. }),
            Self::Orgs(_)
            | Self::Services(_)
            | Self::Integrations(_)
            | Self::Backfill(_)
            | Self::Fixtures(_)
            | Self::Db(_)
            | Self::SavedQueries(_)
            | Self::SavedViews(_)
            | Self::HttpSync(_)
            | Self::DbSync(_)
            | Self::Notifications(_)
            | Self::ErrorHandlers(_)
            | Self::Replay(_)
            | Self::Owners(_)
            | Self::Streams(_)
            | Self::Subscription(_) => true,
            _ => false,
        }
    }
}

impl Global {
    /// The host that the command goes to; none: it works on a data directory.
    fn chosen_host(&self, command: &Command) -> anyhow::Result<Option<String>> {
        if self.host.is_some() {
            return Ok(self.host.clone());
        }
        let says_where = self.data_dir.is_some()
            || self.database_url.is_some()
            || self.config.is_some()
            || Config::environment_says_where();
        if says_where || !command.has_calls() {
            return Ok(None);
        }
        match Profiles::host_by_environment() {
            Some(host) => Ok(Some(host)),
            None => Ok(Profiles::load()?.current),
        }
    }

    fn flags(&self) -> Flags {
        Flags {
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
            org: self.org.clone(),
            public_url: self.public_url.clone(),
            database_url: self.database_url.clone(),
            ..Flags::default()
        }
    }
}

/// The chain of causes, on one line whatever they say.
fn one_line(error: &anyhow::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        // Transparent errors say the same as their cause.
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
    }
    output::escaped(&texts.join(": "))
}

#[cfg(test)]
mod tests;
