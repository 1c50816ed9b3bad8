//! Closing organizations.

use super::App;
use super::endings::end_within_a_while;
use super::integrations::Refusal;
use crate::model::OrganizationId;

/// Deletes an organization with its integrations, tables and members. False: nobody sees it any more, but
/// something of it is still to be done, which hosts do.
///
/// Tables in a database of the organization's own stay.
pub async fn close(app: &App, of: OrganizationId) -> Result<bool, Refusal> {
    app.store.end_organization(of).await?;
    Ok(end_within_a_while(app, of, None).await?)
}
