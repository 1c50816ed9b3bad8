//! What a test asks of a host, and what it waits for.

use std::fmt::Debug;
use std::process::Output;
use std::time::Duration;

use rowgate::clock::Clock;
use serde_json::Value;

use super::TestHost;

/// Nothing that a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

impl TestHost {
    /// Whether `/healthz` says that all is well.
    pub async fn is_healthy(&self) -> bool {
        self.health().await == Some((200, "{\"o\":\"k\"}".to_owned()))
    }

    /// What `/healthz` says, if it says anything.
    pub async fn health(&self) -> Option<(u16, String)> {
        let answer = self.client.get(format!("{}/healthz", self.base_url())).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// What the host answers to a GET, which must be 200.
    pub async fn get(&self, path: &str) -> String {
        let answer = self.client.get(format!("{}{path}", self.base_url())).send().await;
        let answer = answer.expect("the host answers");
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.expect("the host answers text")
    }

    /// Runs a command on the data directory; its standard output is JSON.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).await;
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rowgate {}: {stderr}{stdout}", arguments.join(" "));
        let json = serde_json::from_slice(&output.stdout);
        json.unwrap_or_else(|error| panic!("rowgate {}: {error}", arguments.join(" ")))
    }

    /// Runs a command on the data directory, with `--format json`.
    pub async fn command(&self, arguments: &[&str]) -> Output {
        self.command_with(arguments, &[]).await
    }

    /// The same with variables.
    pub async fn command_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        self.run(&[arguments, &["--format", "json"]].concat(), environment).await
    }

    /// What a command on the data directory prints for people; it must work.
    pub async fn printed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments, &[]).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rowgate {}: {stderr}", arguments.join(" "));
        String::from_utf8(output.stdout).expect("the host prints UTF-8")
    }

    /// Of a command that isn't understood a test would see that it fails, and that nothing is printed.
    async fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = self.storage.command();
        command.envs(environment.iter().copied()).args(arguments);
        let output = command.output().await.expect("the host's binary can be started");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_ne!(output.status.code(), Some(2), "rowgate {}: {stderr}", arguments.join(" "));
        output
    }

    /// Waits until no owner runs and none is due. What waits after a failure isn't due: see
    /// [`TestHost::settle`].
    pub async fn idle(&self) {
        let answer = self.get("/statusz/idle").await;
        let answer: Value = serde_json::from_str(&answer).expect("the host answers JSON");
        assert_eq!(answer["idle"], true, "the host is still busy");
    }

    /// Waits until nothing is due, running, or to be tried again soon.
    pub async fn settle(&self) {
        self.until("nothing is left to do", async || {
            self.idle().await;
            let waiting = self.owners().await.into_iter().any(|o| o["state"] == "linking");
            let streams = self.streams().await;
            !waiting
                && self.rests_everywhere()
                && streams.iter().all(|s| {
                    matches!(s["state"].as_str(), Some("current" | "unreadable" | "grant dead"))
                })
        })
        .await;
    }

    /// No host that shares the database has an owner, none is due or was left in trouble (it is due in a
    /// while), and nothing is accepted and not yet done. A host knows of rest in its own process only.
    fn rests_everywhere(&self) -> bool {
        let Some(mut control) = self.storage.control() else { return true };
        let now = self.clock.as_ref().unwrap_or(&Clock::System).now();
        let rests = format!(
            "select not exists (select 1 from owners
                                where lease_host is not null or unreleased or due_at <= {now})
                and not exists (select 1 from inbox where done_at is null and not parked)"
        );
        control.value(&rests).expect("the schema of the control database") == "t"
    }

    /// Waits until this holds; it is asked over and over.
    pub async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        self.until_none(what, async || if holds().await { vec![] } else { vec!["no"] }).await;
    }

    /// Waits until nothing of this is left; it is asked over and over.
    pub async fn until_none<T: Debug>(&self, what: &str, mut left: impl AsyncFnMut() -> Vec<T>) {
        let mut last = Vec::new();
        let asked = async {
            loop {
                last = left().await;
                if last.is_empty() {
                    return;
                }
                // Who asks without waiting would never be timed out.
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(PATIENCE, asked).await.is_err() {
            panic!("not within {PATIENCE:?}: {what}: {last:?}");
        }
    }

    /// `rowgate owners list`.
    pub async fn owners(&self) -> Vec<Value> {
        rows(self.json(&["owners", "list"]).await)
    }

    /// The one owner with this id.
    pub async fn owner(&self, id: &str) -> Value {
        let owners = self.owners().await.into_iter();
        let mut found: Vec<Value> = owners.filter(|o| o["external_owner_id"] == id).collect();
        assert_eq!(found.len(), 1, "owners with the id {id}");
        found.remove(0)
    }

    /// `rowgate streams list`.
    pub async fn streams(&self) -> Vec<Value> {
        rows(self.json(&["streams", "list"]).await)
    }

    /// `rowgate db sql`.
    pub async fn sql(&self, query: &str) -> Vec<Value> {
        rows(self.json(&["db", "sql", query]).await)
    }
}

fn rows(value: Value) -> Vec<Value> {
    match value {
        Value::Array(rows) => rows,
        other => panic!("not an array: {other}"),
    }
}
