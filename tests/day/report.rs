//! What a day shows: once an hour how far it is, and of what went wrong the first few.

use std::collections::BTreeMap;
use std::io::Write;

use super::setup::{Day, HOUR_S, SECOND_US};

/// Of a kind so many are shown.
const SHOWN: usize = 10;

/// How a stream `s` of an owner `o` stands: JSON text, with times beside that in the place of NOW.
const STREAM: &str = "
    json_object('owner', o.external_owner_id, 'owner_state', o.state, 'lease', o.lease_host,
      'service', s.service, 'kind', s.kind, 'key', s.key, 'taken', s.taken,
      'due_in_s', (s.due_at - NOW) / 1000000,
      'rests_s', (max(s.not_before, o.not_before) - NOW) / 1000000,
      'ended_s_ago', (NOW - s.last_success_at) / 1000000,
      'attempts', s.attempts, 'unreadable', s.unreadable, 'last_error', s.last_error)";

/// The same of an owner.
const OWNER: &str = "
    json_object('owner', o.external_owner_id, 'state', o.state, 'lease', o.lease_host,
      'due_in_s', (o.due_at - NOW) / 1000000, 'rests_s', (o.not_before - NOW) / 1000000,
      'attempts', o.attempts,
      'posts', (select count(*) from inbox i where i.owner_id = o.id and i.done_at is null),
      'last_error', (select s.last_error from streams s
                     where s.owner_id = o.id and s.last_error is not null
                     order by s.last_error_at desc limit 1))";

impl Day {
    /// A line for each hour of the day that has begun since the last one.
    pub(crate) async fn tell_of_hour(&mut self) {
        let hour = (self.clock.now() - self.began_us) / (HOUR_S * SECOND_US);
        if hour > self.told_hour {
            self.told_hour = hour;
            self.tell().await;
        }
    }

    /// A line of how far it is, how long that took, and how things stand.
    pub(crate) async fn tell(&mut self) {
        let streams = self.number("select count(*) from streams").await;
        let current = "select count(*) from streams
                       where attempts = 0 and unreadable is null and last_success_at is not null";
        let current = self.number(current).await;
        let line = format!(
            "hour {}, after {} min: {current} of {streams} streams current, {} channels live, \
             {} changes, {} pushes lost, {} watches refused\n",
            self.told_hour,
            self.began.elapsed().as_secs() / 60,
            self.live_channels().len(),
            self.changes.len(),
            self.lost,
            self.refused(),
        );
        // What a macro prints is seen when the test has ended, which is hours from now.
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }

    /// Streams that didn't come to an end for so long.
    pub(crate) async fn streams_not_run_for(&mut self, seconds: i64) -> Vec<String> {
        let since = self.clock.now() - seconds * SECOND_US;
        self.first_of(&format!(
            "select {STREAM} from streams s join owners o on o.id = s.owner_id
             where coalesce(s.last_success_at, 0) < {since} order by s.last_success_at"
        ))
        .await
    }

    /// Owners that are due, held, or have posts that aren't done.
    pub(crate) async fn busy_owners(&mut self) -> Vec<String> {
        self.first_of(&format!(
            "select {OWNER} from owners o
             where o.due_at <= NOW or o.lease_host is not null
               or o.id in (select owner_id from inbox where done_at is null)
             order by o.due_at"
        ))
        .await
    }

    async fn first_of(&mut self, query: &str) -> Vec<String> {
        let query = query.replace("NOW", &self.clock.now().to_string());
        let query = format!("{query} limit {SHOWN}");
        sqlx::query_scalar(&query).fetch_all(&mut self.control).await.unwrap()
    }
}

/// What was found more often than wanted, and by how much; less than nothing: too rarely.
pub(crate) fn difference<T: Ord>(
    found: impl IntoIterator<Item = T>,
    wanted: impl IntoIterator<Item = T>,
) -> Vec<(T, i64)> {
    let mut surplus: BTreeMap<T, i64> = BTreeMap::new();
    for one in found {
        *surplus.entry(one).or_default() += 1;
    }
    for one in wanted {
        *surplus.entry(one).or_default() -= 1;
    }
    surplus.into_iter().filter(|(_, by)| *by != 0).take(SHOWN).collect()
}

#[test]
fn what_differs_is_counted() {
    let difference = difference(["a", "b", "b", "c"], ["a", "b", "d"]);
    assert_eq!(difference, [("b", 1), ("c", 1), ("d", -1)]);
}
