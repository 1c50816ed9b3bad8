//! Which rows of a table a statement inserts or updates, as SQLite tells while it does so. With `returning`
//! they would be kept in a table until the statement is done, and be fetched row by row.
//! (<https://www.sqlite.org/c3ref/update_hook.html>)

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::sqlite::{SqliteConnection, SqliteOperation};

/// The update hook of a connection. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct UpdateHook(Arc<Mutex<Moved>>);

#[derive(Debug, Default)]
struct Moved {
    /// None: nobody asks.
    table: Option<String>,
    pks: Vec<i64>,
}

impl UpdateHook {
    /// Listens to a connection from now on.
    pub(in crate::store) async fn of(connection: &mut SqliteConnection) -> sqlx::Result<Self> {
        let hook = Self::default();
        let heard = hook.clone();
        connection.lock_handle().await?.set_update_hook(move |change| {
            let mut heard = heard.lock();
            if heard.table.as_deref() == Some(change.table)
                && matches!(change.operation, SqliteOperation::Insert | SqliteOperation::Update)
            {
                heard.pks.push(change.rowid);
            }
        });
        Ok(hook)
    }

    /// What follows is of this table.
    pub(in crate::store) fn begin(&self, table: &str) {
        *self.lock() = Moved { table: Some(table.to_owned()), pks: Vec::new() };
    }

    /// The pks of the rows since [`UpdateHook::begin`], in the order in which they were moved.
    pub(in crate::store) fn end(&self) -> Vec<i64> {
        std::mem::take(&mut *self.lock()).pks
    }

    fn lock(&self) -> MutexGuard<'_, Moved> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
