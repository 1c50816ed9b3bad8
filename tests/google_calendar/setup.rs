//! Short forms of what every case needs.

use std::collections::BTreeMap;
use std::ops::Deref;

use serde_json::{Value, json};
use simulator::{Fault, Pages, Seen, Then, When};
use tests::{Settings, TestHost, Tree};

pub(crate) const ANA: &str = "ana@example.com";
pub(crate) const BO: &str = "bo@example.com";
pub(crate) const OWNER: &str = "customer-1";

/// The far instance of [`Case::add_far`].
pub(crate) const FAR: &str = "far_20270830T100000Z";

/// A host with all four integrations, and Ana's account with one event, `one`.
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

impl Case {
    /// Nobody is linked.
    pub(crate) async fn unlinked() -> Self {
        Self::unlinked_with(Settings::default()).await
    }

    pub(crate) async fn unlinked_with(settings: Settings) -> Self {
        let host = settings.start().await;
        let tree = host.all_integrations().await;
        host.simulator.model().create_user(ANA);
        host.simulator.model().add_event(ANA, &single("one", 3)).unwrap();
        Self { host, tree }
    }

    /// The owner is linked with Ana's account and up to date.
    pub(crate) async fn linked() -> Self {
        let case = Self::unlinked().await;
        case.host.link(&case.tree, OWNER, ANA).await;
        case.settle().await;
        case.matches().await;
        case.simulator.clear_requests();
        case
    }

    /// Linked; then a refresh token that Google no longer knows.
    pub(crate) async fn grant_dead() -> Self {
        let case = Self::linked().await;
        case.dead_token().await;
        case.simulator.clear_requests();
        case
    }

    pub(crate) async fn dead_token(&self) {
        self.host.post_with(&self.tree, "REFRESHED", OWNER, ANA, "1//dead").await;
        self.settle().await;
        assert_eq!(self.owner(OWNER).await["state"], "grant dead");
    }

    /// REFRESHED, and everything it makes due.
    pub(crate) async fn catch_up(&self) {
        self.host.refresh(&self.tree, OWNER, ANA).await;
        self.settle().await;
    }

    /// RESYNC, and everything it makes due.
    pub(crate) async fn read_again(&self) {
        self.host.resync(&self.tree, OWNER).await;
        self.settle().await;
    }

    pub(crate) async fn matches(&self) {
        self.host.assert_matches_model(&self.tree).await;
    }

    pub(crate) fn add(&self, event: Value) -> String {
        self.simulator.model().add_event(ANA, &event).unwrap()
    }

    /// Statuses of expanded events in Ana's primary calendar.
    pub(crate) async fn expanded(&self) -> BTreeMap<String, String> {
        self.statuses(self.tree.events(), ANA).await
    }

    /// Statuses of source events in Ana's primary calendar.
    pub(crate) async fn sources(&self) -> BTreeMap<String, String> {
        self.statuses(self.tree.sources(), ANA).await
    }

    /// Table and pk of each row that the change feed tells of, whether it was deleted, and by which
    /// commit.
    pub(crate) async fn feed(&self) -> Vec<(String, bool, i64)> {
        let query = "select table_name || ' ' || pk, deleted, commit_id from rowgate_feed \
                     order by table_name, pk";
        self.beside_tables(query).await
    }

    /// The one expanded row with this id in Ana's primary calendar.
    pub(crate) async fn row(&self, id: &str) -> Value {
        let rows = self.events(&self.tree, OWNER).await.into_iter();
        let in_primary = rows.filter(|row| row["google_calendar_id"] == ANA);
        let mut rows: Vec<Value> = in_primary.filter(|row| row["google_id"] == id).collect();
        assert_eq!(rows.len(), 1, "rows of {id}");
        rows.remove(0)
    }

    /// A series with an instance so far away that neither deltas nor full listings tell of its end:
    /// once it is over, only a sweep cancels [`FAR`].
    pub(crate) fn add_far(&self) {
        self.add(series("far", 3, "FREQ=DAILY;INTERVAL=300;COUNT=2"));
    }

    /// Deletes that series, without any delta telling so.
    pub(crate) fn end_far_silently(&self) {
        let mut model = self.simulator.model();
        model.quirks.deltas_without_deletions = vec![ANA.to_owned()];
        model.delete_series(ANA, "far").unwrap();
    }

    pub(crate) fn fault(&self, when: When, then: Then) -> u64 {
        self.simulator.add_fault(Fault::when(when, then))
    }

    /// How often a fault hit.
    pub(crate) fn hits(&self, fault: u64) -> u64 {
        let faults = self.simulator.faults();
        faults.iter().find(|armed| armed.id == fault).map_or(0, |armed| armed.hit)
    }

    /// Listings since the requests were last cleared, each `calendars` or `events` or `source`,
    /// then `full` or `delta`.
    pub(crate) fn listings(&self) -> Vec<String> {
        let mut listings: Vec<String> =
            self.simulator.requests().iter().filter_map(listing).collect();
        listings.sort();
        listings.dedup();
        listings
    }

    /// How many refresh tokens were exchanged.
    pub(crate) fn token_requests(&self) -> usize {
        self.simulator.requests().iter().filter(|seen| seen.path == "/token").count()
    }
}

fn listing(seen: &Seen) -> Option<String> {
    let feed = match seen.path.as_str() {
        path if path.ends_with("/calendarList") => "calendars",
        path if !path.ends_with("/events") => return None,
        _ if seen.query.contains("singleEvents=true") => "events",
        _ => "source",
    };
    let kind = if seen.query.contains("syncToken=") { "delta" } else { "full" };
    Some(format!("{feed} {kind}"))
}

/// Requests for the expanded events of a calendar of the simulator.
pub(crate) fn expanded_feed() -> When {
    When { query: Some("*singleEvents=true*".to_owned()), ..When::path("*/events") }
}

pub(crate) fn first(when: When) -> When {
    When { page: Some(Pages::First), ..when }
}

pub(crate) fn later(when: When) -> When {
    When { page: Some(Pages::Later), ..when }
}

/// A one-hour event on a day of November 2026.
pub(crate) fn single(id: &str, day: u32) -> Value {
    json!({
        "id": id, "summary": id,
        "start": { "dateTime": format!("2026-11-{day:02}T10:00:00Z") },
        "end": { "dateTime": format!("2026-11-{day:02}T11:00:00Z") },
    })
}

/// The same, with a rule.
pub(crate) fn series(id: &str, day: u32, rule: &str) -> Value {
    let mut event = single(id, day);
    event["recurrence"] = json!([format!("RRULE:{rule}")]);
    event
}

/// Ids of what isn't cancelled.
pub(crate) fn live(statuses: &BTreeMap<String, String>) -> Vec<&str> {
    let live = statuses.iter().filter(|(_, status)| *status != "cancelled");
    live.map(|(id, _)| id.as_str()).collect()
}
