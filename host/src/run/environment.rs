//! The outside of one guest call, wired: HTTP through egress, secrets, validation against the
//! tree's tables, lookups in the replication database, the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::egress::{Egress, HttpError, HttpRequest, HttpResponse, Presence, Session};
use crate::model::{Micros, Scalar, Write};
use crate::plugin::{DbError, Environment, LogLevel};
use crate::rows::{Rejected, check_write};
use crate::store::commit::TreeTables;
use crate::store::{Database, commit, tables};

use super::readying::WriteLine;

/// See [`Environment`].
pub(super) struct CallEnvironment {
    pub(super) egress: Egress,
    pub(super) session: Session,
    pub(super) tree: Arc<TreeTables>,
    pub(super) replication: Database,
    pub(super) owner_id: i64,
    pub(super) external_owner_id: Option<String>,
    /// See [`tables::ApplyScope`].
    pub(super) stale_before: Option<Micros>,
    /// Turns true when the commit of the call before has ended; none: it has.
    pub(super) committed: Option<watch::Receiver<bool>>,
    /// The owner's commit number at the first lookup; -1: none yet (R2).
    pub(super) read_at: AtomicI64,
    pub(super) writes: WriteLine,
}

impl CallEnvironment {
    /// The commit number that the call's commit must still find.
    pub(super) fn read_at(&self) -> Option<i64> {
        Some(self.read_at.load(Ordering::Acquire)).filter(|read_at| *read_at >= 0)
    }

    async fn look_up(
        &self,
        table: &str,
        key: Vec<Scalar>,
        columns: Vec<String>,
        pending: &[Arc<Write>],
    ) -> Result<Option<Vec<Scalar>>, DbError> {
        let Some(spec) = self.tree.tables.get(table) else { return Ok(None) };
        let other = |error: String| DbError::Other(error);
        if let Some(mut committed) = self.committed.clone() {
            // An error means that nobody will say so any more: the same.
            let _ = committed.wait_for(|committed| *committed).await;
        }
        if self.read_at().is_none() {
            let read_at = commit::commit_no(&self.replication, self.owner_id).await;
            self.read_at.store(read_at.map_err(|e| other(e.to_string()))?, Ordering::Release);
        }
        let scope = tables::ApplyScope {
            owner_id: self.owner_id,
            external_owner_id: self.external_owner_id.clone(),
            now: 0,
            commit_id: 0,
            mapping_version: self.tree.manifest.plugin.mapping_version.into(),
            stale_before: self.stale_before,
        };
        let reader = self.replication.reader().await;
        let mut reader = reader.map_err(|error| other(error.to_string()))?;
        tables::lookup(&mut reader, &scope, spec, &key, &columns, pending).await.map_err(|error| {
            match error {
                tables::ApplyError::Rejected(rejected) => db_error(rejected),
                error => other(error.to_string()),
            }
        })
    }
}

impl Environment for CallEnvironment {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, HttpError>> {
        Box::pin(self.egress.send(&self.session, request))
    }

    fn secret<'a>(&'a self, name: &'a str, wait: bool) -> BoxFuture<'a, Presence> {
        Box::pin(self.session.presence(name, wait))
    }

    fn forget<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(self.session.forget(name))
    }

    fn lookup<'a>(
        &'a self,
        table: &'a str,
        key: Vec<Scalar>,
        columns: Vec<String>,
        pending: &'a [Arc<Write>],
    ) -> BoxFuture<'a, Result<Option<Vec<Scalar>>, DbError>> {
        Box::pin(self.look_up(table, key, columns, pending))
    }

    fn take(&self, write: &Arc<Write>) -> Result<(), DbError> {
        let table = tables::table(write);
        let _span = tracing::debug_span!("rows", table).entered();
        match self.tree.tables.get(table) {
            // How many rows a call may write is counted where the call is.
            Some(spec) => check_write(spec, write, usize::MAX).map_err(db_error)?,
            // A service that no integration was created for: what is written is dropped.
            None if self.tree.manifest.services.contains_key(table) => {}
            None => return Err(DbError::UnknownTable(table.to_owned())),
        }
        self.writes.add(write);
        Ok(())
    }

    fn log(&self, level: LogLevel, message: String, fields: Vec<(String, String)>) {
        let fields = serde_json::to_string(&fields).unwrap_or_default();
        match level {
            LogLevel::Debug => tracing::debug!(target: "plugin", message, fields),
            LogLevel::Info => tracing::info!(target: "plugin", message, fields),
            LogLevel::Warn => tracing::warn!(target: "plugin", message, fields),
            LogLevel::Error => tracing::error!(target: "plugin", message, fields),
        }
    }
}

fn db_error(rejected: Rejected) -> DbError {
    match rejected {
        Rejected::UnknownTable(text) => DbError::UnknownTable(text),
        Rejected::UnknownColumn(text) => DbError::UnknownColumn(text),
        Rejected::WrongType(text) => DbError::WrongType(text),
        Rejected::Limit(text) => DbError::Limit(text),
        Rejected::Other(text) => DbError::Other(text),
    }
}
