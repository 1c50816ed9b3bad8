//! Hosts have clocks of their own; leases go by the server's (R13).

use super::{Dialect, Error, Store, query_scalar};
use crate::model::Micros;

/// An answer that took longer tells too little: the server may have looked at its clock at any time meanwhile.
const TOOK_MAX: Micros = 1_000_000;

/// At the start there is no former correction to keep.
const FIRST_TRIES: usize = 5;

/// What an answer of the server tells of its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    /// So much the server's clock is ahead of ours; off by half of `took` at most.
    ahead: Micros,
    /// From the question to the answer, by our clock. Less than nothing if somebody put that back meanwhile.
    took: Micros,
}

impl Reading {
    fn new(asked: Micros, there: Micros, answered: Micros) -> Self {
        Self { ahead: there - asked.midpoint(answered), took: answered - asked }
    }

    fn is_exact(self) -> bool {
        (0..=TOOK_MAX).contains(&self.took)
    }
}

/// The one that tells most.
fn best(readings: &[Reading]) -> Option<Reading> {
    readings.iter().copied().min_by_key(|reading| reading.took.unsigned_abs())
}

impl Store {
    /// Puts the clock right by the server's. Where the answer takes long, it stays as it is.
    pub async fn follow_server_time(&self) -> Result<(), Error> {
        match self.read_server_time().await? {
            Some(reading) if reading.is_exact() => self.clock.correct(reading.ahead),
            Some(Reading { took, .. }) => {
                tracing::debug!(took, "the server's time came late; the clock stays as it is");
            }
            None => {}
        }
        Ok(())
    }

    /// The same for a clock that was never put right: by the best of some answers.
    pub(super) async fn begin_by_server_time(&self) -> Result<(), Error> {
        let mut readings = Vec::new();
        for _ in 0..FIRST_TRIES {
            let Some(reading) = self.read_server_time().await? else { break };
            readings.push(reading);
            if reading.is_exact() {
                break;
            }
        }
        if let Some(reading) = best(&readings) {
            self.clock.correct(reading.ahead);
        }
        Ok(())
    }

    /// None: there is no server.
    async fn read_server_time(&self) -> Result<Option<Reading>, Error> {
        if self.control.dialect() == Dialect::Sqlite {
            return Ok(None);
        }
        // To wait for a connection is no part of the answer.
        let mut connection = self.control.reader().await?;
        let asked = self.clock.now();
        let sql = "select cast(extract(epoch from clock_timestamp()) * 1000000 as bigint)";
        let there: i64 = query_scalar(sql).fetch_one(&mut connection).await?;
        Ok(Some(Reading::new(asked, there, self.clock.now())))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::clock::Clock;
    use crate::store::fixture;

    const SECOND: Micros = 1_000_000;

    #[test]
    fn an_answer_that_came_late_is_not_believed() {
        for (asked, there, answered, ahead, exact) in [
            (100 * SECOND, 100 * SECOND, 100 * SECOND, 0, true),
            (100 * SECOND, 107 * SECOND, 101 * SECOND, 6_500_000, true),
            (100 * SECOND, 93 * SECOND, 100 * SECOND + 2, -7 * SECOND - 1, true),
            (100 * SECOND, 100 * SECOND, 101 * SECOND + 1, -500_000, false),
            // Frozen for a minute behind the question.
            (100 * SECOND, 100 * SECOND, 160 * SECOND, -30 * SECOND, false),
            // Our clock was put back meanwhile.
            (100 * SECOND, 100 * SECOND, 40 * SECOND, 30 * SECOND, false),
        ] {
            let reading = Reading::new(asked, there, answered);
            assert_eq!((reading.ahead, reading.is_exact()), (ahead, exact), "{reading:?}");
        }
    }

    #[test]
    fn the_first_correction_is_by_the_best_answer() {
        let [slow, back, quick] =
            [9 * SECOND, -5 * SECOND, 2 * SECOND].map(|took| Reading { ahead: took, took });
        assert_eq!(best(&[]), None);
        assert_eq!(best(&[slow]), Some(slow));
        assert_eq!(best(&[slow, back]), Some(back));
        assert_eq!(best(&[slow, back, quick, slow]), Some(quick));
    }

    /// All connections are in use for an hour.
    #[tokio::test]
    async fn the_wait_for_a_connection_is_no_part_of_an_answer() {
        let clock = Clock::simulated(SECOND);
        let store = fixture::open(Dialect::Postgres, clock.clone()).await;
        let mut used = Vec::new();
        for _ in 0..fixture::CONNECTIONS_MAX {
            used.push(store.control().reader().await.unwrap());
        }
        let mut reading = pin!(store.read_server_time());
        assert!(reading.as_mut().now_or_never().is_none(), "it waits for a connection");
        clock.advance(Duration::from_secs(3600));
        drop(used);
        assert_eq!(reading.await.unwrap().unwrap().took, 0);
    }

    /// The server of a test has the clock of this machine.
    #[tokio::test]
    async fn a_clock_that_went_wrong_is_put_right() {
        let store = fixture::open(Dialect::Postgres, Clock::corrected()).await;
        for wrong in [3_600 * SECOND, -3_600 * SECOND] {
            store.clock().correct(wrong);
            store.begin_by_server_time().await.unwrap();
            let off_by = store.clock().now() - Clock::System.now();
            assert!(off_by.abs() < 600 * SECOND, "{off_by}");
        }
    }
}
