//! A host with a calendar, and receivers for its tables.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use serde_json::{Value, json};
use tests::{Settings, TestHost, Tree};

use crate::receiver::Receiver;

pub(crate) const ANA: &str = "ana@example.com";
pub(crate) const OWNER: &str = "customer-1";

/// A host that may post to this machine, and the integrations; nobody is linked.
pub(crate) struct Case {
    pub(crate) host: TestHost,
    pub(crate) tree: Tree,
}

impl Deref for Case {
    type Target = TestHost;

    fn deref(&self) -> &TestHost {
        &self.host
    }
}

impl DerefMut for Case {
    fn deref_mut(&mut self) -> &mut TestHost {
        &mut self.host
    }
}

/// Short waits, and http to this machine. The timeout is for receivers that are alive.
pub(crate) fn settings() -> Settings {
    Settings::default()
        .env("ROWGATE_DELIVERY_ALLOW_HTTP", "true")
        .env("ROWGATE_DELIVERY_BACK_OFF_BASE_MS", "20")
        .env("ROWGATE_DELIVERY_BACK_OFF_MAX_MS", "200")
}

impl Case {
    pub(crate) async fn start() -> Self {
        Self::with(settings()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let host = settings.start().await;
        // Commands post to a new receiver themselves.
        let file = host.data_dir().join("rowgate.toml");
        std::fs::write(file, "[delivery]\nallow_http = true\n").unwrap();
        let tree = host.integrations().await;
        host.simulator.model().create_user(ANA);
        Self { host, tree }
    }

    /// `events` events of Ana, whose owner is linked and up to date.
    pub(crate) async fn linked(events: usize) -> Self {
        let case = Self::start().await;
        for day in 1..=events {
            case.add(&format!("event-{day}"), day);
        }
        case.link_ana().await;
        case
    }

    pub(crate) async fn link_ana(&self) {
        self.host.link(&self.tree, OWNER, ANA).await;
        self.settle().await;
    }

    pub(crate) fn add(&self, id: &str, day: usize) {
        self.add_to(ANA, id, day);
    }

    pub(crate) fn add_to(&self, user: &str, id: &str, day: usize) {
        let event = json!({
            "id": id, "summary": id,
            "start": { "dateTime": format!("2026-11-{day:02}T10:00:00Z") },
            "end": { "dateTime": format!("2026-11-{day:02}T11:00:00Z") },
        });
        self.simulator.model().add_event(user, &event).unwrap();
    }

    /// REFRESHED, which reads what changed.
    pub(crate) async fn catch_up(&self) {
        self.host.refresh(&self.tree, OWNER, ANA).await;
        self.settle().await;
    }

    /// A target for the events; arguments beside url and period.
    pub(crate) async fn target(&self, receiver: &Receiver, arguments: &[&str]) -> String {
        let created = self.created(receiver, arguments).await;
        created["opaque_id"].as_str().unwrap().to_owned()
    }

    /// The same, with all that the command answers.
    pub(crate) async fn created(&self, receiver: &Receiver, arguments: &[&str]) -> Value {
        self.create_for(self.tree.events(), &receiver.url(), "3600", arguments).await
    }

    /// A target for a table.
    pub(crate) async fn create_for(
        &self,
        table: &str,
        url: &str,
        period_s: &str,
        arguments: &[&str],
    ) -> Value {
        let mut all = vec!["httpsync", "create", table, "--url", url, "--period", period_s];
        all.extend(arguments);
        self.json(&all).await
    }

    /// One target as `httpsync list` shows it.
    pub(crate) async fn shown(&self, id: &str) -> Value {
        let all = self.json(&["httpsync", "list"]).await;
        let mut all = all.as_array().unwrap().clone().into_iter();
        all.find(|target| target["opaque_id"] == id).expect("the target is listed")
    }

    /// Waits until `httpsync list` shows this.
    pub(crate) async fn until_shown(&self, id: &str, what: &str, holds: impl Fn(&Value) -> bool) {
        self.until(what, async || holds(&self.shown(id).await)).await;
    }

    /// The table of events by pk, as deliveries write it.
    pub(crate) async fn table(&self) -> BTreeMap<i64, Value> {
        rows_of(&self.host, self.tree.events()).await
    }
}

pub(crate) async fn rows_of(host: &TestHost, table: &str) -> BTreeMap<i64, Value> {
    let rows = host.sql(&format!("select * from {table}")).await.into_iter();
    rows.map(|row| (row["pk"].as_i64().unwrap(), as_delivered(row))).collect()
}

/// Times with an offset.
fn as_delivered(mut row: Value) -> Value {
    for (name, value) in row.as_object_mut().unwrap() {
        let is_time = name.ends_with("_at") || ["created", "updated"].contains(&name.as_str());
        let text = value.as_str().filter(|_| is_time).and_then(|text| text.strip_suffix('Z'));
        if let Some(text) = text {
            *value = format!("{text}+00:00").into();
        }
    }
    row
}
