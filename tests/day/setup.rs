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
use tokio::time::{Instant, MissedTickBehavior};

use super::report::difference;

pub(crate) const HOUR_S: i64 = 3_600;
pub(crate) const SECOND_US: i64 = 1_000_000;

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
pub(crate) struct Change {
    calendar: String,
    event: String,
    at_us: i64,
}

pub(crate) struct Day {
    pub(crate) host: TestHost,
    pub(crate) tree: Tree,
    /// Notifications that were lost.
    pub(crate) lost: usize,
    pub(crate) clock: Clock,
    pub(crate) control: SqliteConnection,
    pub(crate) changes: Vec<Change>,
    /// In real time, and on the clock.
    pub(crate) began: Instant,
    pub(crate) began_us: i64,
    /// The last hour that a line told of.
    pub(crate) told_hour: i64,
    simulator: Arc<Simulator>,
    random: ChaCha8Rng,
    users: Vec<String>,
    calendars: Vec<String>,
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
            began: rowgate::clock::monotonic(),
            began_us: clock.now(),
            told_hour: 0,
            clock,
            control,
            changes: Vec::new(),
            simulator,
            random: ChaCha8Rng::seed_from_u64(seed),
            users: Vec::new(),
            calendars: Vec::new(),
            refusal: None,
            refused: 0,
        };
        for life_s in [FIRST_LIFE_S, LIFE_S] {
            day.simulator.model().push_rules.life_max_s = life_s;
            day.link(owners / 2, calendars_an_owner).await;
            day.tell().await;
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
        let (busy, unlike) = (self.busy_owners().await, self.not_watched_once());
        panic!("after {LINKED_WITHIN_S} s not one channel each: {unlike:#?}, busy: {busy:#?}");
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
            let (calendar, at_us) = (calendar.clone(), model.now_us);
            self.changes.push(Change { calendar, event, at_us });
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
        self.tell_of_hour().await;
    }

    fn advance(&self, micros: i64) {
        self.simulator.model().advance(micros);
        self.clock.advance(Duration::from_micros(micros.unsigned_abs()));
    }

    /// Waits until no notification is under way, no owner is due or held, and no post is open.
    async fn rest(&mut self) {
        let mut looks = tokio::time::interval(LOOK);
        // One that took long isn't made up for: the clock would leap past what is under way.
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let until = self.clock.now() + REST_MAX_US;
        loop {
            self.simulator.await_no_push().await;
            let now = self.clock.now();
            // From indexes alone: it is asked all the time.
            let busy = format!(
                "select (select count(*) from owners where due_at <= {now})
                      + (select count(*) from owners where lease_host is not null)
                      + (select count(*) from inbox where done_at is null)"
            );
            if self.number(&busy).await == 0 {
                return;
            }
            if now >= until {
                panic!("these don't come to rest: {:#?}", self.busy_owners().await);
            }
            looks.tick().await;
            self.advance(TICK_US);
        }
    }

    /// How long each change took to become a row, and which it is.
    pub(crate) async fn lateness_s(&self) -> Vec<(i64, String)> {
        let mut rows = open(&self.host, "replication/default.db").await;
        let arrived =
            format!("select google_id, unixepoch(row_created_at) from {}", self.tree.events());
        let arrived: Vec<(String, i64)> =
            sqlx::query_as(&arrived).fetch_all(&mut rows).await.unwrap();
        let arrived: BTreeMap<String, i64> = arrived.into_iter().collect();
        let missing: Vec<String> = self
            .changes
            .iter()
            .filter(|change| !arrived.contains_key(&change.event))
            .map(Change::name)
            .collect();
        assert!(missing.is_empty(), "{} have no row, the first: {}", missing.len(), missing[0]);
        let late = |change: &Change| arrived[&change.event] - change.at_us / SECOND_US;
        self.changes.iter().map(|change| (late(change), change.name())).collect()
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
        let unlike = self.not_watched_once();
        assert!(unlike.is_empty(), "live channels, more than one each: {unlike:#?}");
        // Of one that the vendor refused nobody can know that it wasn't made: without the vendor's id
        // it stays until it would have expired.
        let known = "select id, state from channels
                     where state <> 'gone' and (state <> 'stopping' or vendor_id is not null)";
        let known: Vec<(String, String)> =
            sqlx::query_as(known).fetch_all(&mut self.control).await.unwrap();
        let live = self.live_channels().into_iter();
        let unlike = difference(known, live.map(|channel| (channel.id, "active".to_owned())));
        assert!(unlike.is_empty(), "the host knows more than the vendor: {unlike:#?}");
    }

    /// What has more live channels than one, or none.
    fn not_watched_once(&self) -> Vec<(String, i64)> {
        let lists = self.users.iter().map(|user| format!("list of {user}"));
        let all = lists.chain(self.calendars.iter().cloned());
        difference(self.live_channels().iter().map(resource), all)
    }

    pub(crate) async fn number(&mut self, sql: &str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut self.control).await.unwrap()
    }
}

impl Change {
    fn name(&self) -> String {
        format!("{} of {}", self.event, self.calendar)
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
