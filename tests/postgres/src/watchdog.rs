//! Sees to it that nothing is left of a cluster when the process that started it is gone.
//!
//! A shell holds the reading end of a pipe from us. When the pipe closes, because we are done, have
//! panicked or were killed, the shell stops every process of the cluster and removes its directory.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context, Result};

use crate::install::{self, Account};

/// First in order, so that the server takes its shared memory with it; then whatever is left. The
/// server's processes are those that stand in its data directory.
const STOP: &str = r#"
read -r line
signal() {
    for process in /proc/[0-9]*; do
        [ "$process/cwd" -ef "$1/data" ] && kill "-$2" "${process#/proc/}"
    done 2>/dev/null
}
signal "$1" CONT
read -r postmaster line <"$1/data/postmaster.pid" 2>/dev/null && kill -QUIT "$postmaster" 2>/dev/null
looks=0
while [ -e "$1" ]; do
    looks=$((looks + 1))
    if [ -z "$postmaster" ] || [ "$looks" -gt 50 ] || ! kill -0 "$postmaster" 2>/dev/null; then
        signal "$1" KILL
        rm -rf "$1" 2>/dev/null
    fi
    [ -e "$1" ] && sleep 0.1
    [ "$looks" -gt 150 ] && exit 1
done
"#;

/// Dropping it ends the cluster and waits until it is gone.
#[derive(Debug)]
pub(crate) struct Watchdog(Child);

impl Watchdog {
    /// Watches over a directory whose `data` is the cluster.
    pub(crate) fn start(directory: &Path, account: Option<Account>) -> Result<Self> {
        let mut shell = install::command("sh", account);
        shell.args(["-c", STOP, "watchdog"]).arg(directory).current_dir("/");
        // In a group of its own it outlives a ctrl-c, and a group that is killed.
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        Ok(Self(shell.spawn().context("can't start a shell")?))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // Nothing is left to try if it failed.
        let _ = self.0.wait();
    }
}
