//! Why a call was stopped, in words that an operator can act on.

use std::fmt;

use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use super::CallError;
use super::convert::clip;
use super::state::{State, Stop};

/// What stopped a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrapCause {
    /// Its linear memories came to the limit.
    OutOfMemory,
    /// It used up its CPU time.
    CpuBudget,
    /// It used up its wall time.
    WallTime,
    /// It handed more bytes to the host at once than it may.
    HostCallBytes,
    /// It used up another budget: requests, calls of the host, changes.
    Limit,
    /// It broke the contract, e.g. named a stream that its manifest hasn't.
    Contract,
    /// It trapped by itself: a panic, a stack overflow, an access out of bounds.
    Guest,
}

impl fmt::Display for TrapCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfMemory => "out of memory",
            Self::CpuBudget => "out of CPU time",
            Self::WallTime => "out of time",
            Self::HostCallBytes => "too many bytes at once",
            Self::Limit => "over the limit",
            Self::Contract => "against the contract",
            Self::Guest => "trapped",
        })
    }
}

/// The error of a call whose future ended with an error.
pub(super) fn classify(error: &wasmtime::Error, state: &State) -> CallError {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return stopped(stop);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return CallError::Unavailable(format!("{error:#}"));
    }
    let budget = &state.budget;
    let (cause, text) = if error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) {
        (TrapCause::CpuBudget, format!("{} ms of CPU time used", budget.cpu.as_millis()))
    } else if state.memory.refused {
        let limit = budget.memory_bytes;
        let text = format!("{limit} bytes are allowed: raise `limits.memory_mib` in plugin.toml");
        (TrapCause::OutOfMemory, text)
    } else if is_host_call_bytes(error) {
        (TrapCause::HostCallBytes, format!("{} are allowed", budget.host_call_bytes))
    } else {
        (TrapCause::Guest, describe(error, state))
    };
    CallError::Trapped { cause, text }
}

/// The error of a call that took too long.
pub(super) fn out_of_time(state: &State) -> CallError {
    let text = format!("no answer in {} ms", state.budget.wall.as_millis());
    CallError::Trapped { cause: TrapCause::WallTime, text }
}

fn stopped(stop: &Stop) -> CallError {
    let trapped = |cause, text: &String| CallError::Trapped { cause, text: text.clone() };
    match stop {
        Stop::Ended(failure) => CallError::Failed(failure.clone()),
        Stop::Limit(text) => trapped(TrapCause::Limit, text),
        Stop::Contract(text) => trapped(TrapCause::Contract, text),
    }
}

/// wasmtime keeps the type of this error to itself.
fn is_host_call_bytes(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| cause.to_string().contains("fuel allocated for hostcalls"))
}

/// The cause, the guest's last error line (from its panic hook) and the innermost functions.
fn describe(error: &wasmtime::Error, state: &State) -> String {
    const FRAMES: usize = 8;
    let mut text = error.root_cause().to_string();
    if let Some(line) = &state.last_error {
        text.push_str(&format!("; it logged: {line}"));
    }
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        let names = backtrace
            .frames()
            .iter()
            .take(FRAMES)
            .map(|frame| frame.func_name().map_or_else(|| "?".to_owned(), str::to_owned));
        let names: Vec<_> = names.collect();
        if !names.is_empty() {
            text.push_str(&format!("; in {}", names.join(" < ")));
        }
    }
    clip(text)
}
