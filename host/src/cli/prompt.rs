//! Questions on the terminal.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::{Command, Stdio};

/// Asks on standard error and reads a line of standard input; none at its end. What is typed isn't
/// shown where `secret`.
pub(super) fn ask(prompt: &str, secret: bool) -> io::Result<Option<String>> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "{prompt} ")?;
    stderr.flush()?;
    let hidden = secret && io::stdin().is_terminal() && echo(false);
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    if hidden {
        echo(true);
        writeln!(stderr)?;
    }
    Ok(Some(line.trim().to_owned()).filter(|_| matches!(read, Ok(bytes) if bytes > 0)))
}

/// Switches the terminal's echo. False: that didn't work, so it stays as it is.
fn echo(on: bool) -> bool {
    let mode = if on { "echo" } else { "-echo" };
    let status = Command::new("stty").arg(mode).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
