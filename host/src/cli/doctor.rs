//! `rowgate doctor`: what a person looks at first when something is wrong.

use std::process::{Command, ExitCode};

use clap::Args;
use serde_json::Value;

use super::output::{self, Format};
use crate::app::App;
use crate::config::{Config, Push};
use crate::egress::Reached;
use crate::run::tree::grant;
use crate::store::integrations::Tree;

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Leave out whether vendors can be reached from here
    #[arg(long)]
    offline: bool,
}

struct Report(Vec<Vec<Value>>);

impl Doctor {
    /// Exit code 1 if anything is broken.
    pub(super) async fn run(self, config: Config, format: Format) -> anyhow::Result<ExitCode> {
        let mut report = Report(Vec::new());
        for (key, value, origin) in config.describe() {
            report.add("ok", &format!("config {key}"), format!("{value} ({origin})"));
        }
        if report.data_dir(&config) {
            match App::open(config).await {
                Ok(app) => report.store(&app, self.offline).await,
                Err(error) => report.add("broken", "databases", super::one_line(&error)),
            }
        }
        let broken = report.0.iter().any(|row| row[0] == "broken");
        output::print(format, &["state", "check", "detail"], &report.0)?;
        Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

impl Report {
    fn add(&mut self, state: &str, check: &str, detail: impl Into<Value>) {
        self.0.push(vec![state.into(), check.into(), detail.into()]);
    }

    /// Whether there is a directory to look into; `doctor` makes none.
    fn data_dir(&mut self, config: &Config) -> bool {
        let data_dir = config.data_dir();
        let path = data_dir.path().display().to_string();
        // A server's databases are asked for later; components are kept here all the same.
        let on_server = config.database_url.given().is_some();
        let holds = if on_server { data_dir.path().exists() } else { data_dir.control().exists() };
        if !holds {
            self.add("warning", "data directory", format!("{path} holds no databases yet"));
            return false;
        }
        self.add("ok", "data directory", path);
        match (config.key.given(), data_dir.key().exists()) {
            (Some(_), _) => self.add("ok", "key", "given by the configuration"),
            (None, true) => self.add("ok", "key", "in the data directory"),
            (None, false) => {
                self.add("broken", "key", "missing: sealed secrets can't be opened");
            }
        }
        match free_mib(data_dir.path()) {
            Some(free) if free < 256 => {
                self.add("warning", "disk space", format!("only {free} MiB free"));
            }
            Some(free) => self.add("ok", "disk space", format!("{free} MiB free")),
            None => self.add("warning", "disk space", "unknown: `df` failed"),
        }
        match data_dir.announced().filter(|_| data_dir.is_served()) {
            Some(host) => {
                let what = format!("serves at {}, reached as {}", host.listen, host.public_url);
                self.add("ok", "host", what);
                for file in host.refused {
                    let what = format!("the host started without it: {}", file.reason);
                    self.add("warning", &format!("file {}", file.file.display()), what);
                }
            }
            None => self.add("warning", "host", "none runs on this data directory"),
        }
        config.key.given().is_some() || data_dir.key().exists()
    }

    async fn store(&mut self, app: &App, offline: bool) {
        match app.store.schema_versions().await {
            Ok(versions) => {
                for (database, version) in versions {
                    self.add("ok", &format!("schema {database}"), format!("version {version}"));
                }
            }
            Err(error) => self.add("broken", "schema", error.to_string()),
        }
        match app.config.push_to(&app.public_url()) {
            Push::On(base_url) => self.add("ok", "push", format!("vendors post to {base_url}")),
            Push::Off(reason) => self.add("warning", "push", reason),
        }
        if let Err(error) = self.plugins(app).await {
            self.add("broken", "plugins", super::one_line(&error));
        }
        if let Err(error) = self.integrations(app, offline).await {
            self.add("broken", "integrations", super::one_line(&error));
        }
    }

    async fn plugins(&mut self, app: &App) -> anyhow::Result<()> {
        let active = app.store.active_plugins().await?;
        if active.is_empty() {
            self.add("warning", "plugins", "none is active: `rowgate plugins install`");
        }
        for plugin in active.values() {
            let what = format!("{} {}", plugin.manifest.plugin.version, plugin.digest);
            match app.store.component(&plugin.digest).await {
                Ok(_) => self.add("ok", &format!("plugin {}", plugin.name), what),
                Err(error) => self.add(
                    "broken",
                    &format!("plugin {}", plugin.name),
                    format!("{what}: {error}"),
                ),
            }
        }
        Ok(())
    }

    async fn integrations(&mut self, app: &App, offline: bool) -> anyhow::Result<()> {
        for organization in app.store.organizations().await? {
            if let Some(url) = app.store.own_database(organization.id).await?
                && !offline
            {
                let check = format!("database of {}", organization.key);
                match app.store.replication(organization.id).await {
                    Ok(_) => self.add("ok", &check, format!("{url} answers")),
                    Err(error) => self.add("broken", &check, error.to_string()),
                }
            }
            for integration in app.store.integrations(organization.id).await? {
                if integration.depends_on.is_some() {
                    continue;
                }
                let check = format!("integration {}", integration.id);
                let tree = app.store.tree(&integration.id).await?;
                self.secrets(app, &check, &integration.id).await;
                match tree.misconfigured.clone() {
                    Some(reason) => self.add("broken", &check, reason),
                    None => self.add("ok", &check, integration.service),
                }
                if let Some(reason) = app.store.push_refused(&tree.root.id).await? {
                    self.add("warning", &check, format!("no push, polling serves: {reason}"));
                }
                if !offline {
                    self.reach(app, &check, tree).await?;
                }
            }
        }
        Ok(())
    }

    /// Whether what the plugin syncs from answers, from here.
    async fn reach(&mut self, app: &App, check: &str, tree: Tree) -> anyhow::Result<()> {
        let active = app.store.active_plugins().await?;
        let Some(plugin) = active.get(&tree.root.plugin) else { return Ok(()) };
        let grants = tree.grants.into_iter().map(grant).collect::<Result<_, _>>()?;
        for Reached { origin, answer } in
            app.egress()?.reach(&plugin.manifest, &tree.config, grants).await
        {
            match answer {
                Ok(_) => self.add("ok", check, format!("{origin} answers")),
                Err(error) => self.add("broken", check, format!("{origin}: {error}")),
            }
        }
        Ok(())
    }

    /// A wrong key is noticed here, not at the first webhook.
    async fn secrets(&mut self, app: &App, check: &str, root_id: &str) {
        let names = match app.store.tree_secret_names(root_id).await {
            Ok(names) => names,
            Err(error) => return self.add("broken", check, error.to_string()),
        };
        for name in names {
            if let Err(error) = app.store.tree_secret(root_id, &name).await {
                self.add("broken", check, format!("secret {name}: {error}"));
            }
        }
    }
}

fn free_mib(path: &std::path::Path) -> Option<u64> {
    let answer = Command::new("df").arg("-Pm").arg(path).output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}
