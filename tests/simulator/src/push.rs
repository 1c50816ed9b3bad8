//! Pushes on their way: what became of each, those that are held, and waiting for them.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use crate::model::push::{Push, Start, State};
use crate::shared::locked;

pub(crate) mod courier;

/// A push and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Counted from 1 over all channels.
    pub number: u64,
    /// Id of the channel.
    pub channel: String,
    /// What it says.
    pub state: State,
    /// `X-Goog-Message-Number`.
    pub message_number: u64,
    /// How many changes it stands for.
    pub changes: u64,
    /// Status of each attempt; None: nobody answered.
    pub answers: Vec<Option<u16>>,
    /// Why the last attempt had no answer.
    pub error: Option<String>,
    /// Where it is now.
    pub outcome: Outcome,
}

/// Where a push is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Until it is released.
    Held,
    /// Under way, or between two attempts.
    UnderWay,
    /// Answered with 200, 201, 202, 204 or 102.
    Delivered,
    /// Answered with what isn't worth another attempt.
    Refused,
    /// Every attempt met 500, 502, 503, 504 or nobody.
    Failed,
    /// Lost on purpose.
    Dropped,
    /// Its channel was stopped or expired before it left.
    Ended,
}

impl Outcome {
    /// Nothing more will happen to it.
    pub fn is_settled(self) -> bool {
        !matches!(self, Self::Held | Self::UnderWay)
    }
}

/// All pushes.
pub(crate) struct Pushes {
    book: Mutex<Book>,
    changed: watch::Sender<()>,
    /// What leaves together is handed over together, so that only rules reorder it.
    courier: mpsc::UnboundedSender<Vec<Push>>,
}

#[derive(Default)]
struct Book {
    deliveries: BTreeMap<u64, Delivery>,
    held: BTreeMap<u64, Push>,
}

impl Pushes {
    pub(crate) fn new(courier: mpsc::UnboundedSender<Vec<Push>>) -> Self {
        Self { book: Mutex::default(), changed: watch::Sender::new(()), courier }
    }

    /// Takes over what the model means to send.
    pub(crate) fn accept(&self, pushes: Vec<Push>) {
        if pushes.is_empty() {
            return;
        }
        let mut book = locked(&self.book);
        let mut leaving = Vec::new();
        for push in pushes {
            if push.joins && book.joined(&push.channel) {
                continue;
            }
            let delivery = Delivery::new(&push);
            book.deliveries.insert(push.number, delivery);
            match push.start {
                Start::Leaves => leaving.push(push),
                Start::Held => drop(book.held.insert(push.number, push)),
                Start::Dropped => {}
            }
        }
        self.leave(leaving);
        drop(book);
        self.changed.send_replace(());
    }

    /// Every push since the start or the last clearing, in order.
    pub(crate) fn list(&self) -> Vec<Delivery> {
        locked(&self.book).deliveries.values().cloned().collect()
    }

    /// Forgets those that are settled.
    pub(crate) fn clear(&self) {
        locked(&self.book).deliveries.retain(|_, delivery| !delivery.outcome.is_settled());
        self.changed.send_replace(());
    }

    /// Lets held pushes go that fit; says how many. They leave in order, or the last one first.
    pub(crate) fn release(&self, fits: impl Fn(&Push) -> bool, reversed: bool) -> usize {
        let mut book = locked(&self.book);
        let mut freed: Vec<Push> =
            book.held.extract_if(.., |_, push| fits(push)).map(|(_, push)| push).collect();
        if reversed {
            freed.reverse();
        }
        let count = freed.len();
        for push in &freed {
            if let Some(delivery) = book.deliveries.get_mut(&push.number) {
                delivery.outcome = Outcome::UnderWay;
            }
        }
        self.leave(freed);
        drop(book);
        self.changed.send_replace(());
        count
    }

    /// Waits until the pushes are as `fits` wants them.
    pub(crate) async fn until(&self, fits: impl Fn(&BTreeMap<u64, Delivery>) -> bool) {
        let mut changes = self.changed.subscribe();
        while !fits(&locked(&self.book).deliveries) {
            // The sender lives as long as `self`, so waiting can't fail.
            let _ = changes.changed().await;
        }
    }

    /// Waits until a push was tried once, or won't be for now.
    pub(crate) async fn until_tried(&self, number: u64) {
        let tried = |delivery: &Delivery| {
            delivery.outcome != Outcome::UnderWay || !delivery.answers.is_empty()
        };
        self.until(|deliveries| deliveries.get(&number).is_none_or(tried)).await;
    }

    fn note(&self, number: u64, what: impl FnOnce(&mut Delivery)) {
        if let Some(delivery) = locked(&self.book).deliveries.get_mut(&number) {
            what(delivery);
        }
        self.changed.send_replace(());
    }

    /// Without a courier the simulator is about to end.
    fn leave(&self, pushes: Vec<Push>) {
        let _ = self.courier.send(pushes);
    }
}

impl Book {
    /// Counts a change to a push of the channel that wasn't tried yet, if there is one.
    fn joined(&mut self, channel: &str) -> bool {
        let last = self.deliveries.values_mut().rev().find(|last| last.channel == channel);
        let waits = |last: &&mut Delivery| {
            last.state == State::Exists && last.answers.is_empty() && !last.outcome.is_settled()
        };
        match last.filter(waits) {
            Some(last) => {
                last.changes += 1;
                true
            }
            None => false,
        }
    }
}

impl Delivery {
    fn new(push: &Push) -> Self {
        Self {
            number: push.number,
            channel: push.channel.clone(),
            state: push.state,
            message_number: push.message_number,
            changes: u64::from(push.state != State::Sync),
            answers: Vec::new(),
            error: None,
            outcome: match push.start {
                Start::Leaves => Outcome::UnderWay,
                Start::Held => Outcome::Held,
                Start::Dropped => Outcome::Dropped,
            },
        }
    }
}
