//! Under a clock that the tests move.

use super::*;
use crate::store::fixture;
use crate::store::query_as;

const OWNER: RateLimit =
    RateLimit { per: RateScope::Owner, requests: 600, window_s: 60, rate_s: 8 };
const TREE: RateLimit =
    RateLimit { per: RateScope::Tree, requests: 1_000, window_s: 60, rate_s: 15 };

const SECOND: Micros = 1_000_000;
const WINDOW: Micros = 60 * SECOND;

fn counted(owner_id: OwnerId) -> Counted {
    Counted { owner_id, root_id: "svi_1".into() }
}

fn own() -> [Due<'static>; 1] {
    [Due { which: (0, 0), limit: &OWNER }]
}

fn of_tree() -> [Due<'static>; 1] {
    [Due { which: (0, 1), limit: &TREE }]
}

fn dues() -> [Due<'static>; 2] {
    [own()[0], of_tree()[0]]
}

/// By a host that is the only one.
fn take(
    buckets: &Buckets,
    owner_id: OwnerId,
    dues: &[Due<'_>],
    now: Micros,
) -> Result<Duration, HttpError> {
    match buckets.take_now(&counted(owner_id), dues, now)? {
        Taken::All(wait) => Ok(wait),
        Taken::Lacks(_) => panic!("there is nobody to ask"),
    }
}

fn after(now: Micros, wait: Duration) -> Micros {
    now + Micros::try_from(wait.as_micros()).unwrap()
}

/// When each of as many requests as will go is sent, if every one is asked for at once.
fn greedy(buckets: &Buckets, from: Micros, to: Micros) -> Vec<Micros> {
    let (mut now, mut sent) = (from, Vec::new());
    while now < to {
        match take(buckets, 1, &dues(), now) {
            Ok(wait) => {
                now = after(now, wait);
                sent.push(now);
            }
            Err(_) => now += SECOND / 10,
        }
    }
    sent
}

/// The most that were sent in any window.
fn most(sent: &[Micros]) -> usize {
    let mut sent = sent.to_vec();
    sent.sort_unstable();
    let within = |nth: usize| sent[nth..].iter().take_while(|at| **at < sent[nth] + WINDOW).count();
    (0..sent.len()).map(within).max().unwrap_or(0)
}

fn lease(fence: i64, carried: Option<Option<&str>>) -> CountedUnder<'_> {
    CountedUnder { owner_id: 1, fence, carried }
}

#[test]
fn no_window_exceeds_the_limit() {
    let sent = greedy(&Buckets::default(), 0, 5 * WINDOW);
    assert!(most(&sent) <= 600);
    assert!(sent.len() > 300 * 8, "the pace is kept up: {}", sent.len());
}

#[test]
fn a_process_that_starts_anew_exceeds_it_by_a_tenth_at_most() {
    let before = greedy(&Buckets::default(), 0, WINDOW);
    let after = greedy(&Buckets::default(), WINDOW, 2 * WINDOW);
    assert!(most(&[before, after].concat()) <= 660);
}

#[test]
fn an_owners_bucket_travels_with_its_lease() {
    for released in [true, false] {
        let (mut sent, mut carried) = (Vec::new(), None);
        for turn in 0..6 {
            // Each holder is another host.
            let host = Buckets::default();
            let told = (turn == 0 || released).then_some(carried.as_deref());
            host.adopt(lease(turn, told));
            let from = turn * WINDOW / 4;
            sent.extend(greedy(&host, from, from + WINDOW / 4));
            carried = host.hand_over(1, turn, from + WINDOW / 4);
            assert!(carried.is_some(), "it isn't full");
        }
        assert!(most(&sent) <= 600, "released: {released}: {}", most(&sent));
        assert!(sent.len() > 90 * 8, "released: {released}: {}", sent.len());
    }
}

#[test]
fn a_full_bucket_need_not_be_told_of() {
    let host = Buckets::default();
    host.adopt(lease(1, Some(None)));
    let burst = (0..200).take_while(|_| take(&host, 1, &own(), 0) == Ok(Duration::ZERO)).count();
    assert_eq!(burst, 600 - 8 * 60);
    assert_eq!(host.hand_over(1, 1, WINDOW), None, "it is full again");
    // What can't be read is as good as nothing.
    host.adopt(lease(2, Some(Some("?"))));
    assert_eq!(take(&host, 1, &own(), 0), Ok(Duration::from_millis(125)));
}

#[test]
fn a_holder_that_lost_its_lease_takes_nothing_along() {
    let host = Buckets::default();
    host.adopt(lease(1, Some(None)));
    // Another host has had the owner, and this one has claimed it again.
    host.adopt(lease(3, None));
    assert_eq!(host.hand_over(1, 1, 0), None);
    assert!(take(&host, 1, &own(), 0).unwrap() > Duration::ZERO, "still the third lease's");
    assert!(host.hand_over(1, 3, 0).is_some());
}

#[test]
fn a_lease_that_ran_out_and_was_claimed_again_goes_on() {
    let host = Buckets::default();
    host.adopt(lease(1, Some(None)));
    let burst = (0..200).take_while(|_| take(&host, 1, &own(), 0) == Ok(Duration::ZERO)).count();
    host.adopt(lease(2, None));
    assert_eq!(take(&host, 1, &own(), 0), Ok(Duration::from_millis(250)), "after {burst} and one");
    assert!(host.hand_over(1, 1, 0).is_none() && host.hand_over(1, 2, 0).is_some());
}

#[test]
fn another_version_of_a_plugin_may_have_other_limits() {
    let host = Buckets::default();
    host.adopt(lease(1, Some(None)));
    assert_eq!(take(&host, 1, &own(), 0), Ok(Duration::ZERO));
    let slower = RateLimit { requests: 62, rate_s: 1, ..OWNER };
    let slower = [Due { which: (0, 0), limit: &slower }];
    let waits: Vec<u64> = (0..3).map(|_| take(&host, 1, &slower, 0).unwrap().as_secs()).collect();
    assert_eq!(waits, [0, 0, 1]);
}

#[test]
fn owners_share_the_limit_of_their_tree() {
    let buckets = Buckets::default();
    let sent: usize = (0..40).map(|owner| at_once(&buckets, owner)).sum();
    assert!((100..=400).contains(&sent), "{sent}");
    let Err(HttpError::Ended(Failure::Retry { scope, after_ms, .. })) =
        take(&buckets, 99, &dues(), WINDOW)
    else {
        panic!("more than the limit");
    };
    assert_eq!(scope, RetryScope::Integration);
    assert!(after_ms.is_some_and(|ms| ms > 1_000), "{after_ms:?}");
    let text = buckets.metrics.text(&crate::metrics::Load::default());
    assert!(text.contains("limit_refusals_total{scope=\"integration\"} "), "{text}");
    assert!(text.contains("limit_waits_total{scope=\"integration\"} "), "{text}");
    // Who was refused has lost nothing of his own.
    assert_eq!(take(&buckets, 99, &own(), WINDOW), Ok(Duration::ZERO));
}

fn at_once(buckets: &Buckets, owner_id: OwnerId) -> usize {
    (0..100).take_while(|_| take(buckets, owner_id, &dues(), WINDOW).is_ok()).count()
}

#[test]
fn owners_without_a_lease_are_forgotten() {
    let buckets = Buckets::default();
    for owner in 0..20_000 {
        take(&buckets, owner, &own(), owner * SECOND).unwrap();
    }
    assert!(buckets.lock().owners.len() <= 8_192);
}

#[test]
fn a_pause_concerns_whom_it_names() {
    let host = Buckets::default();
    for owner_id in [1, 2] {
        host.adopt(CountedUnder { owner_id, fence: 1, carried: Some(None) });
    }
    let waits = |owner_id, now| match take(&host, owner_id, &[], now) {
        Ok(wait) => Ok(wait.as_millis()),
        Err(HttpError::Ended(Failure::Retry { after_ms, scope, .. })) => Err((after_ms, scope)),
        Err(error) => panic!("{error:?}"),
    };
    let ends = |ms| Err((Some(ms), RetryScope::ThisStream));
    host.pause_owner(1, 5 * SECOND);
    assert_eq!((waits(1, 0), waits(2, 0)), (ends(5_000), Ok(0)));
    assert_eq!((waits(1, 4 * SECOND), waits(1, 5 * SECOND)), (Ok(1_000), Ok(0)));
    // A new token.
    host.pause_owner(1, 0);
    assert_eq!(waits(1, 0), Ok(0));
    host.pause_tree("svi_1", 9 * SECOND);
    host.pause_tree("svi_1", 3 * SECOND);
    host.pause_tree("svi_2", 99 * SECOND);
    assert_eq!((waits(1, 0), waits(2, 8 * SECOND)), (ends(9_000), Ok(1_000)));
}

/// As many requests as will go, by several requesters on each of several hosts.
async fn greedy_hosts(hosts: &[Buckets], clock: &Clock, until: Micros) -> Vec<Micros> {
    const EACH: usize = 4;
    // A request takes some time, so that no host is always the first.
    const LASTS: Micros = 3_000;
    let mut next: Vec<Micros> = (0..hosts.len() * EACH).map(|nth| nth as Micros).collect();
    let mut sent = Vec::new();
    loop {
        let at = (0..next.len()).min_by_key(|at| next[*at]).unwrap();
        if next[at] >= until {
            return sent;
        }
        let ahead = (next[at] - clock.now()).max(0);
        clock.advance(Duration::from_micros(ahead.unsigned_abs()));
        let now = clock.now();
        match hosts[at % hosts.len()].take(&counted(at as OwnerId), &of_tree(), clock).await {
            Ok(wait) => {
                sent.push(after(now, wait));
                next[at] = after(now, wait) + LASTS;
            }
            Err(HttpError::Ended(_)) => next[at] = now + SECOND,
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[tokio::test]
async fn hosts_share_the_limit_of_a_tree() {
    let clock = Clock::simulated(0);
    let store = fixture::open(Dialect::Postgres, clock.clone()).await;
    fixture::root(&store, "svi_1").await;
    let host = || Buckets::new(Some(store.control().clone()), Arc::default());
    let hosts = [host(), host(), host()];
    let mut sent = greedy_hosts(&hosts, &clock, 2 * WINDOW).await;
    // One dies, another one comes: what the dead one had is lost, nothing is won.
    let [one, two, _dead] = hosts;
    sent.extend(greedy_hosts(&[one, two, host()], &clock, 4 * WINDOW).await);
    assert!(most(&sent) <= 1_000, "{}", most(&sent));
    assert!(sent.len() >= 4 * 60 * 15 * 9 / 10, "the pace is kept up: {}", sent.len());
}

#[tokio::test]
async fn who_asks_little_asks_the_vendor_alone() {
    let clock = Clock::simulated(0);
    let store = fixture::open(Dialect::Postgres, clock.clone()).await;
    fixture::root(&store, "svi_1").await;
    let host = Buckets::new(Some(store.control().clone()), Arc::default());
    for _ in 0..20 {
        host.take(&counted(1), &of_tree(), &clock).await.unwrap();
        clock.advance(Duration::from_secs(30));
    }
    let asked = query_as::<(i64,)>("select at from buckets").fetch_all(store.control()).await;
    assert_eq!(asked.unwrap(), [(0,)], "only the first request was asked for");
}
