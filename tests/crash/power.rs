//! Loss of power: what a database's log holds beyond its last sync may be gone, or torn.
//!
//! A host with ROWGATE_NOTE_SYNCED=1 notes beside each database how far its log was on disk at the
//! last commit that was synced. A checkpoint syncs as well, before it copies pages; how far the last
//! one may have come stands in the log's index, which outlives the process in the page cache.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::Rng;
use serde_json::json;
use simulator::{Fault, Then, When};
use tests::{Settings, TestHost, Tree, host_binary};

use crate::kills::Kill;
use crate::posts::email;

/// What a process ends with that aborts.
const SIGABRT: i32 = 6;
const HEADER_BYTES: u64 = 32;
const FRAME_HEADER_BYTES: u64 = 24;
/// In the index: the salt of the log it speaks of, and how many frames a checkpoint began to copy.
const INDEX_SALT: u64 = 32;
const INDEX_COPIED: u64 = 128;

/// Takes from every database of a dead host some of what a loss of power may take. Returns how many
/// bytes went.
pub(crate) fn lose(data_dir: &Path, random: &mut impl Rng) -> u64 {
    let replication = fs::read_dir(data_dir.join("replication")).into_iter().flatten();
    let paths = replication.flatten().map(|file| file.path());
    let databases = paths.filter(|path| path.extension().is_some_and(|end| end == "db"));
    let databases = databases.chain([data_dir.join("control.db")]);
    databases.filter_map(|database| Log::of(&database)).map(|log| log.lose(random)).sum()
}

/// The log of a database that nobody has open.
struct Log {
    database: PathBuf,
    file: File,
    salt: [u8; 8],
    frame_bytes: u64,
    /// Where the last frame ends.
    end: u64,
}

impl Log {
    /// None: the database has none, or an empty one.
    fn of(database: &Path) -> Option<Self> {
        let file = OpenOptions::new().read(true).write(true).open(beside(database, "-wal")).ok()?;
        let (mut page, mut salt, mut frame_salt) = ([0; 4], [0; 8], [0; 8]);
        file.read_exact_at(&mut page, 8).ok()?;
        file.read_exact_at(&mut salt, 16).ok()?;
        let frame_bytes = FRAME_HEADER_BYTES + u64::from(u32::from_be_bytes(page));
        let mut end = HEADER_BYTES;
        while file.read_exact_at(&mut frame_salt, end + 8).is_ok() && frame_salt == salt {
            end += frame_bytes;
        }
        Some(Self { database: database.to_owned(), file, salt, frame_bytes, end })
    }

    /// Up to here it is on disk, whatever happens.
    fn kept(&self) -> u64 {
        self.synced().max(self.copied()).min(self.end)
    }

    /// Nothing, if the log has begun anew since: that happens when all of it was copied and synced.
    fn synced(&self) -> u64 {
        let note = fs::read(beside(&self.database, "-synced")).unwrap_or_default();
        match note.split_at_checked(8) {
            Some((salt, end)) if salt == self.salt => {
                u64::from_be_bytes(end.try_into().expect("8 bytes for the end"))
            }
            _ => HEADER_BYTES,
        }
    }

    fn copied(&self) -> u64 {
        let Ok(index) = File::open(beside(&self.database, "-shm")) else { return HEADER_BYTES };
        let (mut salt, mut copied) = ([0; 8], [0; 4]);
        let read = index.read_exact_at(&mut salt, INDEX_SALT);
        let read = read.and_then(|()| index.read_exact_at(&mut copied, INDEX_COPIED));
        match read {
            Ok(()) if salt == self.salt => {
                HEADER_BYTES + self.frame_bytes * u64::from(u32::from_ne_bytes(copied))
            }
            // The log is about to begin anew.
            Ok(()) => self.end,
            Err(_) => HEADER_BYTES,
        }
    }

    fn lose(self, random: &mut impl Rng) -> u64 {
        let kept = self.kept();
        let torn = random.random_range(kept..=self.end);
        let whole = torn - (torn - HEADER_BYTES) % self.frame_bytes;
        let at = if random.random() { torn } else { whole.max(kept) };
        if random.random() {
            self.cut(at);
        } else {
            // The file's new length reached the disk, its content didn't.
            let zeros = vec![0; usize::try_from(self.end - at).expect("a log fits into memory")];
            self.file.write_all_at(&zeros, at).expect("the log is ours");
            self.forget_index();
        }
        self.end - at
    }

    fn cut(&self, at: u64) {
        self.file.set_len(at).expect("the log is ours");
        self.forget_index();
    }

    /// It lay in memory only.
    fn forget_index(&self) {
        // There may be none.
        let _ = fs::remove_file(beside(&self.database, "-shm"));
    }
}

fn beside(database: &Path, end: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(end);
    PathBuf::from(path)
}

/// The comparison after a kill does notice if commits are gone that the host had synced and gone on
/// from.
#[tokio::test]
async fn the_loss_of_what_was_synced_is_noticed() {
    let (mut host, tree) = linked().await;
    let before = replication(&host).end;
    let event = json!({
        "id": "lost", "start": { "date": "2026-11-03" }, "end": { "date": "2026-11-04" },
    });
    host.simulator.model().add_event(&email("ann"), &event).expect("the account is there");
    host.refresh(&tree, "ann", &email("ann")).await;
    host.settle().await;
    host.assert_matches_model(&tree).await;
    host.kill().await;

    let log = replication(&host);
    assert!(before < log.synced(), "what follows from a commit waits until that is synced");
    assert!(log.copied() <= before, "what was written since is in the log alone");
    log.cut(before);
    host.restart().await;
    host.settle().await;
    let differences = host.differences(&tree).await;
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert!(differences[0].contains("lost"), "{differences:?}");
}

/// Whoever opens a database may act upon commits that a killed host left in its log, not on disk.
#[tokio::test]
async fn a_log_is_on_disk_before_anybody_reads_it() {
    let mut host = Settings::default().on_files().env("ROWGATE_NOTE_SYNCED", "1").start().await;
    host.simulator.add_fault(Fault::when(When::path("*/events"), Then::ShortPage(5)));
    let tree = host.integrations().await;
    let event = |day: u32| {
        let (start, end) = (format!("2026-11-{day:02}"), format!("2026-11-{:02}", day + 1));
        json!({ "id": format!("event{day}"), "start": { "date": start }, "end": { "date": end } })
    };
    host.simulator.model().create_user(&email("ann"));
    for day in 1..20 {
        let added = host.simulator.model().add_event(&email("ann"), &event(day));
        added.expect("the account is there");
    }
    // The list of calendars is a page, too.
    Kill::edge("page_committed", 2).arm(&mut host).await;
    host.link(&tree, "ann", &email("ann")).await;
    host.dies().await;
    let log = replication(&host);
    assert!(log.synced() < log.end, "a page that others follow doesn't wait for the disk");

    // The control database is opened first.
    let mut listing = Command::new(host_binary());
    listing.args(["owners", "list", "--data-dir"]).arg(host.data_dir());
    listing.env("ROWGATE_NOTE_SYNCED", "1").env("ROWGATE_FAILPOINT", "log_synced:2");
    let listed = listing.output().expect("the host's program is there");
    assert_eq!(listed.status.signal(), Some(SIGABRT), "{listed:?}");
    let log = replication(&host);
    assert_eq!(log.synced(), log.end);
}

/// The control database knows nothing of who committed, but the tables do: what was committed is told.
#[tokio::test]
async fn what_a_lost_claim_brought_about_stands() {
    let (mut host, tree) = linked().await;
    Kill::edge("item_committed", 1).arm(&mut host).await;
    host.resync(&tree, "ann").await;
    host.dies().await;
    let control = Log::of(&host.data_dir().join("control.db")).expect("the host has written");
    assert!(control.kept() < control.end, "a claim doesn't wait for the disk");
    control.cut(control.kept());
    host.simulator.clear_requests();
    host.set_env("ROWGATE_FAILPOINT", None);
    host.restart().await;
    host.settle().await;
    let requests = host.simulator.requests();
    let mut listings = requests.iter().filter(|seen| seen.path.ends_with("/events"));
    assert!(listings.any(|seen| !seen.query.contains("syncToken")), "{requests:?}");
}

/// A host that notes what is on disk, with an owner whose first sync is over.
async fn linked() -> (TestHost, Tree) {
    let host = Settings::default().on_files().env("ROWGATE_NOTE_SYNCED", "1").start().await;
    let tree = host.integrations().await;
    host.link(&tree, "ann", &email("ann")).await;
    host.settle().await;
    (host, tree)
}

fn replication(host: &TestHost) -> Log {
    Log::of(&host.data_dir().join("replication/default.db")).expect("the host has written")
}
