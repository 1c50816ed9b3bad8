//! The host as a process: started, listened to, ended by signals.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread::JoinHandle;

use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use crate::log::Log;
use crate::storage::Storage;

/// What the host logs when it listens.
const SERVING: &str = "serving";

/// A running host. Dropping it kills it.
pub(crate) struct HostProcess {
    child: Child,
    reader: Option<JoinHandle<()>>,
    pub(crate) base_url: String,
}

/// The host's binary: ROWGATE_TEST_HOST, else the checkout's dev build.
pub fn host_binary() -> PathBuf {
    existing("ROWGATE_TEST_HOST", "debug/rowgate", "cargo build --workspace")
}

/// The directory of components: ROWGATE_TEST_PLUGINS, else the checkout's.
pub(crate) fn plugin_directory() -> PathBuf {
    existing("ROWGATE_TEST_PLUGINS", "plugins", "cargo xtask plugins")
}

/// A plugin's component.
pub fn plugin_component(name: &str) -> PathBuf {
    plugin_directory().join(format!("{name}.wasm"))
}

/// A guest's component: in ROWGATE_TEST_GUESTS, else in the checkout's directory.
pub fn guest_component(name: &str) -> PathBuf {
    let guests = existing("ROWGATE_TEST_GUESTS", "guests", "cargo xtask guests");
    guests.join(format!("{name}.wasm"))
}

fn existing(variable: &str, below_target: &str, made_by: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(below_target);
    let path = std::env::var_os(variable).map_or(target, PathBuf::from);
    assert!(path.exists(), "there is no {}: run `{made_by}`, or set {variable}", path.display());
    path
}

impl HostProcess {
    /// Starts `rowgate serve` and waits until it listens. Errors: it ended first.
    pub(crate) async fn start(
        storage: &Storage,
        plugins: &Path,
        environment: &[(OsString, OsString)],
        log: &Log,
    ) -> Result<Self, String> {
        let (stderr, into) = std::io::pipe().map_err(|error| error.to_string())?;
        let mut command = storage.command();
        command.args(["serve", "--listen", "127.0.0.1:0", "--plugins"]).arg(plugins);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let stdout = into.try_clone().map_err(|error| error.to_string())?;
        command.stdout(stdout).stderr(into);
        let child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        // It holds the writing ends, and would keep the reader from ever ending.
        drop(command);
        let (tell, address) = oneshot::channel();
        let into = log.clone();
        let reader = std::thread::spawn(move || read(BufReader::new(stderr), &into, tell));
        let mut process = Self { child, reader: Some(reader), base_url: String::new() };
        match address.await {
            Ok(address) => process.base_url = format!("http://{address}"),
            Err(_) => {
                let status = process.child.wait().await;
                return Err(format!("the host ended before it listened: {status:?}"));
            }
        }
        Ok(process)
    }

    /// Its number in the system.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("nobody waited for it before")
    }

    /// Sends a signal: `-TERM`, `-STOP`, `-CONT`.
    pub(crate) async fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.pid().to_string()]).status().await;
        assert!(sent.is_ok_and(|sent| sent.success()), "{signal} didn't reach the host");
    }

    /// Asks it to end, by SIGTERM, and waits.
    pub(crate) async fn stop(self) -> ExitStatus {
        self.signal("-TERM").await;
        self.ended().await
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        self.child.wait().await.expect("the child is ours")
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("the child is ours");
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.start_kill();
        if let Some(reader) = self.reader.take() {
            // It ends with the process, and the log is complete then.
            let _ = reader.join();
        }
    }
}

fn read(lines: impl BufRead, log: &Log, tell: oneshot::Sender<String>) {
    let mut tell = Some(tell);
    for line in lines.lines().map_while(Result::ok) {
        if let Some(address) = address_in(&line) {
            // The test may have given up.
            let _ = tell.take().map(|tell| tell.send(address));
        }
        log.push(&line);
    }
}

/// Where the host listens, if this line tells: as text, or as JSON.
fn address_in(line: &str) -> Option<String> {
    if let Some((_, after)) = line.split_once(&format!(" {SERVING} address=")) {
        return after.split(' ').next().map(str::to_owned);
    }
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = &line["fields"];
    let address = fields["address"].as_str().filter(|_| fields["message"] == SERVING);
    address.map(str::to_owned)
}
