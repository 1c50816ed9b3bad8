//! Questions on the terminal.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

/// Asks on standard error and reads a line of standard input; none at its end. What is typed isn't
/// shown where `secret`.
pub(super) fn ask(prompt: &str, secret: bool) -> io::Result<Option<String>> {
    let hidden = (secret && io::stdin().is_terminal()).then(Hidden::begin).transpose()?;
    // Not locked: a signal ends the line, too.
    let mut stderr = io::stderr();
    write!(stderr, "{prompt} ")?;
    stderr.flush()?;
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    if let Some(hidden) = hidden {
        drop(hidden);
        writeln!(stderr)?;
    }
    Ok(Some(line.trim().to_owned()).filter(|_| matches!(read, Ok(bytes) if bytes > 0)))
}

/// Until it is dropped the terminal doesn't show what is typed.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn begin() -> io::Result<Self> {
        static WATCHED: AtomicBool = AtomicBool::new(false);
        let before = tcgetattr(io::stdin())?;
        if !WATCHED.swap(true, Ordering::AcqRel) {
            restore_at_signals(&before)?;
        }
        let mut hiding = before.clone();
        hiding.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &hiding)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        show(&self.before);
    }
}

fn show(before: &Termios) {
    // It fails where the terminal is gone, and then nobody looks at it.
    let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
}

/// Who ends the process by a signal, also while it waits for an answer, gets the terminal back as it was.
fn restore_at_signals(before: &Termios) -> io::Result<()> {
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::quit()] {
        let (mut signals, before) = (signal(kind)?, before.clone());
        tokio::spawn(async move {
            signals.recv().await;
            show(&before);
            let _ = writeln!(io::stderr());
            // As a shell says it of a process that a signal ended.
            std::process::exit(128 + kind.as_raw_value());
        });
    }
    Ok(())
}
