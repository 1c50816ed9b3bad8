//! `rowgate` on another machine: everything through the API.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tests::{Settings, Vendor, VendorAnswer, host_binary, is_on_postgres};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::setup::{Api, OWNER};
use crate::steps::{CALENDAR, EVENT, LIST};

/// Somebody's machine, with nothing on it but the program and its profile.
struct Machine {
    home: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    /// One of the owner's, who is logged in.
    async fn of_owner(api: &Api) -> Self {
        let (machine, code) = (Self::new(), api.code(OWNER).await);
        let login = ["auth", "login", "--host", api.host.base_url(), "-u", OWNER, "-t", &code];
        machine.works(&login).await;
        machine
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(host_binary());
        command.env_clear().env("HOME", self.home.path()).current_dir(self.home.path());
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().await.unwrap()
    }

    /// Standard output of what must work.
    async fn works(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--format", "json"]);
        serde_json::from_str(&self.works(&arguments).await).unwrap()
    }

    /// Standard error of what must fail.
    async fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Answers a command's questions, a line each.
    async fn answers(&self, arguments: &[&str], lines: &str) -> Output {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(lines.as_bytes()).await.unwrap();
        drop(stdin);
        child.wait_with_output().await.unwrap()
    }
}

#[tokio::test]
async fn everything_by_the_command() {
    let api = Api::start().await;
    let machine = Machine::of_owner(&api).await;
    let profile = machine.home.path().join(".config/rowgate/profile.json");
    let mode = std::os::unix::fs::PermissionsExt::mode(&profile.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(machine.json(&["auth", "whoami"]).await["email"], OWNER);
    assert!(machine.works(&["org", "list"]).await.contains("default"));
    assert!(machine.works(&["services", "list"]).await.contains(EVENT));

    // By prompts: the secret is made, the parents are taken by Enter.
    let created = machine.answers(&["integrations", "create", LIST], "\nid\nsecret\n").await;
    let said = String::from_utf8_lossy(&created.stderr);
    assert!(created.status.success() && said.contains("Client ID"), "{said}");
    assert!(String::from_utf8_lossy(&created.stdout).contains("With the header"), "{created:?}");
    assert!(
        machine.answers(&["integrations", "create", "-s", CALENDAR], "\n").await.status.success()
    );
    machine.works(&["integrations", "create", EVENT, "--yes"]).await;
    let listed = machine.json(&["integrations", "list"]).await;
    assert_eq!(listed.as_array().unwrap().len(), 3);
    let table = listed[2]["table_name"].as_str().unwrap();

    let url = machine.works(&["integrations", "info", LIST, "-f", "url"]).await;
    assert!(url.contains("/v1/service_integrations/svi_"), "{url}");
    assert_eq!(machine.json(&["db", "sql", "select 1 as n"]).await, json!([{ "n": 1 }]));
    let csv =
        machine.works(&["db", "sql", "select 1 as n, 'x' as t", "-f", "csv", "-o", "default"]);
    assert_eq!(csv.await, "n,t\r\n1,x\r\n");
    assert!(machine.works(&["db", "tables"]).await.contains(table));
    assert!(!machine.works(&["db", "connection"]).await.trim().is_empty());
    assert_eq!(machine.json(&["httpsync", "list"]).await, json!([]));
    assert_eq!(machine.json(&["dbsync", "list"]).await, json!([]));
    assert_eq!(machine.json(&["sync", "list"]).await, json!([]));
    assert_eq!(machine.json(&["notifications", "list"]).await, json!([]));
    let url = "https://a.example/x";
    let made = machine.json(&["webhooks", "create", EVENT, "--url", url, "--secret", "s"]).await;
    let id = made["opaque_id"].as_str().unwrap();
    assert!(machine.works(&["notifications", "list"]).await.contains(url));
    machine.works(&["notifications", "delete", "-n", id]).await;
    let body = json!({ "type": "UNLINKED", "external_owner_id": "ana b" });
    let secret = machine.works(&["integrations", "info", LIST, "-f", "webhook_secret"]).await;
    let list = listed[0]["opaque_id"].as_str().unwrap();
    assert_eq!(api.hook(list, secret.trim(), &body).await, 202);
    let owners = machine.json(&["owners", "list"]).await;
    assert_eq!(
        (&owners[0]["external_owner_id"], owners.as_array().unwrap().len()),
        (&json!("ana b"), 1)
    );
    let owner = machine.json(&["owners", "show", "ana b"]).await;
    assert_eq!((&owner["streams"], &owner["stream_list"]), (&json!(0), &json!([])));
    assert_eq!(machine.json(&["replay", "--hours", "1"]).await["left_out"], 0);
    let none = machine.run(&["owners", "show", "bob"]).await;
    assert!(String::from_utf8_lossy(&none.stderr).contains("no post ever named"), "{none:?}");
    assert!(machine.works(&["fixtures", EVENT]).await.contains("create table"));
    assert!(machine.works(&["integrations", "stats", "-i", EVENT]).await.contains("Streams"));
    machine.works(&["db", "rename-table", EVENT, "--new-name", "events"]).await;
    machine.works(&["integrations", "delete", "events", "--confirm", "events"]).await;
    another_organization(&machine).await;

    machine.works(&["auth", "logout"]).await;
    let out = machine.run(&["auth", "whoami"]).await;
    assert!(String::from_utf8_lossy(&out.stderr).contains("not logged in"), "{out:?}");
    assert!(!Path::new(machine.home.path()).join("rowgate-data").exists(), "nothing was made here");
}

async fn another_organization(machine: &Machine) {
    machine.works(&["org", "create", "Acme"]).await;
    machine.works(&["org", "activate", "acme"]).await;
    assert!(machine.works(&["org", "current"]).await.contains("Acme"));
    machine.works(&["org", "invite", "-u", "x@example.com", "-r", "admin"]).await;
    assert!(machine.works(&["org", "members"]).await.contains("x@example.com"));
    let none = machine.run(&["integrations", "info", LIST]).await;
    assert!(String::from_utf8_lossy(&none.stderr).contains("there is no integration"), "{none:?}");
}

#[tokio::test]
async fn streams_by_the_command() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let [list, ..] = owner.make_tree().await;
    let machine = Machine::of_owner(&api).await;
    assert_eq!(machine.json(&["streams", "list"]).await, json!([]));
    for one in ["ana", "c/ä ?"] {
        api.link(&list, one).await;
    }
    api.host.settle().await;
    let there = machine.json(&["streams", "list"]).await;
    assert_eq!(there, api.host.json(&["streams", "list"]).await, "here and there it is the same");
    let of_one = machine.json(&["streams", "list", "--owner", "c/ä ?"]).await;
    let all = there.as_array().unwrap().iter();
    let expected: Vec<&Value> = all.filter(|one| one["external_owner_id"] == "c/ä ?").collect();
    assert!(!expected.is_empty());
    assert_eq!(of_one, json!(expected));
    let table = machine.works(&["streams", "list"]).await;
    assert!(table.contains("Owner") && table.contains("c/ä ?"), "{table}");
}

#[tokio::test]
async fn targets_by_the_command() {
    let settings = Settings::default().env("ROWGATE_DELIVERY_ALLOW_HTTP", "true");
    let api = Api::start_with(settings).await;
    let machine = Machine::of_owner(&api).await;
    let made = machine.answers(&["integrations", "create", LIST], "\nid\nsecret\n").await;
    assert!(made.status.success(), "{made:?}");
    let receiver = Vendor::start(|request| {
        // user:pass
        let known = request.header("authorization") == Some("Basic dXNlcjpwYXNz");
        VendorAnswer::reply(if known { 200 } else { 401 }, "")
    });
    let url = receiver.base_url().replace("http://", "http://user:pass@");
    let create = ["httpsync", "create", "-i", LIST, "-u", &url];
    let created = machine.answers(&[&create[..], &["--format", "json"]].concat(), "600\n").await;
    let asked = String::from_utf8_lossy(&created.stderr);
    assert!(asked.contains("Seconds without a delivery, at most (60 to 86400): "), "{asked}");
    let created: Value = serde_json::from_slice(&created.stdout).unwrap();
    assert_eq!(created["period_seconds"], 600);
    let id = created["opaque_id"].as_str().unwrap();
    let secret = machine.json(&["httpsync", "secret", "-t", id]).await;
    assert_eq!(secret["signing_secret"], created["signing_secret"]);
    let paused = machine.json(&["httpsync", "pause", id, "--reason", "they move"]).await;
    assert_eq!((&paused["state"], &paused["reason"]), (&json!("paused"), &json!("they move")));
    machine.works(&["httpsync", "rewind", "-t", id, "--beginning"]).await;
    assert_eq!(machine.json(&["httpsync", "resume", id]).await["state"], "ok");
    let wrong = machine.fails(&["httpsync", "rewind", id, "--since", "yesterday"]).await;
    assert!(wrong.contains("since must be a time like"), "{wrong}");

    let update = ["httpsync", "update-creds", "--target", id];
    let updated = machine.answers(&update, "user\npass\n").await;
    let asked = String::from_utf8_lossy(&updated.stderr);
    assert!(updated.status.success() && asked.contains("User: "), "{asked}");
    assert!(!machine.answers(&update, "user\nwrong\n").await.status.success());
    let table = created["associated_object_display"].as_str().unwrap();
    let kept = machine.answers(&["httpsync", "delete", "-t", id], "another\n").await;
    let asked = String::from_utf8_lossy(&kept.stderr);
    assert!(!kept.status.success() && asked.contains(&format!("Type {table} to")), "{asked}");
    let there = machine.json(&["httpsync", "list"]).await;
    assert_eq!(there.as_array().unwrap().len(), 1);
    let here = api.host.json(&["httpsync", "list"]).await;
    let shown = |all: &Value| {
        let names: Vec<String> = all[0].as_object().unwrap().keys().cloned().collect();
        (names, all[0]["opaque_id"].clone(), all[0]["connection_url"].clone())
    };
    assert_eq!(shown(&here), shown(&there), "here and there it is the same");
    machine.works(&["httpsync", "delete", "-t", id, "--confirm", table]).await;
    assert_eq!(machine.json(&["httpsync", "list"]).await, json!([]));
}

#[tokio::test]
async fn what_webhookdbs_client_takes_is_taken() {
    let api = Api::start().await;
    let machine = Machine::of_owner(&api).await;
    let made = machine.answers(&["integrations", "create", LIST], "\nid\nsecret\n").await;
    assert!(made.status.success(), "{made:?}");
    for backfill in [&["backfill", LIST][..], &["backfill", "reset", "-i", LIST]] {
        let says = machine.fails(backfill).await;
        assert!(says.contains("RESYNC"), "{says}");
    }
    assert_eq!(machine.json(&["subscription", "info"]).await["plan_name"], "none");
    assert_eq!(machine.json(&["sub", "plans"]).await, json!([]));
    assert!(machine.fails(&["subs", "edit", "-p", "x"]).await.contains("no billing"));
    assert_eq!(machine.json(&["views", "list"]).await, json!([]));
    for view in [&["view", "new", "-n", "v", "--sql", "select"][..], &["views", "delete", "v"]] {
        assert!(machine.fails(view).await.contains("saved-query create"), "{view:?}");
    }
    assert_eq!(
        machine.json(&["db", "sql", "-c", "-u", "select 1 as n"]).await,
        json!([{ "n": 1 }])
    );
    let sql = "select 2 as n";
    let kept = machine.json(&["saved-query", "create", "--desc", "two", "--sql", sql]).await;
    let id = kept["id"].as_str().unwrap();
    assert_eq!(machine.json(&["saved-query", "run", "-q", id, "-c"]).await, json!([{ "n": 2 }]));
    let edit = ["custom-query", "edit", "-q", id, "--field", "description", "-v", "a pair"];
    assert_eq!(machine.json(&edit).await["description"], "a pair");
    assert_eq!(machine.works(&["saved-query", "info", "-f", "description", id]).await, "a pair\n");
    assert_eq!(
        machine.json(&["org", "update", "--field", "name", "-v", "Acme"]).await["name"],
        "Acme"
    );
    if is_on_postgres() {
        let raw: Value =
            serde_json::from_str(&machine.works(&["db", "fdw", "--raw"]).await).unwrap();
        let all = machine.works(&["db", "fdw", "--all"]).await;
        assert_eq!(all.trim_end(), raw["compound_sql"].as_str().unwrap().trim_end());
        assert!(raw["views"].is_object() && all.contains(raw["fdw_sql"].as_str().unwrap()));
    }
}

#[tokio::test]
async fn a_data_directory_needs_no_login() {
    let api = Api::start().await;
    let host = &api.host;
    let made = [
        "integrations",
        "create",
        LIST,
        "--yes",
        "--set",
        "client_id=i",
        "--set",
        "client_secret=s",
    ];
    let list = host.json(&made).await;
    let id = list["opaque_id"].as_str().unwrap();
    let info = host.command(&["integrations", "info", id, "--field", "webhook_secret"]).await;
    let secret: Value = serde_json::from_slice(&info.stdout).unwrap();
    assert_eq!(secret["blocks"][0]["value"], list["webhook_secret"]);
    let stats = host.json(&["integrations", "stats", id]).await;
    assert_eq!(stats["owners_linked"], 0);
    assert!(host.json(&["services", "list"]).await.as_array().unwrap().len() >= 4);
    let invited = host.json(&["org", "invite", "-u", "x@example.com"]).await;
    assert!(invited["invitation_code"].as_str().unwrap().starts_with("join-"));
    // Nobody is an admin there, and nobody has to be.
    host.json(&["org", "changerole", "-u", "x@example.com", "-r", "admin"]).await;
    host.json(&["org", "remove", "-u", "x@example.com", "--yes"]).await;
    assert_eq!(host.json(&["org", "members"]).await, json!([]));
    let table = list["table_name"].as_str().unwrap();
    host.json(&["integrations", "delete", id, "--confirm", table]).await;
    assert_eq!(host.json(&["integrations", "list"]).await, json!([]));
}
