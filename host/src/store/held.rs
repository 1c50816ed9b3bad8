//! The database of an organization's tables is called by the organization's key, which another organization
//! may have later. So whoever opens or drops it holds it, and then looks whose it is.

use std::fs::File;

use super::{Error, Store, server};
use crate::model::OrganizationId;

/// Nobody begins to drop the database meanwhile, nor is its key given to another organization. Dropping it
/// lets go, too.
#[must_use]
pub(super) enum Held {
    /// Of all organizations in a data directory.
    File(File),
    /// Of one on a server.
    Server(server::Held),
}

impl Held {
    pub(super) async fn let_go(self) {
        match self {
            Self::File(file) => drop(file),
            Self::Server(held) => held.let_go().await,
        }
    }
}

impl Store {
    pub(super) async fn hold_replication(&self, of: OrganizationId) -> Result<Held, Error> {
        match &self.server {
            None => {
                let held = self.data_dir.hold_replication().await;
                held.map(Held::File).map_err(|error| Error::Unavailable(error.to_string()))
            }
            Some(server) => server.hold(of).await.map(Held::Server),
        }
    }
}
