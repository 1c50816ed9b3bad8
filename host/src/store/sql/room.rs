//! Room for queries: each takes a core or a connection for as long as it runs, so there is room for a
//! few at once, and who finds none in a short time is told so. Strangers never take all of it: where there
//! is one place they get none, since they would hold it for longer than others wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::Clock;
use crate::model::OrganizationId;
use crate::store::Error;

/// When it is worth trying again.
const RETRY_AFTER_S: u32 = 2;

/// For how many queries there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomLimits {
    /// Of all organizations together.
    pub all: usize,
    /// Of one organization.
    pub organization: usize,
    /// So long a query waits for others to end.
    pub wait: Duration,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// Somebody who may read the organization's tables.
    Reader,
    /// Anybody: of public queries.
    Stranger,
}

/// See the module.
#[derive(Debug)]
pub struct Room {
    clock: Clock,
    limits: RoomLimits,
    all: Places,
    /// Of organizations of which a query runs or waits.
    organizations: Mutex<HashMap<OrganizationId, Places>>,
}

/// Places for queries, and which of them strangers may take.
#[derive(Clone, Debug)]
struct Places {
    any: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

/// A query's places, until this is dropped.
#[derive(Debug)]
pub struct Admitted {
    _places: Vec<OwnedSemaphorePermit>,
}

impl Places {
    fn new(count: usize) -> Self {
        let strangers = Arc::new(Semaphore::new(count / 2));
        Self { any: Arc::new(Semaphore::new(count)), strangers }
    }
}

impl Room {
    /// An empty room.
    pub fn new(clock: Clock, limits: RoomLimits) -> Self {
        let all = Places::new(limits.all);
        Self { clock, limits, all, organizations: Mutex::default() }
    }

    /// Waits for a place in the organization and in all.
    ///
    /// # Errors
    /// [`Error::Busy`] if there is none in time, or never.
    pub async fn enter(&self, of: OrganizationId, asking: Asking) -> Result<Admitted, Error> {
        if asking == Asking::Stranger && self.limits.all.min(self.limits.organization) < 2 {
            return Err(busy("this host has no room for public queries".into()));
        }
        let own = self.places_of(of);
        let mut wanted = vec![own.any, Arc::clone(&self.all.any)];
        if asking == Asking::Stranger {
            // Strangers wait for each other before they take anything that others need.
            wanted.splice(0..0, [own.strangers, Arc::clone(&self.all.strangers)]);
        }
        let taken = async {
            let mut taken = Vec::with_capacity(wanted.len());
            for places in wanted {
                taken.push(places.acquire_owned().await.ok()?);
            }
            Some(Admitted { _places: taken })
        };
        let admitted = tokio::select! {
            biased;
            admitted = taken => admitted,
            () = self.clock.sleep(self.limits.wait) => None,
        };
        admitted.ok_or_else(|| self.busy())
    }

    fn places_of(&self, of: OrganizationId) -> Places {
        let mut all = self.organizations.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever runs or waits has one of these.
        all.retain(|_, places| {
            Arc::strong_count(&places.any) + Arc::strong_count(&places.strangers) > 2
        });
        all.entry(of).or_insert_with(|| Places::new(self.limits.organization)).clone()
    }

    fn busy(&self) -> Error {
        let RoomLimits { all, organization, .. } = self.limits;
        busy(format!(
            "too many queries run just now ({organization} of one organization and {all} of all may \
             run at once): try again in a moment"
        ))
    }
}

/// There is too much to do for one more query.
pub(super) fn busy(reason: String) -> Error {
    Error::Busy { reason, retry_after_s: RETRY_AFTER_S }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(2);
    const LIMITS: RoomLimits = RoomLimits { all: 6, organization: 4, wait: WAIT };

    /// Who finds no room at once finds none: the clock is moved past the wait.
    async fn enter(room: &Room, clock: &Clock, of: i64, asking: Asking) -> Option<Admitted> {
        let mut entering = std::pin::pin!(room.enter(of, asking));
        let entered = tokio::select! {
            biased;
            entered = &mut entering => entered,
            () = std::future::ready(()) => {
                clock.advance(WAIT);
                entering.await
            }
        };
        match entered {
            Ok(admitted) => Some(admitted),
            Err(Error::Busy { reason, retry_after_s }) => {
                assert!(reason.contains("4 of one organization") && retry_after_s > 0, "{reason}");
                None
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn nobody_takes_all_the_room() {
        let clock = Clock::simulated(0);
        let room = Room::new(clock.clone(), LIMITS);
        let mut held = Vec::new();
        for (of, asking, expected) in [
            // Half of an organization's room is for its own people, and half of all.
            (1, Asking::Stranger, true),
            (1, Asking::Stranger, true),
            (1, Asking::Stranger, false),
            (2, Asking::Stranger, true),
            (2, Asking::Stranger, false),
            (1, Asking::Reader, true),
            (1, Asking::Reader, true),
            // One organization leaves room for others.
            (1, Asking::Reader, false),
            (3, Asking::Reader, true),
            (4, Asking::Reader, false),
        ] {
            let admitted = enter(&room, &clock, of, asking).await;
            assert_eq!(admitted.is_some(), expected, "{of} {asking:?} after {}", held.len());
            held.extend(admitted);
        }
        // What ended leaves its places, and who gave up holds none.
        held.clear();
        for _ in 0..4 {
            held.extend(enter(&room, &clock, 5, Asking::Reader).await);
        }
        assert_eq!(held.len(), 4);
        assert_eq!(room.organizations.lock().unwrap().len(), 1, "of those that are gone");
    }

    #[tokio::test]
    async fn strangers_never_take_the_only_place() {
        let clock = Clock::simulated(0);
        for (all, organization) in [(1, 1), (1, 4), (6, 1)] {
            let room = Room::new(clock.clone(), RoomLimits { all, organization, ..LIMITS });
            // They don't wait for what never comes.
            let refused = room.enter(1, Asking::Stranger).await;
            assert!(
                matches!(refused, Err(Error::Busy { .. })),
                "{all} {organization}: {refused:?}"
            );
            assert!(enter(&room, &clock, 1, Asking::Reader).await.is_some());
        }
        let room = Room::new(clock.clone(), RoomLimits { all: 2, organization: 2, ..LIMITS });
        assert!(enter(&room, &clock, 1, Asking::Stranger).await.is_some());
    }

    #[tokio::test]
    async fn who_waits_goes_on_when_another_ends() {
        let clock = Clock::simulated(0);
        let limits = RoomLimits { all: 1, organization: 1, ..LIMITS };
        let room = Room::new(clock.clone(), limits);
        let first = enter(&room, &clock, 1, Asking::Reader).await.unwrap();
        let mut second = std::pin::pin!(room.enter(2, Asking::Reader));
        tokio::select! {
            biased;
            entered = &mut second => panic!("{entered:?}"),
            () = std::future::ready(()) => drop(first),
        }
        second.await.unwrap();
    }
}
