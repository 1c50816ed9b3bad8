//! Deletions, as whoever asks for one sees them: done within a while, or going on without them.

use std::sync::Arc;
use std::time::Duration;

use super::App;
use crate::clock::micros;
use crate::model::OrganizationId;
use crate::store::{Error, endings};

/// Nobody waits longer.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Between two looks at what another process works off.
const LOOK: Duration = Duration::from_millis(100);

/// Works off what was marked as ended: of an organization, or of one of its trees. False: that takes longer, and
/// hosts go on with it.
pub(super) async fn end_within_a_while(
    app: &App,
    organization: OrganizationId,
    root_id: Option<&str>,
) -> Result<bool, Error> {
    let until = app.clock.now() + micros(WAIT_MAX);
    loop {
        let store = Arc::clone(&app.store);
        // By itself: who stops waiting doesn't stop it.
        let working = tokio::spawn(async move {
            if let Err(error) = endings::work(&store).await {
                tracing::warn!(%error, "deletions wait");
            }
        });
        tokio::select! {
            _ended = working => {}
            () = app.clock.sleep_until(until) => {}
        }
        if !app.store.is_ending(organization, root_id).await? {
            return Ok(true);
        }
        if app.clock.now() >= until {
            return Ok(false);
        }
        app.clock.sleep(LOOK).await;
    }
}
