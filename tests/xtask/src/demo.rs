//! `cargo xtask demo`: the real host and a Google simulator, every verb of the guide, by curl and SQL.
//!
//! Each step checks what it shows, so that the demo is a test as well.

mod database;
mod google;
mod host;
mod http;
mod load;
mod process;
mod screen;
mod swap;
mod verbs;

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use postgres_cluster::Cluster;
use serde_json::{Value, json};

use crate::checkout::Checkout;
use crate::components;
use crate::suites::{Stopwatch, built_binary, released_host};
use google::Google;
use host::{Host, Integration};

/// How the demo runs.
#[derive(Args)]
pub(crate) struct Options {
    /// Stay up at the end, to try things by hand.
    #[arg(long)]
    keep: bool,
    /// Events of the second user.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    events: u32,
    /// Keep everything in a throw-away PostgreSQL instead of SQLite files.
    #[arg(long)]
    postgres: bool,
    /// Show the host as it is shipped, optimised in full. The first time this builds for a quarter of an
    /// hour more.
    #[arg(long)]
    release: bool,
}

impl Options {
    /// As CI runs it.
    pub(crate) const CI: Self =
        Self { keep: false, events: 10_000, postgres: false, release: false };
    /// The same on PostgreSQL.
    pub(crate) const CI_ON_POSTGRES: Self = Self { postgres: true, ..Self::CI };
}

/// Everything that runs and stands.
struct Demo<'a> {
    // In the order in which they are stopped.
    host: Host<'a>,
    google: Google,
    /// None: SQLite files.
    _cluster: Option<Cluster>,
    list: Integration,
    calendars: Integration,
    events: Integration,
    /// Built components.
    plugins: PathBuf,
    /// Everything that this demo writes.
    directory: PathBuf,
}

/// Run the demo. An error says which expectation was not met.
pub(crate) fn run(checkout: &Checkout, options: &Options) -> Result<()> {
    let stopwatch = Stopwatch::start();
    let built = build(checkout, options.release)?;
    let built_in = stopwatch.elapsed();
    let demo = Demo::start(checkout, &built, options.postgres)?;
    if let Err(error) = demo.show(options) {
        bail!("the demo failed: {error:#}{}", demo.host.log_end());
    }
    screen::heading("Done");
    let shown_in = stopwatch.elapsed() - built_in;
    screen::say(&format!(
        "Everything was as expected. It took {:.0} s to build and {:.1} s to run.",
        built_in.as_secs_f64(),
        shown_in.as_secs_f64()
    ));
    if options.keep {
        demo.stay_up()?;
    }
    drop(demo);
    eprintln!("\nHost and simulator are stopped.");
    Ok(())
}

/// What the demo needs.
struct Built {
    host: PathBuf,
    simulator: PathBuf,
    plugins: PathBuf,
}

fn build(checkout: &Checkout, release: bool) -> Result<Built> {
    screen::heading("Build");
    screen::say(
        "The google_calendar plugin (a WebAssembly component), the host and the simulator. The \
         first time this takes some 10 minutes on two cores: the host brings the engine wasmtime \
         and SQLite along. Later only what changed is built.",
    );
    println!();
    components::build_plugins(checkout)?;
    Ok(Built {
        host: match release {
            true => released_host(checkout)?,
            false => built_binary(checkout, "rowgate")?,
        },
        simulator: built_binary(checkout, "simulator")?,
        plugins: checkout.target(components::PLUGINS),
    })
}

impl<'a> Demo<'a> {
    fn start(checkout: &'a Checkout, built: &Built, on_postgres: bool) -> Result<Self> {
        let directory = checkout.target("demo");
        empty(&directory)?;
        screen::heading("Start");
        let google = Google::start(checkout, &built.simulator, &directory.join("simulator.log"))?;
        let cluster = on_postgres.then(|| database::start(checkout)).transpose()?;
        let database = cluster.as_ref().map(|cluster| cluster.url(database::CONTROL));
        let host = Host::start(checkout, &built.host, &directory, &built.plugins, database)?;
        screen::say(&format!(
            "A Google simulator listens at {}, the host at {}. Both log to {}. With the next \
             lines in a shell at the checkout's top, the commands below work as they are printed.",
            google.url(),
            host.url(),
            directory.display()
        ));
        println!("\n{}", host.shell_setup());
        cluster.iter().for_each(database::introduce);
        screen::say(
            "Three integrations. For the real Google, leave api_url and token_url out and give \
             the client id and secret of the Google Cloud console.",
        );
        let list = host.create(
            "google_calendar_list_v1",
            &[
                format!("api_url={}", google.api_url()),
                format!("token_url={}", google.token_url()),
                "client_id=demo-client-id".to_owned(),
                "client_secret=demo-client-secret".to_owned(),
            ],
        )?;
        let calendars = host.create("google_calendar_v1", &[])?;
        let events = host.create("google_calendar_event_v1", &[])?;
        let plugins = built.plugins.clone();
        let _cluster = cluster;
        Ok(Self { host, google, _cluster, list, calendars, events, plugins, directory })
    }

    fn show(&self, options: &Options) -> Result<()> {
        verbs::linked(self)?;
        verbs::refreshed(self)?;
        verbs::resync(self)?;
        load::linked(self, options)?;
        swap::versions(self, options.events)?;
        verbs::unlinked(self)?;
        let errors = self.host.logged_errors()?;
        ensure!(errors.is_empty(), "the host logged errors:\n{}", errors.join("\n"));
        Ok(())
    }

    /// Post a verb that brings a new refresh token.
    fn post_token(&self, verb: &str, owner: &str, email: &str) -> Result<()> {
        let token = self.google.refresh_token(email)?;
        self.host.post(&self.list, &body(verb, owner, Some(&token)))
    }

    /// Post a verb that brings nothing.
    fn post(&self, verb: &str, owner: &str) -> Result<()> {
        self.host.post(&self.list, &body(verb, owner, None))
    }

    /// Live calendars and events of an owner, by SQL.
    fn live(&self, owner: &str) -> Result<(u64, u64)> {
        let of_owner = format!("external_owner_id = '{owner}'");
        let events = format!("{of_owner} and status is distinct from 'cancelled'");
        let calendars = format!("{of_owner} and not deleted");
        Ok((
            self.host.count(&self.calendars.table, &calendars)?,
            self.host.count(&self.events.table, &events)?,
        ))
    }

    /// Owners and how they are; the columns that fit on a line.
    fn show_owners(&self) -> Result<()> {
        let columns =
            ["external_owner_id", "state", "streams", "rows", "last_success", "last_error"];
        self.host.show_columns(&["owners", "list"], &columns)
    }

    /// The tables hold what the simulator holds.
    fn expect_all(&self, owner: &str, email: &str) -> Result<()> {
        let (expected, live) = (self.google.expected(email)?, self.live(owner)?);
        ensure!(
            live == expected,
            "the tables should hold {expected:?} live calendars and events of {owner}, as the \
             simulator does, but hold {live:?}"
        );
        Ok(())
    }

    /// Print again what a person needs, and wait for that person.
    fn stay_up(&self) -> Result<()> {
        screen::heading("Yours to play with");
        screen::say("In another shell, at the top of the checkout:");
        println!("\n{}", self.host.shell_setup());
        let owner = verbs::ALICE;
        let token = self.google.refresh_token(verbs::ALICE_EMAIL)?;
        let secret = self.list.secret.as_deref().unwrap_or_default();
        let post = |verb: &str, token: Option<&str>| {
            let headers = [("Whdb-Webhook-Secret", secret)];
            let body = body(verb, owner, token);
            println!("\n{}", screen::curl(&self.list.endpoint, &headers, &body));
        };
        screen::say(&format!("Endpoint {}, secret {secret}:", self.list.endpoint));
        post("LINKED", Some(&token));
        post("RESYNC", None);
        post("UNLINKED", None);
        screen::say("Change something at the simulator, then post REFRESHED to fetch it:");
        let event = verbs::event("openhouse", "Open house", ("12T18:00:00Z", "12T20:00:00Z"));
        let body = json!({ "calendar": verbs::ALICE_EMAIL, "event": event });
        let url = format!("{}/control/add_event", self.google.url());
        println!("\n{}", screen::curl(&url, &[], &body.to_string()));
        post("REFRESHED", Some(&token));
        screen::say("Look:");
        let sql = screen::quoted(&verbs::events_sql(self, "status is distinct from 'cancelled'"));
        println!("\nrowgate db sql {sql}\n\nrowgate owners list\n\nrowgate streams list");
        wait_for_enter();
        Ok(())
    }
}

/// What a backend posts, in the order of the guide.
fn body(verb: &str, owner: &str, refresh_token: Option<&str>) -> String {
    let fields = [
        ("type", Some(verb)),
        ("external_owner_id", Some(owner)),
        ("refresh_token", refresh_token),
    ];
    let field = |(name, value): (&str, Option<&str>)| {
        value.map(|value| format!("{}:{}", Value::from(name), Value::from(value)))
    };
    format!("{{{}}}", fields.into_iter().filter_map(field).collect::<Vec<_>>().join(","))
}

/// Make the demo's directory anew, unless a demo that was kept up lives in it.
fn empty(directory: &Path) -> Result<()> {
    ensure!(
        !host::is_served(directory),
        "another demo is up in {}: end it first (Enter or ctrl-c in its shell)",
        directory.display()
    );
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("can't remove {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("can't make {}", directory.display()))
}

/// Without a terminal there is no Enter: stay up until somebody ends the process.
fn wait_for_enter() {
    if std::io::stdin().is_terminal() {
        eprintln!("\nEverything stays up until you press Enter.");
        let mut line = String::new();
        // Whatever comes, it is time to go.
        let _ = std::io::stdin().read_line(&mut line);
        return;
    }
    eprintln!("\nEverything stays up until process {} is ended.", std::process::id());
    loop {
        std::thread::park();
    }
}
