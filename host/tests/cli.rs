//! The command line through the built binary.
#![allow(clippy::unwrap_used, reason = "a test stops at what it didn't expect")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rowgate::chance::Chance;
use rowgate::clock::Clock;
use rowgate::config::DataDir;
use rowgate::secrets::Keyring;
use rowgate::store::Store;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::{Value, json};

const LIST: &str = "google_calendar_list_v1";
const CLIENT: [&str; 4] =
    ["--set", "client_id=planted0id", "--set", "client_secret=planted0secret"];

struct Installation(tempfile::TempDir);

impl Installation {
    /// A data directory where the plugin of the fixture is active.
    fn new() -> Self {
        let installation = Self(tempfile::tempdir().unwrap());
        let data_dir = DataDir::new(installation.path());
        data_dir.create().unwrap();
        let chance = Chance::from_system();
        let keyring = Keyring::load(data_dir.path(), None, chance.clone()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Store::open(data_dir, Clock::System, keyring, chance).await.unwrap();
            let manifest = toml::from_str(include_str!("fixtures/google_calendar.toml")).unwrap();
            store.install_plugin(b"component", "c0ffee", &manifest).await.unwrap();
            store.activate_plugin("c0ffee").await.unwrap();
        });
        installation
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rowgate"));
        command.env_clear().args(arguments).arg("--data-dir").arg(self.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Standard output of a command that must work.
    fn works(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Standard error of a command that must fail, with one line and nothing on standard output.
    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(text(&output.stdout), "");
        let error = text(&output.stderr);
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.works(&[arguments, &["--format", "json"]].concat())).unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn integrations_are_created_with_defaults_and_grants() {
    let host = Installation::new();
    let api = "api_url=http://127.0.0.1:4920/calendar/v3";
    let create = ["integrations", "create", LIST, "--yes", "--set", api];
    let output = host.run(&[&create[..], &CLIENT, &["--format", "json"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let notice = text(&output.stderr);
    assert!(notice.contains("http://127.0.0.1:4920, private addresses included"), "{notice}");
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let id = list["opaque_id"].as_str().unwrap();
    assert_eq!(list["service_name"], LIST);
    assert!(list["table_name"].as_str().unwrap().starts_with(LIST));
    let endpoint = format!("http://127.0.0.1:18001/v1/service_integrations/{id}");
    assert_eq!(list["endpoint"], endpoint);
    let secret = list["webhook_secret"].as_str().unwrap();
    assert!(secret.len() > 16 && list["curl"].as_str().unwrap().contains(secret));

    let public = ["--public-url", "https://hooks.example.com/"];
    let create = ["integrations", "create", "google_calendar_v1", "--yes"];
    let child = host.json(&[&create[..], &public].concat());
    assert_eq!(child["depends_on"], id);
    assert_eq!(child["webhook_secret"], Value::Null);
    assert!(child["endpoint"].as_str().unwrap().starts_with("https://hooks.example.com/v1/"));
    assert_eq!(host.json(&["integrations", "list"]).as_array().unwrap().len(), 2);
    assert!(!host.works(&["doctor", "--offline"]).contains("planted0"), "secrets are hidden");
}

#[test]
fn what_is_missing_or_wrong_is_said() {
    let host = Installation::new();
    assert_eq!(host.json(&["httpsync", "list"]), json!([]), "the default organization is made");
    let missing = host.fails(&["integrations", "create", LIST, "--yes"]);
    assert!(missing.contains("--set client_id=... --set client_secret=..."), "{missing}");
    for (arguments, reason) in [
        (&["integrations", "create", "nothing"][..], "no active plugin offers `nothing`"),
        (&["integrations", "create", LIST, "--set", "x=1"], "no setting `x`"),
        (&["integrations", "create", LIST, "--set", "api_url=here"], "`api_url`"),
        (&["integrations", "create", "google_calendar_v1"], "create a google_calendar_list_v1"),
        (&["owners", "show", "o"], "no post ever named an owner `o`"),
        (&["orgs", "list", "--config", "/no/such/file"], "/no/such/file"),
        (&["integrations", "list", "--org", "other"], "rowgate orgs create"),
        (&["owners", "list", "--org", "other"], "rowgate orgs create"),
        (&["plugins", "rollback", "google_calendar"], "no other version"),
        (&["db", "sql", "delete from t"], "only reading statements"),
    ] {
        let error = host.fails(arguments);
        assert!(error.contains(reason), "{arguments:?}: {error}");
    }
    assert_eq!(host.run(&["integrations", "create"]).status.code(), Some(2));

    for _ in 0..2 {
        host.works(&[&["integrations", "create", LIST, "--yes"][..], &CLIENT].concat());
    }
    let several = host.fails(&["integrations", "create", "google_calendar_v1", "--yes"]);
    assert!(several.contains("choose by --depends-on svi_"), "{several}");
}

#[test]
fn what_is_missing_is_asked() {
    let host = Installation::new();
    let mut asked = host
        .command(&["integrations", "create", LIST, "--format", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first is generated when left empty; the second must not be empty and is asked again.
    asked.stdin.take().unwrap().write_all(b"\n\nid\nsecret\n").unwrap();
    let output = asked.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let prompts = text(&output.stderr);
    assert!(prompts.contains("Paste or type your secret here: [generated]"), "{prompts}");
    assert_eq!(prompts.matches("Client ID:").count(), 2, "{prompts}");
    let created: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(created["webhook_secret"].as_str().unwrap().len() > 16);
}

/// A terminal, and the end of it that shows what is written there.
fn terminal() -> (File, File) {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap().into_string().unwrap();
    (controller.into(), File::options().read(true).write(true).open(name).unwrap())
}

/// Whoever sits there sees how far it is; a file isn't told.
#[test]
fn a_backup_and_its_restore_say_how_far_they_are() {
    let host = Installation::new();
    host.works(&["db", "sql", "select 1"]);
    let path = |name: &str| host.0.path().join(name).to_str().unwrap().to_owned();
    let plain = host.run(&["backup", &path("plain")]);
    assert!(!text(&plain.stderr).contains("copying"), "{}", text(&plain.stderr));
    let said = |command: &mut Command| {
        let (mut controller, terminal) = terminal();
        let ended = command.stdin(Stdio::null()).stderr(terminal).output().unwrap();
        // The command holds the terminal, too.
        command.stderr(Stdio::null());
        let mut said = Vec::new();
        // It ends with an error, where nobody is left who writes.
        let _ = controller.read_to_end(&mut said);
        assert!(ended.status.success(), "{}", text(&said));
        text(&said)
    };
    let backup = path("backup");
    let backed = said(&mut host.command(&["backup", &backup]));
    let mut restore = Command::new(env!("CARGO_BIN_EXE_rowgate"));
    restore.env_clear().args(["restore", &backup, "--data-dir", &path("restored")]);
    let restored = said(&mut restore);
    for (said, says) in [
        (&backed, "copying replication/default.db, "),
        (&backed, "copying control.db, "),
        (&restored, "checking control.db, "),
        (&restored, "copying control.db, "),
        (&restored, "putting default right .."),
    ] {
        assert!(said.contains(says), "{says}: {said}");
    }
}

/// Whoever breaks off at a question for a secret can see what they type again.
#[test]
fn a_broken_off_question_leaves_the_terminal_as_it_was() {
    let host = Installation::new();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (_controller, terminal) = terminal();
        let shows = || tcgetattr(&terminal).unwrap().local_modes.contains(LocalModes::ECHO);
        assert!(shows());
        let mut asked = host
            .command(&["integrations", "create", LIST])
            .stdin(terminal.try_clone().unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = asked.stderr.take().unwrap();
        let mut prompt = Vec::new();
        while !prompt.ends_with(b"[generated] ") {
            let mut byte = [0];
            stderr.read_exact(&mut byte).unwrap_or_else(|_| panic!("{}", text(&prompt)));
            prompt.extend(byte);
        }
        assert!(!shows(), "a secret is asked for");
        kill_process(Pid::from_child(&asked), signal).unwrap();
        assert_eq!(asked.wait().unwrap().code(), Some(code));
        assert!(shows(), "{signal:?}");
    }
}

#[test]
fn queries_are_written_in_three_formats() {
    let host = Installation::new();
    let sql = "select 1 as n, 'a,b' as t, null as empty";
    assert_eq!(host.json(&["db", "sql", sql]), json!([{"n": 1, "t": "a,b", "empty": null}]));
    let csv = host.works(&["db", "sql", sql, "--output", "csv"]);
    assert_eq!(csv, "n,t,empty\r\n1,\"a,b\",\r\n");
    assert_eq!(host.works(&["db", "sql", sql]), "n  t    empty\n-  ---  -----\n1  a,b\n");
    host.works(&["orgs", "create", "Acme, Inc."]);
    assert_eq!(host.json(&["orgs", "list"])[0]["key"], "default");
    let rows = host.json(&["db", "sql", "select 1 as n where false", "--org", "acme_inc"]);
    assert_eq!(rows, json!([]));
}

#[test]
fn a_served_directory_takes_posts_and_commands() {
    let host = Installation::new();
    let mut served =
        host.command(&["serve", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(served.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("serving")));
    let error = host.fails_after_log(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(error.contains("another rowgate serves"), "{error}");

    let create = ["integrations", "create", LIST, "--yes", "--set", "webhook_secret=s3cret"];
    let list = host.json(&[&create[..], &CLIENT].concat());
    let endpoint = list["endpoint"].as_str().unwrap().to_owned();
    let body = r#"{"type":"LINKED","external_owner_id":"o-1","refresh_token":"planted0token"}"#;
    assert!(post(&endpoint, "s3cret", body).starts_with("HTTP/1.1 202"));
    assert!(post(&endpoint, "wrong", body).starts_with("HTTP/1.1 401"));
    let owners = host.json(&["owners", "list"]);
    assert_eq!(owners[0]["external_owner_id"], "o-1");
    assert_eq!(host.json(&["owners", "show", "o-1"])["stream_list"], json!([]));
    assert_eq!(host.json(&["streams", "list"]), json!([]));
    assert!(host.works(&["doctor", "--offline"]).contains("serves at 127.0.0.1:"));

    let id = served.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert!(served.wait().unwrap().success());
    assert!(log.any(|line| line.contains("stopped")));
}

impl Installation {
    fn fails_after_log(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    }
}

fn post(endpoint: &str, secret: &str, body: &str) -> String {
    let (address, path) = endpoint.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST /{path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\
         Whdb-Webhook-Secret: {secret}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn shells_are_told_how_to_complete() {
    let installation = Installation::new();
    for (shell, words) in [
        ("bash", "complete -F _rowgate"),
        ("zsh", "#compdef rowgate"),
        ("fish", "complete -c rowgate"),
    ] {
        let script = installation.works(&["completions", shell]);
        for known in [words, "saved-query", "roll-credentials"] {
            assert!(script.contains(known), "{shell}: {known}");
        }
    }
    assert!(!installation.run(&["completions", "cmd"]).status.success());
}

/// Colours and progress are for terminals.
#[test]
fn what_goes_to_a_file_is_plain() {
    let installation = Installation::new();
    for arguments in [
        &["orgs", "list"][..],
        &["services", "list"],
        &["saved-query", "list"],
        &["orgs", "close", "--confirm", "default"],
        &["--help"],
        &["nonsense"],
    ] {
        let output = installation.run(arguments);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(!said.contains('\u{1b}') && !said.contains("closing .."), "{arguments:?}: {said}");
    }
}
