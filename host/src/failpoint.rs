//! What crash tests need of a host; release builds have none of it.
//!
//! `ROWGATE_FAILPOINT=name:count` aborts the process at the count-th arrival at the place of that
//! name; `name:count:freeze` stops it there until somebody lets it go on (SIGCONT), `name:count:panic`
//! panics there, `name:count:panic:times` so often in a row. `ROWGATE_NOTE_SYNCED=1` notes after each
//! commit that was synced how far a database's log is on disk, so that a test can take away what a loss of
//! power may take: the rest.

pub(crate) use synced::SyncedLog;

/// Dies, freezes or panics here if the environment says so.
pub(crate) fn reach(name: &str) {
    #[cfg(debug_assertions)]
    armed::reach(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicI64, Ordering};

    struct Armed {
        name: String,
        left: AtomicI64,
        then: Then,
        times: i64,
    }

    enum Then {
        Dies,
        Freezes,
        Panics,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        let text = std::env::var("ROWGATE_FAILPOINT").ok()?;
        let mut parts = text.split(':');
        let (name, count) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
        let then = match parts.next() {
            None => Then::Dies,
            Some("freeze") => Then::Freezes,
            Some("panic") => Then::Panics,
            Some(other) => panic!("ROWGATE_FAILPOINT: nothing is called {other}"),
        };
        let times = parts.next().map_or(Some(1), |times| times.parse().ok())?;
        Some(Armed { name, left: AtomicI64::new(count), then, times })
    });

    pub(super) fn reach(name: &str) {
        let Some(armed) = ARMED.as_ref().filter(|armed| armed.name == name) else { return };
        let after = 1 - armed.left.fetch_sub(1, Ordering::AcqRel);
        if !(0..armed.times).contains(&after) {
            return;
        }
        match armed.then {
            Then::Dies => std::process::abort(),
            Then::Panics => panic!("the failpoint {name}"),
            Then::Freezes => freeze(),
        }
    }

    /// The signal goes to this very thread, which takes it before `kill` can be heard of: sent to the process it
    /// may be another thread's to take, and this one goes on for a while, through the rest of a commit even.
    fn freeze() {
        let thread = std::fs::read_link("/proc/thread-self").expect("Linux knows its threads");
        let id = thread.file_name().expect("it ends with the thread's id");
        let stopped = std::process::Command::new("kill").arg("-STOP").arg(id).status();
        assert!(stopped.is_ok_and(|stopped| stopped.success()), "kill can stop its parent");
    }
}

#[cfg(debug_assertions)]
mod synced {
    use std::fs::{File, OpenOptions};
    use std::os::unix::fs::FileExt;
    use std::path::{Path, PathBuf};

    const HEADER_BYTES: u64 = 32;
    const FRAME_HEADER_BYTES: u64 = 24;

    /// The log of a SQLite file whose commits are watched.
    pub(crate) struct SyncedLog {
        /// None: nobody wants to know.
        files: Option<Files>,
        end: Option<End>,
    }

    struct Files {
        log: PathBuf,
        note: PathBuf,
    }

    /// The salt of the log and where its last frame ends; older frames may lie behind.
    type End = ([u8; 8], u64);

    impl SyncedLog {
        /// To be made before the database's writer commits anything.
        pub(crate) fn of(database: &Path) -> Self {
            let wanted = std::env::var("ROWGATE_NOTE_SYNCED").is_ok_and(|wanted| wanted == "1");
            let beside = |end: &str| {
                let mut path = database.as_os_str().to_owned();
                path.push(end);
                PathBuf::from(path)
            };
            let files = wanted.then(|| Files { log: beside("-wal"), note: beside("-synced") });
            let end = files.as_ref().and_then(|files| log_end(&files.log));
            Self { files, end }
        }

        /// To be called after each commit, before anybody hears of it. `synced`: it was made under
        /// `synchronous=FULL`. One that wrote nothing syncs nothing either.
        pub(crate) fn committed(&mut self, synced: bool) {
            let Some(files) = &self.files else { return };
            let end = log_end(&files.log);
            let wrote = end != self.end;
            self.end = end;
            if synced && wrote {
                self.synced();
            }
        }

        /// To be called when all commits are on disk.
        pub(crate) fn synced(&self) {
            let (Some(files), Some((salt, end))) = (&self.files, self.end) else { return };
            let note =
                OpenOptions::new().create(true).truncate(false).write(true).open(&files.note);
            // In one write: a kill must not tear it.
            let noted = note.and_then(|n| n.write_all_at(&[salt, end.to_be_bytes()].concat(), 0));
            noted.expect("the data directory of a test can be written");
        }
    }

    /// None: the log is empty. Opening it beside SQLite is harmless: no lock is on it.
    fn log_end(log: &Path) -> Option<End> {
        let log = File::open(log).ok()?;
        let (mut page, mut salt, mut frame_salt) = ([0; 4], [0; 8], [0; 8]);
        log.read_exact_at(&mut page, 8).ok()?;
        log.read_exact_at(&mut salt, 16).ok()?;
        let frame_bytes = FRAME_HEADER_BYTES + u64::from(u32::from_be_bytes(page));
        let mut end = HEADER_BYTES;
        while log.read_exact_at(&mut frame_salt, end + 8).is_ok() && frame_salt == salt {
            end += frame_bytes;
        }
        Some((salt, end))
    }
}

#[cfg(not(debug_assertions))]
mod synced {
    use std::path::Path;

    /// Nothing is noted.
    pub(crate) struct SyncedLog;

    impl SyncedLog {
        pub(crate) fn of(_: &Path) -> Self {
            Self
        }

        pub(crate) fn committed(&mut self, _: bool) {}

        pub(crate) fn synced(&self) {}
    }
}
