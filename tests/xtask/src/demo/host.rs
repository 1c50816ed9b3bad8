//! The host of the demo and the `rowgate` command on its data directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::process::Server;
use super::{http, screen};
use crate::checkout::Checkout;
use crate::suites::Stopwatch;

/// Inside the demo's directory.
const DATA_DIR: &str = "data";
/// Locked while a host serves the data directory; says how it is reached.
const LOCK_FILE: &str = "host.lock";
/// A dev build starts in a second; a loaded machine may take its time.
const START_LIMIT: Duration = Duration::from_secs(60);
/// No step of the demo takes longer, unless something is broken.
const IDLE_LIMIT: Duration = Duration::from_secs(600);
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// The end of a log that says why.
const LOG_LINES: usize = 15;
const NO_JSON: &str = "`rowgate --format json` printed no JSON";

pub(super) struct Host<'a> {
    checkout: &'a Checkout,
    binary: PathBuf,
    data_dir: PathBuf,
    /// The control database. None: a file in the data directory.
    database_url: Option<String>,
    log: PathBuf,
    url: String,
    server: Server,
}

/// An integration as `rowgate integrations create` describes it.
pub(super) struct Integration {
    pub(super) table: String,
    pub(super) endpoint: String,
    /// Only the root has one.
    pub(super) secret: Option<String>,
}

impl<'a> Host<'a> {
    /// Start the host on a new data directory in `directory` and wait until it listens.
    pub(super) fn start(
        checkout: &'a Checkout,
        binary: &Path,
        directory: &Path,
        plugins: &Path,
        database_url: Option<String>,
    ) -> Result<Self> {
        let (data_dir, log) = (directory.join(DATA_DIR), directory.join("host.log"));
        let mut command = command(checkout, binary, &data_dir, database_url.as_deref());
        command.args(["serve", "--listen", "127.0.0.1:0", "--plugins"]).arg(plugins);
        let server = Server::start("host", &command, &log)?;
        let (checkout, binary, url) = (checkout, binary.to_owned(), String::new());
        let mut host = Self { checkout, binary, data_dir, database_url, log, url, server };
        host.url = host.announced()?;
        Ok(host)
    }

    fn announced(&mut self) -> Result<String> {
        let stopwatch = Stopwatch::start();
        let file = self.data_dir.join(LOCK_FILE);
        while stopwatch.elapsed() < START_LIMIT {
            self.server.check().with_context(|| self.log_end())?;
            let text = fs::read_to_string(&file).unwrap_or_default();
            // Empty or half written until it listens.
            let announced: Value = serde_json::from_str(&text).unwrap_or_default();
            if let Some(url) = announced["public_url"].as_str() {
                http::get(&format!("{url}/healthz"))?.json()?;
                return Ok(url.to_owned());
            }
            sleep(LOOK_PAUSE);
        }
        bail!("the host doesn't listen after {START_LIMIT:?}{}", self.log_end())
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The lines that let a person type `rowgate ...` as the demo prints it.
    pub(super) fn shell_setup(&self) -> String {
        let word = |path: &Path| screen::quoted(&self.relative(path));
        let (binary, data_dir) = (word(&self.binary), word(&self.data_dir));
        let mut lines = format!("alias rowgate={binary}\nexport ROWGATE_DATA_DIR={data_dir}");
        if let Some(url) = &self.database_url {
            lines += &format!("\nexport ROWGATE_DATABASE_URL={url}");
        }
        lines
    }

    /// A path as seen from the checkout's top, where a person stands.
    pub(super) fn relative(&self, path: &Path) -> String {
        let root = self.checkout.path("");
        path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
    }

    /// Run `rowgate` and return what it prints, results and notices.
    fn said(&self, arguments: &[&str]) -> Result<(String, String)> {
        let database_url = self.database_url.as_deref();
        let mut command = command(self.checkout, &self.binary, &self.data_dir, database_url);
        let output = command.args(arguments).output().context("can't start rowgate")?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (results, notices) = (text(output.stdout), text(output.stderr));
        if !output.status.success() {
            bail!("`rowgate {}` ended with {}: {notices}", arguments.join(" "), output.status);
        }
        Ok((results, notices))
    }

    /// Run `rowgate` and return its results.
    pub(super) fn rowgate(&self, arguments: &[&str]) -> Result<String> {
        Ok(self.said(arguments)?.0)
    }

    /// Run `rowgate` and show the command with what it prints.
    pub(super) fn show(&self, arguments: &[&str]) -> Result<()> {
        let said = self.rowgate(arguments)?;
        let words: Vec<_> = arguments.iter().map(|word| screen::quoted(word)).collect();
        screen::command(&format!("rowgate {}", words.join(" ")), &said);
        Ok(())
    }

    /// Run `rowgate` and show the command with some columns of its table.
    pub(super) fn show_columns(&self, arguments: &[&str], columns: &[&str]) -> Result<()> {
        let rows = self.json(arguments)?;
        let table = screen::table(columns, rows.as_array().map_or(&[], Vec::as_slice));
        let line = format!("rowgate {}", arguments.join(" "));
        screen::command(&format!("{line}    # some of its columns"), &table);
        Ok(())
    }

    /// Run a query and show it with its rows.
    pub(super) fn show_sql(&self, statement: &str) -> Result<()> {
        self.show(&["db", "sql", statement])
    }

    /// What a command prints as JSON.
    pub(super) fn json(&self, arguments: &[&str]) -> Result<Value> {
        let said = self.rowgate(&[arguments, &["--format", "json"]].concat())?;
        serde_json::from_str(&said).context(NO_JSON)
    }

    /// The rows of a query.
    pub(super) fn rows(&self, statement: &str) -> Result<Vec<Value>> {
        match self.json(&["db", "sql", statement])? {
            Value::Array(rows) => Ok(rows),
            other => bail!("`rowgate db sql` printed no rows: {other}"),
        }
    }

    /// How many rows of a table fit a condition.
    pub(super) fn count(&self, table: &str, condition: &str) -> Result<u64> {
        let rows = self.rows(&format!("select count(*) as n from {table} where {condition}"))?;
        rows.first().and_then(|row| row["n"].as_u64()).context("`count(*)` gave no number")
    }

    /// Create an integration with the given settings, and show how.
    pub(super) fn create(&self, service: &str, settings: &[String]) -> Result<Integration> {
        let mut arguments = vec!["integrations", "create", service];
        let mut line = format!("rowgate {}", arguments.join(" "));
        for setting in settings {
            arguments.extend(["--set", setting]);
            line += &format!(" \\\n    --set {}", screen::quoted(setting));
        }
        arguments.extend(["--yes", "--format", "json"]);
        let (made, notices) = self.said(&arguments)?;
        let made: Value = serde_json::from_str(&made).context(NO_JSON)?;
        let field = |name: &str| made[name].as_str().map(str::to_owned);
        let names = ["table_name", "endpoint", "webhook_secret"];
        let shown = names.iter().filter_map(|name| Some(format!("{name:15} {}", field(name)?)));
        let shown = shown.collect::<Vec<_>>().join("\n");
        screen::command(&(line + " --yes"), &(notices + &shown));
        Ok(Integration {
            table: field("table_name").context("no table_name was printed")?,
            endpoint: field("endpoint").context("no endpoint was printed")?,
            secret: field("webhook_secret"),
        })
    }

    /// Post a webhook, show it, and expect the 202.
    pub(super) fn post(&self, root: &Integration, body: &str) -> Result<()> {
        let secret = root.secret.as_deref().unwrap_or_default();
        let headers = [("Whdb-Webhook-Secret", secret)];
        let answer = http::post(&root.endpoint, &headers, body)?;
        let said = format!("{} {}", answer.status, answer.body.trim());
        screen::command(&screen::curl(&root.endpoint, &headers, body), &said);
        ensure!(said == r#"202 {"o":"k"}"#, "the post must be answered 202 {{\"o\":\"k\"}}");
        Ok(())
    }

    /// Wait until the host has nothing left to do.
    pub(super) fn settle(&self) -> Result<Duration> {
        let stopwatch = Stopwatch::start();
        loop {
            let answer = http::get(&format!("{}/statusz/idle", self.url))?.json()?;
            let waited = stopwatch.elapsed();
            if answer == json!({ "idle": true }) {
                return Ok(waited);
            }
            if waited > IDLE_LIMIT {
                let owners = self.rowgate(&["owners", "list"])?;
                bail!("the host is still at work after {waited:.0?}:\n{owners}{}", self.log_end());
            }
            eprintln!("... the host is still at work after {waited:.0?}");
        }
    }

    /// What the host said last.
    pub(super) fn log_end(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n  ");
        format!("\nthe end of {}:\n  {last}", self.log.display())
    }

    /// The errors that the host has logged.
    pub(super) fn logged_errors(&self) -> Result<Vec<String>> {
        let log = fs::read_to_string(&self.log)
            .with_context(|| format!("can't read {}", self.log.display()))?;
        Ok(log.lines().filter(|line| line.contains(" ERROR ")).map(str::to_owned).collect())
    }
}

/// Whether a host serves the data directory of an earlier demo.
pub(super) fn is_served(directory: &Path) -> bool {
    let file = File::open(directory.join(DATA_DIR).join(LOCK_FILE));
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}

/// `rowgate` on the data directory, whatever else is configured in this shell.
fn command(
    checkout: &Checkout,
    binary: &Path,
    data_dir: &Path,
    database_url: Option<&str>,
) -> Command {
    let mut command = checkout.command(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROWGATE_") {
            command.env_remove(name);
        }
    }
    command.env("ROWGATE_DATA_DIR", data_dir);
    command.envs(database_url.map(|url| ("ROWGATE_DATABASE_URL", url)));
    command
}
