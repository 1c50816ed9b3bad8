//! A host process on a data directory of its own, beside a simulator; several may share a database.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use postgres_cluster::Database;
use rowgate::clock::Clock;
use rowgate::store::Store;
use serde_json::Value;
use simulator::{Options, Simulator};
use tokio::sync::OnceCell;

use crate::databases;
use crate::in_process::InProcess;
use crate::process::{HostProcess, Log};
use crate::storage::{Engine, Storage};
use crate::template::{self, Served};

/// Nothing that a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a [`TestHost`] is made.
#[derive(Clone, Default)]
pub struct Settings {
    simulator: Option<Arc<Simulator>>,
    /// None: as ROWGATE_TEST_DATABASE says.
    engine: Option<Engine>,
    served: Served,
    environment: Vec<(OsString, OsString)>,
    clock: Option<Clock>,
}

/// A host process, its data directory and the simulator it talks to. When a test fails, dropping it
/// prints the host's log.
pub struct TestHost {
    /// The vendor.
    pub simulator: Arc<Simulator>,
    pub(crate) client: reqwest::Client,
    storage: Storage,
    /// What `serve` installs.
    plugins: PathBuf,
    environment: Vec<(OsString, OsString)>,
    clock: Option<Clock>,
    process: Option<Running>,
    log: Log,
    /// Its databases as a test reads them.
    store: OnceCell<Store>,
}

/// Where the host runs.
enum Running {
    Beside(HostProcess),
    Inside(InProcess),
}

impl Settings {
    /// Use this simulator instead of a fresh one.
    pub fn simulator(mut self, simulator: Arc<Simulator>) -> Self {
        self.simulator = Some(simulator);
        self
    }

    /// Keep everything in files, whatever database the tests use otherwise.
    pub fn on_files(mut self) -> Self {
        self.engine = Some(Engine::Sqlite);
        self
    }

    /// Keep everything on a PostgreSQL server.
    pub fn on_postgres(mut self) -> Self {
        self.engine = Some(Engine::Postgres);
        self
    }

    /// Serve this guest of the tests instead of the plugins.
    pub fn guest(mut self, name: &'static str) -> Self {
        self.served = Served::Guest(name);
        self
    }

    /// Serve this guest of the tests beside the plugins.
    pub fn guest_beside_plugins(mut self, name: &'static str) -> Self {
        self.served = Served::GuestBesidePlugins(name);
        self
    }

    /// Give `serve` a variable. Waits are short by default.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Run the host inside the test, under this clock. Its log is not kept.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Starts simulator and host.
    pub async fn start(self) -> TestHost {
        let engine = self.engine.unwrap_or_else(Engine::configured);
        let (storage, plugins) = template::storage(engine, self.served).await;
        self.start_in(storage, plugins).await
    }

    /// Starts another host on the database of one that is there, with the same simulator.
    pub async fn start_beside(self, host: &TestHost) -> TestHost {
        let database = host.storage.database.as_ref().expect("only a server can be shared");
        let (storage, plugins) = template::beside(database, self.served).await;
        self.simulator(Arc::clone(&host.simulator)).start_in(storage, plugins).await
    }

    /// Starts a host on what `rowgate restore` makes of another one's backup, with the key, the compiled
    /// components and the simulator of that one.
    pub async fn start_restored(self, host: &TestHost, backup: &Path) -> TestHost {
        let storage = Storage::beside(None);
        let mut restore = storage.command();
        let restored = restore.arg("restore").arg(backup).output().await;
        let restored = restored.expect("the host's binary can be started");
        assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
        let (from, to) = (host.data_dir(), storage.path());
        let copy = |name: PathBuf| {
            std::fs::copy(from.join(&name), to.join(&name)).expect("a directory just made");
        };
        copy("key".into());
        for file in std::fs::read_dir(from.join("plugins")).expect("a readable directory") {
            copy(Path::new("plugins").join(file.expect("a readable directory").file_name()));
        }
        let plugins = host.plugins.clone();
        self.simulator(Arc::clone(&host.simulator)).start_in(storage, plugins).await
    }

    async fn start_in(self, storage: Storage, plugins: PathBuf) -> TestHost {
        let fresh = || Arc::new(Simulator::start(Options::default()).expect("loopback is free"));
        let mut environment: Vec<(OsString, OsString)> = vec![
            ("ROWGATE_RUN_BACK_OFF_BASE_MS".into(), "20".into()),
            ("ROWGATE_RUN_BACK_OFF_MAX_MS".into(), "200".into()),
        ];
        environment.extend(self.environment);
        let mut host = TestHost {
            simulator: self.simulator.unwrap_or_else(fresh),
            client: reqwest::Client::builder().no_proxy().build().expect("no TLS set-up can fail"),
            storage,
            plugins,
            environment,
            clock: self.clock,
            process: None,
            log: Log::default(),
            store: OnceCell::new(),
        };
        host.launch().await;
        host
    }
}

impl TestHost {
    /// A host with a simulator of its own.
    pub async fn start() -> Self {
        Settings::default().start().await
    }

    /// Ends the host, if it runs, and starts it again on the same data.
    pub async fn restart(&mut self) {
        if self.process.is_some() {
            self.stop().await;
        }
        self.launch().await;
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        match self.process.take().expect("the host runs") {
            Running::Beside(process) => process.kill().await,
            Running::Inside(_) => panic!("a host inside the test can't be killed"),
        }
    }

    /// SIGSTOP: its sockets stay open, and it does nothing.
    pub async fn freeze(&self) {
        self.beside().signal("-STOP").await;
    }

    /// SIGCONT.
    pub async fn thaw(&self) {
        self.beside().signal("-CONT").await;
    }

    /// SIGTERM; the host must end well.
    pub async fn stop(&mut self) {
        match self.process.take().expect("the host runs") {
            Running::Beside(process) => {
                let status = process.stop().await;
                assert!(status.success(), "the host ended with {status}");
            }
            Running::Inside(host) => host.stop().await,
        }
    }

    /// SIGTERM.
    pub async fn terminate(&self) {
        self.beside().signal("-TERM").await;
    }

    /// Waits until the process has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        match self.process.take().expect("the host runs") {
            Running::Beside(process) => process.ended().await,
            Running::Inside(_) => panic!("a host inside the test has no process of its own"),
        }
    }

    /// Gives the next process a variable, or none of that name.
    pub fn set_env(&mut self, name: &str, value: Option<&str>) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.extend(value.map(|value| (name.into(), value.into())));
    }

    /// Lets the next process serve another directory of components.
    pub fn set_plugins(&mut self, directory: &Path) {
        self.plugins = directory.to_owned();
    }

    /// Whether the process is there.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| match process {
            Running::Beside(process) => !process.has_ended(),
            Running::Inside(host) => !host.has_ended(),
        })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.beside().pid()
    }

    fn beside(&self) -> &HostProcess {
        match self.process.as_ref().expect("the host runs") {
            Running::Beside(process) => process,
            Running::Inside(_) => panic!("a host inside the test has no process of its own"),
        }
    }

    /// Where it is reached now; another port after each start.
    pub fn base_url(&self) -> &str {
        match self.process.as_ref().expect("the host runs") {
            Running::Beside(process) => &process.base_url,
            Running::Inside(host) => &host.base_url,
        }
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        self.storage.path()
    }

    /// Its control database. None: it is a file.
    pub fn database(&self) -> Option<&Database<'static>> {
        self.storage.database.as_deref()
    }

    pub(crate) async fn store(&self) -> &Store {
        self.store.get_or_init(|| databases::open(&self.storage)).await
    }

    /// The directory of components that `serve` installs.
    pub fn plugins(&self) -> &Path {
        &self.plugins
    }

    /// What it logged so far, over all starts.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn launch(&mut self) {
        let (storage, environment) = (&self.storage, &self.environment);
        let (plugins, log) = (&self.plugins, &self.log);
        let started = match self.clock.clone() {
            None => {
                let started = HostProcess::start(storage, plugins, environment, log);
                started.await.map(Running::Beside)
            }
            Some(clock) => {
                let started = InProcess::start(storage, plugins, environment, clock);
                started.await.map(Running::Inside)
            }
        };
        match started {
            Ok(process) => self.process = Some(process),
            // Dropping `self` prints the log.
            Err(why) => panic!("{why}"),
        }
    }

    /// Whether `/healthz` says that all is well.
    pub async fn is_healthy(&self) -> bool {
        self.health().await == Some((200, "{\"o\":\"k\"}".to_owned()))
    }

    /// What `/healthz` says, if it says anything.
    pub async fn health(&self) -> Option<(u16, String)> {
        let answer = self.client.get(format!("{}/healthz", self.base_url())).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// What the host answers to a GET, which must be 200.
    pub async fn get(&self, path: &str) -> String {
        let answer = self.client.get(format!("{}{path}", self.base_url())).send().await;
        let answer = answer.expect("the host answers");
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.expect("the host answers text")
    }

    /// Runs a command on the data directory; its standard output is JSON.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).await;
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rowgate {}: {stderr}{stdout}", arguments.join(" "));
        let json = serde_json::from_slice(&output.stdout);
        json.unwrap_or_else(|error| panic!("rowgate {}: {error}", arguments.join(" ")))
    }

    /// Runs a command on the data directory, with `--format json`.
    pub async fn command(&self, arguments: &[&str]) -> Output {
        self.command_with(arguments, &[]).await
    }

    /// The same with variables.
    pub async fn command_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = self.storage.command();
        command.envs(environment.iter().copied()).args(arguments).args(["--format", "json"]);
        command.output().await.expect("the host's binary can be started")
    }

    /// Waits until no owner runs and none is due. What waits after a failure isn't due: see
    /// [`TestHost::settle`].
    pub async fn idle(&self) {
        let answer = self.get("/statusz/idle").await;
        let answer: Value = serde_json::from_str(&answer).expect("the host answers JSON");
        assert_eq!(answer["idle"], true, "the host is still busy");
    }

    /// Waits until nothing is due, running, or to be tried again soon.
    pub async fn settle(&self) {
        self.until("nothing is left to do", async || {
            self.idle().await;
            let waiting = self.owners().await.into_iter().any(|o| o["state"] == "linking");
            let streams = self.streams().await;
            !waiting
                && self.rests_everywhere()
                && streams.iter().all(|s| {
                    matches!(s["state"].as_str(), Some("current" | "unreadable" | "grant dead"))
                })
        })
        .await;
    }

    /// No host that shares the database has an owner, none is due, and nothing is accepted and not yet
    /// done. A host knows of rest in its own process only.
    fn rests_everywhere(&self) -> bool {
        let Some(mut control) = self.storage.control() else { return true };
        let now = self.clock.as_ref().unwrap_or(&Clock::System).now();
        let rests = format!(
            "select not exists (select 1 from owners where lease_host is not null or due_at <= {now})
                and not exists (select 1 from inbox where done_at is null and not parked)"
        );
        control.value(&rests).expect("the schema of the control database") == "t"
    }

    /// Waits until this holds; it is asked over and over.
    pub async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let asked = async {
            while !holds().await {
                // Who asks without waiting would never be timed out.
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(PATIENCE, asked).await.is_err() {
            panic!("not within {PATIENCE:?}: {what}");
        }
    }

    /// `rowgate owners list`.
    pub async fn owners(&self) -> Vec<Value> {
        rows(self.json(&["owners", "list"]).await)
    }

    /// The one owner with this id.
    pub async fn owner(&self, id: &str) -> Value {
        let owners = self.owners().await.into_iter();
        let mut found: Vec<Value> = owners.filter(|o| o["external_owner_id"] == id).collect();
        assert_eq!(found.len(), 1, "owners with the id {id}");
        found.remove(0)
    }

    /// `rowgate streams list`.
    pub async fn streams(&self) -> Vec<Value> {
        rows(self.json(&["streams", "list"]).await)
    }

    /// `rowgate db sql`.
    pub async fn sql(&self, query: &str) -> Vec<Value> {
        rows(self.json(&["db", "sql", query]).await)
    }
}

fn rows(value: Value) -> Vec<Value> {
    match value {
        Value::Array(rows) => rows,
        other => panic!("not an array: {other}"),
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        drop(self.process.take());
        if std::thread::panicking() {
            eprintln!("---- the host's log ----\n{}---- end of the host's log ----", self.log());
        }
    }
}
