//! Moving an organization's tables to a database of its own.

use super::App;
use crate::model::OrganizationId;
use crate::store::moves::{Found, Move, WrongDatabase};

/// What became of a request.
#[derive(Debug)]
pub enum Asked {
    /// A host moves the tables from now on.
    Begun(Move),
    /// They lie there already, and are reached by these URLs from now on.
    UrlsReplaced(Move),
}

/// Has the tables moved to the database of `admin_url`, once it was found fit and empty. `readonly_url`:
/// by which members and programs read it; none: a role for that is made.
pub async fn begin(
    app: &App,
    of: OrganizationId,
    admin_url: &str,
    readonly_url: Option<&str>,
) -> Result<Asked, WrongDatabase> {
    let store = &app.store;
    store.refuse_while_moving(of).await?;
    match store.look_at_database(of, admin_url, readonly_url).await? {
        Found::Empty(urls) => Ok(Asked::Begun(store.begin_move(of, urls).await?)),
        Found::Ours(urls) => Ok(Asked::UrlsReplaced(store.replace_urls(of, urls).await?)),
    }
}

#[cfg(test)]
mod tests;
