//! Works on moves, one after the other, on whichever host comes to them.

use std::time::Duration;

use super::{Claimed, Hold};
use crate::clock::micros;
use crate::failpoint;
use crate::model::Micros;
use crate::store::database::contained;
use crate::store::{Error, Store};

/// A move that was held up is tried again after so long.
const RETRY: Duration = Duration::from_secs(3);

/// One that hasn't come a step further for so long is given up: its organization rests meanwhile.
pub(super) const STALLED_MAX: Duration = Duration::from_secs(600);

/// Codes of PostgreSQL, by their beginnings, that another attempt may not meet: connection, rolled back,
/// resources, somebody's intervention, a lock that wasn't had.
const PASSING: [&str; 5] = ["08", "40", "53", "57", "55P03"];

/// Works on what there is, looking every `poll`. Never ends.
pub async fn work(store: &Store, ttl: Duration, poll: Duration) {
    loop {
        match store.claim_move(micros(ttl)).await {
            Ok(Some(claimed)) => carry_on(store, claimed, micros(ttl)).await,
            Ok(None) => store.clock.sleep(poll).await,
            Err(error) => {
                tracing::warn!(%error, "no move can be claimed");
                store.clock.sleep(poll).await;
            }
        }
    }
}

async fn carry_on(store: &Store, of: Claimed, ttl: Micros) {
    let (id, organization_id) = (of.id.clone(), of.organization_id);
    let hold = Hold { store, of, ttl };
    let ended = match contained(hold.carry_out(), Error::Inconsistent).await {
        Ok(()) => {
            tracing::info!(id, organization_id, "tables lie in a database of their own now");
            return;
        }
        Err(Error::Superseded(what)) => {
            tracing::info!(id, what, "another host goes on with a move");
            return;
        }
        Err(error) => hold.broke_off(error).await,
    };
    if let Err(error) = ended {
        tracing::error!(id, organization_id, %error, "a move broke off; it goes on when its lease is over");
    }
}

impl Hold<'_> {
    async fn carry_out(&self) -> Result<(), Error> {
        let (store, of) = (self.store, self.of.organization_id);
        let source = store.replication(of).await?;
        // Before anybody rests for it.
        let way = store.own_way(&self.of.id).await?;
        let destination = store.make_ready(&way, of, &self.of.id).await?;
        self.rest(&source).await?;
        let tables = self.copy(&source, &destination).await?;
        store.let_read(&destination, &self.of.id).await?;
        failpoint::reach("tables_copied");
        self.switch(tables).await
    }

    async fn broke_off(&self, error: Error) -> Result<(), Error> {
        let (id, organization_id) = (&self.of.id, self.of.organization_id);
        let now = self.store.clock.now();
        let reason = one_line(&error.to_string());
        // It may be what the customer's server says.
        let reason = match self.store.own_way(id).await {
            Ok(way) => (way.hide)(&reason),
            Err(_) => reason,
        };
        let given_up_at = self.progressed_at().await?.saturating_add(micros(STALLED_MAX));
        if passes(&error) && now < given_up_at {
            tracing::warn!(id, organization_id, error = reason, "a move is held up");
            return self.put_off(reason, now.saturating_add(micros(RETRY))).await;
        }
        tracing::error!(
            id,
            organization_id,
            error = reason,
            "a move failed; everything is as it was before"
        );
        self.fail(reason).await
    }
}

/// Whether another attempt may go better.
fn passes(error: &Error) -> bool {
    if error.is_away() {
        return true;
    }
    let Error::Database(error) = error else { return false };
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    PASSING.iter().any(|passing| code.starts_with(passing))
}

/// As errors are stored and shown.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again() {
        for (error, expected) in [
            (Error::Unavailable("down".into()), true),
            (Error::Database(sqlx::Error::PoolTimedOut), true),
            (Error::Database(sqlx::Error::Encode("NUL".into())), false),
            (Error::Refused("not empty".into()), false),
            (Error::Inconsistent("counts".into()), false),
        ] {
            assert_eq!(passes(&error), expected, "{error}");
        }
    }
}
