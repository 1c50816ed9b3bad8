//! A host process on a data directory of its own, beside a simulator.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::Value;
use simulator::{Options, Simulator};
use tempfile::TempDir;

use crate::process::{HostProcess, Log, command};
use crate::template::{self, Served};

/// Nothing that a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a [`TestHost`] is made.
#[derive(Default)]
pub struct Settings {
    simulator: Option<Arc<Simulator>>,
    served: Served,
    environment: Vec<(OsString, OsString)>,
}

/// A host process, its data directory and the simulator it talks to. When a test fails, dropping it
/// prints the host's log.
pub struct TestHost {
    /// The vendor.
    pub simulator: Arc<Simulator>,
    pub(crate) client: reqwest::Client,
    data_dir: TempDir,
    /// What `serve` installs.
    plugins: PathBuf,
    environment: Vec<(OsString, OsString)>,
    process: Option<HostProcess>,
    log: Log,
}

impl Settings {
    /// Use this simulator instead of a fresh one.
    pub fn simulator(mut self, simulator: Arc<Simulator>) -> Self {
        self.simulator = Some(simulator);
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

    /// Starts simulator and host.
    pub async fn start(self) -> TestHost {
        let fresh = || Arc::new(Simulator::start(Options::default()).expect("loopback is free"));
        let mut environment: Vec<(OsString, OsString)> = vec![
            ("ROWGATE_RUN_BACK_OFF_BASE_MS".into(), "20".into()),
            ("ROWGATE_RUN_BACK_OFF_MAX_MS".into(), "200".into()),
        ];
        environment.extend(self.environment);
        let data_dir = tempfile::tempdir().expect("a temporary directory");
        let plugins = template::fill(data_dir.path(), self.served).await;
        let mut host = TestHost {
            simulator: self.simulator.unwrap_or_else(fresh),
            client: reqwest::Client::builder().no_proxy().build().expect("no TLS set-up can fail"),
            data_dir,
            plugins,
            environment,
            process: None,
            log: Log::default(),
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
        self.process.take().expect("the host runs").kill().await;
    }

    /// SIGTERM; the host must end well.
    pub async fn stop(&mut self) {
        self.terminate().await;
        let status = self.ended().await;
        assert!(status.success(), "the host ended with {status}");
    }

    /// SIGTERM.
    pub async fn terminate(&self) {
        self.process.as_ref().expect("the host runs").terminate().await;
    }

    /// Waits until the process has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        self.process.take().expect("the host runs").ended().await
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
        self.process.as_mut().is_some_and(|process| !process.has_ended())
    }

    /// Where it is reached now; another port after each start.
    pub fn base_url(&self) -> &str {
        &self.process.as_ref().expect("the host runs").base_url
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
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
        let (data_dir, environment) = (self.data_dir.path(), &self.environment);
        let started = HostProcess::start(data_dir, &self.plugins, environment, &self.log).await;
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
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rowgate {}: {stderr}", arguments.join(" "));
        let json = serde_json::from_slice(&output.stdout);
        json.unwrap_or_else(|error| panic!("rowgate {}: {error}", arguments.join(" ")))
    }

    /// Runs a command on the data directory, with `--format json`.
    pub async fn command(&self, arguments: &[&str]) -> Output {
        let mut command = command(self.data_dir.path());
        command.args(arguments).args(["--format", "json"]);
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
                && streams.iter().all(|s| {
                    matches!(s["state"].as_str(), Some("current" | "unreadable" | "grant dead"))
                })
        })
        .await;
    }

    /// Waits until this holds; it is asked over and over.
    pub async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let asked = async { while !holds().await {} };
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
