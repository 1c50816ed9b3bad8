//! An owner of Google's calendars and its holder, for tests of commits on either database.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use rowgate_manifest::Manifest;

use super::{ReadyEffects, TreeTables, Under, prepare};
use crate::clock::Clock;
use crate::model::{Effects, Micros, Write};
use crate::rows::TableSpec;
use crate::store::fixture::{self, Opened};
use crate::store::{Database, Dialect, query_scalar, tables};

pub(super) const EXPANDED: &str = "google_calendar_event_v1";
pub(super) const CALENDARS: &str = "google_calendar_v1";
pub(super) const FENCE: i64 = 3;
pub(super) const NOW: Micros = 1_000_000_000;

/// What a call wants committed, made ready.
pub(super) fn ready(tree: &TreeTables, effects: Effects) -> ReadyEffects {
    let prepare = |write: &Arc<Write>| prepare(Some("a"), tree, write).unwrap();
    let writes = effects.writes.iter().filter_map(prepare).collect();
    ReadyEffects::of(effects, writes)
}

/// A tree's tables and one owner, `a`.
pub(super) struct Case {
    _store: Opened,
    pub(super) replication: Database,
    pub(super) tree: Arc<TreeTables>,
}

impl Case {
    pub(super) async fn new(dialect: Dialect, manifest: Manifest) -> Self {
        let store = fixture::open(dialect, Clock::simulated(NOW)).await;
        let organization = store.organization("default").await.unwrap().id;
        let replication = store.replication(organization).await.unwrap();
        let spec = |service: &str| Arc::new(TableSpec::new(&manifest, service, service).unwrap());
        let tables: HashMap<String, Arc<TableSpec>> =
            [EXPANDED, CALENDARS].map(|service| (service.to_owned(), spec(service))).into();
        let layout = tables::layout(&replication).await.unwrap();
        let specs = tables.values().cloned().collect();
        tables::create_all(&replication, specs, layout).await.unwrap();
        let tree = Arc::new(TreeTables { manifest: Arc::new(manifest), tables });
        let case = Self { _store: store, replication, tree };
        let owner = format!("insert into rowgate_owners (owner_id, fence) values (1, {FENCE})");
        case.run(owner).await;
        case
    }

    pub(super) async fn run(&self, sql: String) {
        let ran = self
            .replication
            .write(move |connection| Box::pin(async move { Ok(connection.run(&sql).await?) }));
        ran.await.unwrap();
    }

    /// A calendar of the owner's, and its stream.
    pub(super) async fn calendar(&self, id: &str, deleted: bool, at: &str) {
        self.run(format!(
            "insert into {CALENDARS} (compound_identity, external_owner_id, google_id, deleted,
               row_created_at, row_updated_at)
             values ('a-{id}', 'a', '{id}', {deleted}, '{at}', '{at}');
             insert into rowgate_cursors (owner_id, service, kind, key, version)
             values (1, '{EXPANDED}', 'events', '{id}', 1)"
        ))
        .await;
    }

    /// Events of an owner's calendar `c`, numbered from the first on.
    pub(super) async fn events(&self, owner: &str, numbers: Range<u32>, status: &str, at: &str) {
        let (first, last) = (numbers.start, numbers.end - 1);
        self.run(format!(
            "with recursive n (n) as (select {first} union all select n + 1 from n where n < {last})
             insert into {EXPANDED} (compound_identity, external_owner_id, google_calendar_id,
               google_id, status, row_created_at, row_updated_at)
             select '{owner}-c-e' || n, '{owner}', 'c', 'e' || n, '{status}', '{at}', '{at}' from n"
        ))
        .await;
    }

    pub(super) async fn number(&self, sql: &str) -> i64 {
        query_scalar(sql.to_owned()).fetch_one(&self.replication).await.unwrap()
    }
}

/// The owner's lease.
pub(super) fn under(fence: i64, generation: i64) -> Under {
    Under { owner_id: 1, external_owner_id: Some("a".to_owned()), fence, generation }
}
