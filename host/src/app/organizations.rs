//! Closing organizations.

use std::time::Duration;

use super::App;
use super::integrations::Refusal;
use crate::clock::micros;
use crate::model::{Micros, OrganizationId};
use crate::store::organizations::Left;

/// Vendors are given so long to take back what they were asked to post. Channels that are left end by
/// themselves.
const STOPPING_MAX: Duration = Duration::from_secs(10);
/// Between two looks at whether they have.
const LOOK: Duration = Duration::from_millis(100);

/// Deletes an organization with its integrations, tables and members. If that breaks off, the same
/// call goes on.
///
/// Tables in a database of the organization's own stay.
pub async fn close(app: &App, of: OrganizationId) -> Result<Left, Refusal> {
    let store = &app.store;
    store.refuse_while_moving(of).await?;
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
    let has_own_database = store.own_database(of).await?.is_some();
    for root in roots {
        match has_own_database {
            true => store.leave_integration(root).await?,
            false => store.delete_integration(root).await?,
        };
    }
    Ok(store.delete_organization(of).await?)
}

/// The hosts stop them, as they stop those of an owner who was unlinked.
async fn wait_for_stops(app: &App, root: &str, until: Micros) -> Result<(), Refusal> {
    while app.clock.now() < until && app.store.channels_to_stop(root).await? > 0 {
        app.clock.sleep(LOOK).await;
    }
    Ok(())
}
