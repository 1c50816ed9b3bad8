use super::*;
use crate::store::channels::TopicKey;

const NOW: Micros = 1_000_000_000_000;
const HOUR: Micros = 3_600_000_000;
const BASE: &str = "https://sync.example.org";

fn topic(key: &str) -> Topic {
    Topic { push: "events".into(), key: key.into() }
}

fn row(key: &str) -> TopicRow {
    TopicRow {
        topic: TopicKey { push: "events".into(), key: key.into() },
        wanted: true,
        due_at: Some(NOW + HOUR),
        attempts: 0,
        unsupported: false,
        unshown: false,
    }
}

fn channel(id: &str, key: &str, state: State) -> ChannelRow {
    ChannelRow {
        id: id.into(),
        generation: 3,
        grant_id: 7,
        topic: TopicKey { push: "events".into(), key: key.into() },
        address: format!("{BASE}/v1/service_integrations/svi_a"),
        vendor_id: Some("vendor".into()),
        state,
        expires_at: NOW + 24 * HOUR,
        retired_until: None,
        due_at: None,
        attempts: 0,
    }
}

/// One topic with its channel, and nothing to do.
fn covered() -> Standing {
    Standing {
        topics: vec![row("a")],
        channels: vec![channel("c", "a", State::Active)],
        ..Standing::default()
    }
}

fn rules() -> Rules<'static> {
    Rules {
        now: NOW,
        generation: 3,
        wanted: BTreeSet::from([topic("a")]),
        base_url: Some(BASE),
        may_ask: true,
        may_stop: true,
    }
}

#[test]
fn a_covered_topic_rests() {
    assert_eq!(plan(&covered(), &rules()), Work::Rest);
}

#[test]
fn what_is_brought_in_line() {
    let none = Settlement::default;
    let id = || vec!["c".to_owned()];
    let a = || vec![topic("a")];
    let with = |change: &dyn Fn(&mut Standing)| {
        let mut standing = covered();
        change(&mut standing);
        standing
    };
    let expired = |s: &mut Standing| s.channels[0].expires_at = NOW;
    let unwanted = Rules { wanted: BTreeSet::new(), ..rules() };
    let off = Rules { base_url: None, ..unwanted.clone() };
    let dropped = Settlement { dropped: a(), given_up: id(), ..none() };
    let cases = [
        // A topic comes, goes, or push is switched off.
        (Standing::default(), rules(), Settlement { added: a(), ..none() }),
        (covered(), unwanted, dropped.clone()),
        (covered(), off, dropped),
        (with(&|s| s.topics[0].wanted = false), rules(), Settlement { added: a(), ..none() }),
        // Time.
        (with(&expired), rules(), Settlement { expired: id(), uncovered: a(), ..none() }),
        (
            with(&|s| {
                expired(s);
                s.channels.push(channel("next", "a", State::Active));
            }),
            rules(),
            Settlement { expired: id(), ..none() },
        ),
        (
            with(&|s| {
                expired(s);
                s.channels[0].state = State::Gone;
            }),
            rules(),
            Settlement { expired: id(), ..none() },
        ),
        (
            with(&|s| {
                s.channels[0].state = State::Stopping;
                s.channels[0].retired_until = Some(NOW);
            }),
            rules(),
            Settlement { let_go: id(), ..none() },
        ),
        // What a former holder, link or address left.
        (
            with(&|s| s.channels[0].state = State::Pending),
            rules(),
            Settlement { given_up: id(), ..none() },
        ),
        (
            with(&|s| s.channels[0].generation = 2),
            rules(),
            Settlement { given_up: id(), moved: a(), uncovered: a(), ..none() },
        ),
        (
            with(&|s| s.channels[0].address = format!("{BASE}.evil/v1")),
            rules(),
            Settlement { moved: a(), ..none() },
        ),
    ];
    for (standing, rules, settlement) in cases {
        assert_eq!(plan(&standing, &rules), Work::Settle(settlement), "{standing:?}");
    }
}

#[test]
fn a_moved_address_is_asked_for_once_at_a_time() {
    let mut standing = covered();
    standing.channels[0].address = "https://old.example.org/v1".into();
    standing.topics[0].attempts = 1;
    assert_eq!(plan(&standing, &rules()), Work::Rest);
    standing.topics[0].due_at = Some(NOW);
    let asked = Work::Subscribe { topic: topic("a"), attempts: 1 };
    assert_eq!(plan(&standing, &rules()), asked);
}

#[test]
fn one_piece_after_another() {
    let orphan =
        OrphanRow { id: "o".into(), vendor_id: "v".into(), due_at: Some(NOW), attempts: 0 };
    let mut standing = covered();
    standing.topics[0].unshown = true;
    standing.topics[0].due_at = Some(NOW);
    let old = ChannelRow { due_at: Some(NOW), ..channel("old", "a", State::Stopping) };
    standing.channels.push(old.clone());
    standing.orphans.push(orphan.clone());
    assert_eq!(plan(&standing, &rules()), Work::Show(topic("a")));
    standing.topics[0].unshown = false;
    let asked = Work::Subscribe { topic: topic("a"), attempts: 0 };
    assert_eq!(plan(&standing, &rules()), asked);
    for pause in [(BASE.to_owned(), NOW), ("https://other".to_owned(), NOW + 1)] {
        standing.pause = Some(pause);
        assert_eq!(plan(&standing, &rules()), asked);
    }
    standing.pause = Some((BASE.to_owned(), NOW + 1));
    assert_eq!(plan(&standing, &rules()), Work::Stop(old.clone()));
    standing.pause = None;
    let unlinked = Rules { may_ask: false, ..rules() };
    assert_eq!(plan(&standing, &unlinked), Work::Stop(old));
    let paused = Rules { may_stop: false, ..unlinked.clone() };
    assert_eq!(plan(&standing, &paused), Work::Rest);
    standing.channels[1].due_at = Some(NOW + 1);
    assert_eq!(plan(&standing, &unlinked), Work::Rest);
    standing.topics[0].due_at = None;
    assert_eq!(plan(&standing, &rules()), Work::StopOrphan(orphan));
}

#[test]
fn renewals_come_before_the_end_and_not_at_once() {
    const DAY: Micros = 24 * HOUR;
    for chance in [0, 1, 1 << 40, u64::MAX] {
        let week = renew_at(NOW, NOW + 7 * DAY, DAY, chance);
        assert!((NOW + 5 * DAY + 18 * HOUR..=NOW + 6 * DAY).contains(&week), "{week}");
        // Shorter than the time ahead: after a part of its life.
        let short = renew_at(NOW, NOW + 2 * HOUR, DAY, chance);
        assert!((NOW + HOUR * 3 / 4..=NOW + HOUR).contains(&short), "{short}");
        for life in [0, -DAY, 1] {
            assert_eq!(renew_at(NOW, NOW + life, DAY, chance), NOW + 60_000_000);
        }
    }
}
