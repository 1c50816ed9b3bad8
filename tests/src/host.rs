//! A host process on a data directory of its own, beside a simulator; several may share a database.

mod asked;
mod settings;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use postgres_cluster::Database;
use rowgate::clock::Clock;
use rowgate::store::Store;
use simulator::Simulator;
use tokio::sync::OnceCell;

use crate::databases;
use crate::in_process::InProcess;
use crate::log::Log;
use crate::process::HostProcess;
use crate::storage::Storage;

pub use settings::Settings;

/// No host needs longer to come to where it dies.
const DEATH_PATIENCE: Duration = Duration::from_secs(60);

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

    /// Ends the host, if it runs, and starts it again where it must refuse to; answers with what it says.
    pub async fn refuses_to_start(&mut self) -> String {
        if self.process.is_some() {
            self.stop().await;
        }
        let said_before = self.log().len();
        let started = self.begin().await;
        assert!(started.is_err(), "the host has started");
        self.log().split_off(said_before)
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

    /// Waits until the process has died at its failpoint.
    pub async fn dies(&mut self) {
        let ended = tokio::time::timeout(DEATH_PATIENCE, self.ended()).await;
        let status = ended.expect("the host comes to its failpoint");
        assert!(!status.success(), "the host was to die: {status}");
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
        self.log.text()
    }

    /// How many lines that are.
    pub fn lines_logged(&self) -> usize {
        self.log.lines()
    }

    /// Waits until it has logged so many lines.
    pub async fn await_lines(&self, lines: usize) {
        self.log.await_lines(lines).await;
    }

    async fn launch(&mut self) {
        match self.begin().await {
            Ok(process) => self.process = Some(process),
            // Dropping `self` prints the log.
            Err(why) => panic!("{why}"),
        }
    }

    async fn begin(&self) -> Result<Running, String> {
        let (storage, environment) = (&self.storage, &self.environment);
        let (plugins, log) = (&self.plugins, &self.log);
        match self.clock.clone() {
            None => {
                let started = HostProcess::start(storage, plugins, environment, log);
                started.await.map(Running::Beside)
            }
            Some(clock) => {
                let started = InProcess::start(storage, plugins, environment, clock);
                started.await.map(Running::Inside)
            }
        }
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
