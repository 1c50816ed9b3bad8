//! `examples/receiver` as programs beside a host, in Python and in Rust.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::receiver::PASSWORD;
use crate::setup::{ANA, Case, OWNER};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Language {
    Python,
    Rust,
}

/// A receiver as a process of its own, with a copy on disk.
pub(crate) struct Program {
    language: Language,
    place: TempDir,
    port: u16,
    secret: Option<String>,
    child: Option<Child>,
}

impl Program {
    pub(crate) async fn start(language: Language) -> Self {
        let place = tempfile::tempdir().unwrap();
        let mut program = Self { language, place, port: 0, secret: None, child: None };
        program.launch().await;
        program
    }

    /// The secret that it checks signatures with from its next start on.
    pub(crate) fn set_secret(&mut self, secret: &str) {
        self.secret = Some(secret.to_owned());
    }

    /// Starts it again at the address that it had.
    pub(crate) async fn launch(&mut self) {
        let mut command = match self.language {
            Language::Python => {
                let mut command = Command::new("python3");
                command.arg(example("receiver.py")).arg(self.file()).arg("--listen");
                command
            }
            Language::Rust => {
                let mut command = Command::new(binary());
                command.arg(self.file());
                command
            }
        };
        command.arg(format!("127.0.0.1:{}", self.port)).env("RECEIVER_PASSWORD", PASSWORD);
        command.envs(self.secret.iter().map(|secret| ("RECEIVER_SECRET", secret)));
        command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().expect("it says where it listens");
        self.port = line.rsplit_once(':').unwrap().1.parse().unwrap();
        self.child = Some(child);
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self) {
        self.child.take().expect("it runs").kill().await.unwrap();
    }

    pub(crate) fn url(&self) -> String {
        format!("http://rowgate:{PASSWORD}@127.0.0.1:{}/", self.port)
    }

    fn file(&self) -> PathBuf {
        self.place.path().join("copy.db")
    }

    /// Its copy, by pk.
    pub(crate) async fn rows(&self) -> BTreeMap<i64, Value> {
        let options = SqliteConnectOptions::new().filename(self.file()).read_only(true);
        let mut connection = options.connect().await.unwrap();
        let rows: Vec<(String,)> =
            sqlx::query_as("select row from rows").fetch_all(&mut connection).await.unwrap();
        let rows = rows.into_iter().map(|(row,)| serde_json::from_str::<Value>(&row).unwrap());
        rows.map(|row| (row["pk"].as_i64().unwrap(), row)).collect()
    }
}

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/receiver").join(file)
}

/// The Rust example: ROWGATE_TEST_RECEIVER, else the checkout's dev build.
fn binary() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug/receiver");
    let path = std::env::var_os("ROWGATE_TEST_RECEIVER").map_or(built, PathBuf::from);
    assert!(
        path.exists(),
        "there is no {}: run `cargo build --workspace --bin receiver`, or set ROWGATE_TEST_RECEIVER",
        path.display()
    );
    path
}

/// Follows the example's own words: start, create, start with the secret.
pub(crate) async fn create_target(case: &Case, program: &mut Program, page_size: &str) -> String {
    let arguments = ["--deletions", "--page-size", page_size];
    let created = case.create_for(case.tree.events(), &program.url(), "60", &arguments).await;
    program.kill().await;
    program.set_secret(created["signing_secret"].as_str().unwrap());
    program.launch().await;
    created["opaque_id"].as_str().unwrap().to_owned()
}

async fn it_keeps_a_copy(language: Language) {
    let case = Case::linked(5).await;
    let mut program = Program::start(language).await;
    let id = create_target(&case, &mut program, "2").await;
    // It checks the post that asks whether it is there, by the secret that it knows now.
    let update = ["httpsync", "update-creds", &id, "--user", "rowgate", "--password", PASSWORD];
    case.json(&update).await;
    let same = async || program.rows().await == case.table().await;
    case.until("the copy is the table", same).await;
    assert_eq!(program.rows().await.len(), 5);
    case.add("six", 6);
    case.simulator.model().cancel_event(ANA, "event-1").unwrap();
    case.catch_up().await;
    case.until("the copy follows", async || program.rows().await == case.table().await).await;
    case.unlink(&case.tree, OWNER).await;
    case.until("deletions too", async || program.rows().await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_receiver_keeps_a_copy() {
    it_keeps_a_copy(Language::Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_receiver_keeps_a_copy() {
    it_keeps_a_copy(Language::Rust).await;
}

/// Neither takes what isn't signed, or comes from a sender that was replaced.
#[tokio::test(flavor = "multi_thread")]
async fn forged_and_stale_posts_are_refused() {
    for language in [Language::Python, Language::Rust] {
        let mut program = Program::start(language).await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let base = format!("http://127.0.0.1:{}/", program.port);
        let post = async |password: &str, fence: i64, integration: &str| {
            let body = format!(
                "{{\"rows\":[],\"integration_id\":\"{integration}\",\"key\":\"pk\",\"deleted\":[],\
                 \"copy\":null,\"position\":{{\"epoch\":\"e\",\"number\":1,\"fence\":{fence}}}}}"
            );
            let sent = client.post(&base).basic_auth("rowgate", Some(password)).body(body);
            sent.send().await.unwrap().status().as_u16()
        };
        assert_eq!(post("wrong", 1, "svi_1").await, 401, "{language:?}");
        assert_eq!(post(PASSWORD, 2, "svi_1").await, 200, "{language:?}");
        assert_eq!(post(PASSWORD, 1, "svi_1").await, 409, "{language:?}");
        program.kill().await;
        program.set_secret("whsec_AAAA");
        program.launch().await;
        for integration in ["svi_1", "svi_test"] {
            let answered = post(PASSWORD, 3, integration).await;
            assert_eq!(answered, 401, "{language:?}: not signed, {integration}");
        }
    }
}

/// The post that the README shows, as curl sends it.
#[tokio::test(flavor = "multi_thread")]
async fn the_readmes_post_is_taken() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let (_, line) = readme.split_once("curl -u rowgate").unwrap();
    let (line, _) = line.split_once("\n```").unwrap();
    for language in [Language::Python, Language::Rust] {
        let program = Program::start(language).await;
        let line = line.replace("127.0.0.1:18002", &format!("127.0.0.1:{}", program.port));
        let line = format!("curl -s -o /dev/null -w '%{{http_code}}' -u rowgate{line}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).env("RECEIVER_PASSWORD", PASSWORD).env("no_proxy", "*");
        let output = shell.output().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "200", "{language:?}: {line}");
        let rows = program.rows().await;
        assert_eq!(rows[&7]["compound_identity"], "user%2D1-ana@example.org-e1");
    }
}
