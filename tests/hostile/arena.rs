//! A host with the hostile guest beside an honest plugin; owners who attack, and owners who don't.

use serde_json::{Value, json};
use tests::{Integration, LeakScanner, Settings, TestHost, Tree, Vendor};

use crate::vendor;

const CLIENT_SECRET: &str = "GOCSPX-hostile/secret+1";
const WEBHOOK_SECRET: &str = "hook-secret-77aa01";
const REFRESH_TOKEN: &str = "1//0g-Refresh/hostile+a";
pub(crate) const ACCESS_TOKEN: &str = "ya29.Access/hostile+b";

/// Whom attacks on other owners aim at.
const VICTIM: &str = "victim";
/// What the item of an owner says who doesn't attack.
const GOOD: &str = "a good neighbour";
/// An owner of the honest plugin.
const BYSTANDER: &str = "bystander";
const BYSTANDERS_ACCOUNT: &str = "ana@example.com";

/// A host that serves the hostile guest.
pub(crate) struct Arena {
    pub(crate) host: TestHost,
    pub(crate) vendor: Vendor,
    /// Another host, which the guest may reach but not with secrets.
    pub(crate) elsewhere: Vendor,
    pub(crate) hostile: HostileTree,
    honest: Tree,
}

/// Integrations of the hostile guest.
pub(crate) struct HostileTree {
    pub(crate) account: Integration,
    pub(crate) item: Integration,
}

impl Arena {
    pub(crate) async fn start() -> Self {
        // What failed once isn't called again while a test looks at it.
        let settings = Settings::default()
            .env("ROWGATE_RUN_BACK_OFF_BASE_MS", "600000")
            .env("ROWGATE_RUN_BACK_OFF_MAX_MS", "600000");
        Self::start_with(settings).await
    }

    pub(crate) async fn start_with(settings: Settings) -> Self {
        let elsewhere = Vendor::start(|_| tests::VendorAnswer::reply(200, "{}"));
        let other_host = elsewhere.base_url().to_owned();
        let vendor = Vendor::start(move |request| vendor::answer(request, &other_host));
        let host = settings.guest_beside_plugins("hostile").start().await;
        let hostile = HostileTree::create(&host, &vendor, &elsewhere).await;
        let honest = host.integrations().await;
        let arena = Self { host, vendor, elsewhere, hostile, honest };
        arena.link(VICTIM).await;
        arena.host.link(&arena.honest, BYSTANDER, BYSTANDERS_ACCOUNT).await;
        arena.host.idle().await;
        arena
    }

    /// Runs attacks one after the other. Each must end with these words as its owner's error, and
    /// nothing of its call be committed.
    pub(crate) async fn refused(&self, attacks: &[(&str, &str)]) {
        self.beside_others(attacks, async |attack, words| {
            let owner = self.owner(attack).await;
            let error = owner["last_error"].as_str().unwrap_or_default();
            let mut wrong = Vec::new();
            if !error.contains(words) {
                wrong.push(format!("says {error:.300}, not {words}"));
            }
            let in_receive = attack.starts_with("receive:");
            let state = if in_receive { "linking" } else { "syncing" };
            if owner["state"] != state {
                wrong.push(format!("the owner is {}", owner["state"]));
            }
            let streams = owner["stream_list"].as_array().unwrap();
            if !in_receive && (streams.len(), &streams[0]["state"]) != (1, &json!("failing")) {
                wrong.push(format!("its streams are {streams:?}"));
            }
            // The account is of the post before the attack.
            if owner["rows"] != i64::from(!in_receive) {
                wrong.push(format!("left {:?}", self.items(attack).await));
            }
            wrong
        })
        .await;
    }

    /// Runs attacks one after the other that do no harm: their calls are committed, and these words
    /// are in what the guest got to see.
    pub(crate) async fn contained(&self, attacks: &[(&str, &str)]) {
        self.beside_others(attacks, async |attack, words| {
            let seen = self.seen(attack).await;
            if seen.contains(words) { Vec::new() } else { vec![format!("saw {seen:.300}")] }
        })
        .await;
    }

    /// Runs each attack while a neighbour is linked and an owner of the honest plugin catches up;
    /// `judge` then says what is wrong.
    async fn beside_others(
        &self,
        attacks: &[(&str, &str)],
        judge: impl AsyncFn(&str, &str) -> Vec<String>,
    ) {
        let victim = self.items(VICTIM).await;
        assert_eq!(victim.len(), 1, "the victim has one item");
        let mut wrong = Vec::new();
        for (attack, words) in attacks {
            let (neighbour, event) = self.begin_beside_others(attack).await;
            let mut found = judge(attack, words).await;
            found.extend(self.harmed(&neighbour, &event).await);
            if self.items(VICTIM).await != victim {
                found.push("the victim's items changed".to_owned());
            }
            wrong.extend(found.iter().map(|wrong| format!("{attack}: {wrong}")));
        }
        wrong.extend(self.leaks().await);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        self.host.assert_matches_model(&self.honest).await;
    }

    /// Links an attack and lets others work; answers the neighbour and the bystander's new event.
    pub(crate) async fn begin_beside_others(&self, attack: &str) -> (String, String) {
        let neighbour = format!("neighbour/{attack}");
        self.link(attack).await;
        self.link(&neighbour).await;
        let event = self.bystander_catches_up().await;
        assert!(self.host.is_healthy().await, "while {attack} is on");
        self.host.idle().await;
        (neighbour, event)
    }

    /// Gives the owner of the honest plugin something to read; answers the event's id.
    pub(crate) async fn bystander_catches_up(&self) -> String {
        let event = self.host.simulator.model().add_event(BYSTANDERS_ACCOUNT, &event()).unwrap();
        self.host.refresh(&self.honest, BYSTANDER, BYSTANDERS_ACCOUNT).await;
        event
    }

    /// What has suffered beside an attack.
    pub(crate) async fn harmed(&self, neighbour: &str, event: &str) -> Vec<String> {
        self.harmed_of(&self.hostile, neighbour, event).await
    }

    /// The same where the neighbour is in another tree.
    pub(crate) async fn harmed_of(
        &self,
        tree: &HostileTree,
        neighbour: &str,
        event: &str,
    ) -> Vec<String> {
        let mut harmed = Vec::new();
        if !self.host.is_healthy().await {
            harmed.push("the host isn't healthy".to_owned());
        }
        let owner = self.owner(neighbour).await;
        let items = tree.items(&self.host, neighbour).await;
        if owner["state"] != "current" || seen_in(&items) != GOOD {
            harmed.push(format!("the neighbour is {owner}"));
        }
        let events = self.host.statuses(self.honest.events(), BYSTANDERS_ACCOUNT).await;
        if !events.contains_key(event) {
            harmed.push("the other integration didn't catch up".to_owned());
        }
        harmed
    }

    pub(crate) async fn link(&self, owner: &str) {
        self.hostile.link(&self.host, owner).await;
    }

    pub(crate) async fn unlink(&self, owner: &str) {
        self.hostile.unlink(&self.host, owner).await;
    }

    /// `rowgate owners show`.
    pub(crate) async fn owner(&self, owner: &str) -> Value {
        self.host.json(&["owners", "show", owner]).await
    }

    pub(crate) async fn items(&self, owner: &str) -> Vec<Value> {
        self.hostile.items(&self.host, owner).await
    }

    /// What an attack saw, or nothing.
    pub(crate) async fn seen(&self, owner: &str) -> String {
        seen_in(&self.items(owner).await).to_owned()
    }

    /// Secrets in rows, files and output.
    pub(crate) async fn leaks(&self) -> Vec<String> {
        let scanner = LeakScanner::new([
            ("client secret", CLIENT_SECRET),
            ("webhook secret", WEBHOOK_SECRET),
            ("refresh token", REFRESH_TOKEN),
            ("access token", ACCESS_TOKEN),
        ]);
        let mut found = self.host.scan_storage(&scanner);
        found.extend(scanner.scan("the host's log", self.host.log().as_bytes()));
        // In the files of a database, a text may be in pieces.
        for table in [&self.hostile.account.table, &self.hostile.item.table] {
            for row in self.host.sql(&format!("select * from {table}")).await {
                for text in row.as_object().unwrap().values().filter_map(Value::as_str) {
                    found.extend(scanner.scan(&format!("table {table}"), text.as_bytes()));
                }
            }
        }
        for command in [["owners", "list"], ["streams", "list"]] {
            let printed = self.host.printed(&command).await;
            found.extend(scanner.scan(&command.join(" "), printed.as_bytes()));
            let json = self.host.json(&command).await.to_string();
            found.extend(scanner.scan(&command.join(" "), json.as_bytes()));
        }
        found
    }
}

impl HostileTree {
    pub(crate) async fn create(host: &TestHost, vendor: &Vendor, elsewhere: &Vendor) -> Self {
        let settings = [
            format!("webhook_secret={WEBHOOK_SECRET}"),
            format!("client_secret={CLIENT_SECRET}"),
            format!("api_url={}/api", vendor.base_url()),
            format!("token_url={}/token", vendor.base_url()),
            format!("elsewhere_url={}", elsewhere.base_url()),
        ];
        let mut arguments = vec!["hostile_account_v1"];
        arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        let account = host.create_with(&arguments).await;
        let item = host.create("hostile_item_v1", &account).await;
        Self { account, item }
    }

    pub(crate) async fn link(&self, host: &TestHost, owner: &str) {
        let body = json!({
            "type": "LINKED", "external_owner_id": owner, "refresh_token": REFRESH_TOKEN,
        });
        let answer = host.post_to(&self.account, WEBHOOK_SECRET, &body).await;
        assert_eq!(answer, (202, json!({ "o": "k" })), "{owner}");
    }

    pub(crate) async fn unlink(&self, host: &TestHost, owner: &str) {
        let body = json!({ "type": "UNLINKED", "external_owner_id": owner });
        let answer = host.post_to(&self.account, WEBHOOK_SECRET, &body).await;
        assert_eq!(answer, (202, json!({ "o": "k" })), "{owner}");
    }

    pub(crate) async fn items(&self, host: &TestHost, owner: &str) -> Vec<Value> {
        let table = &self.item.table;
        host.sql(&format!("select * from {table} where external_owner_id = '{owner}'")).await
    }
}

fn seen_in(items: &[Value]) -> &str {
    let seen = items.iter().find(|item| item["item_id"] == "seen");
    seen.and_then(|item| item["note"].as_str()).unwrap_or_default()
}

fn event() -> Value {
    json!({
        "summary": "a meeting",
        "start": { "dateTime": "2026-11-03T10:00:00Z" },
        "end": { "dateTime": "2026-11-03T11:00:00Z" },
    })
}
