//! The server's process: started, listened to, ended by signals.

use std::fs;
use std::io::{BufRead, BufReader, PipeReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};

use crate::install::{self, Account};

/// What the server says when it takes connections.
const READY: &str = "database system is ready to accept connections";

/// What is done to a process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    Int,
    Quit,
    Kill,
    Stop,
    Continue,
}

/// Everything that the servers of a cluster said.
pub(crate) type Log = Arc<Mutex<String>>;

/// How a server is started; the same each time.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) programs: PathBuf,
    pub(crate) account: Option<Account>,
    pub(crate) data: PathBuf,
    pub(crate) settings: Vec<(String, String)>,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    postmaster: Child,
    data: PathBuf,
    /// Ends when the last of the server's processes has.
    reader: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts it and waits until it takes connections, after recovery where there is one to do.
    pub(crate) fn start(launch: &Launch, log: &Log) -> Result<Self> {
        let (said, into) = std::io::pipe()?;
        let mut command = install::command(launch.programs.join("postgres"), launch.account);
        command.arg("-D").arg(&launch.data).current_dir("/").stdin(Stdio::null());
        for (name, value) in &launch.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.stdout(into.try_clone()?).stderr(into);
        let postmaster = command.spawn().context("can't start postgres")?;
        // It holds the writing ends, and would keep the reader from ever ending.
        drop(command);
        let (tell, ready) = mpsc::channel();
        let log = Arc::clone(log);
        let reader = std::thread::spawn(move || read(said, &log, &tell));
        let mut server = Self { postmaster, data: launch.data.clone(), reader: Some(reader) };
        if ready.recv().is_err() {
            let status = server.postmaster.wait()?;
            bail!("postgres ended before it took connections: {status}");
        }
        Ok(server)
    }

    /// Signals the first process and waits until all are gone.
    pub(crate) fn end(mut self, signal: Signal) -> Result<()> {
        // A stopped process acts on nothing else.
        self.signal_all(Signal::Continue);
        send(signal, &[self.postmaster.id()])?;
        self.postmaster.wait()?;
        if let Some(reader) = self.reader.take() {
            // It only reads.
            let _ = reader.join();
        }
        Ok(())
    }

    /// Signals all its processes.
    pub(crate) fn signal_all(&self, signal: Signal) {
        // Some may have ended by now, and an error says no more than that.
        let _ = send(signal, &processes_in(&self.data));
    }
}

/// Processes that stand in a directory, as all of a server do in its data.
fn processes_in(directory: &Path) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let inside = |path: &PathBuf| fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd == directory);
    let paths = processes.map(|entry| entry.path()).filter(inside);
    paths.filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect()
}

fn send(signal: Signal, processes: &[u32]) -> Result<()> {
    let name = match signal {
        Signal::Int => "-INT",
        Signal::Quit => "-QUIT",
        Signal::Kill => "-KILL",
        Signal::Stop => "-STOP",
        Signal::Continue => "-CONT",
    };
    // The shell's own: not every machine has the program.
    let mut kill = Command::new("sh");
    kill.args(["-c", "kill \"$@\"", "kill", name]).args(processes.iter().map(u32::to_string));
    let status = kill.stderr(Stdio::null()).status().context("can't start a shell")?;
    if !status.success() {
        bail!("{name} didn't reach {processes:?}");
    }
    Ok(())
}

fn read(said: PipeReader, log: &Log, tell: &mpsc::Sender<()>) {
    let mut tell = Some(tell.clone());
    for line in BufReader::new(said).lines().map_while(Result::ok) {
        if line.contains(READY) {
            // Whoever started it may have given up.
            let _ = tell.take().map(|tell| tell.send(()));
        }
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push_str(&line);
        log.push('\n');
    }
}
