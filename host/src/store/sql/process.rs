//! A process for each query. What a statement takes of memory and of a core is that process's, which has
//! limits: one value of a gigabyte would else be the host's.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::asked::Asked;
use super::{Error, QueryLimits, Rows, too_long};
use crate::clock::Clock;

/// What `rowgate` is called with to be such a process. What it answers then comes by standard input.
pub const ARGUMENT: &str = "answer-query";

/// Until the process is there, and until it has said all.
const GRACE: Duration = Duration::from_secs(5);

/// Files that it may have open, and what it may write to one: SQLite's index of a log at most.
const FILES_MAX: u64 = 32;
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Of the environment: how servers are reached that aren't said in full.
const KEPT: [&str; 3] = ["PGHOST", "PGHOSTADDR", "PGPORT"];

/// How a process answers.
#[derive(Serialize, Deserialize)]
enum Answered {
    Rows(Rows),
    Refused(String),
    Busy { reason: String, retry_after_s: u32 },
    Unavailable(String),
}

/// Has a process answer. Dropping this ends it.
pub(super) async fn run(asked: &Asked, clock: &Clock) -> Result<Rows, Error> {
    let limits = asked.limits;
    let text = serde_json::to_vec(asked).map_err(|error| Error::Inconsistent(error.to_string()))?;
    let answered = tokio::select! {
        answered = exchange(text, limits) => answered,
        // It ends by itself before, unless something is wrong with the machine.
        () = clock.sleep(limits.time * 2 + GRACE) => return Err(too_long(limits)),
    };
    let (said, status) = answered
        .map_err(|error| Error::Unavailable(format!("no process answers the query: {error}")))?;
    if !status.success() {
        return Err(why(status, limits));
    }
    understood(&said)
}

fn understood(said: &[u8]) -> Result<Rows, Error> {
    let mut said = serde_json::Deserializer::from_slice(said);
    // A value in it may be as deep as serde_json reads one.
    said.disable_recursion_limit();
    match Answered::deserialize(&mut said) {
        Ok(Answered::Rows(rows)) => Ok(rows),
        Ok(Answered::Refused(reason)) => Err(Error::Refused(reason)),
        Ok(Answered::Busy { reason, retry_after_s }) => Err(Error::Busy { reason, retry_after_s }),
        Ok(Answered::Unavailable(reason)) => Err(Error::Unavailable(reason)),
        Err(error) => Err(Error::Unavailable(format!("the query was answered badly: {error}"))),
    }
}

async fn exchange(mut asked: Vec<u8>, limits: QueryLimits) -> io::Result<(Vec<u8>, ExitStatus)> {
    let tls = |name: &str| name.starts_with("PGSSL");
    let kept = std::env::vars_os()
        .filter(|(name, _)| name.to_str().is_some_and(|name| KEPT.contains(&name) || tls(name)));
    asked.push(b'\n');
    let mut process = Command::new(program()?)
        .arg(ARGUMENT)
        .env_clear()
        .envs(kept)
        // Each arena of the allocator takes addresses that nobody uses, and they count.
        .env("MALLOC_ARENA_MAX", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        // Ctrl-C is for the host, which drains.
        .process_group(0)
        .spawn()?;
    let (mut stdin, stdout) = (process.stdin.take(), process.stdout.take());
    if let Some(stdin) = &mut stdin {
        // One that ended doesn't listen; then its status says why.
        let _ = stdin.write_all(&asked).await;
    }
    let mut said = Vec::new();
    if let Some(stdout) = stdout {
        stdout.take(limits.memory_bytes).read_to_end(&mut said).await?;
    }
    let status = process.wait().await?;
    // Until here: by it the process sees that somebody waits.
    drop(stdin);
    Ok((said, status))
}

/// This program, also when its file has been replaced since it was started.
fn program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { std::env::current_exe() }
}

fn why(status: ExitStatus, limits: QueryLimits) -> Error {
    let signal = |signal: Signal| status.signal() == Some(signal.as_raw());
    // Killed by the kernel, if the machine has no memory left; by us only where nobody waits any more.
    if signal(Signal::ABORT) || signal(Signal::KILL) {
        return Error::Refused(out_of_memory(limits));
    }
    if signal(Signal::XCPU) {
        return too_long(limits);
    }
    Error::Unavailable(format!("the process of the query ended: {status}"))
}

fn out_of_memory(limits: QueryLimits) -> String {
    let mib = limits.memory_bytes >> 20;
    format!("the query needs more than {mib} MiB of memory: select less at once")
}

/// What such a process does: reads what is asked, and answers it.
pub fn answer() -> ExitCode {
    match answered() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn answered() -> io::Result<()> {
    let mut asked = String::new();
    io::stdin().read_line(&mut asked)?;
    let asked: Asked = serde_json::from_str(&asked)?;
    thread::Builder::new().name("host".into()).spawn(end_with_host)?;
    bound(asked.limits)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answered = match runtime.block_on(asked.answer(&Clock::System, open_no_more)) {
        Ok(rows) => Answered::Rows(rows),
        Err(Error::Refused(reason)) if reason == "out of memory" => {
            Answered::Refused(out_of_memory(asked.limits))
        }
        Err(Error::Refused(reason)) => Answered::Refused(reason),
        Err(Error::Busy { reason, retry_after_s }) => Answered::Busy { reason, retry_after_s },
        Err(error) => Answered::Unavailable(error.to_string()),
    };
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    serde_json::to_writer(&mut stdout, &answered)?;
    stdout.flush()
}

/// Whoever waits for the answer keeps standard input open. If it is killed, it can't end this process.
fn end_with_host() {
    let _ended = io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(1);
}

/// Sets this process's limits. (`setrlimit(2)`)
fn bound(limits: QueryLimits) -> io::Result<()> {
    let seconds = limits.time.as_secs() * 2 + 1;
    set(Resource::Core, 0)?;
    set(Resource::Fsize, FILE_BYTES_MAX)?;
    set(Resource::Cpu, seconds)?;
    set(Resource::Nofile, FILES_MAX)?;
    if cfg!(target_os = "linux") {
        set(Resource::As, mapped()?.saturating_add(limits.memory_bytes))?;
        // Where the machine has no memory left, this is killed and not the host.
        // (`proc_pid_oom_score_adj(5)`)
        let _may_be_forbidden = std::fs::write("/proc/self/oom_score_adj", "1000");
    }
    Ok(())
}

/// Whatever a statement comes to, it opens no other file: this process can't. A new descriptor gets the lowest
/// number that is free, and has to be below the limit. (`getrlimit(2)`, `open(2)`)
fn open_no_more() -> io::Result<()> {
    let lowest_free = File::open("/dev/null")?.as_raw_fd();
    set(Resource::Nofile, u64::from(lowest_free.unsigned_abs()))
}

fn set(resource: Resource, value: u64) -> io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(resource);
    let value = [current, maximum].into_iter().flatten().fold(value, u64::min);
    // The hard limit is above: reaching it kills without saying why.
    setrlimit(resource, Rlimit { current: Some(value), maximum })?;
    Ok(())
}

/// Addresses that this process has already, most of them its program's. (`proc_pid_statm(5)`)
fn mapped() -> io::Result<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages = pages.split(' ').next().and_then(|pages| pages.parse::<u64>().ok());
    let pages = pages.ok_or_else(|| io::Error::other("/proc/self/statm has no sense"))?;
    Ok(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use sqlx::{ConnectOptions as _, Executor as _};

    use super::*;
    use crate::store::sql::nested;

    /// In a process of its own: this program, which runs this test alone.
    #[test]
    fn no_other_file_is_opened() {
        const WHERE: &str = "ROWGATE_TEST_FILES";
        let Some(files) = std::env::var_os(WHERE) else {
            let files = tempfile::tempdir().unwrap();
            let name = "store::sql::process::tests::no_other_file_is_opened";
            let mut test = std::process::Command::new(std::env::current_exe().unwrap());
            let test = test.args(["--exact", name]).env(WHERE, files.path());
            let output = test.output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
            return;
        };
        let files = PathBuf::from(files);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let created = |name| {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(files.join(name));
                options.create_if_missing(true).journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
            };
            let mut other = created("other.db").connect().await.unwrap();
            other
                .execute("create table secret (n int); insert into secret values (1)")
                .await
                .unwrap();
            let mut own = created("own.db").connect().await.unwrap();
            own.execute("create table t (n int); insert into t values (2)").await.unwrap();
            let attach = format!("attach '{}' as other", files.join("other.db").display());
            own.execute(&*attach).await.expect("as long as there is room");
            own.execute("detach other").await.unwrap();
            open_no_more().unwrap();
            let refusal = own.execute(&*attach).await.unwrap_err().to_string();
            assert!(refusal.contains("unable to open database"), "{refusal}");
            let copy = format!("vacuum into '{}'", files.join("copy.db").display());
            own.execute(&*copy).await.unwrap_err();
            own.execute("select n from t").await.expect("what is open is read");
        });
    }

    #[test]
    fn values_that_are_deep_are_understood() {
        let deepest = (1..200).map(|depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
        let values: Vec<Value> = deepest.map(|text| nested(text, &mut 0)).collect();
        assert!(values[100].is_array() && values.last().unwrap().is_string());
        let rows = Rows { columns: vec!["json".into()], rows: vec![values], cut: false };
        let said = serde_json::to_vec(&Answered::Rows(rows.clone())).unwrap();
        assert_eq!(understood(&said).unwrap(), rows);
        assert!(understood(&said[1..]).is_err());
    }
}
