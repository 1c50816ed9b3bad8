//! Closing organizations.

use std::time::Duration;

use super::App;
use super::integrations::Refusal;
use crate::clock::micros;
use crate::model::{Micros, OrganizationId};

/// Vendors are given so long to take back what they were asked to post. Channels that are left end by
/// themselves.
const STOPPING_MAX: Duration = Duration::from_secs(10);
/// Between two looks at whether they have.
const LOOK: Duration = Duration::from_millis(100);

/// Deletes an organization with its integrations, tables and members. If that breaks off, the same
/// call goes on.
pub async fn close(app: &App, of: OrganizationId) -> Result<(), Refusal> {
    let store = &app.store;
    let integrations = store.integrations(of).await?;
    let roots = integrations.iter().filter(|one| one.id == one.root_id);
    let roots: Vec<&str> = roots.map(|one| one.id.as_str()).collect();
    for root in &roots {
        store.retire_owners(root).await?;
    }
    let until = app.clock.now() + micros(STOPPING_MAX);
    for root in &roots {
        wait_for_stops(app, root, until).await?;
    }
    for root in roots {
        store.delete_integration(root).await?;
    }
    Ok(store.delete_organization(of).await?)
}

/// The hosts stop them, as they stop those of an owner who was unlinked.
async fn wait_for_stops(app: &App, root: &str, until: Micros) -> Result<(), Refusal> {
    while app.clock.now() < until && app.store.has_channels_to_stop(root).await? {
        app.clock.sleep(LOOK).await;
    }
    Ok(())
}
