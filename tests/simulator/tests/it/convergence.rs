//! A client that reads full listings and deltas, and knows the documented pitfalls, ends with what
//! the model holds, whatever changes meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use simulator::model::calendar::Role;
use simulator::model::directory::CalendarSpec;
use simulator::model::error::ApiError;
use simulator::model::expected::ExpectedEvent;
use simulator::model::feed::Page;
use simulator::model::generate::Mix;
use simulator::model::query::EventQuery;
use simulator::model::time::{EventTime, zone};
use simulator::model::{Model, random_change};

use crate::setup::{ANA, BO, NOW_US, calendars, events, params, parsed};

const SEEDS: u64 = 60;
const CONTACTS: &str = "addressbook#contacts@group.v.calendar.google.com";

#[test]
fn full_listings_and_deltas_converge() {
    for seed in 0..SEEDS {
        println!("seed {seed}");
        converge(seed);
    }
}

fn converge(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut model = Model::new(seed, NOW_US);
    for user in [ANA, BO] {
        model.create_user(user);
        model.generate_events(user, 25, Mix::Mixed).unwrap();
    }
    let contacts = CalendarSpec { id: Some(CONTACTS.to_owned()), ..CalendarSpec::default() };
    model.add_calendar(ANA, &contacts).unwrap();
    model.generate_events(CONTACTS, 10, Mix::Mixed).unwrap();
    let mut copy = Copy::new(seed);
    for _ in 0..12 {
        for _ in 0..rng.random_range(0..8) {
            copy.log.extend(random_change(&mut model, &mut rng));
        }
        copy.sync(&mut model, true);
        copy.log.push("-- synced".to_owned());
        model.advance(3_600_000_000);
    }
    copy.sync(&mut model, false);
    copy.compare(&model, &format!("seed {seed}\n{}", copy.log.join("\n")));
}

/// What a client stores.
struct Copy {
    lists: BTreeMap<String, List>,
    feeds: BTreeMap<(String, String, bool), Feed>,
    rng: ChaCha8Rng,
    log: Vec<String>,
}

#[derive(Default)]
struct List {
    token: Option<String>,
    /// Whether hidden, by calendar id. Deleted ones are left out.
    live: BTreeMap<String, bool>,
}

#[derive(Default)]
struct Feed {
    token: Option<String>,
    rows: BTreeMap<String, Row>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    status: String,
    start: String,
    end: String,
    master: Option<String>,
}

/// What a pass over one feed read.
enum Pass {
    Unreadable,
    Full,
    Delta(Vec<Value>),
}

impl Copy {
    fn new(seed: u64) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed + 1_000);
        Self { lists: BTreeMap::new(), feeds: BTreeMap::new(), rng, log: Vec::new() }
    }

    fn sync(&mut self, model: &mut Model, disturb: bool) {
        for user in [ANA, BO] {
            self.sync_list(model, user, disturb);
            let live = self.lists[user].live.clone();
            self.feeds
                .retain(|(owner, calendar, _), _| owner != user || live.contains_key(calendar));
            for calendar in live.keys() {
                self.sync_calendar(model, user, calendar, disturb);
            }
        }
    }

    fn sync_list(&mut self, model: &mut Model, user: &str, disturb: bool) {
        let token = self.lists.entry(user.to_owned()).or_default().token.clone();
        let start = match &token {
            Some(token) => format!("maxResults=2&syncToken={token}"),
            None => "maxResults=2&showHidden=true".to_owned(),
        };
        let read = |model: &Model, page: &str| calendars(model, user, &format!("{start}{page}"));
        let (items, token) = self.pages(model, disturb, read).unwrap();
        let list = self.lists.get_mut(user).unwrap();
        list.token = Some(token.unwrap());
        for item in items {
            let id = item["id"].as_str().unwrap().to_owned();
            match item["deleted"] == true {
                true => list.live.remove(&id),
                false => list.live.insert(id, item["hidden"] == true),
            };
        }
    }

    /// Both feeds of a calendar, then the series that the source feed says have changed: the
    /// expanded feed doesn't report every instance that went with them.
    fn sync_calendar(&mut self, model: &mut Model, user: &str, calendar: &str, disturb: bool) {
        let source = self.sync_feed(model, user, calendar, false, disturb);
        if !matches!(source, Pass::Delta(_)) {
            self.feed(user, calendar, true).token = None;
        }
        self.sync_feed(model, user, calendar, true, disturb);
        let Pass::Delta(items) = source else { return };
        let changed = items.iter().filter(|item| item["recurringEventId"].is_null());
        let changed: BTreeSet<&str> = changed.filter_map(|item| item["id"].as_str()).collect();
        for master in changed {
            self.read_series(model, user, calendar, master);
        }
    }

    fn read_series(&mut self, model: &Model, user: &str, calendar: &str, master: &str) {
        let query = EventQuery::parse(params("maxResults=2500")).unwrap();
        let alive = model.calendar(calendar).ok().and_then(|c| c.event(master));
        let (alive, single) = alive.map_or((false, false), |event| {
            (event.is_live() && event.is_master(), event.is_live() && !event.is_master())
        });
        let read = model.list_instances(user, calendar, master, &query);
        let feed = self.feed(user, calendar, true);
        feed.rows.retain(|_, row| row.master.as_deref() != Some(master));
        if !single {
            // It may have become a series and died as one, all since the last look.
            feed.rows.remove(master);
        }
        if alive {
            for item in parsed(&read.unwrap()) {
                feed.apply(&item, true);
            }
        }
    }

    fn sync_feed(
        &mut self,
        model: &mut Model,
        user: &str,
        calendar: &str,
        expanded: bool,
        disturb: bool,
    ) -> Pass {
        let role = model.calendar(calendar).map_or(Role::None, |calendar| calendar.role(user));
        if calendar == CONTACTS || role == Role::FreeBusyReader {
            // Deltas can't be trusted, or don't show which series changed.
            self.feed(user, calendar, expanded).token = None;
        }
        for _ in 0..10 {
            let token = self.feed(user, calendar, expanded).token.take();
            let start = format!("maxResults=23&singleEvents={expanded}");
            let start = match &token {
                Some(token) => format!("{start}&syncToken={token}"),
                None => start,
            };
            let read = |model: &Model, page: &str| {
                events(model, user, calendar, &format!("{start}{page}"))
            };
            match self.pages(model, disturb, read) {
                Ok((items, next)) => {
                    let feed = self.feed(user, calendar, expanded);
                    if token.is_none() {
                        feed.rows.clear();
                    }
                    for item in &items {
                        feed.apply(item, expanded);
                    }
                    feed.token = Some(next.unwrap());
                    return if token.is_none() { Pass::Full } else { Pass::Delta(items) };
                }
                Err(error) if error.status == 410 => {}
                Err(error) => {
                    assert_eq!(error.status, 404);
                    self.feed(user, calendar, expanded).rows.clear();
                    return Pass::Unreadable;
                }
            }
        }
        panic!("410 without end");
    }

    /// Reads all pages; sometimes the service changes between two of them.
    fn pages(
        &mut self,
        model: &mut Model,
        disturb: bool,
        read: impl Fn(&Model, &str) -> Result<Page, ApiError>,
    ) -> Result<(Vec<Value>, Option<String>), ApiError> {
        let mut items = Vec::new();
        let mut page = read(model, "")?;
        loop {
            items.extend(parsed(&page));
            let Some(token) = page.next_page_token else {
                return Ok((items, page.next_sync_token));
            };
            if disturb && self.rng.random_bool(0.1) {
                let change = random_change(model, &mut self.rng);
                self.log.extend(change.map(|change| format!("between pages: {change}")));
            }
            page = read(model, &format!("&pageToken={token}"))?;
        }
    }

    fn feed(&mut self, user: &str, calendar: &str, expanded: bool) -> &mut Feed {
        self.feeds.entry((user.to_owned(), calendar.to_owned(), expanded)).or_default()
    }

    fn compare(&self, model: &Model, log: &str) {
        for (user, calendars) in model.expected().users {
            let live = calendars.iter().filter(|(_, calendar)| !calendar.deleted);
            let hidden: BTreeMap<String, bool> =
                live.clone().map(|(id, calendar)| (id.clone(), calendar.hidden)).collect();
            assert_eq!(self.lists[&user].live, hidden, "{user} {log}");
            for (id, calendar) in live {
                for (expanded, wanted) in [(true, &calendar.expanded), (false, &calendar.source)] {
                    let key = (user.clone(), id.clone(), expanded);
                    let wanted = wanted.iter().map(|(id, event)| (id.clone(), Row::of(event)));
                    let wanted: BTreeMap<String, Row> = wanted.collect();
                    let found = &self.feeds[&key].rows;
                    let stale = found.iter().filter(|row| !wanted.contains_key(row.0));
                    let wrong = wanted.iter().filter(|row| found.get(row.0) != Some(row.1));
                    let wrong = wrong.map(|(id, row)| (id, row, found.get(id)));
                    let (stale, wrong): (Vec<_>, Vec<_>) = (stale.collect(), wrong.collect());
                    let fits = stale.is_empty() && wrong.is_empty();
                    assert!(fits, "{log}\n{key:?}\nstale {stale:#?}\nwrong {wrong:#?}");
                }
            }
        }
    }
}

impl Feed {
    fn apply(&mut self, item: &Value, expanded: bool) {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let id = text(&item["id"]).unwrap();
        if item["status"] == "cancelled" {
            self.rows.remove(&id);
            return;
        }
        let time =
            |name: &str| EventTime::parse(&item[name], zone("UTC").unwrap()).unwrap().to_utc_text();
        let master = text(&item["recurringEventId"]);
        // A single event that became a series is never reported as gone.
        if let Some(master) = master.as_ref().filter(|_| expanded) {
            self.rows.remove(master);
        }
        let status = text(&item["status"]).unwrap();
        self.rows.insert(id, Row { status, start: time("start"), end: time("end"), master });
    }
}

impl Row {
    fn of(event: &ExpectedEvent) -> Self {
        Self {
            status: event.status.clone(),
            start: event.start.clone(),
            end: event.end.clone(),
            master: event.recurring_event_id.clone(),
        }
    }
}
