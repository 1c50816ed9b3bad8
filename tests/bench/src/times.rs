//! Wall time, and what the system says of processes and threads.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The system counts processor time in such ticks; the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// Of /proc/PID/stat after the name in parentheses: time in user mode, then in the kernel.
const USER_TICKS: usize = 11;

/// Real time since its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

#[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    pub(crate) fn seconds(self) -> f64 {
        self.elapsed().as_secs_f64()
    }

    pub(crate) fn milliseconds(self) -> f64 {
        self.seconds() * 1e3
    }
}

/// Processor seconds of a process so far, all its threads in it.
pub(crate) fn process_cpu_s(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("can't read {path}"))?;
    cpu_s(&text).with_context(|| format!("{path} is not as expected"))
}

/// Processor seconds of this process's threads of that name.
pub(crate) fn thread_cpu_s(name: &str) -> Result<f64> {
    let mut sum = 0.0;
    for thread in fs::read_dir("/proc/self/task")? {
        let path = thread?.path();
        if fs::read_to_string(path.join("comm"))?.trim() == name {
            sum += cpu_s(&fs::read_to_string(path.join("stat"))?).context("stat of a thread")?;
        }
    }
    Ok(sum)
}

/// Resident memory of a process now, its program in it.
pub(crate) fn memory_bytes(pid: u32) -> Result<f64> {
    status_bytes(pid, "VmRSS:")
}

/// The most that it was so far.
pub(crate) fn memory_peak_bytes(pid: u32) -> Result<f64> {
    status_bytes(pid, "VmHWM:")
}

fn status_bytes(pid: u32, name: &str) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("can't read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok());
    Ok(1024.0 * kib.with_context(|| format!("{path} has no {name}"))?)
}

/// The name may hold spaces and parentheses; what follows the last one is numbers.
fn cpu_s(stat: &str) -> Option<f64> {
    let (_, after) = stat.rsplit_once(") ")?;
    let mut fields = after.split(' ').skip(USER_TICKS);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_process() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 10 0 0 0 150 50 0 0 20 0 1 0 99 1 1";
        assert_eq!(cpu_s(stat), Some(2.0));
        assert_eq!(cpu_s("7 (a"), None);
        assert!(process_cpu_s(std::process::id()).is_ok());
        let now = memory_bytes(std::process::id()).unwrap();
        assert!(now > 100_000.0 && memory_peak_bytes(std::process::id()).unwrap() >= now / 2.0);
    }
}
