//! What is to be done next about an owner's push: a pure function of what is stored.

use std::collections::BTreeSet;

use crate::model::{Micros, Topic};
use crate::store::channels::{ChannelRow, OrphanRow, Settlement, Standing, State, TopicRow};

/// What holds besides what is stored.
#[derive(Clone, Debug)]
pub(super) struct Rules<'a> {
    pub(super) now: Micros,
    /// The owner's.
    pub(super) generation: i64,
    /// Topics that the owner's streams name; none where push is off.
    pub(super) wanted: BTreeSet<Topic>,
    /// Where vendors reach us; none: push is off.
    pub(super) base_url: Option<&'a str>,
    /// The owner is linked and nothing pauses it.
    pub(super) may_ask: bool,
    /// Nothing pauses the owner, linked or not.
    pub(super) may_stop: bool,
}

/// One piece of work.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Work {
    /// Bring what is stored in line.
    Settle(Settlement),
    /// Write the topic's channel into its row.
    Show(Topic),
    /// Ask for a channel.
    Subscribe { topic: Topic, attempts: i64 },
    /// Stop a channel.
    Stop(ChannelRow),
    /// Stop a channel that nobody here made.
    StopOrphan(OrphanRow),
    /// Nothing now.
    Rest,
}

/// Decides. No call to a vendor is under way: what is pending, nobody waits for.
pub(super) fn plan(standing: &Standing, rules: &Rules<'_>) -> Work {
    let settlement = settlement(standing, rules);
    if settlement != Settlement::default() {
        return Work::Settle(settlement);
    }
    let now = rules.now;
    let is_due = |due_at: Option<Micros>| due_at.is_some_and(|at| at <= now);
    if let Some(topic) = standing.topics.iter().find(|topic| topic.unshown) {
        return Work::Show(topic.topic.clone().into());
    }
    let mut topics = standing.topics.iter();
    let asked =
        topics.find(|topic| rules.may_ask && !is_paused(standing, rules) && is_due(topic.due_at));
    if let Some(TopicRow { topic, attempts, .. }) = asked {
        return Work::Subscribe { topic: topic.clone().into(), attempts: *attempts };
    }
    let mut channels = standing.channels.iter();
    if let Some(channel) = channels.find(|channel| rules.may_stop && is_due(channel.due_at)) {
        return Work::Stop(channel.clone());
    }
    // Without an owner's secrets there is nothing to try.
    let mut orphans = standing.orphans.iter();
    match orphans.find(|orphan| rules.may_ask && is_due(orphan.due_at)) {
        Some(orphan) => Work::StopOrphan(orphan.clone()),
        None => Work::Rest,
    }
}

/// The vendor refused this base URL, and it isn't time to see whether it still does.
fn is_paused(standing: &Standing, rules: &Rules<'_>) -> bool {
    let pause = standing.pause.as_ref();
    pause.is_some_and(|(base_url, until)| {
        Some(base_url.as_str()) == rules.base_url && *until > rules.now
    })
}

fn settlement(standing: &Standing, rules: &Rules<'_>) -> Settlement {
    let Standing { topics, channels, .. } = standing;
    let now = rules.now;
    let topic_of = |channel: &ChannelRow| Topic::from(channel.topic.clone());
    let have: BTreeSet<Topic> = topics
        .iter()
        .filter(|topic| topic.wanted)
        .map(|topic| topic.topic.clone().into())
        .collect();
    let mut settlement = Settlement {
        added: rules.wanted.difference(&have).cloned().collect(),
        dropped: have.difference(&rules.wanted).cloned().collect(),
        ..Settlement::default()
    };
    for channel in channels {
        let topic = topic_of(channel);
        let covers = channel.state == State::Active && rules.wanted.contains(&topic);
        if channel.expires_at <= now {
            settlement.expired.push(channel.id.clone());
            let successor = channels.iter().any(|other| {
                other.state == State::Active && other.expires_at > now && topic_of(other) == topic
            });
            if covers && !successor {
                settlement.uncovered.push(topic);
            }
            continue;
        }
        let is_over = channel.retired_until.is_some_and(|until| until <= now);
        match channel.state {
            State::Stopping if is_over => settlement.let_go.push(channel.id.clone()),
            State::Pending => settlement.given_up.push(channel.id.clone()),
            State::Active if !covers => settlement.given_up.push(channel.id.clone()),
            State::Active if channel.generation != rules.generation => {
                settlement.given_up.push(channel.id.clone());
                settlement.moved.push(topic.clone());
                settlement.uncovered.push(topic);
            }
            State::Active if !at_our_address(channel, rules) => {
                let mut topics =
                    topics.iter().filter(|row| Topic::from(row.topic.clone()) == topic);
                // Once: after that, the waits between askings hold.
                let unmoved = |row: &TopicRow| row.attempts == 0 && row.due_at > Some(now);
                if topics.any(unmoved) {
                    settlement.moved.push(topic);
                }
            }
            _ => {}
        }
    }
    settlement
}

fn at_our_address(channel: &ChannelRow, rules: &Rules<'_>) -> bool {
    let base_url = rules.base_url.unwrap_or_default();
    channel.address.strip_prefix(base_url).is_some_and(|path| path.starts_with('/'))
}

/// When a channel is replaced: `renew_us` before its end, but never before half its life is over, and
/// not at once; earlier by chance (any number), so that channels made together aren't renewed together.
pub(super) fn renew_at(now: Micros, expires_at: Micros, renew_us: Micros, chance: u64) -> Micros {
    const SOON: Micros = 60_000_000;
    let life = expires_at.saturating_sub(now).max(0);
    let ahead = renew_us.min(life / 2);
    let spread = u64::try_from(ahead / 4).unwrap_or(0) + 1;
    let earlier = Micros::try_from(chance % spread).unwrap_or(0);
    (expires_at - ahead - earlier).max(now + SOON)
}

#[cfg(test)]
mod tests;
