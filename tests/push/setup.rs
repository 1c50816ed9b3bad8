//! A host that vendors can push to, and what every case asks of it.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use rowgate::clock::Clock;
use serde_json::{Value, json};
use simulator::model::channel::{Channel, Resource};
use simulator::model::push::PushRules;
use simulator::{Options, Seen, Simulator, When};
use tests::{Settings, TestHost, Tree};

pub(crate) const ANA: &str = "ana@example.com";
pub(crate) const OWNER: &str = "customer-1";
pub(crate) const LIST: &str = "(list)";

const SECOND_US: i64 = 1_000_000;
pub(crate) const DAY_S: i64 = 86_400;

/// A host with both forms of events, which share a channel a calendar, and Ana's account.
pub(crate) struct Case {
    pub(crate) host: TestHost,
    pub(crate) tree: Tree,
    /// Of the host; none: the system's.
    clock: Option<Clock>,
}

impl Deref for Case {
    type Target = TestHost;

    fn deref(&self) -> &TestHost {
        &self.host
    }
}

/// A simulator that takes addresses without TLS; its clock stands at `now_us`, or later.
fn simulator(now_us: i64) -> Arc<Simulator> {
    let options = Options { http_callbacks: true, ..Options::default() };
    let simulator = Arc::new(Simulator::start(options).unwrap());
    let ahead_us = now_us - simulator.model().now_us;
    simulator.advance(ahead_us / SECOND_US);
    simulator
}

impl Case {
    /// A host process, nobody linked.
    pub(crate) async fn unlinked() -> Self {
        let settings = Settings::default().simulator(simulator(Clock::System.now()));
        Self::with(settings, None).await
    }

    /// The same, with waits after failures that outlast a case.
    pub(crate) async fn patient() -> Self {
        let settings = Settings::default().simulator(simulator(Clock::System.now()));
        Self::with(settings.env("ROWGATE_RUN_BACK_OFF_MAX_MS", "60000"), None).await
    }

    /// The same; when it dies, its leases soon run out.
    pub(crate) async fn mortal() -> Self {
        let settings = Settings::default().simulator(simulator(Clock::System.now()));
        Self::with(settings.env("ROWGATE_RUN_LEASE_TTL_MS", "3000"), None).await
    }

    /// The host inside the test, under a clock that stands still.
    pub(crate) async fn timed() -> Self {
        let simulator = simulator(0);
        let clock = Clock::simulated(simulator.model().now_us);
        // A run must not lose its lease because the clock leaps: who takes it up waits for the vendor's
        // limits, on a clock that then stands still.
        let settings = Settings::default()
            .simulator(simulator)
            .clock(clock.clone())
            .env("ROWGATE_RUN_LEASE_TTL_MS", "864000000");
        Self::with(settings, Some(clock)).await
    }

    async fn with(settings: Settings, clock: Option<Clock>) -> Self {
        let host = settings.env("ROWGATE_PUSH_ALLOW_HTTP", "true").start().await;
        let tree = host.all_integrations().await;
        host.simulator.model().create_user(ANA);
        host.simulator.model().add_event(ANA, &single("one", 3)).unwrap();
        Self { host, tree, clock }
    }

    /// The owner is linked with Ana's account, watched and up to date.
    pub(crate) async fn linked(self) -> Self {
        self.host.link(&self.tree, OWNER, ANA).await;
        self.rest().await;
        self.watched(&[LIST, ANA]).await;
        self.simulator.clear_requests();
        self.simulator.clear_pushes();
        self
    }

    /// Waits until nothing is under way, neither here nor at the vendor.
    pub(crate) async fn rest(&self) {
        self.settle().await;
        self.simulator.await_no_push().await;
        self.settle().await;
    }

    /// Waits until no owner is held or due before the clock moves on; what waits after a failure isn't.
    pub(crate) async fn nothing_is_due(&self) {
        let now = self.clock.as_ref().expect("a case with a clock of its own").now();
        let due = format!(
            "select external_owner_id, lease_host, due_at - {now}, not_before - {now} from owners
             where lease_host is not null or due_at <= {now}"
        );
        type Due = (String, Option<String>, Option<i64>, i64);
        self.until_none("owner, its host, when it is due, its pause", async || {
            self.control::<Due>(&due).await
        })
        .await;
    }

    /// Moves both clocks.
    pub(crate) fn advance(&self, seconds: i64) {
        self.simulator.advance(seconds);
        let clock = self.clock.as_ref().expect("a case with a clock of its own");
        clock.advance(Duration::from_secs(seconds.unsigned_abs()));
    }

    /// What the vendor watches for Ana, each once for each live channel, in order.
    pub(crate) fn watches(&self) -> Vec<String> {
        let mut names: Vec<String> = self.live_channels().iter().map(resource).collect();
        names.sort();
        names
    }

    pub(crate) fn live_channels(&self) -> Vec<Channel> {
        let model = self.simulator.model();
        let channels = model.channels().values().filter(|channel| channel.is_live(model.now_us));
        channels.cloned().collect()
    }

    /// The one live channel on a resource.
    pub(crate) fn channel(&self, name: &str) -> Channel {
        let mut found: Vec<Channel> =
            self.live_channels().into_iter().filter(|c| resource(c) == name).collect();
        assert_eq!(found.len(), 1, "live channels on {name}");
        found.remove(0)
    }

    /// Waits until the vendor watches exactly these, and the host knows of exactly these channels.
    pub(crate) async fn watched(&self, names: &[&str]) {
        let mut names: Vec<&str> = names.to_vec();
        names.sort_unstable();
        self.until(&format!("watched: {names:?}"), async || {
            let mut live: Vec<String> =
                self.live_channels().into_iter().map(|channel| channel.id).collect();
            live.sort();
            let known = "select id, state from channels where state <> 'gone' order by id";
            let known = self.control::<(String, String)>(known).await;
            let active = known.iter().filter(|(_, state)| state == "active");
            // The vendor has made a channel before the host has heard so.
            let all_active = active.clone().count() == known.len();
            self.watches() == names && all_active && active.map(|(id, _)| id).eq(&live)
        })
        .await;
    }

    /// Secrets of owners, sealed in whatever place.
    pub(crate) async fn secrets(&self) -> i64 {
        self.number(
            "select (select count(*) from owner_secrets where sealed is not null)
                  + (select count(*) from inbox where sealed <> '{}')",
        )
        .await
    }

    /// How often the change feed moved.
    pub(crate) async fn feed(&self) -> i64 {
        let moved = "select coalesce(max(commit_id), 0) from rowgate_feed";
        self.beside_tables::<(i64,)>(moved).await[0].0
    }

    /// Channel, vendor's id and expiry that a row shows: of the list, or of a calendar.
    pub(crate) async fn shown(&self, name: &str) -> (Value, Value, Value) {
        let (table, prefix, which) = match name {
            LIST => (&self.tree.list.table, "", "true".to_owned()),
            calendar => (&self.tree.calendar.table, "events_", format!("google_id = '{calendar}'")),
        };
        let rows = self
            .sql(&format!(
                "select {prefix}watch_channel_id as id, {prefix}watch_resource_id as vendor,
                        {prefix}watch_channel_expiration as expires
                 from {table} where external_owner_id = '{OWNER}' and {which}"
            ))
            .await;
        assert_eq!(rows.len(), 1, "rows of {name}");
        (rows[0]["id"].clone(), rows[0]["vendor"].clone(), rows[0]["expires"].clone())
    }

    /// Statuses of the watches and stops since the requests were last cleared.
    pub(crate) fn asked(&self, path: &str) -> Vec<Seen> {
        let requests = self.simulator.requests().into_iter();
        requests.filter(|seen| seen.path.ends_with(path)).collect()
    }

    /// Posts a notification by hand, to the calendars' endpoint.
    pub(crate) async fn notify(&self, id: &str, token: Option<&str>, vendor_id: &str) -> u16 {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client
            .post(format!("{}{}", self.base_url(), self.tree.calendar.path))
            .header("X-Goog-Channel-ID", id)
            .header("X-Goog-Resource-ID", vendor_id)
            .header("X-Goog-Resource-State", "exists");
        if let Some(token) = token {
            request = request.header("X-Goog-Channel-Token", token);
        }
        request.send().await.unwrap().status().as_u16()
    }

    pub(crate) fn rules(&self, change: impl FnOnce(&mut PushRules)) {
        change(&mut self.simulator.model().push_rules);
    }

    pub(crate) fn add(&self, calendar: &str, id: &str) {
        self.simulator.model().add_event(calendar, &single(id, 5)).unwrap();
    }

    /// Waits until the event has a row in both tables.
    pub(crate) async fn arrives(&self, calendar: &str, id: &str) {
        self.until(&format!("{id} has arrived"), async || {
            let [expanded, source] = [self.tree.events(), self.tree.sources()];
            self.statuses(expanded, calendar).await.contains_key(id)
                && self.statuses(source, calendar).await.contains_key(id)
        })
        .await;
    }
}

fn resource(channel: &Channel) -> String {
    match &channel.resource {
        Resource::Events(calendar) => calendar.clone(),
        Resource::CalendarList => LIST.to_owned(),
    }
}

pub(crate) fn stops() -> When {
    When::path("*/channels/stop")
}

pub(crate) fn single(id: &str, day: u32) -> Value {
    json!({
        "id": id, "summary": id,
        "start": { "dateTime": format!("2026-11-{day:02}T10:00:00Z") },
        "end": { "dateTime": format!("2026-11-{day:02}T11:00:00Z") },
    })
}
