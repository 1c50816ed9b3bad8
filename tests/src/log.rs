//! What a host wrote.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Everything that a host, over all its starts, wrote to standard output and error. Clones are the
/// same.
#[derive(Clone)]
pub(crate) struct Log(Arc<Written>);

struct Written {
    text: Mutex<String>,
    lines: watch::Sender<usize>,
}

impl Default for Log {
    fn default() -> Self {
        Self(Arc::new(Written { text: Mutex::default(), lines: watch::Sender::new(0) }))
    }
}

impl Log {
    pub(crate) fn push(&self, line: &str) {
        {
            let mut text = self.lock();
            text.push_str(line);
            text.push('\n');
        }
        self.0.lines.send_modify(|lines| *lines += 1);
    }

    pub(crate) fn text(&self) -> String {
        self.lock().clone()
    }

    /// How many lines there are.
    pub(crate) fn lines(&self) -> usize {
        *self.0.lines.borrow()
    }

    /// Waits until there are so many lines.
    pub(crate) async fn await_lines(&self, lines: usize) {
        let mut written = self.0.lines.subscribe();
        // The sender lives as long as `self`, so waiting can't fail.
        let _ = written.wait_for(|written| *written >= lines).await;
    }

    fn lock(&self) -> MutexGuard<'_, String> {
        self.0.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
