//! A host under a clock that the test moves, a vendor whose clock goes with it, and their users.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rowgate::clock::Clock;
use serde_json::json;
use simulator::model::channel::{Channel, Resource};
use simulator::model::directory::CalendarSpec;
use simulator::{Fault, Options, Outcome, Simulator, Then, When};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use tests::{Settings, TestHost, Tree};

pub(crate) const HOUR_S: i64 = 3_600;
const SECOND_US: i64 = 1_000_000;

/// The vendor's channels live so long, those of every other owner so long at first.
const LIFE_S: i64 = 18 * HOUR_S;
const FIRST_LIFE_S: i64 = 8 * HOUR_S;
/// Share of the notifications that get lost.
const LOST: f64 = 0.05;

/// While work is under way time goes on by so much between two looks: some of it waits for a limit.
const TICK_US: i64 = 20_000;
const LOOK: Duration = Duration::from_millis(1);
/// The host comes to rest within this time on its clock.
const REST_MAX_US: i64 = HOUR_S * SECOND_US;

/// All are linked and watched within this time, looked at so often.
const LINKED_WITHIN_S: i64 = HOUR_S;
const LINK_STEP_S: i64 = 10;

/// A change at the vendor.
struct Change {
    event: String,
    at_us: i64,
}

pub(crate) struct Day {
    pub(crate) host: TestHost,
    pub(crate) tree: Tree,
    /// Notifications that were lost.
    pub(crate) lost: usize,
    clock: Clock,
    simulator: Arc<Simulator>,
    control: SqliteConnection,
    random: ChaCha8Rng,
    users: Vec<String>,
    calendars: Vec<String>,
    changes: Vec<Change>,
    refusal: Option<u64>,
    refused: u64,
}

impl Day {
    /// All owners are linked, watched and up to date.
    pub(crate) async fn begin(seed: u64, owners: usize, calendars_an_owner: usize) -> Self {
        let options = Options { http_callbacks: true, seed, ..Options::default() };
        let simulator = Arc::new(Simulator::start(options).unwrap());
        let clock = Clock::simulated(simulator.model().now_us);
        let settings = Settings::default().simulator(Arc::clone(&simulator)).clock(clock.clone());
        // Its heart beats by the clock, which moves in leaps.
        let settings = settings.env("ROWGATE_RUN_LEASE_TTL_MS", "86400000").on_files();
        let settings = settings
            .env("ROWGATE_RUN_BACK_OFF_BASE_MS", "1000")
            .env("ROWGATE_RUN_BACK_OFF_MAX_MS", "64000");
        let host = settings.env("ROWGATE_PUSH_ALLOW_HTTP", "true").start().await;
        let tree = host.integrations().await;
        let control = open(&host, "control.db").await;
        let mut day = Self {
            host,
            tree,
            lost: 0,
            clock,
            simulator,
            control,
            random: ChaCha8Rng::seed_from_u64(seed),
            users: Vec::new(),
            calendars: Vec::new(),
            changes: Vec::new(),
            refusal: None,
            refused: 0,
        };
        for life_s in [FIRST_LIFE_S, LIFE_S] {
            day.simulator.model().push_rules.life_max_s = life_s;
            day.link(owners / 2, calendars_an_owner).await;
        }
        day.assert_watched_once().await;
        day.simulator.model().push_rules.drop = LOST;
        day
    }

    async fn link(&mut self, owners: usize, calendars: usize) {
        for _ in 0..owners {
            let email = format!("user{}@example.com", self.users.len());
            {
                let mut model = self.simulator.model();
                model.create_user(&email);
                for _ in 1..calendars {
                    let made = model.add_calendar(&email, &CalendarSpec::default()).unwrap();
                    self.calendars.push(made);
                }
            }
            self.calendars.push(email.clone());
            self.host.link(&self.tree, &email, &email).await;
            self.users.push(email);
        }
        // The vendor's limits make some wait.
        for _ in 0..LINKED_WITHIN_S / LINK_STEP_S {
            self.pass(LINK_STEP_S).await;
            if self.live_channels().len() == self.users.len() + self.calendars.len() {
                return;
            }
        }
        panic!("{} channels after {LINKED_WITHIN_S} s", self.live_channels().len());
    }

    /// Adds events to calendars, any of them.
    pub(crate) fn change(&mut self, count: usize) {
        let mut model = self.simulator.model();
        for _ in 0..count {
            let calendar = &self.calendars[self.random.random_range(0..self.calendars.len())];
            let event = format!("change{}", self.changes.len());
            let body = json!({
                "id": event, "summary": event,
                "start": { "dateTime": "2026-11-20T10:00:00Z" },
                "end": { "dateTime": "2026-11-20T11:00:00Z" },
            });
            model.add_event(calendar, &body).unwrap();
            self.changes.push(Change { event, at_us: model.now_us });
        }
    }

    /// Lets the vendor answer half of all watches with 503, or none.
    pub(crate) fn refuse_watches(&mut self, refuses: bool) {
        if refuses == self.refusal.is_some() {
            return;
        }
        if let Some(fault) = self.refusal.take() {
            let armed = self.simulator.faults().into_iter().filter(|armed| armed.id == fault);
            self.refused += armed.map(|armed| armed.hit).sum::<u64>();
            self.simulator.clear_faults(Some(fault));
            return;
        }
        let when = When { probability: Some(0.5), ..When::path("*/watch") };
        let unavailable = Then::Answer { status: 503, body: String::new() };
        self.refusal = Some(self.simulator.add_fault(Fault::when(when, unavailable)));
    }

    /// Watches that met 503 until they were last let through.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// What is under way comes to its end, and time passes.
    pub(crate) async fn pass(&mut self, seconds: i64) {
        self.rest().await;
        let pushes = self.simulator.pushes();
        self.lost += pushes.iter().filter(|push| push.outcome == Outcome::Dropped).count();
        self.simulator.clear_pushes();
        self.simulator.clear_requests();
        self.advance(seconds * SECOND_US);
        self.rest().await;
    }

    fn advance(&self, micros: i64) {
        self.simulator.model().advance(micros);
        self.clock.advance(Duration::from_micros(micros.unsigned_abs()));
    }

    /// Waits until no notification is under way, no owner is due or held, and no post is open.
    async fn rest(&mut self) {
        let mut looks = tokio::time::interval(LOOK);
        let until = self.clock.now() + REST_MAX_US;
        loop {
            self.simulator.await_no_push().await;
            let now = self.clock.now();
            let busy = format!(
                "select (select count(*) from owners where due_at <= {now} or lease_host is not null)
                      + (select count(*) from inbox where done_at is null)"
            );
            let busy = self.number(&busy).await;
            if busy == 0 {
                return;
            }
            assert!(now < until, "{busy} owners don't come to rest");
            looks.tick().await;
            self.advance(TICK_US);
        }
    }

    /// Streams whose last success lies further back.
    pub(crate) async fn streams_not_run_for(&mut self, seconds: i64) -> i64 {
        let since = self.clock.now() - seconds * SECOND_US;
        let late = "select count(*) from streams where coalesce(last_success_at, 0) < ";
        self.number(&format!("{late}{since}")).await
    }

    /// How long each change took to become a row.
    pub(crate) async fn lateness_s(&self) -> Vec<i64> {
        let mut rows = open(&self.host, "replication/default.db").await;
        let arrived =
            format!("select google_id, unixepoch(row_created_at) from {}", self.tree.events());
        let arrived: Vec<(String, i64)> =
            sqlx::query_as(&arrived).fetch_all(&mut rows).await.unwrap();
        let arrived: BTreeMap<String, i64> = arrived.into_iter().collect();
        let late = self.changes.iter().map(|change| {
            let at_s = arrived.get(&change.event);
            at_s.unwrap_or_else(|| panic!("{} has no row", change.event)) - change.at_us / SECOND_US
        });
        late.collect()
    }

    pub(crate) fn live_channels(&self) -> Vec<Channel> {
        let model = self.simulator.model();
        let live = model.channels().values().filter(|channel| channel.is_live(model.now_us));
        live.cloned().collect()
    }

    /// Channels that the vendor ever made.
    pub(crate) fn channels_ever(&self) -> usize {
        self.simulator.model().channels().len()
    }

    /// Every list and every calendar has exactly one live channel, and the host knows those and no other.
    pub(crate) async fn assert_watched_once(&mut self) {
        let live = self.live_channels();
        let mut watched: Vec<String> = live.iter().map(resource).collect();
        watched.sort();
        let lists = self.users.iter().map(|user| format!("list of {user}"));
        let mut all: Vec<String> = lists.chain(self.calendars.iter().cloned()).collect();
        all.sort();
        assert_eq!(watched, all);
        // Of one that the vendor refused nobody can know that it wasn't made: without the vendor's id
        // it stays until it would have expired.
        let known = "select id, state from channels
                     where state <> 'gone' and (state <> 'stopping' or vendor_id is not null)
                     order by id";
        let known: Vec<(String, String)> =
            sqlx::query_as(known).fetch_all(&mut self.control).await.unwrap();
        let mut live: Vec<(String, String)> =
            live.into_iter().map(|channel| (channel.id, "active".to_owned())).collect();
        live.sort();
        assert!(known == live, "the host knows {known:?}, the vendor {live:?}");
    }

    async fn number(&mut self, sql: &str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut self.control).await.unwrap()
    }
}

async fn open(host: &TestHost, name: &str) -> SqliteConnection {
    let path = host.data_dir().join(name);
    SqliteConnectOptions::new().filename(path).read_only(true).connect().await.unwrap()
}

fn resource(channel: &Channel) -> String {
    match &channel.resource {
        Resource::Events(calendar) => calendar.clone(),
        Resource::CalendarList => format!("list of {}", channel.user),
    }
}
