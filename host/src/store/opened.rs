//! Organizations' databases that this process has open. Each is opened by one at a time, and nobody waits
//! while another organization's is opened: a customer's server may take its time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use super::Database;
use crate::model::OrganizationId;

/// By organization. The number is that of where its tables lie, which moves when that changes.
#[derive(Debug, Default)]
pub(super) struct Opened {
    databases: Mutex<HashMap<OrganizationId, (i64, Database)>>,
    opening: Mutex<HashMap<OrganizationId, Arc<tokio::sync::Mutex<()>>>>,
}

impl Opened {
    /// An organization's, if it is open and lies there still.
    pub(super) fn get(&self, of: OrganizationId, number: i64) -> Option<Database> {
        let databases = self.databases();
        let (opened, database) = databases.get(&of)?;
        (*opened == number).then(|| database.clone())
    }

    /// Waits for whoever opens the organization's now. It may be open then.
    pub(super) async fn begin(&self, of: OrganizationId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
            opening.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(opening.entry(of).or_default())
        };
        turn.lock_owned().await
    }

    pub(super) fn insert(&self, of: OrganizationId, number: i64, database: Database) {
        self.databases().insert(of, (number, database));
    }

    /// False: it wasn't open.
    pub(super) fn let_go(&self, of: OrganizationId) -> bool {
        self.databases().remove(&of).is_some()
    }

    /// Whose are open.
    pub(super) fn organizations(&self) -> Vec<OrganizationId> {
        self.databases().keys().copied().collect()
    }

    /// All that are open.
    pub(super) fn all(&self) -> Vec<Database> {
        self.databases().values().map(|(_, database)| database.clone()).collect()
    }

    fn databases(&self) -> MutexGuard<'_, HashMap<OrganizationId, (i64, Database)>> {
        self.databases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
