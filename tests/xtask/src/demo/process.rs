//! A server that ends with us, however we end.
//!
//! A shell stands between: it holds the reading end of a pipe from us. When the pipe closes, because
//! we are done, were interrupted or killed, the shell tells the server to stop.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};

const HOLD: &str = r#"
exec 3<&0
"$@" 3<&- </dev/null &
server=$!
{ read -r line <&3; kill -TERM "$server"; } >/dev/null 2>&1 &
watch=$!
exec 3<&-
wait "$server"
status=$?
kill "$watch" 2>/dev/null
exit "$status"
"#;

/// Looks at whether a stopped server has ended: so many, so far apart.
const LOOKS: u32 = 1_500;
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// A running server; dropping it stops it.
pub(super) struct Server {
    name: &'static str,
    shell: Child,
}

impl Server {
    /// Start `command` in a process group of its own, out of reach of the terminal's ctrl-c: it is
    /// stopped in order. What it says on standard error goes to `log`.
    pub(super) fn start(name: &'static str, command: &Command, log: &Path) -> Result<Self> {
        let log = File::create(log).with_context(|| format!("can't write {}", log.display()))?;
        let mut shell = Command::new("sh");
        shell.args(["-c", HOLD, name]).arg(command.get_program()).args(command.get_args());
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).process_group(0);
        if let Some(directory) = command.get_current_dir() {
            shell.current_dir(directory);
        }
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let shell = shell.spawn().with_context(|| format!("can't start the {name}"))?;
        Ok(Self { name, shell })
    }

    /// What it says on standard output; once.
    pub(super) fn stdout(&mut self) -> Result<ChildStdout> {
        self.shell.stdout.take().with_context(|| format!("the {} says nothing more", self.name))
    }

    /// An error if it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.shell.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the {} ended with {status}", self.name),
        }
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.shell.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        for _ in 0..LOOKS {
            if self.has_ended() {
                return;
            }
            sleep(LOOK_PAUSE);
        }
        eprintln!("the {} doesn't stop: it is killed", self.name);
        let group = format!("-{}", self.shell.id());
        // If this fails too there is nothing left to try, and nobody to tell.
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use super::*;

    fn started(script: &str) -> (Server, BufReader<ChildStdout>) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut server = Server::start("sample", &command, Path::new("/dev/null")).unwrap();
        let lines = BufReader::new(server.stdout().unwrap());
        (server, lines)
    }

    #[test]
    fn a_dropped_server_is_told_to_stop_and_waited_for() {
        let script = "trap 'echo stopped; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
        let (server, lines) = started(script);
        let mut lines = lines.lines().map(Result::unwrap);
        assert_eq!(lines.next().as_deref(), Some("ready"));
        drop(server);
        assert_eq!(lines.next().as_deref(), Some("stopped"));
        assert_eq!(lines.next(), None, "nobody holds the pipe");
    }

    #[test]
    fn a_server_that_ends_by_itself_is_noticed() {
        let (mut server, lines) = started("exit 3");
        assert_eq!(lines.lines().count(), 0);
        let status = server.shell.wait().unwrap();
        assert_eq!(status.code(), Some(3));
        let error = server.check().unwrap_err().to_string();
        assert!(error.starts_with("the sample ended with"), "{error}");
    }
}
