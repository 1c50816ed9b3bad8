//! How long a log becomes, while its writer goes on.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteJournalMode;
use tempfile::TempDir;

use super::*;

const LENGTHS: Lengths =
    Lengths { kept_bytes: 64 << 10, copied_bytes: 128 << 10, awaited_bytes: 512 << 10 };
/// What a commit of these tests may add: its blob and the pages around it.
const COMMIT_BYTES: u64 = 64 << 10;

/// A file with its writer, that commits 32 KiB at a time.
struct Case {
    dir: TempDir,
    options: SqliteConnectOptions,
    writer: SqliteConnection,
    log: Log,
}

impl Case {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("x.db");
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .pragma("wal_autocheckpoint", "0")
            .pragma("journal_size_limit", LENGTHS.kept_bytes.to_string());
        let mut writer = options.connect().await.unwrap();
        writer.execute("create table t (b blob)").await.unwrap();
        let log = Log::of(&path, options.clone(), LENGTHS);
        Self { dir, options, writer, log }
    }

    /// Lengths of the log behind so many commits.
    async fn commits(&mut self, count: usize) -> Vec<u64> {
        let mut lengths = Vec::new();
        for _ in 0..count {
            self.writer.execute("insert into t values (randomblob(32768))").await.unwrap();
            self.log.begin_sync();
            self.log.grown().await;
            lengths.push(fs::metadata(&self.log.path).unwrap().len());
        }
        lengths
    }
}

#[tokio::test]
async fn a_log_begins_anew_however_closely_commits_follow() {
    let mut case = Case::new().await;
    let lengths = case.commits(200).await;
    let longest = *lengths.iter().max().unwrap();
    assert!(longest < LENGTHS.awaited_bytes + COMMIT_BYTES, "{longest}");
    let anew = lengths.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(anew >= 5, "{anew} times in 6 MiB: {lengths:?}");
    case.log.copied().await;
    assert!(fs::metadata(case.dir.path().join("x.db")).unwrap().len() > LENGTHS.copied_bytes);
}

/// It has to be kept for whoever reads what the file was, and the writer goes on.
#[tokio::test]
async fn a_reader_holds_up_the_log_and_not_the_writer() {
    let mut case = Case::new().await;
    let mut reader = case.options.connect().await.unwrap();
    reader.execute("begin; select count(*) from t").await.unwrap();
    let held = *case.commits(100).await.last().unwrap();
    assert!(held > 3 * LENGTHS.awaited_bytes, "{held}");
    reader.execute("commit").await.unwrap();
    let after = case.commits(40).await;
    assert!(after.iter().any(|length| *length < LENGTHS.awaited_bytes), "{after:?}");
}

#[tokio::test]
async fn a_log_begins_anew_when_commits_have_paused() {
    let mut case = Case::new().await;
    let before = *case.commits(2).await.last().unwrap();
    assert!((LENGTHS.kept_bytes..LENGTHS.copied_bytes).contains(&before), "{before}");
    case.log.quiet();
    case.log.copied().await;
    let after = case.commits(1).await[0];
    assert!(after < before, "{after}");
}
